/**
 * The local API as one table. Server, client, OpenAPI and types follow from it; nothing else knows a path.
 * `one` answers a JSON document. `progress` answers NDJSON that ends with a result or an error and can be cancelled.
 * `feed` answers NDJSON until one side closes.
 */
import * as z from 'zod/mini';
import {
  ClusterObjects,
  Connection,
  ConnectRequest,
  DaemonStatus,
  DoctorReport,
  DoctorRequest,
  Environment,
  EventLine,
  HoldLine,
  InspectRequest,
  KnownNames,
  KnownRequest,
  KeeperRequest,
  KeeperStatus,
  LogLine,
  ObjectsRequest,
  Plan,
  PodInspection,
  Progress,
  Redirect,
  RedirectsRequest,
  RestoreRequest,
} from './schema.ts';

type Schema = z.ZodMiniType;

export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  /** `{name}` stands for one encoded segment. */
  path: `/v1/${string}`;
  kind: 'one' | 'progress' | 'feed';
  summary: string;
  query?: Schema;
  body?: Schema;
  answer: Schema;
}

const number = z.coerce.number().check(z.int(), z.minimum(0));
const flag = z.stringbool();
const Done = z.object({ done: z.boolean() });

export const routes = {
  ping: {
    method: 'GET',
    path: '/v1/ping',
    kind: 'one',
    summary: 'Whether the daemon answers, and which it is',
    answer: z.object({ version: z.string(), pid: z.number() }),
  },
  status: {
    method: 'GET',
    path: '/v1/status',
    kind: 'one',
    summary: 'The numbered snapshot of the daemon and all connections',
    answer: DaemonStatus,
  },
  events: {
    method: 'GET',
    path: '/v1/events',
    kind: 'feed',
    summary: 'Changes newer than `since`, and a snapshot first where they are no longer known',
    query: z.object({ since: z.optional(number) }),
    answer: EventLine,
  },
  listConnections: {
    method: 'GET',
    path: '/v1/connections',
    kind: 'one',
    summary: 'All connections',
    answer: z.object({ connections: z.array(Connection) }),
  },
  redirects: {
    method: 'POST',
    path: '/v1/redirects',
    kind: 'one',
    summary: "Everybody's redirects in a namespace, or in all, as the cluster says",
    body: RedirectsRequest,
    answer: z.object({ redirects: z.array(Redirect) }),
  },
  objects: {
    method: 'POST',
    path: '/v1/objects',
    kind: 'one',
    summary: 'The objects of sessions and keepers in the cluster: kinds, names, ages and labels, never what they hold',
    body: ObjectsRequest,
    answer: ClusterObjects,
  },
  connect: {
    method: 'POST',
    path: '/v1/connections',
    kind: 'progress',
    summary: 'Connect; with `hold` the stream stays open after the result and the connection ends with it',
    query: z.object({ hold: z.optional(flag) }),
    body: ConnectRequest,
    answer: z.union([Progress, HoldLine]),
  },
  planConnect: {
    method: 'POST',
    path: '/v1/plans/connect',
    kind: 'one',
    summary: 'What a connect would do, without doing it',
    body: ConnectRequest,
    answer: Plan,
  },
  disconnect: {
    method: 'DELETE',
    path: '/v1/connections/{name}',
    kind: 'progress',
    summary: 'Drain, release and put everything back; goes on when the caller leaves',
    answer: Progress,
  },
  environment: {
    method: 'GET',
    path: '/v1/connections/{name}/environment',
    kind: 'one',
    summary:
      "The variables for a program on the machine; holds secrets. `inPlace`: it has the pod's files at their real paths and a hosts file with all names, but for the volumes mounted at `kept` (one path a line), where the machine's own stays",
    query: z.object({ inPlace: z.optional(flag), kept: z.optional(z.string()) }),
    answer: Environment,
  },
  known: {
    method: 'POST',
    path: '/v1/connections/{name}/known',
    kind: 'one',
    summary: 'Volumes of the container and Services of its and the given namespaces: what an environment file may name',
    body: KnownRequest,
    answer: KnownNames,
  },
  inspect: {
    method: 'POST',
    path: '/v1/connections/{name}/inspection',
    kind: 'one',
    summary: 'What the program in the pod has around it, by keyed digests: variables, files, names, identity',
    body: InspectRequest,
    answer: PodInspection,
  },
  hold: {
    method: 'POST',
    path: '/v1/connections/{name}/hold',
    kind: 'feed',
    summary: 'Ties the connection to this stream: when it closes, the connection is released',
    answer: HoldLine,
  },
  restore: {
    method: 'POST',
    path: '/v1/restore',
    kind: 'progress',
    summary: 'Put back what sessions without a daemon left in the cluster',
    body: RestoreRequest,
    answer: Progress,
  },
  planRestore: {
    method: 'POST',
    path: '/v1/plans/restore',
    kind: 'one',
    summary: 'What a restore would do, without doing it',
    body: RestoreRequest,
    answer: Plan,
  },
  keeperStatus: {
    method: 'POST',
    path: '/v1/keeper/status',
    kind: 'one',
    summary: 'Whether a keeper watches a namespace: makes a Lease there, and waits for its mark',
    body: KeeperRequest,
    answer: KeeperStatus,
  },
  keeperManifest: {
    method: 'POST',
    path: '/v1/keeper/manifest',
    kind: 'one',
    summary: 'The objects of a keeper for the whole cluster, as YAML',
    body: z.object({ namespace: z._default(z.string(), 'bowline-system'), image: z.optional(z.string()) }),
    answer: z.object({ manifest: z.string() }),
  },
  cancel: {
    method: 'DELETE',
    path: '/v1/operations/{id}',
    kind: 'one',
    summary: 'Cancel a running operation by the name its caller gave it; its own stream shows how it is undone',
    answer: Done,
  },
  doctor: {
    method: 'POST',
    path: '/v1/doctor',
    kind: 'one',
    summary: 'Check helper, API server and rights as the daemon sees them',
    body: DoctorRequest,
    answer: DoctorReport,
  },
  logs: {
    method: 'GET',
    path: '/v1/logs',
    kind: 'feed',
    summary: "The last lines of the daemon's log, and with `follow` those to come",
    query: z.object({ lines: z.optional(number), follow: z.optional(flag) }),
    answer: LogLine,
  },
  stop: {
    method: 'POST',
    path: '/v1/stop',
    kind: 'progress',
    summary: 'Release all connections, then end the daemon',
    answer: Progress,
  },
  openapi: {
    method: 'GET',
    path: '/v1/openapi.json',
    kind: 'one',
    summary: 'This table as OpenAPI 3.1',
    answer: z.unknown(),
  },
} as const satisfies Record<string, Route>;

