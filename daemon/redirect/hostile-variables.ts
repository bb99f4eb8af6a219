/** What must not reach the agent's runtime from the workload, and is carried past it under another name. */

/** They would change how the agent's own Node starts. */
export const hostileVariables = ['NODE_OPTIONS', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS', 'LD_PRELOAD', 'LD_LIBRARY_PATH'];
export const keptVariablePrefix = 'BOWLINE_ORIGINAL_';
