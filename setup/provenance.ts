/**
 * Who vouches for each package: the registry, by its signature over name, version and checksum, and the build that made it, by
 * a provenance attestation. Signatures are checked here against the checksums of the lockfile; that there is an attestation is
 * only noted: `npm run supply-chain -- --signatures` has npm check them, for which it asks Sigstore too.
 * https://docs.npmjs.com/about-registry-signatures and https://docs.npmjs.com/generating-provenance-statements
 */
import { createPublicKey, verify, type KeyObject } from 'node:crypto';

export interface Package {
  name: string;
  version: string;
  /** As in the lockfile: `sha512-...`. */
  integrity: string;
}

export interface Vouched extends Package {
  signature: 'valid' | 'invalid' | 'missing';
  /** The kind of statement, an address; undefined where the package has none. */
  provenance?: string;
}

interface Version {
  dist?: {
    signatures?: Array<{ keyid: string; sig: string }>;
    attestations?: { provenance?: { predicateType?: string } };
  };
}

const atOnce = 12;

/** Throws where the registry is not to be reached, or knows nothing of signatures: a mirror, or one of a company. */
export async function vouchedFor(packages: Package[], registry: string, signal: AbortSignal): Promise<Vouched[]> {
  const ask = async <T>(path: string): Promise<T> => {
    const response = await fetch(new URL(path, registry.endsWith('/') ? registry : `${registry}/`), { signal });
    if (!response.ok) throw new Error(`the registry answers ${response.status} to ${path}`);
    return (await response.json()) as T;
  };
  const keys = await keysOf(() => ask('-/npm/v1/keys'));
  const found: Vouched[] = [];
  const waiting = packages.entries();
  const work = async (): Promise<void> => {
    for (const [index, each] of waiting) {
      const { dist } = await ask<Version>(`${each.name.replace('/', '%2f')}/${each.version}`);
      const provenance = dist?.attestations?.provenance?.predicateType;
      found[index] = {
        ...each,
        signature: signatureOf(each, dist?.signatures ?? [], keys),
        ...(provenance && { provenance }),
      };
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return found;
}

async function keysOf(
  ask: () => Promise<{ keys?: Array<{ keyid: string; key: string }> }>,
): Promise<Map<string, KeyObject>> {
  const { keys = [] } = await ask().catch((error: unknown) => {
    throw new Error('the registry shows no keys, so it signs nothing that could be checked', { cause: error });
  });
  if (keys.length === 0) throw new Error('the registry has no keys');
  return new Map(keys.map(({ keyid, key }) => [keyid, readKey(key)]));
}

const readKey = (key: string): KeyObject =>
  createPublicKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' });

function signatureOf(
  { name, version, integrity }: Package,
  signatures: Array<{ keyid: string; sig: string }>,
  keys: Map<string, KeyObject>,
): Vouched['signature'] {
  if (signatures.length === 0) return 'missing';
  const text = Buffer.from(`${name}@${version}:${integrity}`);
  const valid = signatures.some(({ keyid, sig }) => {
    const key = keys.get(keyid);
    return key !== undefined && verify('sha256', text, key, Buffer.from(sig, 'base64'));
  });
  return valid ? 'valid' : 'invalid';
}
