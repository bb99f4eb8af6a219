/**
 * What daemon and agent agree on beside the tunnel: the files the agent finds, its control calls. Plain types, because
 * the agent is one small bundle. Both ends come from the same commit (the daemon carries the agent
 * into the cluster), so nothing here is versioned.
 */
import type { Inspection, InspectionRequest } from './inspection.ts';
import type { FileChoice } from './volume-choice.ts';

/** Where the session's Secret is mounted in the agent: agent.key, agent.crt, daemon.crt, session.json. */
export const sessionFolder = '/bowline/session';
/** Where the ConfigMap with the bundled agent is mounted; the file is agent.mjs. */
export const codeFolder = '/bowline/agent';
/** What Node images and the agent itself add to their variables, unless the container's spec names them. */
export const imageVariableNames: readonly string[] = [
  'PATH',
  'HOME',
  'PWD',
  'SHLVL',
  'TERM',
  'NODE_VERSION',
  'YARN_VERSION',
  'BOWLINE_SESSION_FOLDER',
];
/** A folder that the agent shares with a container of the original's image, where the variables of that have to be asked for. */
export const imageFolder = '/bowline/image';
/** How the container starts the agent on a stock Node image. */
export const agentCommand = ['node', `${codeFolder}/agent.mjs`];
/** Preferred control port; the daemon picks another one when the pod uses it. */
export const defaultControlPort = 47101;

export interface AgentPort {
  /** The port on which the agent listens, on all addresses of the pod, IPv4 and IPv6. */
  port: number;
  protocol: 'TCP' | 'UDP';
  /** machine: through the inbound tunnel, to the originals while the machine does not answer. originals: always there (UDP always is). */
  to: 'machine' | 'originals';
  /** What to do when the machine answers but its local port refuses: reset the caller, or go on to the originals. */
  ifDown: 'refuse' | 'original';
}

/** session.json */
export interface AgentSession {
  session: string;
  controlPort: number;
  ports: AgentPort[];
  /** Address (cluster IP) of the Service that keeps the original selector and has every port of `ports` under the same number; absent for a gateway or when the originals are stopped. */
  originals?: string;
  /** Where to listen instead of on all addresses; the tests have several agents on one machine. */
  address?: string;
}

/**
 * The agent's control port speaks HTTP/1.1: `GET /healthz` answers 200, and an upgrade to `bowline` (or `websocket`,
 * without WebSocket framing, for proxies that know no other) on a path that ends in /outbound or /inbound answers 101
 * and becomes a pipe. Everything else is 404. Nothing more is said before TLS has checked the pinned certificate.
 */
export const upgradeName = 'bowline';

/** Control calls, through the outbound tunnel (`OutboundTunnel.call`). */
export interface AgentCalls {
  /**
   * Proves that a connection to `host:port`, dialled by the agent itself, comes back to the agent and reaches the
   * daemon. `arrived: false` with the reason when it went elsewhere.
   */
  probe: { request: { host: string; port: number; timeout: number }; answer: { arrived: boolean; detail: string } };
  /**
   * From now on new connections go to the originals, or to the machine while no original can be reached; existing ones go on.
   * Irreversible until `resume`.
   */
  drain: { request: Record<string, never>; answer: AgentStatus };
  resume: { request: Record<string, never>; answer: AgentStatus };
  status: { request: Record<string, never>; answer: AgentStatus };
  /** The agent's own variables: the container's as kubelet resolved them, and those of `imageVariableNames`. */
  environment: { request: Record<string, never>; answer: { variables: Record<string, string> } };
  /** Lays a program into `imageFolder`; answers the command that writes down there what variables its container has. */
  layOutProgram: { request: Record<string, never>; answer: { command: string[] } };
  /** What that command has written. */
  imageVariables: { request: Record<string, never>; answer: { variables: Record<string, string> } };
  /** DNS as the pod sees it: addresses of a name, and resolv.conf's search list. */
  resolve: { request: { name: string }; answer: { addresses: string[]; search: string[] } };
  /** What a program in the agent's place sees around it. */
  inspect: { request: InspectionRequest; answer: Inspection };
  /** How much of each mount would travel as `files`, in the order of the request. */
  filesSize: { request: { mounts: Array<AgentStreams['files']> }; answer: { sizes: VolumeSize[] } };
}

/** Streams, opened through the outbound tunnel (`OutboundTunnel.open`): the request of each name. */
export interface AgentStreams {
  /** What is mounted at `path`, chosen, as tar: plain folders and files. A single file is one entry. */
  files: { path: string } & FileChoice;
  /** Lines of JSON: a VolumeVersion for each mount path at once, and for one that kubelet has written anew. Never ends by itself. */
  watchFiles: { paths: string[] };
}

export interface VolumeSize {
  path: string;
  /** A file is mounted there, not a folder. */
  single: boolean;
  bytes: number;
  files: number;
  /** The first few entries that do not travel, each with the reason, and how many there are. */
  leftOut: string[];
  leftOutCount: number;
  /** Why the size could not be known, or why it will not be read out at all. */
  problem?: string;
}

export interface VolumeVersion {
  path: string;
  /** Another one after each write of kubelet; empty for a volume that kubelet does not write. */
  version: string;
}

export interface AgentStatus {
  /** Connections open at this moment, by where they go. */
  machine: number;
  originals: number;
  /** Callers for whom nobody was found yet: they still need the way to the originals. */
  waiting: number;
  /** Since start. */
  machineTotal: number;
  originalsTotal: number;
  /** Milliseconds since the last accepted connection on any listed port; large when there was none. */
  quiet: number;
  /** Ports that could not be listened on, with the reason. */
  problems: Array<{ port: number; reason: string }>;
}
