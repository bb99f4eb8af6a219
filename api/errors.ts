/**
 * The errors that users see. One class, a closed table of codes, a category that decides the exit status.
 * Every code has a row in docs/errors.md; a test compares the two. Imported everywhere, imports nothing.
 */

/** Who can do something about it. The exit status of the command follows from it, see `exitStatus`. */
export type ErrorCategory =
  | 'usage' // the command line or request is wrong
  | 'config' // kubeconfig, context, credentials
  | 'rights' // the cluster refuses for want of rights
  | 'cluster' // the cluster or the workload is not as needed
  | 'conflict' // somebody or something else holds what was asked for
  | 'machine' // this machine: helper, ports, files, daemon
  | 'interrupted' // cancelled by the user
  | 'bug'; // ours

export const exitStatus: Record<ErrorCategory, number> = {
  bug: 1,
  usage: 2,
  config: 3,
  rights: 4,
  cluster: 5,
  conflict: 6,
  machine: 7,
  interrupted: 130,
};

/** code -> category. Codes are stable: scripts match on them. */
export const errorCodes = {
  // usage
  BAD_ARGUMENT: 'usage',
  BAD_TARGET: 'usage',
  TARGET_AMBIGUOUS: 'usage',
  CONNECTION_NOT_FOUND: 'usage',
  BAD_REQUEST: 'usage',
  ENVIRONMENT_FILE_INVALID: 'usage',
  API_VERSION_MISMATCH: 'usage',
  API_FORBIDDEN: 'usage', // token, Host or Origin
  // config
  KUBECONFIG_NOT_FOUND: 'config',
  KUBECONFIG_INVALID: 'config',
  CONTEXT_NOT_FOUND: 'config',
  CREDENTIALS_FAILED: 'config',
  CREDENTIALS_EXPIRED: 'config',
  CERTIFICATE_UNKNOWN: 'config',
  // rights
  RIGHTS_MISSING: 'rights',
  // cluster
  API_UNREACHABLE: 'cluster',
  API_ERROR: 'cluster',
  NOT_ADMITTED: 'cluster', // quota, admission
  NAMESPACE_NOT_FOUND: 'cluster',
  WORKLOAD_NOT_FOUND: 'cluster',
  WORKLOAD_UNSUPPORTED: 'cluster',
  WORKLOAD_HAS_NO_PODS: 'cluster',
  CONTAINER_NOT_FOUND: 'cluster',
  PORT_NOT_FOUND: 'cluster',
  VOLUME_NOT_FOUND: 'cluster',
  AGENT_IMAGE_PULL: 'cluster',
  AGENT_REFUSED: 'cluster', // quota, Pod Security, webhook
  AGENT_UNSCHEDULABLE: 'cluster',
  AGENT_FAILED: 'cluster',
  AGENT_TIMEOUT: 'cluster',
  PIPE_FAILED: 'cluster',
  PROOF_FAILED: 'cluster',
  KEEPER_MISSING: 'cluster',
  // conflict
  ALREADY_REDIRECTED: 'conflict',
  TAKEN_OVER: 'conflict',
  WAIT_TIMEOUT: 'conflict',
  SESSION_LAPSED: 'conflict',
  ALREADY_CONNECTED: 'conflict',
  CHANGED_MEANWHILE: 'conflict',
  // machine
  PORT_TAKEN: 'machine',
  LOCAL_PATH_TAKEN: 'machine',
  HELPER_MISSING: 'machine',
  HELPER_REFUSED: 'machine',
  DAEMON_UNREACHABLE: 'machine',
  DAEMON_START_FAILED: 'machine',
  STATE_UNREADABLE: 'machine',
  COMMAND_NOT_STARTED: 'machine',
  PRIVATE_FILES_IMPOSSIBLE: 'machine',
  // interrupted
  CANCELLED: 'interrupted',
  // bug
  INTERNAL: 'bug',
} as const satisfies Record<string, ErrorCategory>;

export type ErrorCode = keyof typeof errorCodes;

/** How an error crosses the local API and how `--json` prints it. */
export interface ErrorShape {
  code: ErrorCode;
  category: ErrorCategory;
  /** What happened, where and why, in one or a few plain sentences. Never holds a secret. */
  message: string;
  /** What to do next. */
  hint?: string;
  /** Machine-readable facts: names, alternatives, missing rights. */
  details?: Record<string, unknown>;
}

export interface ErrorOptionsWithHint {
  hint?: string;
  details?: Record<string, unknown>;
  cause?: unknown;
}

export class BowlineError extends Error {
  override readonly name = 'BowlineError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptionsWithHint = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  get category(): ErrorCategory {
    return errorCodes[this.code];
  }

  toShape(): ErrorShape {
    return {
      code: this.code,
      category: this.category,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }

  static fromShape(shape: ErrorShape): BowlineError {
    return new BowlineError(shape.code, shape.message, {
      ...(shape.hint === undefined ? {} : { hint: shape.hint }),
      ...(shape.details === undefined ? {} : { details: shape.details }),
    });
  }

  /** Any thrown value as one of ours: known ones pass, an abort is CANCELLED, the rest is a bug with its message. */
  static from(error: unknown): BowlineError {
    if (error instanceof BowlineError) return error;
    if (error instanceof Error && error.name === 'AbortError') {
      if (error.cause instanceof BowlineError) return error.cause;
      return new BowlineError('CANCELLED', 'Cancelled.', { cause: error });
    }
    return new BowlineError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
  }
}
