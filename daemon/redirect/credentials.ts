/** The two certificates of a session: self-signed, pinned by the other end, never reused. Kept in the session's state (0600) and Secret. */
import { webcrypto } from 'node:crypto';
import * as z from 'zod/mini';

export const SessionCredentials = z.object({
  daemonKey: z.string(),
  daemonCert: z.string(),
  agentKey: z.string(),
  agentCert: z.string(),
});
export type SessionCredentials = z.infer<typeof SessionCredentials>;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const day = 24 * 3600 * 1000;

/** Valid from a day ago (clocks differ) for a year (sessions end long before). The library is loaded on first use: it is large. */
export async function makeCredentials(session: string, now: Date): Promise<SessionCredentials> {
  await import('reflect-metadata');
  const { X509CertificateGenerator, cryptoProvider, PemConverter } = await import('@peculiar/x509');
  cryptoProvider.set(webcrypto as never); // the same object under another declaration (DOM and Node)
  const make = async (role: string, serialNumber: string) => {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber,
      name: `CN=bowline-${role}-${session}`,
      notBefore: new Date(now.getTime() - day),
      notAfter: new Date(now.getTime() + 365 * day),
      signingAlgorithm: algorithm,
      keys,
    });
    const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    return { key, cert: certificate.toString('pem') };
  };
  const [daemon, agent] = await Promise.all([make('daemon', '01'), make('agent', '02')]);
  return { daemonKey: daemon.key, daemonCert: daemon.cert, agentKey: agent.key, agentCert: agent.cert };
}
