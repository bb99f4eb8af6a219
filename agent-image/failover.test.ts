/** Loss of the machine under load: no request fails, whatever way the daemon's process goes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AgentPort } from './contract.ts';
import { get, ownAddresses, runAgent, serveName } from './testbed.ts';

const port = 8080;
const ports: AgentPort[] = [{ port, protocol: 'TCP', to: 'machine', ifDown: 'refuse' }];

/** Of each of the two that answer, before the test goes on. */
const enough = 20;
const bounded = { timeout: 60_000 };

void test('kill -9 of the daemon under 50 requests a second: none fails, the originals answer', bounded, async (t) => {
  await loseDaemon('SIGKILL', t.signal);
});

void test(
  'a daemon that is frozen under 50 requests a second: none fails, the originals answer',
  bounded,
  async (t) => {
    await loseDaemon('SIGSTOP', t.signal);
  },
);

/** Load, the signal when the machine has answered it, more load until the originals do; rejects when a request fails. */
async function loseDaemon(signal: NodeJS.Signals, late: AbortSignal): Promise<void> {
  const { agent: address, originals, machine } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using _machine = await serveName('machine', machine, port, 20);
  await using agent = await runAgent(ports, { address, originals });
  const program = fileURLToPath(new URL('daemon-process.ts', import.meta.url));
  const daemon = spawn(process.execPath, [program, agent.folder, machine], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(daemon.stdout, 'data');
    const requests: Promise<void>[] = [];
    const answers = new Map<string, number>();
    const ask = async (): Promise<void> => {
      const answer = await get(address, port);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    };
    const loadUntilAnsweredBy = async (who: string): Promise<void> => {
      while ((answers.get(who) ?? 0) < enough) {
        requests.push(ask());
        await setTimeout(20, undefined, { signal: late });
      }
    };
    await loadUntilAnsweredBy('machine');
    daemon.kill(signal);
    await loadUntilAnsweredBy('original');
    await Promise.all(requests);
    const answered = [...answers.values()].reduce((sum, count) => sum + count, 0);
    assert.equal(answered, requests.length);
  } finally {
    daemon.kill('SIGKILL');
  }
}
