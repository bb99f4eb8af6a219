/**
 * Reaches the daemon, and starts it where a command needs one. A daemon that is just starting is waited for, within a
 * bound; one that dies instead is reported with its last words.
 */
import { spawn } from 'node:child_process';
import { open, readdir, readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openClient, type Client } from '../api/client.ts';
import { BowlineError } from '../api/errors.ts';
import { makePrivateFolder } from '../api/private-folder.ts';
import type { Io } from './io.ts';

const startTimeout = 15_000;
const pollInterval = 20;

/**
 * The daemon moves bytes in short-lived buffers: a small young generation collects them while they are in the cache, and
 * an old one that may grow at first is not collected whole again and again. Halves its CPU per byte in bulk transfer.
 */
const memoryFlags = ['--max-semi-space-size=1', '--initial-old-space-size=64'];

/** Its memory holds keys and the secrets of pods, so no image of it is written should it crash; Node cannot say so itself. */
const withoutCore = ['/bin/sh', '-c', 'ulimit -c 0; exec "$@"', 'sh'];

export const daemonProgram = fileURLToPath(new URL('../daemon/main.ts', import.meta.url));

/** The running daemon, or `undefined`. */
export async function findDaemon(io: Io): Promise<Client | undefined> {
  try {
    // A refusal may mean that the token read was of a killed daemon, while the next one answers: its own is there by now.
    return await openAnswering(io).catch((error: unknown) => {
      if (error instanceof BowlineError && error.code === 'API_FORBIDDEN') return openAnswering(io);
      throw error;
    });
  } catch (error) {
    if (error instanceof BowlineError && error.code === 'DAEMON_UNREACHABLE') return undefined;
    if (error instanceof BowlineError && error.code === 'CANCELLED') throw silent(error);
    throw error;
  }
}

/** The endpoint file may be of a daemon that was killed: only an answer counts. */
async function openAnswering(io: Io): Promise<Client> {
  const client = await openClient(io.paths, io.facts.uid);
  await client.call('ping', {}, AbortSignal.timeout(5_000));
  return client;
}

/** The running daemon, or the one that is started now. */
export async function ensureDaemon(io: Io): Promise<Client> {
  return (await findDaemon(io)) ?? (await startDaemon(io));
}

/** For commands that need none when nothing is connected: starts one only where a former one left connections. */
export async function daemonIfAnything(io: Io): Promise<Client | undefined> {
  const client = await findDaemon(io);
  if (client) return client;
  const saved = await savedConnections(io);
  if (saved === 0) return undefined;
  if (!io.json)
    io.err(`No daemon runs; one is started for ${saved} saved ${saved === 1 ? 'connection' : 'connections'}.\n`);
  return startDaemon(io);
}

/** How many connections a former daemon left for the next one to take up. */
export async function savedConnections(io: Io): Promise<number> {
  const names = await readdir(io.paths.sessionsFolder).catch(() => []);
  return names.filter((name) => name.endsWith('.json')).length;
}

async function startDaemon(io: Io): Promise<Client> {
  await makePrivateFolder(io.paths.stateFolder, io.facts.uid);
  await using output = await open(io.paths.outputFile, 'w', 0o600);
  const command = [process.execPath, ...process.execArgv, ...memoryFlags, daemonProgram];
  const [program = '', ...args] = io.facts.platform === 'win32' ? command : [...withoutCore, ...command];
  const child = spawn(program, args, {
    detached: true,
    cwd: '/',
    env: { ...io.facts.env, NODE_COMPILE_CACHE: io.paths.cacheFolder },
    stdio: ['ignore', output.fd, output.fd],
  });
  let end: string | undefined;
  child.once('error', (error) => (end = error.message));
  child.once('exit', (code, signal) => {
    // Status 0: another start was faster, and its daemon is the one to talk to.
    if (code !== 0) end = signal === null ? `it ended with status ${code}` : `it was ended by ${signal}`;
  });
  child.unref();
  const deadline = Date.now() + startTimeout;
  for (;;) {
    const client = await findDaemon(io);
    if (client) {
      // Another start was faster. Ours would find that out by itself, but not where the other is stopped before.
      if (client.pid !== child.pid) child.kill();
      return client;
    }
    if (end !== undefined) throw await startFailed(io, end);
    if (Date.now() > deadline) throw await startFailed(io, `it did not answer within ${startTimeout / 1000} s`);
    await setTimeout(pollInterval);
  }
}

async function startFailed(io: Io, why: string): Promise<BowlineError> {
  const words = (await readFile(io.paths.outputFile, 'utf8').catch(() => '')).trim().split('\n').slice(-10).join('\n');
  return new BowlineError('DAEMON_START_FAILED', `The daemon could not be started: ${why}.${words && `\n${words}`}`, {
    hint: `Its log is ${io.paths.logFile}; \`bowline logs\` shows it.`,
  });
}

function silent(cause: BowlineError): BowlineError {
  return new BowlineError('DAEMON_UNREACHABLE', 'The daemon of yours that runs did not answer within 5 s.', {
    hint: 'Look at `bowline logs`; `bowline daemon stop` ends it.',
    cause,
  });
}
