/**
 * The shapes that cross the local API. The daemon validates requests with them, the client validates answers,
 * OpenAPI and types are derived. `zod/mini`, because the command loads it at every start.
 */
import * as z from 'zod/mini';

const optional = z.optional;
const text = z.string();
const port = z.number().check(z.int(), z.minimum(1), z.maximum(65535));

/** LOCAL:REMOTE as in kubectl. `remote` is a container port, a Service port or a port's name; without it the daemon chooses. */
export const PortRequest = z.object({ local: port, remote: optional(z.union([port, text])) });
export type PortRequest = z.infer<typeof PortRequest>;

export const ConnectRequest = z.object({
  /** KUBECONFIG as the caller sees it: a list of files, separated as PATH is. The daemon's own environment is not used. */
  kubeconfig: optional(text),
  context: optional(text),
  namespace: optional(text),
  /** `deploy/x`, `sts/x`, `svc/x`, ..., or a bare name. Without it: names only. */
  target: optional(text),
  container: optional(text),
  ports: z._default(z.array(PortRequest), []),
  /** false: variables, files and names of the target, which keeps all its traffic; no Service is touched. */
  redirect: z._default(z.boolean(), true),
  /** What a caller gets while nothing listens on the local port. */
  ifDown: z._default(z.enum(['refuse', 'original']), 'refuse'),
  stopOriginal: z._default(z.boolean(), false),
  /** hosts: names through the helper; env: variables only; auto: hosts when the helper is there. */
  names: z._default(z.enum(['auto', 'hosts', 'env']), 'auto'),
  agentImage: optional(text),
  /** The image carries the agent itself, so no code is mounted. */
  agentImageHasAgent: z._default(z.boolean(), false),
  /** The project's environment file as the caller read it. Relative local paths start at its folder; `path` is absolute. */
  environmentFile: optional(z.object({ path: text, text })),
  /** Bring the files of the container's volumes to this machine. */
  volumes: z._default(z.boolean(), true),
  /** A volume with more is left out. */
  maxVolumeBytes: z._default(z.number().check(z.int(), z.minimum(0)), 100 * 1024 * 1024),
  /** Globs of file paths inside a volume; one without `/` is matched with the name alone. No `include` is everything. */
  include: z._default(z.array(text), []),
  exclude: z._default(z.array(text), []),
  /** Answer when the files have come too, where that takes no longer than `timeoutSeconds`. */
  awaitFiles: z._default(z.boolean(), false),
  /** Seconds until the agent must run, and until the redirect must be proved. */
  timeoutSeconds: z._default(z.number(), 60),
  drainSeconds: z._default(z.number(), 30),
  /** Seconds without a sign of this machine after which a keeper puts everything back. */
  lapseSeconds: z._default(z.number().check(z.int(), z.minimum(5)), 60),
  /** Seconds after which it is proved again that requests through the Services arrive here. */
  proofSeconds: z._default(z.number().check(z.minimum(1)), 30),
  /** What to do where somebody else redirects the workload: end his session, or wait as many seconds for its end. */
  takeOver: z._default(z.boolean(), false),
  waitSeconds: z._default(z.number(), 0),
  /** Stop the originals also where no keeper would start them again. */
  withoutKeeper: z._default(z.boolean(), false),
});
export type ConnectRequest = z.infer<typeof ConnectRequest>;
export type ConnectInput = z.input<typeof ConnectRequest>;

export const ErrorAnswer = z.object({
  code: text,
  category: text,
  message: text,
  hint: optional(text),
  details: optional(z.record(text, z.unknown())),
});

export const Warning = z.object({ code: text, message: text });
export type Warning = z.infer<typeof Warning>;

/** Code of the warnings about the environment file. The command shows people the same with the lines, so it leaves these to `--json`. */
export const environmentFileWarning = 'ENVIRONMENT_FILE';

