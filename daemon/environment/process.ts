/**
 * What the container's own process tells of itself: user, group and variables, read from /proc in one exec. The most
 * faithful source: it has the image's variables and those that an entrypoint exported. Needs `cat` in the image. The
 * time zone is asked for beside it.
 */
import { isUtf8 } from 'node:buffer';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { zoneOf } from './time-zone.ts';

export interface ProcessFacts {
  uid: number;
  gid: number;
  variables: Record<string, string>;
  /** Names of those that are not UTF-8 and so in no text: JSON, Node and most of what reads them would alter them. */
  notText?: string[];
  source: 'process' | 'exec';
  /** As TZ takes it; the container's own TZ variable is better, where it has one. */
  timeZone?: string;
}

/** `undefined` when the container has no `cat` or `env`, or exec is not allowed. Values stay in memory only. */
export async function readProcess(
  cluster: Cluster,
  pod: { namespace: string; name: string; container: string },
  sharedProcesses: boolean,
  options: CallOptions,
): Promise<ProcessFacts | undefined> {
  const run = async (command: string[]): Promise<Buffer | undefined> => {
    const result = await cluster.exec(pod, command, options).catch(() => undefined);
    options.signal?.throwIfAborted();
    return result?.exitCode === 0 ? result.stdout : undefined;
  };
  const [facts, timeZone] = await Promise.all([processItself(run, sharedProcesses), zone(run)]);
  return facts && { ...facts, timeZone };
}

/** kubelet gives it to every container. Where it is gone, the program wrote its title over it (nginx, PostgreSQL, Redis do). */
const always = 'KUBERNETES_SERVICE_HOST';

type Run = (command: string[]) => Promise<Buffer | undefined>;

async function processItself(run: Run, sharedProcesses: boolean): Promise<ProcessFacts | undefined> {
  // With a shared process namespace, process 1 is the pause process; then the environment of an exec is the next best.
  const main = sharedProcesses ? undefined : await run(['cat', '/proc/1/status', '/proc/1/environ']);
  const own = main && parse(main, 'process');
  if (own?.variables[always] !== undefined) return own;
  const [status, variables] = await Promise.all([run(['cat', '/proc/self/status']), run(['env', '-0'])]);
  if (status === undefined || variables === undefined) return undefined;
  const beside = parse(Buffer.concat([status, variables]), 'exec');
  return beside && own ? { ...beside, uid: own.uid, gid: own.gid } : beside;
}

async function zone(run: Run): Promise<string> {
  const link = (await run(['readlink', '-f', '/etc/localtime']))?.toString('utf8');
  return zoneOf(link, link?.includes('/zoneinfo/') ? undefined : await run(['cat', '/etc/localtime']));
}

/** Lines of /proc/PID/status (`Name:<tab>value`; which one is last depends on the kernel), then NAME=value separated by NUL. */
export function parse(output: Buffer, source: ProcessFacts['source']): ProcessFacts | undefined {
  // One byte is one character here, so that places in the text are places in the output.
  const text = output.toString('latin1');
  const ids = /^Uid:\s+\d+\s+(\d+)[^\n]*\nGid:\s+\d+\s+(\d+)/m.exec(text);
  if (ids === null) return undefined;
  const status = /^(?:\w+:\t.*\n)*/.exec(text)?.[0] ?? '';
  const variables: Record<string, string> = {};
  const notText: string[] = [];
  for (const part of text.slice(status.length).split('\0')) {
    const bytes = Buffer.from(part, 'latin1');
    const entry = bytes.toString('utf8');
    const equals = entry.indexOf('=');
    if (equals <= 0) continue;
    const name = entry.slice(0, equals);
    if (isUtf8(bytes)) variables[name] = entry.slice(equals + 1);
    else notText.push(name);
  }
  const odd = notText.length === 0 ? {} : { notText };
  return { uid: Number(ids[1]), gid: Number(ids[2]), variables, ...odd, source };
}
