/**
 * The agent: the process in the pod that stands in for the workload. Composition root: reads the session, starts the
 * control port and the listeners, and ends on a signal. Nothing that a peer does ends it.
 */
import { setTimeout } from 'node:timers/promises';
import { serveInbound } from '../tunnel/inbound.ts';
import { collectBuffersEarly } from '../tunnel/memory.ts';
import { serveOutbound } from '../tunnel/outbound.ts';
import { answerCalls } from './calls.ts';
import { sessionFolder } from './contract.ts';
import { startControl } from './control.ts';
import { startListener } from './listener.ts';
import { log, reasonOf } from './log.ts';
import { Probes } from './probe.ts';
import type { Routing } from './route.ts';
import { readSession } from './session.ts';
import { answerStreams } from './streams.ts';
import { Traffic } from './traffic.ts';
import { InboundTunnels } from './tunnels.ts';
import { startUdp } from './udp.ts';

/** How long open connections, and callers that do not know yet, are served after SIGTERM. */
const lastService = 10_000;
/** No new connection for as long: nobody is sent here any more. */
const forgotten = 1_000;

process.on('uncaughtException', (error) => log('error', { reason: error.stack ?? error.message }));
process.on('unhandledRejection', (error) => log('error', { reason: reasonOf(error) }));
const terminated = new Promise<string>((resolve) => {
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => resolve(name));
});

collectBuffersEarly();
await main();

async function main(): Promise<void> {
  const { session, identity } = await readSession(process.env['BOWLINE_SESSION_FOLDER'] ?? sessionFolder);
  const { address, originals } = session;
  const tunnels = new InboundTunnels();
  const traffic = new Traffic();
  const probes = new Probes(tunnels);
  const routing: Routing = { tunnels, traffic, originals, drained: false };
  const call = answerCalls(routing, probes);
  const open = answerStreams();

  const control = await startControl({
    port: session.controlPort,
    address,
    async onPipe(purpose, pipe) {
      try {
        const tunnel =
          purpose === 'inbound'
            ? await serveInbound(pipe, identity)
            : await serveOutbound(pipe, identity, { call, open });
        if (purpose === 'inbound') tunnels.add(tunnel as Awaited<ReturnType<typeof serveInbound>>);
        log('tunnel opened', { purpose });
        void tunnel.closed.then((reason) => log('tunnel ended', { purpose, reason }));
      } catch (error) {
        log('pipe rejected', { purpose, reason: reasonOf(error) });
      }
    },
  }).catch((error: unknown) => {
    log('cannot start', { reason: reasonOf(error) });
    process.exit(1);
  });
  const listeners: AsyncDisposable[] = [];
  for (const port of session.ports) {
    if (port.protocol === 'TCP') listeners.push(await startListener(port, address, routing, probes));
    else if (originals !== undefined) listeners.push(await startUdp(port.port, address, originals, traffic));
  }
  log('ready', { session: session.session, control: session.controlPort, problems: traffic.problems });

  log('stopping', { signal: await terminated, open: traffic.open });
  routing.drained = true;
  await control[Symbol.asyncDispose]();
  const deadline = performance.now() + lastService;
  while (performance.now() < deadline && (traffic.open > 0 || traffic.quiet < forgotten)) {
    const left = Math.min(deadline - performance.now(), Math.max(forgotten - traffic.quiet, 50));
    await setTimeout(left);
  }
  await Promise.all(listeners.map((listener) => listener[Symbol.asyncDispose]()));
  log('stopped', { open: traffic.open });
  process.exit(0);
}
