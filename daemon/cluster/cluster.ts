/**
 * What the rest of the daemon sees of a Kubernetes API server. One `Cluster` per (kubeconfig, context), shared by all
 * connections to it; it holds keep-alive sockets and the credential cache. Types only from @kubernetes/client-node.
 */
import type { Duplex, Readable } from 'node:stream';
import type { Pipe } from './pipe.ts';
import type { Resource } from './resources.ts';
import type { KubernetesObject } from '@kubernetes/client-node';

export interface CallOptions {
  signal?: AbortSignal;
  /** Milliseconds for the whole call once credentials are at hand (a credential plugin has its own 60 s); default 15,000. */
  timeout?: number;
}

export interface ListOptions extends CallOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface DeleteOptions extends CallOptions {
  /** Refuse when the object is another one or has changed (409 becomes CHANGED_MEANWHILE). */
  preconditions?: { uid?: string; resourceVersion?: string };
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
}

/** RFC 6902 with `test` as the precondition, merge patch, or strategic merge patch. */
export type Patch =
  | { type: 'json'; body: Array<{ op: 'add' | 'replace' | 'remove' | 'test'; path: string; value?: unknown }> }
  | { type: 'merge' | 'strategic'; body: unknown };

/** One right as SelfSubjectAccessReview asks for it. `subresource` as in `pods/proxy`. */
export interface Right {
  verb: string;
  group: string;
  resource: string;
  subresource?: string;
  namespace?: string;
}

/** `reset` holds everything (first list, and after each relist); then single changes. Never ends by itself, never throws but on abort. */
export type WatchEvent<T> =
  | { type: 'reset'; objects: T[] }
  | { type: 'added' | 'modified' | 'deleted'; object: T }
  /** The watch is broken and being retried; what was known stays known. */
  | { type: 'trouble'; reason: string };

export interface ExecResult {
  stdout: Buffer;
  stderr: string;
  /** 0 when the command succeeded. */
  exitCode: number;
}

export interface ExecStream {
  /** Standard output. Ends when the command has ended; destroying it ends the command's connection. */
  output: Readable;
  /** Resolves before `output` ends; rejects with the stream's error. */
  exit: Promise<{ exitCode: number; stderr: string }>;
}

export interface Cluster {
  /** The kubeconfig's context; `in-cluster` for a pod's own configuration. */
  readonly context: string;
  /** URL of the API server. */
  readonly server: string;
  /** Namespace of the context, `default` when it names none. */
  readonly defaultNamespace: string;
  /** Equal where server, user, namespace and the ways to them were read alike. A digest, for they hold secrets. */
  readonly fingerprint: string;

  get<T extends KubernetesObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options?: CallOptions,
  ): Promise<T>;
  /** `undefined` for 404 instead of an error. */
  find<T extends KubernetesObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options?: CallOptions,
  ): Promise<T | undefined>;
  list<T extends KubernetesObject>(resource: Resource<T>, options?: ListOptions): Promise<T[]>;
  create<T extends KubernetesObject>(
    resource: Resource<T>,
    body: T,
    options?: CallOptions & { dryRun?: boolean },
  ): Promise<T>;
  replace<T extends KubernetesObject>(resource: Resource<T>, body: T, options?: CallOptions): Promise<T>;
  patch<T extends KubernetesObject>(
    resource: Resource<T>,
    name: string,
    namespace: string | undefined,
    patch: Patch,
    options?: CallOptions & { subresource?: string },
  ): Promise<T>;
  /** Resolves with false when the object was not there. */
  delete<T extends KubernetesObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    options?: DeleteOptions,
  ): Promise<boolean>;

  /** Own list-watch: bookmarks, 410, jittered back-off; ends only when `signal` aborts. */
  watch<T extends KubernetesObject>(
    resource: Resource<T>,
    options: ListOptions & { signal: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;

  /** Those of `rights` that the caller does not have. Asked in parallel. */
  missingRights(rights: Right[], options?: CallOptions): Promise<Right[]>;

  /** Runs a command in a container, output bounded by `maxBytes` (default 4 MiB). */
  exec(
    pod: { namespace: string; name: string; container: string },
    command: string[],
    options?: CallOptions & { stdin?: Buffer; maxBytes?: number },
  ): Promise<ExecResult>;

  /** The same for output of any size, which is never held. `timeout` bounds the start, and then each silence. */
  execStream(
    pod: { namespace: string; name: string; container: string },
    command: string[],
    options?: CallOptions,
  ): Promise<ExecStream>;

  /**
   * A byte stream to a TCP port of a pod for a tunnel: `pods/proxy` upgrade first, WebSocket port-forward where that
   * does not work; which one works is remembered per context. `path` tells the agent what the pipe is for.
   */
  openPipe(pod: { namespace: string; name: string; port: number }, path: string, options?: CallOptions): Promise<Pipe>;

  /** A raw TCP stream to a port inside a pod by WebSocket port-forward. */
  portForward(pod: { namespace: string; name: string; port: number }, options?: CallOptions): Promise<Duplex>;

  /** `v1.34.4`; also the cheapest proof that server, certificate and credentials are right. */
  version(options?: CallOptions): Promise<string>;

  /** The API server's clock (to the second), against which machines can be compared whose own clocks differ. */
  serverTime(options?: CallOptions): Promise<Date>;

  close(): Promise<void>;
}
