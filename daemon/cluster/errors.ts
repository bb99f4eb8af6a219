/** The border at which answers and failures of an API server become errors that users understand. */
import { BowlineError } from '../../api/errors.ts';
import type { Right } from './cluster.ts';
import type { Credentials } from './config/credentials.ts';

/** What a call is about, for its errors. */
export interface Subject {
  verb: string;
  group: string;
  /** With the subresource: `pods/proxy`. */
  resource: string;
  name?: string | undefined;
  namespace?: string | undefined;
  /** A JSON patch with `test` among its operations. */
  tested?: boolean;
}

/** Whom the call went to, and as whom. */
export interface Caller {
  server: string;
  context: string;
  credentials?: Credentials | undefined;
}

/** An answer that is no success, before anybody has judged it. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure';
  readonly status: number;
  /** Milliseconds after which the server wants to be asked again. */
  readonly retryAfter: number | undefined;
  readonly body: string;
  constructor(status: number, retryAfter: number | undefined, body: string) {
    super(`HTTP ${status}`);
    this.status = status;
    this.retryAfter = retryAfter;
    this.body = body;
  }
}

/** The parts of a `Status` object that say why. */
interface Status {
  message: string;
  reason: string | undefined;
  kind: string | undefined;
  /** False for an HTML page or plain text: then it came from something between us and the API server, or behind it. */
  fromKubernetes: boolean;
}

export function apiError(subject: Subject, caller: Caller, failure: HttpFailure): BowlineError {
  const status = readStatus(failure);
  const said = concernsSecret(subject, failure.status)
    ? 'details are withheld, they may hold the secret'
    : status.message;
  const details = {
    status: failure.status,
    reason: status.reason,
    message: said,
    server: caller.server,
    fromKubernetes: status.fromKubernetes,
  };
  const what = describe(subject);
  if (failure.status === 401) return expired(caller, details);
  if (failure.status === 403 && /User "system:anonymous" cannot /.test(status.message)) {
    return new BowlineError(
      'CREDENTIALS_FAILED',
      `${caller.server} took this call for anonymous: it saw ${caller.credentials?.origin ?? 'no credentials'}.`,
      {
        hint: `Check the user of context "${caller.context}" in the kubeconfig; log in again.`,
        details,
      },
    );
  }
  if (failure.status === 403 && /User ".*" cannot /.test(status.message)) {
    return new BowlineError('RIGHTS_MISSING', `You may not ${what}. The server says: ${said}`, {
      hint: `Ask an administrator of the cluster for the right to ${subject.verb} ${subject.resource}.`,
      details: { ...details, missing: [rightOf(subject)] },
    });
  }
  if (failure.status === 403 && status.fromKubernetes) {
    const quota = status.message.includes('exceeded quota');
    return new BowlineError('NOT_ADMITTED', `The cluster does not let you ${what}: ${said}`, {
      hint: quota
        ? 'Make room in the quota of the namespace, or ask an administrator for more.'
        : 'A rule of the cluster refuses it, whatever your rights: ask an administrator.',
      details,
    });
  }
  if (failure.status === 404 && status.kind === 'namespaces') {
    return new BowlineError(
      'NAMESPACE_NOT_FOUND',
      `There is no namespace "${subject.namespace ?? subject.name}" in ${caller.context}.`,
      { details },
    );
  }
  if (failure.status === 409) {
    return new BowlineError('CHANGED_MEANWHILE', `The API server could not ${what}: ${said}`, {
      hint: 'Somebody else has changed it at the same time; try again.',
      details,
    });
  }
  if (failure.status === 422 && subject.tested === true && isPatchRefused(status)) {
    return new BowlineError(
      'CHANGED_MEANWHILE',
      `The API server did not ${what}, because it is no longer as it was when the change was planned.`,
      {
        hint: 'Somebody else has changed it at the same time; try again.',
        details: { ...details, reason: 'TestFailed' },
      },
    );
  }
  return new BowlineError('API_ERROR', `The API server could not ${what}: ${said || `status ${failure.status}`}`, {
    details,
  });
}

