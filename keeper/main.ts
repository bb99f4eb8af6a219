/** The keeper's process in the cluster: the composition root. Runs as the ServiceAccount of its pod, and ends on a signal. */
import { BowlineError } from '../api/errors.ts';
import { openCluster } from '../daemon/cluster/open.ts';
import type { Log } from '../daemon/log.ts';
import { keep } from './keep.ts';

const write = (level: string, event: string, facts: Record<string, unknown> = {}): void =>
  void process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...facts })}\n`);
const logWith = (more: Record<string, unknown>): Log => ({
  debug: () => undefined,
  info: (event, facts) => write('info', event, { ...more, ...facts }),
  warn: (event, facts) => write('warn', event, { ...more, ...facts }),
  error: (event, facts) => write('error', event, { ...more, ...facts }),
  child: (facts) => logWith({ ...more, ...facts }),
});

// At once: there is nothing to end in good order, because the next keeper goes on from what it finds.
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => process.exit(0));

const { BOWLINE_KEEPER_SCOPE: scope, BOWLINE_KEEPER_NAMESPACE: own, ...env } = process.env;
const log = logWith({});
const { signal } = new AbortController();
try {
  await using cluster = await openCluster({ env, home: '/nonexistent', log }, signal);
  const namespace = scope === 'cluster' ? undefined : own;
  log.info('keeper.started', { scope, namespace });
  await keep(cluster, { namespace, log, signal });
} catch (error) {
  log.error('keeper.ended', { reason: BowlineError.from(error).message });
  process.exit(1);
}
