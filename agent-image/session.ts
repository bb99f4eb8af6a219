/** Reads what the daemon has put into the session's Secret. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TunnelIdentity } from '../tunnel/tunnel.ts';
import type { AgentSession } from './contract.ts';

export async function readSession(folder: string): Promise<{ session: AgentSession; identity: TunnelIdentity }> {
  const [key, cert, peerCert, session] = await Promise.all(
    ['agent.key', 'agent.crt', 'daemon.crt', 'session.json'].map((name) => readFile(join(folder, name), 'utf8')),
  );
  return {
    session: JSON.parse(session as string) as AgentSession,
    identity: { key: key as string, cert: cert as string, peerCert: peerCert as string },
  };
}
