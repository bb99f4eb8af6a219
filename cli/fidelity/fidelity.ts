/**
 * `bowline doctor TARGET --fidelity`: a connection, the two sides, the comparison. Where the target is connected, that
 * connection is looked at; else one that redirects nothing is made, and untied afterwards.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Client } from '../../api/client.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectInput } from '../../api/schema.ts';
import { openPlace } from '../command-place.ts';
import { connect, release } from '../connected.ts';
import type { Io } from '../io.ts';
import type { PrivateFilesMode } from '../private-files/for-connection.ts';
import { compareSides, type FidelityReport } from './compare.ts';
import { inspectMachine, placesOf } from './machine.ts';
import { mayPass, settle, type Look } from './settle.ts';

interface FidelityWish {
  /** With a target. */
  request: ConnectInput;
  mode: PrivateFilesMode;
  io: Io;
}

/** Milliseconds. */
const patience = { inspection: 120_000, files: 60_000, look: 200 };
/** Looks at both sides, as long as something differs that may pass. */
const looks = 3;

export async function fidelityOf(client: Client, { request, mode, io }: FidelityWish): Promise<FidelityReport> {
  await using used = await useConnection(client, request, io);
  const connection = await withFiles(client, used.connection);
  const key = randomBytes(32).toString('hex');
  using place = await openPlace(client, connection, { program: process.execPath, mode, io });
  const { environment, files } = place;
  const [places, inPlace] = [placesOf(connection, place), files !== undefined];
  const look = async (): Promise<Look> => {
    const signal = AbortSignal.timeout(patience.inspection);
    const pod = await client.call('inspect', { params: { name: connection.name }, body: { key } }, signal);
    const machine = await inspectMachine(connection, place, { pod, key });
    return { pod, report: compareSides({ key, connection, pod, machine, environment, places, inPlace }) };
  };
  let seen = await look();
  for (let count = 1; count < looks && mayPass(seen); count++) seen = settle(seen, await look());
  return seen.report;
}

async function useConnection(
  client: Client,
  request: ConnectInput,
  io: Io,
): Promise<AsyncDisposable & { connection: Connection }> {
  try {
    const made = await connect(client, { ...request, redirect: false }, { io, hold: true, jsonTo: io.err });
    // Written down before anything is looked at.
    await made.lines.next().catch(() => undefined);
    return {
      connection: made.connection,
      async [Symbol.asyncDispose]() {
        await release(made.connection.name, io);
        await made.lines.return?.();
      },
    };
  } catch (error) {
    const { code, details } = BowlineError.from(error);
    if (code !== 'ALREADY_CONNECTED') throw error;
    const connection = await find(client, String(details?.['connection']));
    return { connection, [Symbol.asyncDispose]: async () => undefined };
  }
}

async function find(client: Client, name: string): Promise<Connection> {
  const { connections } = await client.call('listConnections', {});
  const found = connections.find((each) => each.name === name);
  if (found?.target !== undefined) return found;
  throw new BowlineError('CONNECTION_NOT_FOUND', `There is no connection "${name}" to a workload any more.`);
}

/** Of a connection that others made, the files may still be on their way. */
async function withFiles(client: Client, connection: Connection): Promise<Connection> {
  const deadline = performance.now() + patience.files;
  let latest = connection;
  while (isComing(latest) && performance.now() < deadline) {
    await setTimeout(patience.look);
    latest = await find(client, connection.name);
  }
  return latest;
}

const isComing = ({ files }: Connection): boolean =>
  files?.mounts.some(({ state }) => state === 'waiting' || state === 'downloading') ?? false;