/** One Service as this machine sees it. */
export const NamedService = z.object({
  namespace: text,
  service: text,
  /** Host names that answer on this machine; the first is the shortest. */
  names: z.array(text),
  /** The names that it has for the pod, where those above are fewer: for a command with a hosts file of its own. */
  hostNames: optional(z.array(text)),
  /** The loopback address, absent where the service is not carried. */
  address: optional(text),
  /** Its address in the cluster, as kubelet announces it in variables; absent where it announces none: headless, one pod of such a one. */
  clusterIp: optional(text),
  ports: z.array(
    z.object({
      /** The Service's port, and the port of `address` where it answers (differs only without the helper, below 1024). */
      port,
      local: optional(port),
      name: optional(text),
      /** Absent for TCP. */
      protocol: optional(z.enum(['UDP', 'SCTP'])),
      /** Why this port is not carried: UDP, taken by another program (owner named), ... */
      problem: optional(text),
    }),
  ),
  /** Why the whole service is not carried: ExternalName, ... */
  problem: optional(text),
  /** A host outside of the cluster that is reached through it; `service` is its name and `namespace` is empty. */
  external: optional(z.boolean()),
  /** What is not as expected though the service is carried: a name that is another's, or that the helper refused. */
  notes: optional(z.array(text)),
});
export type NamedService = z.infer<typeof NamedService>;

/** One mount of the container, and its copy on this machine. */
export const MountedVolume = z.object({
  /** Name of the volume in the pod. */
  volume: text,
  /** As in the pod's spec: configMap, secret, projected, emptyDir, persistentVolumeClaim, ... */
  kind: text,
  mountPath: text,
  subPath: optional(text),
  /** The container cannot write there. */
  readOnly: z.boolean(),
  /** Absolute path of the copy: a link that leads to another folder when the content has changed. */
  local: text,
  /** skipped: larger than `maxVolumeBytes`; unavailable: nobody in the cluster can read it out; failed: tried, without success. */
  state: z.enum(['waiting', 'downloading', 'ready', 'skipped', 'unavailable', 'failed']),
  /** Of what was, or is being, brought here; known before it is. */
  bytes: optional(z.number()),
  files: optional(z.number()),
  /** While it is being brought: how many of the bytes have come. */
  received: optional(z.number()),
  /** Why it is in this state, or which entries were left out. */
  reason: optional(text),
  /** ISO 8601: when the content here was last changed. */
  updated: optional(text),
});
export type MountedVolume = z.infer<typeof MountedVolume>;

/** A path of a volume, or a pattern of paths, that the environment file names by itself: only that is in its copy. */
export const PartOfVolume = z.object({
  ...z.omit(MountedVolume, { kind: true, mountPath: true, subPath: true, readOnly: true }).shape,
  path: text,
});
export type PartOfVolume = z.infer<typeof PartOfVolume>;

export const ConnectionState = z.enum([
  'connecting',
  'connected',
  'reconnecting',
  'disconnecting',
  'disconnected',
  'failed',
]);
export type ConnectionState = z.infer<typeof ConnectionState>;

