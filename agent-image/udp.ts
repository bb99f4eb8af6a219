/**
 * Relays the datagrams of one UDP port to the originals: for each caller a socket of its own, so that answers find their
 * way back. Bounded: the flow that has been idle longest makes room.
 */
import dgram from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { reasonOf } from './log.ts';
import type { Traffic } from './traffic.ts';

const idleTimeout = 60_000;
const maxFlows = 1_024;

interface Flow {
  socket: Socket;
  used: number;
}

export async function startUdp(
  port: number,
  address: string | undefined,
  originals: string,
  traffic: Traffic,
): Promise<AsyncDisposable> {
  // Oldest use first: a used flow moves to the end.
  const flows = new Map<string, Flow>();

  function drop(caller: string, flow: Flow): void {
    if (flows.get(caller) === flow) flows.delete(caller);
    flow.socket.close();
  }

  function open(from: RemoteInfo): Flow {
    const flow: Flow = { socket: dgram.createSocket(originals.includes(':') ? 'udp6' : 'udp4'), used: 0 };
    flow.socket.on('message', (message) => server?.send(message, from.port, from.address));
    flow.socket.on('error', () => {}); // refused by the originals: the caller hears nothing, as with any lost datagram
    flow.socket.connect(port, originals);
    const [oldest] = flows;
    if (flows.size >= maxFlows && oldest !== undefined) drop(...oldest);
    return flow;
  }

  function onMessage(message: Buffer, from: RemoteInfo): void {
    const caller = `${from.address} ${from.port}`;
    const flow = flows.get(caller) ?? open(from);
    flow.used = performance.now();
    flows.delete(caller);
    flows.set(caller, flow);
    sendTo(flow.socket, message);
  }

  const sweep = setInterval(() => {
    for (const [caller, flow] of flows) {
      if (performance.now() - flow.used < idleTimeout) break;
      drop(caller, flow);
    }
  }, idleTimeout / 4).unref();

  let server: Socket | undefined;
  try {
    server = await bind(port, address);
    server.on('message', onMessage);
  } catch (error) {
    traffic.problems.push({ port, reason: reasonOf(error) });
  }
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(sweep);
      server?.close();
      for (const [caller, flow] of flows) drop(caller, flow);
    },
  };
}

/** Connecting a datagram socket takes a tick, sending before it is an error. */
function sendTo(socket: Socket, message: Buffer): void {
  try {
    socket.send(message, () => {});
  } catch {
    socket.once('connect', () => socket.send(message, () => {}));
  }
}

/** Both families in one socket; IPv4 alone where there is no IPv6. */
async function bind(port: number, address: string | undefined): Promise<Socket> {
  if (address !== undefined) return bindTo(dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4'), port, address);
  try {
    return await bindTo(dgram.createSocket('udp6'), port, '::');
  } catch {
    return bindTo(dgram.createSocket('udp4'), port, '0.0.0.0');
  }
}

function bindTo(socket: Socket, port: number, address: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}
