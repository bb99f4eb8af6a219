/**
 * What the agent may use. A namespace that admits the workload shall admit its clone (LimitRange), and nobody needs the
 * right to read LimitRanges for that: where the original has a limit, the agent's is not above it, unless it could not live.
 */
import type { V1ResourceRequirements } from '@kubernetes/client-node';
import { bytesOrCores } from '../environment/quantity.ts';

interface Bounds {
  least: string;
  most: string;
}

/** Its runtime, and what readers that stall may hold. */
const memory: Bounds = { least: '256Mi', most: '512Mi' };
/** Less makes each connect wait for the start of its runtime. */
const cpu: Bounds = { least: '500m', most: '2' };

/** `original`: of the container in a running pod, in which the namespace's defaults stand; else of the template. */
export function agentResources(original: V1ResourceRequirements | undefined): V1ResourceRequirements {
  const { memory: memoryLimit, cpu: cpuLimit } = original?.limits ?? {};
  return {
    // Not the workload's own requests: the clone shall fit where the workload barely does.
    requests: { cpu: '10m', memory: '64Mi' },
    limits: {
      memory: memoryLimit === undefined ? memory.most : within(memoryLimit, memory),
      ...(cpuLimit === undefined ? {} : { cpu: within(cpuLimit, cpu) }),
    },
  };
}

/** A limit that is no quantity would not have been admitted. */
function within(text: string, { least, most }: Bounds): string {
  const amount = bytesOrCores(text);
  if (amount <= bytesOrCores(least)) return least;
  return amount < bytesOrCores(most) ? text : most;
}
