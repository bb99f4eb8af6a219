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

void test('kill -9 of the daemon under 50 requests a second: none fails, the originals answer at once', async () => {
  const { slowest, answers } = await loseDaemon('SIGKILL', 1);
  assert.ok(answers.get('machine')! > 20 && answers.get('original')! > 20, JSON.stringify([...answers]));
  assert.ok(slowest < 1_500, `slowest ${slowest} ms`);
});

void test('a daemon that is frozen under 50 requests a second: none fails, answers wait 6 s at most', async () => {
  const { slowest, answers } = await loseDaemon('SIGSTOP', 7);
  assert.ok(answers.get('machine')! > 20 && answers.get('original')! > 200, JSON.stringify([...answers]));
  assert.ok(slowest > 4_000 && slowest < 6_000, `slowest ${slowest} ms`);
});

/** A second of load, then the signal, then `seconds` more of load; rejects when a request fails. */
async function loseDaemon(
  signal: NodeJS.Signals,
  seconds: number,
): Promise<{ slowest: number; answers: Map<string, number> }> {
  const { agent: address, originals } = ownAddresses();
  const machine = address.replace(/1$/, '3');
  await using _original = await serveName('original', originals, port);
  await using _machine = await serveName('machine', machine, port, 20);
  await using agent = await runAgent(ports, { address, originals });
  const program = fileURLToPath(new URL('daemon-process.ts', import.meta.url));
  const daemon = spawn(process.execPath, [program, agent.folder, machine], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(daemon.stdout, 'data');
    const requests: Promise<void>[] = [];
    const answers = new Map<string, number>();
    let slowest = 0;
    const ask = async (): Promise<void> => {
      const before = performance.now();
      const answer = await get(address, port);
      slowest = Math.max(slowest, performance.now() - before);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    };
    for (let count = 0; count < 50 * (1 + seconds); count += 1) {
      if (count === 50) daemon.kill(signal);
      requests.push(ask());
      await setTimeout(20);
    }
    await Promise.all(requests);
    return { slowest, answers };
  } finally {
    daemon.kill('SIGKILL');
  }
}