/** The live state of one connection: what `list` and `status` show and the event stream carries. */
export const Connection = z.object({
  id: text,
  /** What the user calls it: `shop/stats-api`, or `shop` for names only; unique in this daemon. */
  name: text,
  context: text,
  server: text,
  namespace: text,
  state: ConnectionState,
  /** Why it is in this state, when that is not plain: the reason of a reconnect and the next try. */
  reason: optional(text),
  /** ISO 8601. */
  since: text,
  target: optional(
    z.object({
      kind: text,
      name: text,
      container: text,
      /** The system's host name in a pod that is stood in for, where it is known. */
      hostName: optional(text),
      /** The one its pods name; absent where that is the namespace's default one. */
      serviceAccount: optional(text),
    }),
  ),
  ports: z.array(
    z.object({
      local: port,
      /** The container port in the pod. */
      remote: port,
      /** The Services and their ports that lead here: `stats-api:80`. */
      services: z.array(text),
    }),
  ),
  /** Local ports of `ports` that nobody listens on, and what a caller gets there; absent where there is none. */
  down: optional(
    z.array(
      z.object({
        local: port,
        /** ISO 8601: when that was first noticed. */
        since: text,
        callers: z.enum(['reset', 'originals']),
        /** Somebody listened there before. */
        stopped: z.boolean(),
      }),
    ),
  ),
  /** Ports of the workload that go on to the originals. */
  passedOn: z.array(z.object({ remote: port, protocol: text })),
  /** Path of the environment file of the project; absent where it uses none. */
  environmentFile: optional(text),
  agent: optional(z.object({ pod: text, node: optional(text), image: text })),
  pipe: optional(z.enum(['pods/proxy', 'port-forward'])),
  roundTripMs: optional(z.number()),
  /** Who puts everything back when this machine is gone: a keeper of the namespace or of the cluster that watches this session. */
  keeper: optional(z.enum(['namespace', 'cluster'])),
  /** `replicas` as they were when it was connected: what is put back where they are `stopped`. */
  originals: optional(z.object({ replicas: z.number(), stopped: z.boolean() })),
  /** The last proof that a request through the Service arrives here. */
  proof: optional(z.object({ at: text, services: z.array(text) })),
  namesMode: optional(z.enum(['hosts', 'env'])),
  services: z.array(NamedService),
  /** Connections; `toOriginals`: those that came here, and were left to the originals because nobody listened. */
  traffic: optional(z.object({ inbound: z.number(), outbound: z.number(), toOriginals: z.number() })),
  /** Absent without a target, with `volumes: false`, and until the agent runs. */
  files: optional(
    z.object({
      /** Has `root`, in which the mounts stand at the container's paths, and `volumes` with one entry each. */
      folder: text,
      backing: z.enum(['memory', 'disk']),
      mounts: z.array(MountedVolume),
      /** Beside the mounts; absent where the environment file names none. */
      parts: optional(z.array(PartOfVolume)),
    }),
  ),
  warnings: z.array(Warning),
  error: optional(ErrorAnswer),
});
export type Connection = z.infer<typeof Connection>;

/** The numbered snapshot of the daemon. A client asks for it once and then follows the events newer than `version`. */
export const DaemonStatus = z.object({
  version: z.number(),
  daemon: z.object({ version: text, pid: z.number(), started: text, logFile: text }),
  helper: z.object({ installed: z.boolean(), detail: optional(text) }),
  connections: z.array(Connection),
});
export type DaemonStatus = z.infer<typeof DaemonStatus>;

/** One line of the NDJSON answer of connect, disconnect and restore: any number of `step`, `volume` and `warning`, then `result` or `error`. */
export const Progress = z.discriminatedUnion('type', [
  z.object({ type: z.literal('step'), step: text, message: text, seconds: z.number() }),
  /** How far a volume is that is waited for, whenever that has changed. */
  z.object({
    type: z.literal('volume'),
    /** Its path in the container; of a part VOLUME/PATH. */
    name: text,
    ...z.pick(MountedVolume, { state: true, bytes: true, received: true, files: true, reason: true }).shape,
  }),
  z.object({ type: z.literal('warning'), code: text, message: text }),
  z.object({ type: z.literal('result'), connection: optional(Connection), restored: optional(z.array(text)) }),
  z.object({ type: z.literal('error'), error: ErrorAnswer }),
]);
export type Progress = z.infer<typeof Progress>;

/** What `--dry-run` prints: every object and patch, in the order in which they would be sent. Secret values are masked. */
export const Plan = z.object({
  actions: z.array(
    z.object({
      verb: z.enum(['create', 'patch', 'scale', 'delete', 'machine']),
      /** `services/stats-api`, or `hosts` for the machine. */
      object: text,
      why: text,
      body: optional(z.unknown()),
    }),
  ),
  warnings: z.array(Warning),
});
export type Plan = z.infer<typeof Plan>;

export const RestoreRequest = z.object({
  kubeconfig: optional(text),
  context: optional(text),
  namespace: optional(text),
  /** Everybody's sessions of the namespace, not only those of this user that no daemon holds. */
  all: z._default(z.boolean(), false),
  dryRun: z._default(z.boolean(), false),
});
export type RestoreRequest = z.infer<typeof RestoreRequest>;

export const RedirectsRequest = z.object({
  kubeconfig: optional(text),
  context: optional(text),
  /** Default: the context's, and those of this machine's connections in it. */
  namespace: optional(text),
  allNamespaces: z._default(z.boolean(), false),
});
export type RedirectsRequest = z.infer<typeof RedirectsRequest>;

