/**
 * A connection on its way to the machine, until it is sure that the machine has it. The caller's bytes are forwarded at
 * once and kept as well; with the first byte of an answer the copy is let go and the two are simply joined.
 */
import type { Socket } from 'node:net';
import { splice } from '../tunnel/splice.ts';
import { DialError } from '../tunnel/tunnel.ts';
import type { InboundRequest, InboundTunnel, TunnelStream } from '../tunnel/tunnel.ts';
import type { Replay } from './replay.ts';

export type Outcome =
  | 'carried' // both ends are done with it
  | 'refused' // the machine lives, its local port does not answer
  | 'elsewhere' // the machine lives, and says that it does not stand in for the workload now (EHOSTUNREACH)
  | 'vanished' // the tunnel ended, and all that was said can be said to somebody else
  | 'broken'; // it was under way and is lost

export function toMachine(
  caller: Socket,
  tunnel: InboundTunnel,
  request: InboundRequest,
  replay: Replay,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let stream: TunnelStream;
    try {
      stream = tunnel.connect(request);
    } catch {
      resolve('vanished'); // it has just ended
      return;
    }
    let established = false;
    let refusal: unknown;

    // Beyond the copy's limit nothing is read before the machine has said that it is there: until then all can be replayed.
    const mayRead = (): boolean => !stream.writableNeedDrain && (established || !replay.full);
    const onData = (chunk: Buffer): void => {
      replay.add(chunk);
      stream.write(chunk);
      if (established && replay.full) join();
      else if (!mayRead()) caller.pause();
    };
    const onDrain = (): void => {
      if (mayRead()) caller.resume();
    };
    const onEnd = (): void => void stream.end();
    const onCallerClose = (): void => leave('broken');
    const onAnswer = (chunk: Buffer): void => {
      caller.write(chunk);
      join();
    };
    // A refusal ends the stream as well: only an end after the machine had the connection is one to pass on.
    const onStreamEnd = (): void => void stream.established.then(join, ignore);
    // `established` settles by then, but its reactions come after this event.
    const onStreamClose = (): void => void stream.established.catch(keepRefusal).then(() => leave(outcome()));
    const keepRefusal = (error: unknown): void => void (refusal = error);

    function outcome(): Outcome {
      const error = refusal ?? stream.errored;
      const tunnelEnded = error instanceof DialError && error.tunnelEnded;
      if (tunnelEnded) return !established || replay.repeatable ? 'vanished' : 'broken';
      if (established) return 'broken';
      return error instanceof DialError && error.errno === 'EHOSTUNREACH' ? 'elsewhere' : 'refused';
    }
    function detach(): void {
      caller.pause();
      caller.off('data', onData).off('end', onEnd).off('close', onCallerClose);
      stream.pause();
      stream.off('data', onAnswer).off('end', onStreamEnd).off('drain', onDrain).off('close', onStreamClose);
    }
    function leave(outcome: Outcome): void {
      detach();
      stream.destroy();
      resolve(outcome);
    }
    function join(): void {
      detach();
      replay.forget();
      void splice(caller, stream).then(() => resolve('carried'));
    }

    stream.established.then(() => {
      established = true;
      if (replay.full) join();
      else onDrain();
    }, keepRefusal);
    stream.on('data', onAnswer).on('end', onStreamEnd).on('drain', onDrain).on('close', onStreamClose);
    replay.writeTo(stream);
    caller.on('data', onData).on('close', onCallerClose);
    if (caller.readableEnded) stream.end();
    else caller.on('end', onEnd);
    if (caller.destroyed) leave('broken');
    else caller.resume();
  });
}

function ignore(): void {}
