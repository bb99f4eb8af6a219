/** Registry of the connections: what the API server calls. Owns every controller; safe to call concurrently. */
import type {
  Connection,
  ConnectRequest,
  Environment,
  KeeperRequest,
  KeeperStatus,
  KnownNames,
  Plan,
  PodInspection,
  Progress,
  Redirect,
  RedirectsRequest,
  RestoreRequest,
} from '../../api/schema.ts';
import type { EnvironmentUse } from '../environment/environment.ts';

export type OnProgress = (progress: Extract<Progress, { type: 'step' | 'volume' | 'warning' }>) => void;

export interface ConnectionManager extends AsyncDisposable {
  /** All connections as they are now. */
  list(): Connection[];
  /** Looks at what changes on the machine without a sign (whether a program listens on a local port); `list` then has it. */
  look(): Promise<void>;
  /** Called with each change of a connection; `removed` when it is gone. Returns the unsubscribe. */
  onChange(listener: (change: { event: string; connection?: Connection; removed?: string }) => void): () => void;
  plan(request: ConnectRequest, signal: AbortSignal): Promise<Plan>;
  /** Resolves when connected and proved. On failure or abort everything is undone before it rejects. */
  connect(request: ConnectRequest, onProgress: OnProgress, signal: AbortSignal): Promise<Connection>;
  /**
   * Drains, releases, and resolves when cluster and machine are as before. One that has `failed` is only listed no more;
   * the answer is what was listed.
   */
  disconnect(name: string, onProgress: OnProgress, signal: AbortSignal): Promise<Connection>;
  environment(name: string, use: EnvironmentUse, signal: AbortSignal): Promise<Environment>;
  /** What an environment file may name, with the Services of these namespaces too. */
  known(name: string, namespaces: readonly string[], signal: AbortSignal): Promise<KnownNames>;
  /** The pod's side of a comparison with this machine. */
  inspect(name: string, key: string, signal: AbortSignal): Promise<PodInspection>;
  /** Everybody's redirects, as the cluster says. */
  redirects(request: RedirectsRequest, signal: AbortSignal): Promise<Redirect[]>;
  planRestore(request: RestoreRequest, signal: AbortSignal): Promise<Plan>;
  /** Puts back what sessions without a daemon left in the cluster; answers what was restored. */
  restore(request: RestoreRequest, onProgress: OnProgress, signal: AbortSignal): Promise<string[]>;
  keeperStatus(request: KeeperRequest, signal: AbortSignal): Promise<KeeperStatus>;
  /** YAML of a keeper for the whole cluster. */
  keeperManifest(options: { namespace: string; image?: string | undefined }): Promise<string>;
  /** Takes up the connections of the saved state, after a restart of the daemon. */
  resume(signal: AbortSignal): Promise<void>;
}
