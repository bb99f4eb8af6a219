/** The cluster's own certificate authority and the few certificates and keys that Kubernetes needs, made afresh by each `up`. */
// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 does not load without it
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const day = 24 * 60 * 60 * 1000;

interface Subject {
  commonName: string;
  organization?: string;
  /** Addresses and DNS names of a server. */
  names?: string[];
}

export interface Identity {
  certificate: string;
  key: string;
}

export interface Authority {
  certificate: string;
  issue(subject: Subject): Promise<Identity>;
}

export async function createAuthority(): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await generateKeys();
  const valid = validity();
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=bowline-test-ca',
    keys,
    signingAlgorithm: algorithm,
    ...valid,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificate: authority.toString('pem'),
    async issue(subject) {
      const own = await generateKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        subject: [
          { ...(subject.organization === undefined ? {} : { O: [subject.organization] }), CN: [subject.commonName] },
        ],
        issuer: authority.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        ...valid,
        extensions: [
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
          ...(subject.names === undefined ? [] : [alternativeNames(subject.names)]),
        ],
      });
      return { certificate: certificate.toString('pem'), key: await exportKey(own.privateKey, 'pkcs8') };
    },
  };
}

/** Writes NAME.crt and NAME.key. */
export function writeIdentity(folder: string, name: string, identity: Identity): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, `${name}.crt`), identity.certificate);
  writeFileSync(join(folder, `${name}.key`), identity.key, { mode: 0o600 });
}

/** The key pair that signs the tokens of ServiceAccounts. */
export async function createTokenKeys(): Promise<{ privateKey: string; publicKey: string }> {
  const keys = await generateKeys();
  return { privateKey: await exportKey(keys.privateKey, 'pkcs8'), publicKey: await exportKey(keys.publicKey, 'spki') };
}

function alternativeNames(names: string[]): x509.SubjectAlternativeNameExtension {
  return new x509.SubjectAlternativeNameExtension(
    names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
  );
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey, format: 'pkcs8' | 'spki'): Promise<string> {
  const label = format === 'spki' ? 'PUBLIC KEY' : 'PRIVATE KEY';
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey(format, key), label);
}

/** From yesterday, so that no clock that is a little behind refuses it. */
function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + 3650 * day) };
}
