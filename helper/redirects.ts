/**
 * Redirects in the kernel (Linux, iptables): connections to a port of an address in the range are led to another port of the
 * same address. Nothing is bound at the port itself, so neither root nor a free port is needed for it, a program that
 * listens on 0.0.0.0 is not in the way, and none is kept from starting. Owns one chain of the nat table, one per user; one
 * write replaces all of it, and removing it undoes everything.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import type { LowPort } from './protocol.ts';

const folders = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const range = '127.66.0.0/16';
/** Used for the trial at the start only. */
const trialAddress = '127.66.255.253';

export class Redirects {
  readonly #chain: string;
  #applied = '';

  private constructor(uid: number) {
    this.#chain = `BOWLINE-${uid}`;
  }

  /** Removes what a killed helper left; for its last day. */
  static async remove(uid: number): Promise<void> {
    if (find('iptables-restore') !== undefined) await new Redirects(uid).apply([]);
  }

  /** Undefined where this system cannot do it; found out by doing it. Removes what a killed helper left. */
  static async open(uid: number): Promise<Redirects | undefined> {
    if (find('iptables-restore') === undefined || find('iptables') === undefined) return undefined;
    const redirects = new Redirects(uid);
    try {
      await redirects.apply([]);
      await redirects.#try();
      return redirects;
    } catch {
      return undefined;
    } finally {
      await redirects.apply([]).catch(() => undefined);
    }
  }

  /** Makes the chain exactly `wanted`, in one step. The entries have been validated: numbers and addresses of the range. */
  async apply(wanted: LowPort[]): Promise<void> {
    const rules = wanted.map(
      ({ address, port, targetPort }) =>
        `-A ${this.#chain} -d ${address}/32 -p tcp --dport ${port} -j DNAT --to-destination ${address}:${targetPort}`,
    );
    const text = rules.join('\n');
    if (text === this.#applied && text !== '') return;
    const jump = `OUTPUT -d ${range} -p tcp -j ${this.#chain}`;
    const linked = (await run('iptables', ['-w', '5', '-t', 'nat', '-C', ...jump.split(' ')])).code === 0;
    const lines = [`:${this.#chain} - [0:0]`, ...rules];
    if (rules.length > 0 && !linked) lines.push(`-A ${jump}`);
    if (rules.length === 0 && linked) lines.push(`-D ${jump}`);
    if (rules.length === 0) lines.push(`-X ${this.#chain}`);
    const input = ['*nat', ...lines, 'COMMIT', ''].join('\n');
    const { code, complaint } = await run('iptables-restore', ['--noflush', '-w', '5'], input);
    if (code !== 0) throw new Error(`iptables-restore failed: ${complaint}`);
    this.#applied = text;
  }

  /** One real connection: kernels and containers differ in what they let through. */
  async #try(): Promise<void> {
    const server = createServer((socket) => socket.end());
    try {
      server.listen(0, trialAddress);
      await once(server, 'listening');
      await this.apply([{ address: trialAddress, port: 1, targetPort: portOf(server) }]);
      const socket = connect({ host: trialAddress, port: 1 });
      try {
        await once(socket, 'connect', { signal: AbortSignal.timeout(1000) });
      } finally {
        socket.destroy();
      }
    } finally {
      server.close();
    }
  }
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

function find(program: string): string | undefined {
  return folders.map((folder) => `${folder}/${program}`).find((path) => existsSync(path));
}

async function run(program: string, args: string[], input = ''): Promise<{ code: number | null; complaint: string }> {
  const child = spawn(find(program) ?? program, args, {
    cwd: '/',
    env: { PATH: folders.join(':') },
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: 10_000,
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  child.stdin.on('error', () => undefined).end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, complaint: complaint.trim().slice(0, 500) };
}
