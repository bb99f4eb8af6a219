/** One connection as its parts see it. The controller owns all of this and is the only one who writes it. */
import type { ConnectionState, Warning } from '../../api/schema.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Log } from '../log.ts';
import type { RunningAgent } from '../redirect/agent-wait.ts';
import type { OnProgress } from './manager.ts';
import type { Session } from './session.ts';
import type { Tunnels } from './tunnels.ts';

export interface Tie {
  readonly name: string;
  readonly cluster: Cluster;
  readonly log: Log;
  /** Another one after a lapse. */
  readonly session: Session;
  readonly state: ConnectionState;
  readonly agent: RunningAgent | undefined;
  /** `undefined` while there is no way to the agent. */
  readonly tunnels: Tunnels | undefined;
  /** Told to whoever waits, and kept for whoever looks: one of each code. */
  warn(warning: Warning, onProgress?: OnProgress): void;
  /** What the warnings of this code said does not hold any more. */
  unwarn(code: string): void;
  /** Something that the snapshot shows has changed. */
  changed(event: string): void;
}
