/** How an end answers that was asked for a connection: dials, says how it went, and joins the two. */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Channel } from './channel.ts';
import { toDialError } from './dial.ts';
import { join } from './join.ts';
import { splice } from './splice.ts';
import { ChannelStream } from './stream.ts';
import type { Target } from './tunnel.ts';

/** `dial` is aborted when the asker has gone; `quietly` as in `Channel.accept`. Never rejects. */
export async function answerConnect(
  channel: Channel,
  target: Target,
  dial: (signal: AbortSignal) => Promise<Duplex> | Duplex,
  { quietly = false }: { quietly?: boolean } = {},
): Promise<void> {
  const gone = new AbortController();
  channel.onGone = () => gone.abort();
  try {
    const local = await dial(gone.signal);
    if (channel.closed) {
      local.destroy();
      return;
    }
    channel.accept(quietly);
    if (local instanceof net.Socket) await join(local, channel);
    else await splice(local, new ChannelStream(channel));
  } catch (error) {
    channel.refuse(toDialError(error, target));
  }
}
