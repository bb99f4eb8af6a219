/** Listens on one TCP port of the pod, on all addresses of both families, and hands each connection to its route. */
import net from 'node:net';
import { socketOptions } from '../tunnel/dial.ts';
import type { AgentPort } from './contract.ts';
import { reasonOf } from './log.ts';
import type { Probes } from './probe.ts';
import { route } from './route.ts';
import type { Routing } from './route.ts';

/** A port that cannot be had is a problem in the status, never a reason to stop. */
export function startListener(
  port: AgentPort,
  address: string | undefined,
  routing: Routing,
  probes: Probes,
): Promise<AsyncDisposable> {
  const { traffic } = routing;
  const server = net.createServer(socketOptions, (caller) => {
    // From the first moment on, whoever has it: a caller that resets is gone, and `close` follows.
    caller.on('error', () => undefined);
    void traffic.accepted(async () => {
      const first = probes.pending ? await probes.sniff(caller, port.port) : [];
      if (first !== undefined) await route(caller, port, first, routing);
    });
  });
  const { promise, resolve } = Promise.withResolvers<AsyncDisposable>();
  const listener = {
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
  server.on('error', (error) => {
    traffic.problems.push({ port: port.port, reason: reasonOf(error) });
    resolve(listener);
  });
  // Without a host Node takes `::` for both families, and 0.0.0.0 where there is no IPv6.
  server.listen({ port: port.port, backlog: 4096, ...(address === undefined ? {} : { host: address }) }, () =>
    resolve(listener),
  );
  return promise;
}
