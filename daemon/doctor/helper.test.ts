import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectHelper } from '../../helper/client.ts';
import { silentLog } from '../log.ts';
import { startNames } from '../names/manager.ts';
import { helperProbe } from './helper.ts';

void test('a helper that is missing is a warning with the command that installs it', async () => {
  const runDir = await mkdtemp(join(tmpdir(), 'bowline-no-helper-'));
  const { signal } = new AbortController();
  try {
    await using names = await startNames(
      {
        connectHelper: (signal) => connectHelper({ uid: process.pid, runDir }, signal),
        allocationStore: { load: async () => ({}), save: async () => undefined },
        log: silentLog,
        platform: process.platform,
        uid: process.pid, // other tests run at the same time on the same loopback network
      },
      signal,
    );
    const [check, ...more] = await helperProbe(names)({}, signal);
    assert.deepEqual([check?.check, check?.state, more], ['helper', 'warning', []]);
    assert.match(check?.message ?? '', /Services will answer at variables only/);
    assert.match(check?.hint ?? '', /bowline helper install/);
  } finally {
    await rm(runDir, { recursive: true, force: true });
  }
});
