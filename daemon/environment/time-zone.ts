/**
 * The time zone of a container, as far as its files tell it. A program on a machine in another zone would print other
 * times than in the pod, so the pod's zone is set in TZ where the two differ.
 */

/**
 * `link` is where /etc/localtime leads to, `file` its bytes; either is `undefined` where it could not be read. The name
 * (`Europe/Berlin`) where it is known, else the rule at the end of the file (`CET-1CEST,M3.5.0,M10.5.0/3`), as TZ takes it.
 * Without the file a container is in UTC. Format: RFC 9636.
 */
export function zoneOf(link: string | undefined, file: Buffer | undefined): string {
  const name = /\/zoneinfo\/(?:posix\/|right\/)?([\w+/-]+)\s*$/.exec(link ?? '')?.[1];
  if (name !== undefined) return name;
  if (file?.subarray(0, 4).toString('latin1') !== 'TZif') return 'UTC';
  const rule = /\n([^\n]+)\n$/.exec(file.toString('latin1'))?.[1];
  return rule === undefined || /^(UTC|GMT)0$/.test(rule) ? 'UTC' : rule;
}

/** `Etc/UTC` and `UTC` are one zone. A rule is only like itself. */
export function isSameZone(one: string, other: string): boolean {
  return canonical(one) === canonical(other);
}

function canonical(zone: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    return zone;
  }
}
