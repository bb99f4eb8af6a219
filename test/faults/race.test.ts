/**
 * Two people connect to one workload in the same moment: exactly one gets it, the other is told who, and nothing is left.
 * `npm run test:faults -- race` does it a hundred times and writes what came of it to docs/reliability.md; `npm test` a few.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BowlineError } from '../../api/errors.ts';
import { leases } from '../../daemon/cluster/resources.ts';
import {
  ask,
  assertAsBefore,
  assertNoSession,
  before,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  startProgram,
  testCluster,
  workload,
} from '../e2e/redirect-testbed.ts';
import { table, writeSection } from './report.ts';

const wanted = process.env['BOWLINE_FAULTS'];
const rounds = wanted === undefined ? 3 : 100;

void suite('two at once', { timeout: 3_600_000 }, () => {
  void test(`one workload is won by exactly one of two, ${rounds} times`, { timeout: 3_600_000 }, async () => {
    const cluster = await testCluster();
    await using ann = await startDaemon(cluster, { identity: { user: 'ann', host: 'desk' } });
    await using bob = await startDaemon(cluster, { identity: { user: 'bob', host: 'laptop' } });
    await using namespace = await deploy(ann, {
      objects: [
        workload('Deployment', 'web', podSpec([container(cluster)])),
        service('web', 'web', [{ name: 'http', port: 80, targetPort: 'http' }]),
      ],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const was = await before(namespace);
    const request = {
      namespace: namespace.name,
      target: 'deploy/web',
      ports: [{ local: program.port, remote: 8080 }],
      drainSeconds: 0,
    };
    const racers = [
      { name: 'ann', daemon: ann, won: 0 },
      { name: 'bob', daemon: bob, won: 0 },
    ];
    /** Who won; throws where that was not exactly one of them, or something is left. */
    const race = async (): Promise<(typeof racers)[number]> => {
      const outcomes = await Promise.allSettled(racers.map(({ daemon }) => daemon.connect(request)));
      const winners = racers.filter((_, index) => outcomes[index]?.status === 'fulfilled');
      const refusals = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [BowlineError.from(outcome.reason)] : [],
      );
      const [winner] = winners;
      const said = refusals.map(({ code, message }) => `${code}: ${message}`).join('; ');
      assert.ok(winner !== undefined && winners.length === 1, `won by ${winners.length}; ${said}`);
      assert.match(said, new RegExp(`^ALREADY_REDIRECTED: .+ redirected by ${winner.name}@`));
      assert.equal((await ask(ann, namespace, 'web')).by, 'machine');
      const held = await ann.cluster.list(leases, { namespace: namespace.name });
      assert.equal(held.length, 1, 'one Lease');
      await winner.daemon.disconnect(`${namespace.name}/web`);
      await assertNoSession(namespace);
      await assertAsBefore(namespace, was);
      return winner;
    };
    const problems: string[] = [];
    for (let round = 1; round <= rounds; round++) {
      try {
        (await race()).won += 1;
      } catch (error) {
        problems.push(`round ${round}: ${error instanceof Error ? error.message : String(error)}`);
        for (const { daemon } of racers)
          for (const { name } of daemon.manager.list()) await daemon.disconnect(name).catch(() => undefined);
      }
    }
    if (wanted !== undefined) {
      const head = ['rounds', ...racers.map(({ name }) => `won by ${name}`), 'went wrong'];
      writeSection('race', table(head, [[rounds, ...racers.map(({ won }) => won), problems.length]]));
    }
    assert.deepEqual(problems, []);
  });
});