/** Somebody's session in the cluster, as its Lease says. */
export const Redirect = z.object({
  namespace: text,
  session: text,
  workload: optional(z.object({ kind: text, name: text })),
  user: text,
  host: text,
  /** The Bowline of that machine. */
  version: text,
  since: text,
  /** gone: no sign for `lapseSeconds`, by the API server's clock. */
  machine: z.enum(['there', 'gone', 'being restored', 'unknown']),
  silentSeconds: optional(z.number()),
  lapseSeconds: z.number(),
  /** The keeper that watches it. */
  keeper: optional(text),
  /** Its name, where it is a connection of this machine. */
  connection: optional(text),
});
export type Redirect = z.infer<typeof Redirect>;

export const ObjectsRequest = z.object({
  kubeconfig: optional(text),
  context: optional(text),
  /** Default: the context's, and those of this machine's connections in it. */
  namespace: optional(text),
});
export type ObjectsRequest = z.infer<typeof ObjectsRequest>;

/** One object in the cluster, without anything that it holds. */
export const ClusterObject = z.object({
  kind: text,
  namespace: text,
  name: text,
  /** ISO 8601. */
  created: optional(text),
  /** ISO 8601: when it was deleted, while it still ends. */
  deleted: optional(text),
  labels: z.record(text, text),
  /** A Service of somebody else, which leads to an agent. */
  redirected: optional(z.boolean()),
});
export type ClusterObject = z.infer<typeof ClusterObject>;

export const ClusterObjects = z.object({
  objects: z.array(ClusterObject),
  /** Kinds that the caller could not list. */
  unreadable: z.array(z.object({ kind: text, namespace: text, why: text })),
});
export type ClusterObjects = z.infer<typeof ClusterObjects>;

export const KeeperRequest = z.object({
  kubeconfig: optional(text),
  context: optional(text),
  namespace: optional(text),
});
export type KeeperRequest = z.infer<typeof KeeperRequest>;

export const KeeperStatus = z.object({
  namespace: text,
  /** The keeper that answered; absent when none did in time. */
  keeper: optional(z.enum(['namespace', 'cluster'])),
  /** Milliseconds until it did. */
  afterMs: optional(z.number()),
});
export type KeeperStatus = z.infer<typeof KeeperStatus>;

/** file: the environment file; service: generated from the Services; container: its own; machine: added for this machine. */
export const Origin = z.enum(['file', 'service', 'container', 'machine']);
export type Origin = z.infer<typeof Origin>;

/** The environment for a program on the machine. */
export const Environment = z.object({
  variables: z.record(text, text),
  /** Where each variable came from. */
  origins: z.record(text, Origin),
  /** Variables that the container has with another value, or of a Service that it has not, on purpose, each with the reason. */
  rewritten: z.record(text, text),
  /** Variables that lead to a Service which this machine does not reach there, each with the reason; values of the container. */
  notCarried: z.record(text, text),
  /** Where the container's own came from: the running process, exec, or the spec (with what is missing). */
  source: z.enum(['process', 'exec', 'spec', 'none']),
  /** What is missing or not as it should be: for whoever uses the variables to see. */
  warnings: z.array(text),
  /** What was changed on purpose, with the reason. */
  notes: z.array(text),
});
export type Environment = z.infer<typeof Environment>;

export const KnownRequest = z.object({ namespaces: z.array(text) });

/** What the environment file of a connection may name. */
export const KnownNames = z.object({
  connection: text,
  /** The workload's own. */
  namespace: text,
  /** Names of the container's volumes. Absent: not known. */
  volumes: optional(z.array(text)),
  /** As of a connection's target. */
  serviceAccount: optional(text),
  services: z.array(z.object({ namespace: text, name: text })),
  /** Whose Services are all in `services`: the own, and of those that were asked for the ones that could be looked into. */
  namespaces: z.array(text),
  /** Asked for, and not in the cluster. */
  absent: z.array(text),
  unchecked: z.array(z.object({ namespace: text, why: text })),
});
export type KnownNames = z.infer<typeof KnownNames>;

