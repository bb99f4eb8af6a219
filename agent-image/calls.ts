/** The control calls that the daemon makes through the outbound tunnel. */
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import type { AnswerCall } from '../tunnel/call.ts';
import { imageFolder, type AgentCalls } from './contract.ts';
import { inspect } from './inspection.ts';
import { layOutProgram, readVariables } from './image-variables.ts';
import type { Probes } from './probe.ts';
import type { Routing } from './route.ts';
import { filesSize } from './volumes.ts';

type Handlers = {
  [Name in keyof AgentCalls]: (request: AgentCalls[Name]['request']) => Promise<AgentCalls[Name]['answer']>;
};

export function answerCalls(routing: Routing, probes: Probes): AnswerCall {
  async function drained(value: boolean): Promise<AgentCalls['status']['answer']> {
    routing.drained = value;
    return routing.traffic.status();
  }
  const handlers: Handlers = {
    probe: (request) => probes.probe(request),
    drain: () => drained(true),
    resume: () => drained(false),
    status: async () => routing.traffic.status(),
    environment: async () => ({ variables: ownVariables() }),
    layOutProgram: async () => ({ command: await layOutProgram(imageFolder) }),
    imageVariables: async () => ({ variables: await readVariables(imageFolder) }),
    resolve,
    filesSize,
    inspect,
  };
  return (name, body) => {
    if (!Object.hasOwn(handlers, name)) return Promise.reject(new Error(`The agent knows no call '${name}'.`));
    return handlers[name as keyof AgentCalls](body as never);
  };
}

function ownVariables(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

async function resolve({ name }: AgentCalls['resolve']['request']): Promise<AgentCalls['resolve']['answer']> {
  const [addresses, configuration] = await Promise.all([
    lookup(name, { all: true }).catch(() => []),
    readFile('/etc/resolv.conf', 'utf8').catch(() => ''),
  ]);
  const search = /^search\s+(.*)$/m.exec(configuration)?.[1] ?? '';
  return {
    addresses: addresses.map(({ address }) => address),
    search: search.split(/\s+/).filter((domain) => domain !== ''),
  };
}
