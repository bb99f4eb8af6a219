/** A variable in a format: its text, or why the format cannot hold it. */
export type Line = { line: string } | { reason: string };

/** Names of variables as shells have them. */
export const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;
