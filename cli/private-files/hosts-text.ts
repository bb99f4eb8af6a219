/** The text of the command's own hosts file: that of the machine, and the names of the connection. Pure. */
import { isIPv4 } from 'node:net';
import type { NamedService } from '../../api/schema.ts';

/** Addresses of services on the machine; lines with them were made by us, for this connection or another one. */
const ours = /^127\.66\./;

/** Of what comes from the cluster, nothing else gets into this file, or to a program as an argument. */
export const isHostName = (name: string): boolean => /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name);

/** Debian's address for a machine's own name. It can be listened on, as a pod's own can. */
const ownAddress = '127.0.1.1';

/** What the user wrote into the hosts file by hand stays, as does `localhost`; names of another connection give way. */
export function hostsText(machine: string, services: readonly NamedService[], hostName?: string): string {
  const wanted = new Map<string, string[]>();
  const taken = new Set(['localhost', ...foreignNames(machine)]);
  for (const { address, names: here, hostNames = here } of services) {
    // Checked though the daemon made them: a line of this file must never be anything else than one name's address.
    if (address === undefined || !isIPv4(address) || !ours.test(address)) continue;
    const names = hostNames.filter((name) => isHostName(name) && !taken.has(name));
    for (const name of names) taken.add(name);
    if (names.length > 0) wanted.set(address, [...(wanted.get(address) ?? []), ...names]);
  }
  // A pod finds its own name; some programs do not start without.
  if (hostName !== undefined && isHostName(hostName) && !taken.has(hostName)) wanted.set(ownAddress, [hostName]);
  const given = new Set([...wanted.values()].flat());
  const own = machine
    .split('\n')
    .map((line) => without(given, line))
    .filter((line) => line !== undefined)
    .join('\n');
  const lines = [...wanted].map(([address, names]) => `${address}\t${names.join(' ')}\n`);
  return `${own}${own === '' || own.endsWith('\n') ? '' : '\n'}${lines.join('')}`;
}

function foreignNames(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = fields(line);
    return ours.test(address) ? [] : names.map((name) => name.toLowerCase());
  });
}

/** A line of ours without names that are given elsewhere; nothing when none is left. Others as they are. */
function without(given: ReadonlySet<string>, line: string): string | undefined {
  const [address = '', ...names] = fields(line);
  if (!ours.test(address)) return line;
  const left = names.filter((name) => !given.has(name.toLowerCase()));
  return left.length === 0 ? undefined : `${address}\t${left.join(' ')}`;
}

function fields(line: string): string[] {
  return line.replace(/#.*/, '').trim().split(/\s+/);
}
