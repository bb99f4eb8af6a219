/**
 * The unprivileged half of the low ports: runs as the user, gets listening handles from the helper, and joins each
 * connection to the daemon's own listener on the same address. Half-close and reset pass through. Ends when the helper
 * is gone, or when it has neither ports nor connections.
 */
import { Server, Socket, connect } from 'node:net';
import type { RelayMessage } from './lowports.ts';

interface Entry {
  server: Server;
  address: string;
  targetPort: number;
}

const entries = new Map<string, Entry>();

process.on('message', (message: RelayMessage, handle) => {
  const entry = entries.get(message.key);
  switch (message.type) {
    case 'open': {
      if (!(handle instanceof Server)) return;
      const opened: Entry = { server: handle, address: message.address, targetPort: message.targetPort };
      entries.set(message.key, opened);
      // Made by the helper without the options that matter here.
      Object.assign(handle, { allowHalfOpen: true, noDelay: true });
      handle.on('connection', (socket) => join(socket, opened));
      handle.on('error', () => handle.close());
      // From now on ports and connections keep the process, the channel to the helper does not.
      process.channel?.unref();
      break;
    }
    case 'target':
      if (entry !== undefined) entry.targetPort = message.targetPort;
      break;
    case 'connection':
      if (!(handle instanceof Socket)) return;
      handle.allowHalfOpen = true;
      if (entry === undefined) handle.resetAndDestroy();
      else join(handle, entry);
      break;
    case 'close':
      entries.delete(message.key);
      entry?.server.close();
      break;
  }
});
process.on('disconnect', () => process.exit(0));

function join(caller: Socket, { address, targetPort }: Entry): void {
  const target = connect({ host: address, port: targetPort, allowHalfOpen: true, noDelay: true });
  for (const [from, to] of [
    [caller, target],
    [target, caller],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.resetAndDestroy());
    // Closed without an end and without an error: gone all the same.
    from.on('close', () => (from.readableEnded ? undefined : to.destroy()));
  }
}
