/** Who holds a session, for people: `bowline list`, and the refusal of a second redirect. */
import type { V1Lease } from '@kubernetes/client-node';
import type { Redirect } from '../../api/schema.ts';
import { fieldManager, keeperAnnotation, keeperHolder, sessionLabel } from './objects.ts';
import { readRecord } from './record.ts';

/** `now` is the API server's; without it nobody can say whether the machine is there. */
export function describeHolder(lease: V1Lease, now: Date | undefined): Redirect {
  const record = readRecord(lease);
  const { holderIdentity = '', leaseDurationSeconds = 0, acquireTime } = lease.spec ?? {};
  const [owner = '', session] = holderIdentity.split('/');
  const at = owner.lastIndexOf('@');
  const sign = lastSign(lease);
  const keeper = lease.metadata?.annotations?.[keeperAnnotation];
  const silent =
    now === undefined || sign === undefined ? undefined : Math.max(0, (now.getTime() - sign.getTime()) / 1000);
  return {
    namespace: lease.metadata?.namespace ?? '',
    session: record?.session ?? lease.metadata?.labels?.[sessionLabel] ?? session ?? '',
    ...(record?.workload === undefined ? {} : { workload: record.workload }),
    user: record?.user ?? (at > 0 ? owner.slice(0, at) : 'an unknown user'),
    host: record?.host ?? (at > 0 ? owner.slice(at + 1) : 'an unknown host'),
    version: record?.version ?? 'unknown',
    since: record?.since ?? String(acquireTime ?? ''),
    machine: machineOf(record === undefined ? undefined : holderIdentity, silent, leaseDurationSeconds),
    ...(silent === undefined ? {} : { silentSeconds: Math.round(silent) }),
    lapseSeconds: leaseDurationSeconds,
    ...(keeper === undefined ? {} : { keeper }),
  };
}

function machineOf(holder: string | undefined, silent: number | undefined, lapse: number): Redirect['machine'] {
  if (holder !== undefined && (holder === keeperHolder || /\/(restore|take-over)$/.test(holder)))
    return 'being restored';
  if (silent === undefined) return 'unknown';
  return silent < lapse ? 'there' : 'gone';
}

/** `ann@desk since 2026-.. (Bowline 0.1.0), whose machine was there 4 s ago`. */
export function holderInWords(holder: Redirect): string {
  const { user, host, since, version, machine, silentSeconds: silent } = holder;
  const who = `${user}@${host} since ${since} (Bowline ${version})`;
  if (machine === 'unknown') return who;
  if (machine === 'being restored') return `${who}; it is being put back at this moment`;
  return `${who}, whose machine ${machine === 'there' ? `was there ${silent} s ago` : `has not been there for ${silent} s`}`;
}

/**
 * When the Lease was last written by a Bowline, by the clock of the API server: it dates each manager's fields
 * (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management). `renewTime` is of the clock of
 * another machine, and says nothing here.
 */
function lastSign(lease: V1Lease): Date | undefined {
  const times = (lease.metadata?.managedFields ?? []).flatMap(({ manager, time }) =>
    manager === fieldManager && time !== undefined ? [new Date(time)] : [],
  );
  return times.sort((a, b) => b.getTime() - a.getTime())[0];
}