/** As the API server sees the bearer of a service account's token, or why it could not be asked. */
export const SeenIdentity = z.union([
  z.object({ user: text, uid: text, groups: z.array(text) }),
  z.object({ problem: text }),
]);

export const InspectRequest = z.object({
  /** Hexadecimal, random, of one comparison: values are told by HMAC-SHA-256 with it, and by nothing else. */
  key: text.check(z.regex(/^[0-9a-f]{64}$/)),
});

/** What the program in the pod has around it, for a comparison with what one on the machine has. No value, only digests. */
export const PodInspection = z.object({
  pod: optional(text),
  container: text,
  variables: z.object({
    /** As in Environment. */
    source: Environment.shape.source,
    digests: z.record(text, text),
    notes: z.array(text),
  }),
  /** original: as its container says; agent: as the clone has it, because nothing can be run in the original. */
  filesFrom: z.enum(['original', 'agent']),
  files: z.array(
    z.object({
      /** Absolute. */
      path: text,
      /** Of the file's SHA-256 in hexadecimal. */
      digest: text,
      executable: z.boolean(),
      /** When it was written, in seconds since 1970 by the clock of the node. */
      modified: optional(z.number()),
      /** kubelet writes another one for each pod: what it is, and the digest of the agent's. */
      perPod: optional(z.object({ what: text, digest: optional(text) })),
    }),
  ),
  /** Mounts whose content nobody could be asked for. */
  unreadable: z.array(z.object({ path: text, why: text })),
  endpoints: z.array(
    z.object({
      service: text,
      namespace: text,
      external: z.boolean(),
      names: z.array(text),
      /** Those of `names` that have an address in the pod. */
      resolved: z.array(text),
      ports: z.array(z.object({ port, connects: z.boolean(), why: text })),
    }),
  ),
  /** Folder of the service account's token in the pod; absent where it has none. */
  account: optional(text),
  identity: optional(SeenIdentity),
  /** With whose token the API server was asked. agent: its own of the same account, because the original's cannot be read. */
  identityFrom: optional(z.enum(['original', 'agent'])),
  /** As TZ takes it; absent where it is not known. */
  timeZone: optional(text),
  /** The system's own, where it is known. */
  hostName: optional(text),
  uid: optional(z.number()),
});
export type PodInspection = z.infer<typeof PodInspection>;

/** One thing that happened, for the event stream (`GET /v1/events?since=N`). */
export const StateEvent = z.object({
  version: z.number(),
  at: text,
  event: text,
  connection: optional(Connection),
  /** Set when a connection is gone. */
  removed: optional(text),
});
export type StateEvent = z.infer<typeof StateEvent>;

/** A line of the event stream: what changed, or, where the asked-for past is not known, everything anew. */
export const EventLine = z.union([StateEvent, z.object({ reset: DaemonStatus })]);
export type EventLine = z.infer<typeof EventLine>;

/** A line of a hold: how the held connection stands. The connection is released when the caller closes the stream. */
export const HoldLine = z.discriminatedUnion('type', [
  z.object({ type: z.literal('held'), connection: Connection }),
  z.object({ type: z.literal('changed'), event: text, connection: Connection }),
  z.object({ type: z.literal('gone'), name: text }),
]);
export type HoldLine = z.infer<typeof HoldLine>;

/** A line of the daemon's log. */
export const LogLine = z.looseObject({ time: z.optional(text), level: z.optional(text), event: z.optional(text) });
export type LogLine = z.infer<typeof LogLine>;

export const DoctorRequest = z.object({
  kubeconfig: optional(text),
  context: optional(text),
  namespace: optional(text),
  /** As in ConnectRequest: what would stand in the way of connecting to it. */
  target: optional(text),
  agentImage: optional(text),
});
export type DoctorRequest = z.infer<typeof DoctorRequest>;

export const DoctorCheck = z.object({
  /** Stable name: `daemon`, `helper`, `api-server`, `rights`, ... */
  check: text,
  state: z.enum(['ok', 'warning', 'failure']),
  message: text,
  hint: optional(text),
});
export type DoctorCheck = z.infer<typeof DoctorCheck>;

export const DoctorReport = z.object({ checks: z.array(DoctorCheck) });
export type DoctorReport = z.infer<typeof DoctorReport>;
