/**
 * The listener of a port from /proc: the socket's inode from the kernel's tables, its process from the open files.
 * Without root only one's own processes are seen; then the user id is all there is.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { PortOwner } from './owner.ts';

const listening = '0A';

export function portOwner(address: string, port: number): PortOwner | undefined {
  const found = listener(address, port);
  return found && { address: found.address, uid: found.uid, ...processOf(found.inode) };
}

/** Cheap: it does not look whose socket that is. */
export function listener(address: string, port: number): { address: string; uid: number; inode: string } | undefined {
  const own = address.split('.').map(Number).toReversed().map(hex).join('');
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const mapped = `0000000000000000FFFF0000${own}`;
  const places: Record<string, string> = {
    [own]: address,
    [mapped]: address,
    '00000000': '0.0.0.0',
    ['0'.repeat(32)]: '[::]',
  };
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of read(table).split('\n').slice(1)) {
      const [, local = '', , state, , , , uid, , inode] = line.trim().split(/\s+/);
      const [host = '', localPort] = local.split(':');
      const place = places[host];
      if (localPort !== wanted || state !== listening || place === undefined) continue;
      return { address: place, uid: Number(uid), inode: inode ?? '' };
    }
  }
  return undefined;
}

function processOf(inode: string): { pid: number; name: string } | undefined {
  const link = `socket:[${inode}]`;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      for (const file of readdirSync(`/proc/${entry}/fd`)) {
        if (readlinkSync(`/proc/${entry}/fd/${file}`) === link) return { pid: Number(entry), name: programOf(entry) };
      }
    } catch {
      // Another user's process, or one that has just ended.
    }
  }
  return undefined;
}

/** Its file, because a program may call itself what it likes: Node's is `MainThread`. */
function programOf(pid: string): string {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, '');
  } catch {
    return read(`/proc/${pid}/comm`).trim();
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}
