/** The variables that the container itself has: from its process, else as kubelet resolves them from the pod's spec. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import type { Environment } from '../../api/schema.ts';
import { hostileVariables, keptVariablePrefix } from '../redirect/agent-pod.ts';
import { withOriginalFields } from './field-references.ts';
import type { ProcessFacts } from './process.ts';

export interface ContainerVariables {
  variables: Record<string, string>;
  source: Environment['source'];
  /** As TZ takes it; `undefined` where it is not known. */
  timeZone?: string | undefined;
  notes: string[];
}

export interface ContainerInput {
  redirected: boolean;
  facts: ProcessFacts | undefined;
  /** What kubelet resolved for the agent, which has the container's `env` and `envFrom`. */
  fromAgent: () => Promise<Record<string, string> | undefined>;
  /** A pod that the agent stands in for, as the cluster has it; asked for only where the process cannot be read. */
  original: () => Promise<{ pod: V1Pod; container: V1Container } | undefined>;
}

export async function containerVariables(input: ContainerInput): Promise<ContainerVariables> {
  const { redirected, facts } = input;
  if (!redirected) return { variables: {}, source: 'none', notes: [] };
  if (facts !== undefined) {
    const notes =
      facts.source === 'exec'
        ? ['Read from a command run in the container, because its main process cannot be read.']
        : [];
    return { variables: facts.variables, source: facts.source, timeZone: facts.timeZone, notes };
  }
  const resolved = await input.fromAgent();
  if (resolved === undefined)
    return {
      variables: {},
      source: 'none',
      notes: ["The container's variables could not be read; see `bowline status`."],
    };
  const notes = [
    'Read from the pod template as kubelet resolves it; variables set only in the image or by its entrypoint are missing.',
  ];
  const variables = agentsAsOriginal(resolved);
  const original = await input.original();
  if (original === undefined) return { variables, source: 'spec', notes };
  const corrected = withOriginalFields(variables, original.container, original.pod);
  if (corrected.unknown.length > 0)
    notes.push(`Not known, because they depend on the node or on a field of the pod: ${corrected.unknown.join(', ')}.`);
  // An image without `cat` has hardly set a zone, and says so in TZ where it has.
  return { variables: corrected.variables, source: 'spec', timeZone: 'UTC', notes };
}

/** The agent has the container's variables, but for those that would have changed its own runtime, and the pod's name. */
function agentsAsOriginal(resolved: Record<string, string>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(resolved)) {
    if (name.startsWith(keptVariablePrefix)) variables[name.slice(keptVariablePrefix.length)] = value;
    else if (name !== 'HOSTNAME' && !hostileVariables.includes(name)) variables[name] = value;
  }
  return variables;
}
