/**
 * How long each Lease has been silent, by the keeper's own clock. What a Lease says of times is of other machines' clocks
 * and never read, only compared with what it said before: a wrong clock anywhere changes nothing.
 */
import type { V1Lease } from '@kubernetes/client-node';

interface Observation {
  lease: V1Lease;
  /** What changes with each sign of life. */
  sign: string;
  /** Milliseconds of a monotonic clock. */
  since: number;
}

export const leaseKey = ({ metadata }: V1Lease): string => `${metadata?.namespace}/${metadata?.name}`;
const lapseOf = ({ spec }: V1Lease): number => (spec?.leaseDurationSeconds ?? 60) * 1000;

export class Silences {
  private readonly observations = new Map<string, Observation>();

  see(lease: V1Lease, now: number): void {
    const { metadata, spec } = lease;
    const sign = JSON.stringify([metadata?.uid, spec?.holderIdentity, spec?.renewTime]);
    const known = this.observations.get(leaseKey(lease));
    this.observations.set(leaseKey(lease), { lease, sign, since: known?.sign === sign ? known.since : now });
  }

  forget(lease: V1Lease): void {
    this.observations.delete(leaseKey(lease));
  }

  /** Only these are left. */
  retain(leases: V1Lease[]): void {
    const keys = new Set(leases.map(leaseKey));
    for (const key of this.observations.keys()) if (!keys.has(key)) this.observations.delete(key);
  }

  /**
   * Nothing could be heard until now, so nobody's silence counts in full: while the API server does not answer, nobody can
   * renew. Each has half its lapse to say that he is there, and renews four times in that lapse.
   */
  forgive(now: number): void {
    for (const observation of this.observations.values()) {
      observation.since = Math.max(observation.since, now - lapseOf(observation.lease) / 2);
    }
  }

  lapsed(now: number): V1Lease[] {
    return [...this.observations.values()]
      .filter(({ lease, since }) => now - since >= lapseOf(lease))
      .map(({ lease }) => lease);
  }

  /** Milliseconds until the next one lapses. */
  next(now: number): number {
    const left = [...this.observations.values()].map(({ lease, since }) => since + lapseOf(lease) - now);
    return Math.max(0, Math.min(60_000, ...left));
  }
}
