/** What carries a tunnel: a byte stream to the agent, and how it got there. */
import type { Duplex } from 'node:stream';

export type PipeKind = 'pods/proxy' | 'port-forward';

export interface Pipe {
  readonly kind: PipeKind;
  /** Bytes that followed the upgrade answer are already unshifted into it. Half-open aware, with back-pressure. */
  readonly stream: Duplex;
}
