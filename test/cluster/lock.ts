/** One at a time: test files, a demo and a developer may all ask for the same cluster at the same moment. */
import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readRecord, recordProcess } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { Report } from './binary.ts';

export interface LockOptions {
  report: Report;
  signal?: AbortSignal | undefined;
  /** Milliseconds; default 15 minutes, since the other one may be building. */
  timeout?: number;
}

/** Runs `action` while holding the lock. The lock of a process that is gone counts for nothing. */
export async function locked<T>(
  folder: string,
  name: string,
  options: LockOptions,
  action: () => Promise<T>,
): Promise<T> {
  mkdirSync(folder, { recursive: true });
  const lock = join(folder, `bowline-test-${name}`);
  const own = `${lock}.${randomUUID()}`;
  writeFileSync(own, JSON.stringify(recordProcess(process.pid)));
  let told = false;
  const take = (): boolean => {
    try {
      // A link appears with its content already there, so nobody can read half of it.
      linkSync(own, lock);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readRecord(lock);
    if (holder === undefined) rmSync(lock, { force: true });
    else if (!told) {
      told = true;
      options.report(`process ${holder.pid} is busy with cluster ${name}, waiting for it`);
    }
    return false;
  };
  try {
    await waitUntil(take, {
      what: `lock of cluster ${name}`,
      interval: 100,
      timeout: options.timeout ?? 900_000,
      signal: options.signal,
    });
    try {
      return await action();
    } finally {
      rmSync(lock, { force: true });
    }
  } finally {
    rmSync(own, { force: true });
  }
}