type Routes = typeof routes;
export type RouteName = keyof Routes;
export type RouteOf<K extends Route['kind']> = { [N in RouteName]: Routes[N]['kind'] extends K ? N : never }[RouteName];

/** `{ name: string }` for `/v1/connections/{name}`. */
type Params<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? { [K in Name]: string } & Params<Rest>
  : unknown;
type Part<N extends RouteName, K extends 'query' | 'body', Side extends 'input' | 'output'> =
  Routes[N] extends Record<K, infer S extends Schema>
    ? { [P in K]: Side extends 'input' ? z.input<S> : z.output<S> }
    : unknown;
type Query<N extends RouteName> = Routes[N] extends { query: Schema }
  ? { query?: Record<string, string | number | boolean | undefined> }
  : unknown;
type ParamPart<N extends RouteName> =
  unknown extends Params<Routes[N]['path']> ? unknown : { params: Params<Routes[N]['path']> };

/** What a client gives. */
export type CallInput<N extends RouteName> = ParamPart<N> & Query<N> & Part<N, 'body', 'input'>;
/** What a handler gets, checked. */
export type CallOutput<N extends RouteName> = ParamPart<N> & Part<N, 'query', 'output'> & Part<N, 'body', 'output'>;
export type Answer<N extends RouteName> = z.output<Routes[N]['answer']>;