function expired(caller: Caller, details: Record<string, unknown>): BowlineError {
  const { credentials } = caller;
  const when = credentials?.expired === undefined ? '' : ` It expired at ${credentials.expired}.`;
  return new BowlineError(
    'CREDENTIALS_EXPIRED',
    `${caller.server} does not accept ${credentials?.origin ?? 'the credentials'} (context "${caller.context}").${when}`,
    {
      hint: 'Log in to the cluster again, so that kubectl works with this context; then try again.',
      details,
    },
  );
}

/** A failure of the connection itself. */
export function networkError(caller: Caller, error: unknown): BowlineError {
  if (error instanceof BowlineError) return error;
  if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError)
    return BowlineError.from(error);
  const { code, message } = rootOf(error);
  const details = { server: caller.server, errno: code };
  if (isCertificateProblem(code)) {
    return new BowlineError(
      'CERTIFICATE_UNKNOWN',
      `The certificate of ${caller.server} is not trusted: ${message} (${code}).`,
      {
        cause: error,
        hint: `Check certificate-authority of context "${caller.context}" in the kubeconfig; NODE_EXTRA_CA_CERTS adds an authority, for example that of a company proxy.`,
        details,
      },
    );
  }
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return new BowlineError('API_UNREACHABLE', `${caller.server} does not speak TLS (${code}).`, {
      cause: error,
      hint: 'Check the server in the kubeconfig: its port, and https against http.',
      details,
    });
  }
  return new BowlineError(
    'API_UNREACHABLE',
    `The API server ${caller.server} cannot be reached: ${explain(code) ?? message} (${code}).`,
    {
      cause: error,
      hint: 'Is the cluster running, and are the VPN and the network up? Is the server in the kubeconfig right?',
      details,
    },
  );
}

/** Also true for a whole connection attempt with several addresses, where Node reports an AggregateError. */
function rootOf(error: unknown): { code: string; message: string } {
  if (error instanceof AggregateError && error.errors.length > 0 && !('code' in error && error.code))
    return rootOf(error.errors[0]);
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
  return { code, message: error instanceof Error ? error.message : String(error) };
}

export function errnoOf(error: unknown): string {
  return rootOf(error).code;
}

function isCertificateProblem(code: string): boolean {
  return /^(UNABLE_TO_|CERT_|CRL_|ERR_TLS_CERT|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|HOSTNAME_MISMATCH|INVALID_PURPOSE|PATH_LENGTH)/.test(
    code,
  );
}

function explain(code: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name cannot be resolved';
    case 'ETIMEDOUT':
      return 'it does not answer';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to it';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was cut';
    default:
      return undefined;
  }
}

function readStatus(failure: HttpFailure): Status {
  try {
    const body: unknown = JSON.parse(failure.body);
    if (isRecord(body) && body['kind'] === 'Status') return statusOf(body);
  } catch {
    // Not from Kubernetes.
  }
  const text = failure.body
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 300);
  return {
    message: text || `HTTP status ${failure.status}`,
    reason: undefined,
    kind: undefined,

    fromKubernetes: false,
  };
}

function statusOf(body: Record<string, unknown>): Status {
  const details = isRecord(body['details']) ? body['details'] : {};
  return {
    message: typeof body['message'] === 'string' ? body['message'] : '',
    reason: typeof body['reason'] === 'string' ? body['reason'] : undefined,
    kind: typeof details['kind'] === 'string' ? details['kind'] : undefined,
    fromKubernetes: true,
  };
}

/** All that a server says when an operation of a JSON patch does not fit: a bad object is refused in other words. */
function isPatchRefused({ message }: Status): boolean {
  return message.includes('rejected our request due to an error in our request');
}

function concernsSecret({ resource }: Subject, status: number): boolean {
  return resource === 'secrets' && (status === 400 || status === 422);
}

function rightOf({ verb, group, resource, namespace }: Subject): Right {
  const [base = resource, subresource] = resource.split('/');
  return {
    verb,
    group,
    resource: base,
    ...(subresource === undefined ? {} : { subresource }),
    ...(namespace === undefined ? {} : { namespace }),
  };
}

function describe({ verb, resource, name, namespace }: Subject): string {
  return [
    verb,
    resource,
    name === undefined ? '' : `"${name}"`,
    namespace === undefined ? '' : `in namespace "${namespace}"`,
  ]
    .filter((part) => part !== '')
    .join(' ');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
