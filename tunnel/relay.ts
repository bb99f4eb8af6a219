/** A link between the two ends, for tests: as slow as wanted, and able to lose everything without closing anything. */
import net from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { listen } from './testbed.ts';

export interface Relay extends AsyncDisposable {
  port: number;
  /** From now on no byte arrives anywhere. */
  swallow(): void;
}

/** `bytesPerSecond` each way; without it nothing is held back. */
export async function startRelay(target: number, bytesPerSecond = Number.POSITIVE_INFINITY): Promise<Relay> {
  let swallowing = false;
  const server = await listen((near) => {
    const far = net.connect(target, '127.0.0.1');
    void carry(near, far);
    void carry(far, near);
  });
  async function carry(from: Socket, to: Socket): Promise<void> {
    from.on('close', () => to.destroy());
    from.on('error', () => to.destroy());
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (swallowing) continue;
        to.write(chunk);
        if (bytesPerSecond !== Number.POSITIVE_INFINITY) await setTimeout((chunk.length / bytesPerSecond) * 1_000);
      }
    } catch {
      to.destroy();
    }
  }
  return {
    port: server.port,
    swallow: () => (swallowing = true),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
