/**
 * One daemon's life around its parts: private folders, lock, log, API, and at the end everything released within a bound.
 * What the parts are is the business of main.ts, so that tests run this very life around other parts.
 */
import { setTimeout } from 'node:timers/promises';
import { join } from 'node:path';
import { BowlineError } from '../api/errors.ts';
import type { Paths } from '../api/paths.ts';
import { makePrivateFolder } from '../api/private-folder.ts';
import type { DaemonStatus } from '../api/schema.ts';
import { productVersion } from '../api/version.ts';
import type { ConnectionManager } from './connections/manager.ts';
import { openLogFile } from './log-file.ts';
import type { Log } from './log.ts';
import { releaseAll } from './release-all.ts';
import { createHandlers, type DoctorProbe, type ObjectLister } from './server/handlers.ts';
import { createHolds } from './server/holds.ts';
import { createOperations } from './server/operations.ts';
import { startServer } from './server/server.ts';
import { startStateFeed } from './server/state-feed.ts';
import { openJsonFile } from './state/json-files.ts';
import { takeLock } from './state/lock.ts';

export interface DaemonParts {
  manager: ConnectionManager;
  helper(): Promise<DaemonStatus['helper']>;
  probes: DoctorProbe[];
  objects: ObjectLister;
}

export interface DaemonOptions {
  paths: Paths;
  uid: number;
  logLevel?: 'debug' | 'info' | 'warn' | 'error';
  openParts(context: { paths: Paths; log: Log; signal: AbortSignal }): Promise<DaemonParts & AsyncDisposable>;
  /** Milliseconds that the release of all connections may take at the end. */
  releaseBound?: number;
  /** Milliseconds that the callers of a killed daemon have to come back. */
  holdGrace?: number;
}

/** Milliseconds for which requests wait until a former daemon's connections are known; undoing some may take longer. */
const takeUpBound = 5_000;

/** Resolves when the daemon has ended; with false at once when another one of this user runs. */
export async function runDaemon(options: DaemonOptions): Promise<boolean> {
  const { paths, uid } = options;
  await makePrivateFolder(paths.runtimeFolder, uid);
  await makePrivateFolder(paths.stateFolder, uid);
  await using lock = await takeLock(paths.runtimeFolder, paths.socket);
  if (lock === undefined) return false;
  using log = openLogFile({ file: paths.logFile, ...(options.logLevel && { level: options.logLevel }) });
  const ending = endOfDaemon(log);
  const started = new Date().toISOString();
  log.info('daemon.starting', { pid: process.pid, version: productVersion, node: process.version });

  await using parts = await options.openParts({ paths, log, signal: ending.signal });
  const { manager } = parts;
  const snapshot = async (): Promise<DaemonStatus> => {
    const helper = await parts.helper();
    // Number and list are read together, with nothing in between.
    return {
      version: feed.version(),
      daemon: { version: productVersion, pid: process.pid, started, logFile: paths.logFile },
      helper,
      connections: manager.list(),
    };
  };
  using feed = startStateFeed({ manager, snapshot, now: () => new Date() });
  const holds = createHolds({
    manager,
    file: await openJsonFile<string[]>(join(paths.stateFolder, 'holds.json'), { version: 1, log }),
    log,
    graceMilliseconds: options.holdGrace ?? 30_000,
    ending: ending.signal,
  });
  const operations = createOperations();
  const release = { manager, log, bound: options.releaseBound ?? 45_000 };
  const resuming = resume(manager, log, ending.signal);
  const handlers = createHandlers({
    manager,
    feed,
    holds,
    operations,
    probes: parts.probes,
    objects: parts.objects,
    snapshot,
    logFile: paths.logFile,
    takenUp: Promise.race([resuming, setTimeout(takeUpBound, undefined, { ref: false })]),
    async stop(onProgress) {
      await releaseAll({ ...release, onProgress });
      // The answer goes out first.
      setImmediate(() => ending.abort(new BowlineError('CANCELLED', 'The daemon was asked to stop.')));
    },
  });
  const server = await startServer({ paths, handlers, operations, log }, ending.signal);
  const background = [resuming, holds.awaitReturn(ending.signal)];

  await aborted(ending.signal);
  log.info('daemon.ending', { reason: BowlineError.from(ending.signal.reason).message });
  await releaseAll(release);
  await server[Symbol.asyncDispose]();
  // What still does not end by itself must not keep the process.
  await Promise.race([Promise.allSettled(background), setTimeout(2_000, undefined, { ref: false })]);
  log.info('daemon.ended');
  return true;
}

async function resume(manager: ConnectionManager, log: Log, signal: AbortSignal): Promise<void> {
  try {
    await manager.resume(signal);
  } catch (error) {
    if (!signal.aborted) log.error('daemon.resume-failed', { error });
  }
}

/** Aborts at the first SIGTERM or SIGINT. A crash is logged and ends the process, so that the next one starts clean. */
function endOfDaemon(log: Log): AbortController {
  const ending = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      log.info('daemon.signal', { signal: name });
      ending.abort(new BowlineError('CANCELLED', `The daemon got ${name}.`));
    });
  }
  const crash = (kind: string) => (error: unknown) => {
    log.error('daemon.crashed', { kind, error });
    process.exit(1);
  };
  process.on('uncaughtException', crash('uncaughtException'));
  process.on('unhandledRejection', crash('unhandledRejection'));
  return ending;
}

async function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  if (signal.aborted) resolve();
  // A listening server keeps the process; a promise alone does not.
  await promise;
}
