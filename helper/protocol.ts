/**
 * What may be asked of the helper: a closed set of typed operations, newline-delimited JSON over its socket. No path,
 * command or URL ever crosses. Every argument is validated inside the helper again (helper/validate.ts).
 */

export const protocolVersion = 1;

/** The part of 127/8 in which the helper acts, and nothing else: 127.66.0.0/16. */
export const loopbackRange = { first: '127.66.0.1', last: '127.66.255.254', prefix: '127.66.' } as const;

/** What one request may hold. Beyond these it is refused as a whole. */
export const limits = {
  requestBytes: 8 * 1024 * 1024,
  /** Answers that a caller leaves unread before it is cut off. */
  unreadBytes: 16 * 1024 * 1024,
  names: 20_000,
  lowPorts: 20_000,
  clients: 16,
} as const;

export interface HostEntry {
  address: string;
  names: string[];
}

/**
 * A port on an address of the range that leads to `targetPort` of the same address. Any port where the helper said
 * `redirects` in its hello (the kernel does it, nothing is bound there), else one below 1024 (the helper opens and relays).
 */
export interface LowPort {
  address: string;
  port: number;
  targetPort: number;
}

/** The whole of what the caller wants; the helper makes it so, and undoes it when the caller is gone. */
export interface Desired {
  hosts: HostEntry[];
  lowPorts: LowPort[];
}

export interface ApplyAnswer {
  /** What was not done (a name, or `address:port`), one by one, with the reason (owner of a taken port named). The rest was. */
  refused: Array<{ what: string; reason: string }>;
}

/** `hello` comes first on each connection; everything else before it is refused. */
export type HelperRequest =
  | { id: number; op: 'hello'; protocol: number }
  | { id: number; op: 'apply'; desired: Desired }
  | { id: number; op: 'release' };

export interface HelloAnswer {
  version: string;
  protocol: number;
  /** Any port may be led to another, without being bound. */
  redirects: boolean;
}

export type HelperErrorCode = 'BAD_REQUEST' | 'WRONG_VERSION' | 'TOO_MUCH' | 'HELD' | 'FAILED';

export type HelperAnswer =
  | { id: number; ok: true; result: unknown }
  | { id: number; ok: false; error: { code: HelperErrorCode; message: string } };

export interface HelperClient {
  readonly version: string;
  readonly redirects: boolean;
  apply(desired: Desired): Promise<ApplyAnswer>;
  /** Undoes all at once, without the grace that a lost connection gets. */
  release(): Promise<void>;
  /** Resolves when the helper went away; the daemon connects again. */
  readonly closed: Promise<void>;
  close(): void;
}
