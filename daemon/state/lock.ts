/**
 * One daemon per user. The lock is a file with the holder's pid and start time, made in one step with its content. A lock
 * that a dead daemon left is passed over only with two proofs: its process is gone, and its socket does not answer.
 *
 * Taking over makes the file of the next generation (`daemon.2.lock` after `daemon.1.lock`) instead of deleting the old
 * one first: making a file succeeds for exactly one, while deleting could hit the lock that another just took. The
 * highest generation is never deleted, only marked as released, so that the count never starts again.
 */
import { execFile } from 'node:child_process';
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeWhole } from './json-files.ts';

interface Holder {
  pid: number;
  /** When the process began, as the system counts; tells it from a later one with the same pid. */
  started?: string;
  /** Where it listens (will listen). */
  socket?: string;
  released?: true;
}

export type TakenLock = AsyncDisposable;

/** `undefined` when a living daemon has it. `socket` is where ours will listen. */
export async function takeLock(folder: string, socket: string | undefined): Promise<TakenLock | undefined> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const highest = Math.max(0, ...(await generations(folder)));
    if (highest > 0 && (await isHeld(pathOf(folder, highest)))) return undefined;
    const mine = highest + 1;
    if (!(await create(folder, mine, socket))) continue; // Somebody was faster: look at him.
    const all = await generations(folder);
    if (Math.max(...all) > mine) {
      // What we judged was old news; a later generation is in force.
      await rm(pathOf(folder, mine), { force: true });
      continue;
    }
    for (const older of all) if (older < mine) await rm(pathOf(folder, older), { force: true });
    return {
      [Symbol.asyncDispose]: () =>
        writeWhole(pathOf(folder, mine), JSON.stringify({ pid: process.pid, released: true } satisfies Holder), {
          durable: false,
        }),
    };
  }
  return undefined;
}

function pathOf(folder: string, generation: number): string {
  return join(folder, `daemon.${generation}.lock`);
}

async function generations(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names.flatMap((name) => /^daemon\.(\d+)\.lock$/.exec(name)?.[1] ?? []).map(Number);
}

async function create(folder: string, generation: number, socket: string | undefined): Promise<boolean> {
  const started = await startOf(process.pid);
  const holder: Holder = { pid: process.pid, ...(started && { started }), ...(socket && { socket }) };
  const temporary = join(folder, `daemon.${process.pid}.${generation}.tmp`);
  await writeFile(temporary, JSON.stringify(holder), { mode: 0o600 });
  try {
    await link(temporary, pathOf(folder, generation));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

async function isHeld(path: string): Promise<boolean> {
  let holder: Holder;
  try {
    holder = JSON.parse(await readFile(path, 'utf8')) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false; // Just replaced; the next look will tell.
    holder = { pid: 0 };
  }
  if (holder.released) return false;
  if (await lives(holder)) return true;
  return holder.socket !== undefined && (await answers(holder.socket));
}

async function lives({ pid, started }: Holder): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  if (started === undefined) return true;
  const now = await startOf(pid);
  return now === undefined || now === started;
}

/** Field 22 of /proc/PID/stat, `ps` elsewhere; `undefined` where neither is. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    if (process.platform === 'linux') {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      // A zombie holds nothing any more.
      return fields[0] === 'Z' ? 'ended' : fields[19];
    }
    if (process.platform === 'win32') return undefined;
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], { timeout: 2_000 });
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

function answers(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const connection = connect(socket);
  connection.setTimeout(2_000);
  connection.once('connect', () => resolve(true));
  // A full queue or a stopped process is not a proof of death.
  connection.once('timeout', () => resolve(true));
  connection.once('error', (error: NodeJS.ErrnoException) =>
    resolve(error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED'),
  );
  return promise.finally(() => connection.destroy());
}
