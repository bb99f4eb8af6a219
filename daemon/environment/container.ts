/** The variables that the container itself has: from its process, else as kubelet resolves them from the pod's spec. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { imageVariableNames } from '../../agent-image/contract.ts';
import type { Environment } from '../../api/schema.ts';
import { hostileVariables, keptVariablePrefix } from '../redirect/hostile-variables.ts';
import { withOriginalFields } from './field-references.ts';
import type { ProcessFacts } from './process.ts';

export interface ContainerVariables {
  variables: Record<string, string>;
  source: Environment['source'];
  /** As TZ takes it; `undefined` where it is not known. */
  timeZone?: string | undefined;
  /** What could not be known. */
  warnings: string[];
  notes: string[];
}

export interface ContainerInput {
  redirected: boolean;
  facts: ProcessFacts | undefined;
  /** The agent's variables, which has the container's `env` and `envFrom`, resolved by kubelet. */
  fromAgent: () => Promise<Record<string, string> | undefined>;
  /** What a container of the original's image has before its spec adds anything. Asked for as the next is. */
  fromImage: () => Promise<Record<string, string> | undefined>;
  /** A pod that the agent stands in for, as the cluster has it; asked for only where the process cannot be read. */
  original: () => Promise<{ pod: V1Pod; container: V1Container } | undefined>;
}

export async function containerVariables(input: ContainerInput): Promise<ContainerVariables> {
  const { redirected, facts } = input;
  if (!redirected) return { variables: {}, source: 'none', warnings: [], notes: [] };
  if (facts !== undefined) {
    const notes =
      facts.source === 'exec'
        ? ['Read from a command run in the container, because its main process cannot be read.']
        : [];
    const { variables, source, timeZone, notText = [] } = facts;
    const warnings = notText.map((name) => `${name} is not carried: its value in the pod is not UTF-8 text.`);
    return { variables, source, timeZone, warnings, notes };
  }
  return resolvedVariables(input);
}

/** From the spec, as kubelet resolves it for the agent, and from the image. */
async function resolvedVariables(input: ContainerInput): Promise<ContainerVariables> {
  const [resolved, image, original] = await Promise.all([input.fromAgent(), input.fromImage(), input.original()]);
  if (resolved === undefined) {
    const warnings = ["The container's variables could not be read; see `bowline status`."];
    return { variables: {}, source: 'none', warnings, notes: [] };
  }
  const missing =
    image === undefined
      ? 'those that only its image or its entrypoint sets are missing'
      : 'those that its entrypoint exports are missing';
  const told = `The container's process cannot be read, so its variables are as its spec says; ${missing}.`;
  const warnings: string[] = [];
  const notes: string[] = [];
  // Without a shell in the image, hardly any entrypoint exports something.
  (image === undefined ? warnings : notes).push(told);
  const named = new Set(original?.container.env?.map(({ name }) => name));
  const own = agentsAsOriginal(resolved, named);
  if (original === undefined) {
    const { HOSTNAME: _agents, ...variables } = { ...image, ...own };
    return { variables, source: 'spec', warnings, notes };
  }
  const corrected = withOriginalFields(own, original.container, original.pod);
  if (corrected.unknown.length > 0)
    warnings.push(
      `Not known, because they depend on the node or on a field of the pod: ${corrected.unknown.join(', ')}.`,
    );
  // An image without `cat` has hardly set a zone, and says so in TZ where it has.
  const variables = { ...image, ...corrected.variables };
  for (const name of corrected.unknown) delete variables[name];
  return { variables, source: 'spec', timeZone: 'UTC', warnings, notes };
}

/** Under their own names, without what the agent's image adds and what was set to keep its runtime as it is. */
function agentsAsOriginal(resolved: Record<string, string>, named: Set<string>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(resolved)) {
    if (name.startsWith(keptVariablePrefix)) variables[name.slice(keptVariablePrefix.length)] = value;
    else if (hostileVariables.includes(name)) continue;
    else if (named.has(name) || !imageVariableNames.includes(name)) variables[name] = value;
  }
  return variables;
}
