/** The streams that the daemon opens to this pod through the outbound tunnel, by name. */
import type { Duplex } from 'node:stream';
import type { AnswerOpen } from '../tunnel/open.ts';
import type { AgentStreams } from './contract.ts';
import { sendFiles, watchFiles } from './volumes.ts';

type Handlers = {
  [Name in keyof AgentStreams]: (request: AgentStreams[Name], stream: Duplex, signal: AbortSignal) => Promise<void>;
};

export function answerStreams(): AnswerOpen {
  const handlers: Handlers = { files: sendFiles, watchFiles };
  return (name, body, stream, signal) => {
    if (!Object.hasOwn(handlers, name)) return Promise.reject(new Error(`The agent knows no stream '${name}'.`));
    const handler = handlers[name as keyof AgentStreams] as AnyHandler;
    return handler(body, stream, signal);
  };
}

type AnyHandler = (request: unknown, stream: Duplex, signal: AbortSignal) => Promise<void>;
