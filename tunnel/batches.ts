/** Few system calls for many pieces. */
import type { Socket } from 'node:net';

/** Messages of this size or more are part of something larger. */
const bulk = 4 * 1024;

/**
 * A tunnel delivers a download in pieces of one TLS record, and a system call for each would cost more than all the rest.
 * What arrives in one turn of the event loop is written with one call; a small message goes at once. Returns what
 * `socket.write` returns.
 */
export function writeInBatches(socket: Socket): (bytes: Buffer) => boolean {
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  return (bytes) => {
    if (!corked && bytes.length >= bulk) {
      corked = true;
      socket.cork();
      setImmediate(uncork);
    }
    return socket.write(bytes);
  };
}
