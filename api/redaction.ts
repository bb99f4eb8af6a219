/**
 * Takes secrets out of what is logged, or packed for somebody else to see. By the key's name, and by the looks of a
 * value, because errors quote anything.
 */

const secretKey =
  /token|passw|authorization|secret|credential|cookie|certificate-data|(^|-)key(-data)?$|^(env|environment|variables|kubeconfig-data)$/;
const secretValue: Array<[RegExp, string]> = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[private key]'],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, '$1 [redacted]'],
  [/\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, '[token]'],
  [/(\/\/[^/\s:@]+:)[^@\s/]+@/g, '$1[redacted]@'],
];
const depthLimit = 6;

export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (value instanceof Error) return redactError(value, depth);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= depthLimit) return '[deeper]';
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSecret(key, item) ? '[redacted]' : redact(item, depth + 1)]),
  );
}

/** Counts and flags about secrets are none. */
function isSecret(key: string, value: unknown): boolean {
  // `clientKeyData`, `client_key_data` and `client-key-data` are one.
  const words = key
    .replaceAll(/([a-z\d])([A-Z])/g, '$1-$2')
    .replaceAll(/[_. ]/g, '-')
    .toLowerCase();
  return secretKey.test(words) && value !== undefined && typeof value !== 'number' && typeof value !== 'boolean';
}

function redactText(text: string): string {
  return secretValue.reduce((redacted, [pattern, by]) => redacted.replaceAll(pattern, by), text);
}

function redactError(error: Error, depth: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return {
    name: error.name,
    message: redactText(error.message),
    ...(code === undefined ? {} : { code }),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined || depth >= depthLimit ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}
