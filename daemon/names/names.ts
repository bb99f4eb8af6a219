/**
 * Names on the machine, as the connections see them. One `NamesManager` in the daemon owns loopback addresses, listeners
 * and the desired hosts block; each connection attaches its namespace and a way to dial.
 */
import type { NamedService } from '../../api/schema.ts';
import type { Target, TunnelStream } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';

/** Dials through some live tunnel of the connection; throws DialError EHOSTUNREACH while there is none. */
export type Dial = (target: Target) => TunnelStream;

export interface NamesScope {
  cluster: Cluster;
  /** Its Services get bare names too. */
  namespace: string;
  dial: Dial;
  mode: 'hosts' | 'env';
  /** Cluster domain, `cluster.local` unless the agent's resolv.conf says otherwise. */
  clusterDomain: string;
  /**
   * Services of `namespace` that answer as NAME.svc.DOMAIN too: azds-local.env promises that of those it names. The DNS of a
   * cluster has no such name.
   */
  withoutNamespace?: readonly string[];
  /** Further namespaces whose Services are wanted, for users who may not list those of all. */
  namespaces?: readonly string[];
  /** `kubernetes` of `default` is wanted too, which a user of one namespace may not read and every pod can reach. */
  apiServer?: boolean;
  /** Hosts outside of the cluster that are reached through it, by their own names where the helper takes those. */
  externals?: ReadonlyArray<{ host: string; ports: readonly number[] }>;
  /** Ports of this machine that a program of the user is going to listen on: never taken from it, see listeners.ts. */
  localPorts?: readonly number[];
  /** Called after each change that was applied. */
  onChange: () => void;
  /** Called when a helper answers while `mode` is `env`. */
  onHelper?: () => void;
}

export interface NamesAttachment extends AsyncDisposable {
  /** The services of this scope as they answer now. */
  services(): NamedService[];
  /** `mode` is `hosts` from now on; resolves when the names are there. */
  useHosts(): Promise<void>;
}

export interface NamesManager extends AsyncDisposable {
  /** `hosts` when the helper answers now, else `env` with the reason. */
  mode(): Promise<{ mode: 'hosts' | 'env'; reason?: string }>;
  /** Resolves when the services of the namespace itself answer on the machine (other namespaces may follow). */
  attach(scope: NamesScope, signal: AbortSignal): Promise<NamesAttachment>;
  /** What an earlier daemon put into the hosts file goes now, unless somebody here has attached. Never rejects. */
  releaseFormer(): Promise<void>;
}
