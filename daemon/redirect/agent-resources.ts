/**
 * What the agent may use. A namespace that admits the workload shall admit its clone (LimitRange), and nobody needs the
 * right to read LimitRanges for that: where the original has a limit, the agent's is not above it, unless it could not live.
 */
import type { V1ResourceRequirements } from '@kubernetes/client-node';

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

function within(text: string, { least, most }: Bounds): string {
  const amount = quantity(text);
  if (amount <= quantity(least)) return least;
  return amount < quantity(most) ? text : most;
}

const units: Record<string, number> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** k8s.io/apimachinery, resource.Quantity: a number with an exponent or a unit. Infinity for what it does not know. */
function quantity(text: string): number {
  const [, number = '', unit = ''] = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(text) ?? [];
  return number === '' ? Infinity : Number(number) * (units[unit] ?? Infinity);
}
