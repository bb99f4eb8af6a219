/** From entries with tokens to variables, with what the connection knows. */
import type { EnvironmentFile, ExternalToken, Problem, ServiceToken, Token, VolumeToken } from './environment-file.ts';
import { missingMessage, ofOptional } from './references.ts';
import { ProblemList } from './source.ts';

/** What tokens stand for on this machine. `undefined`: it is not there. */
export interface Resolver {
  /** The local folder or file, absolute. */
  volume: (token: VolumeToken) => string | undefined;
  /** The local IP address. */
  service: (token: ServiceToken) => string | undefined;
  /** The name or address under which the host answers here. */
  external: (token: ExternalToken) => string | undefined;
}

export interface ResolvedEntries {
  variables: Record<string, string>;
  /** Tokens that stand for nothing and are not optional. */
  missing: Problem[];
  /** Names of the entries that a missing optional token left out: the variable is then whatever it is without the file. */
  leftOut: string[];
}

export function resolveEntries(file: EnvironmentFile, resolver: Resolver): ResolvedEntries {
  const variables = new Map<string, string>();
  const missing = new ProblemList(file.source);
  const leftOut = new Set<string>();
  for (const { name, parts } of file.entries) {
    const values = parts.map((part) => (typeof part === 'string' ? part : resolve(part, resolver)));
    const absent = parts.filter(
      (part, index): part is Token => typeof part !== 'string' && values[index] === undefined,
    );
    for (const token of absent) {
      if (!token.optional) missing.add(token.position, missingMessage(token), { expected: ofOptional });
    }
    // The last entry of a name counts, also when it is left out.
    variables.delete(name);
    leftOut.delete(name);
    if (absent.length > 0) leftOut.add(name);
    else variables.set(name, values.join(''));
  }
  return { variables: Object.fromEntries(variables), missing: missing.all(), leftOut: [...leftOut] };
}

function resolve(token: Token, resolver: Resolver): string | undefined {
  if (token.kind === 'volume') return resolver.volume(token);
  return token.kind === 'service' ? resolver.service(token) : resolver.external(token);
}
