/** Quantities of resources as Kubernetes writes them: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */

const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** `250m` is 0.25, `64Mi` is 67108864. NaN where it is no quantity. */
export function bytesOrCores(quantity: string): number {
  const parts = /^([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|\d+\.)([numkMGTPE]?i?)$/.exec(quantity);
  const factor = factors[parts?.[2] ?? ''];
  return parts === null || factor === undefined ? NaN : Number(parts[1]) * factor;
}
