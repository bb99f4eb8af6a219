/** The environment of a program on the machine: the container's own variables, then those of the services as they answer here. */
import type { Environment, NamedService } from '../../api/schema.ts';
import { hostileVariables, keptVariablePrefix } from '../redirect/agent-pod.ts';
import type { ProcessFacts } from './process.ts';
import { serviceVariables } from './service-variables.ts';

export interface EnvironmentInput {
  redirected: boolean;
  facts: ProcessFacts | undefined;
  /** What kubelet resolved for the agent, which has the container's `env` and `envFrom`. */
  fromAgent: () => Promise<Record<string, string> | undefined>;
  services: NamedService[];
  namespace: string;
  mode: 'hosts' | 'env';
}

export async function environmentOf(input: EnvironmentInput): Promise<Environment> {
  const own = await ownVariables(input);
  const generated = serviceVariables(input.services, input.namespace);
  const notes = [...own.notes];
  const rewritten = Object.keys(generated).filter(
    (name) => own.variables[name] !== undefined && own.variables[name] !== generated[name],
  );
  if (rewritten.length > 0)
    notes.push(
      `${rewritten.length} service variables point at addresses of this machine (127.66.0.0/16) instead of the cluster's.`,
    );
  if (input.mode === 'env')
    notes.push(
      'Services answer at the addresses of these variables only; their names need the helper (`bowline helper install`).',
    );
  const variables = Object.fromEntries(Object.entries(own.variables).filter(([name]) => !ours.test(name)));
  return { variables: { ...variables, ...generated }, source: own.source, notes };
}

/** Kubernetes announces every Service to the pods that start after it, those of a session too. */
const ours = /^BOWLINE_[A-Z0-9]+_ORIGINALS_(SERVICE|PORT)/;

async function ownVariables(input: EnvironmentInput): Promise<Environment> {
  if (!input.redirected) return { variables: {}, source: 'none', notes: [] };
  if (input.facts !== undefined) {
    const notes =
      input.facts.source === 'exec'
        ? ['Read from a command run in the container, because its main process cannot be read.']
        : [];
    return { variables: input.facts.variables, source: input.facts.source, notes };
  }
  const resolved = await input.fromAgent();
  if (resolved === undefined)
    return {
      variables: {},
      source: 'none',
      notes: ["The container's variables could not be read; see `bowline status`."],
    };
  return {
    variables: originalVariables(resolved),
    source: 'spec',
    notes: [
      'Read from the pod template as kubelet resolves it; variables set only in the image or by its entrypoint are missing.',
    ],
  };
}

/** The agent has the container's variables, but for those that would have changed its own runtime, and the pod's name. */
function originalVariables(resolved: Record<string, string>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(resolved)) {
    if (name.startsWith(keptVariablePrefix)) variables[name.slice(keptVariablePrefix.length)] = value;
    else if (name !== 'HOSTNAME' && !hostileVariables.includes(name)) variables[name] = value;
  }
  return variables;
}
