/** What each route of the API does: thin calls into the connection manager and its neighbours. */
import { BowlineError } from '../../api/errors.ts';
import { readLogLines } from '../../api/log-lines.ts';
import { openApi } from '../../api/openapi.ts';
import type { Answer, CallOutput, RouteName, RouteOf } from '../../api/routes.ts';
import type { ClusterObjects, DaemonStatus, DoctorCheck, DoctorRequest, ObjectsRequest } from '../../api/schema.ts';
import { productVersion } from '../../api/version.ts';
import type { ConnectionManager, OnProgress } from '../connections/manager.ts';
import type { Holds } from './holds.ts';
import type { Operations } from './operations.ts';
import type { StateFeed } from './state-feed.ts';

/** One subject of the doctor; it answers what it found and does not throw. */
export type DoctorProbe = (request: DoctorRequest, signal: AbortSignal) => Promise<DoctorCheck[]>;

/** What Bowline has in a cluster. */
export type ObjectLister = (request: ObjectsRequest, signal: AbortSignal) => Promise<ClusterObjects>;

export interface HandlerParts {
  manager: ConnectionManager;
  feed: StateFeed;
  holds: Holds;
  operations: Operations;
  probes: DoctorProbe[];
  objects: ObjectLister;
  snapshot(): Promise<DaemonStatus>;
  logFile: string;
  /** Resolves when the connections of a former daemon are known again, within a bound. */
  takenUp: Promise<void>;
  /** Releases all connections and ends the daemon after the answer is out. */
  stop(onProgress: OnProgress): Promise<void>;
}

type OneHandler<N extends RouteName> = (call: CallOutput<N>, signal: AbortSignal) => Promise<Answer<N>>;
/** Resolves when the stream is over; what it throws becomes the answer or the last line. */
type StreamHandler<N extends RouteName> = (
  call: CallOutput<N>,
  send: (line: Answer<N>) => void,
  signal: AbortSignal,
) => Promise<void>;

export type Handlers = { [N in RouteOf<'one'>]: OneHandler<N> } & {
  [N in RouteOf<'progress' | 'feed'>]: StreamHandler<N>;
};

export function createHandlers(parts: HandlerParts): Handlers {
  const { manager, feed, holds, operations, takenUp } = parts;
  return {
    ping: async () => ({ version: productVersion, pid: process.pid }),
    async status() {
      await takenUp;
      await manager.look();
      return parts.snapshot();
    },
    async listConnections() {
      await takenUp;
      return { connections: manager.list() };
    },
    redirects: async ({ body }, signal) => ({ redirects: await manager.redirects(body, signal) }),
    objects: ({ body }, signal) => parts.objects(body, signal),
    planConnect: ({ body }, signal) => manager.plan(body, signal),
    planRestore: ({ body }, signal) => manager.planRestore(body, signal),
    async environment({ params, query }, signal) {
      await takenUp;
      return manager.environment(
        params.name,
        { inPlace: query.inPlace ?? false, kept: query.kept?.split('\n') },
        signal,
      );
    },
    async known({ params, body }, signal) {
      await takenUp;
      return manager.known(params.name, body.namespaces, signal);
    },
    async inspect({ params, body }, signal) {
      await takenUp;
      return manager.inspect(params.name, body.key, signal);
    },
    keeperStatus: ({ body }, signal) => manager.keeperStatus(body, signal),
    keeperManifest: async ({ body }) => ({ manifest: await manager.keeperManifest(body) }),
    cancel: async ({ params }) => ({ done: operations.cancel(params.id) }),
    doctor: async ({ body }, signal) => ({
      checks: (await Promise.all(parts.probes.map((probe) => probe(body, signal)))).flat(),
    }),
    openapi: async () => openApi(),

    async connect({ body, query }, send, signal) {
      await takenUp;
      const connection = await manager.connect(body, send, signal);
      send({ type: 'result', connection });
      if (query.hold) await holds.hold(connection.name, send, signal);
    },

    async disconnect({ params }, send) {
      await takenUp;
      // Not the caller's signal: a release that was begun is finished, whoever leaves.
      send({ type: 'result', connection: await manager.disconnect(params.name, send, new AbortController().signal) });
    },

    async hold({ params }, send, signal) {
      await takenUp;
      await holds.hold(params.name, send, signal);
    },

    async restore({ body }, send, signal) {
      send({ type: 'result', restored: await manager.restore(body, send, signal) });
    },

    async events({ query }, send, signal) {
      for await (const line of feed.follow(query.since, signal)) send(line);
    },

    async logs({ query }, send, signal) {
      const options = { lines: query.lines ?? 100, follow: query.follow ?? false, signal };
      for await (const line of readLogLines(parts.logFile, options)) send(line);
    },

    async stop(_, send) {
      await parts.stop(send);
      send({ type: 'result' });
    },
  };
}

/** Turns anything thrown into what the caller may see: an unexpected error keeps its details in the log. */
export function errorForCaller(error: unknown, signal: AbortSignal): BowlineError {
  // An abort surfaces in many forms below; what it was for is in the signal.
  if (signal.aborted && signal.reason instanceof BowlineError && isAbort(error)) return signal.reason;
  return BowlineError.from(error);
}

function isAbort(error: unknown): boolean {
  return (
    error instanceof Error && (error.name === 'AbortError' || (error as NodeJS.ErrnoException).code === 'ABORT_ERR')
  );
}
