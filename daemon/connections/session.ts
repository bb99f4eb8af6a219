/**
 * What is saved of a connection before it acts: enough, together with the cluster, to finish or undo it after a kill at
 * any instant. Holds the session's private keys: the file is 0600, and no part of it goes into a log.
 */
import { randomBytes } from 'node:crypto';
import * as z from 'zod/mini';
import { Connection, ConnectRequest, Warning } from '../../api/schema.ts';
import { ProofTarget } from '../redirect/proof.ts';
import { SessionCredentials } from '../redirect/credentials.ts';

const AgentPort = z.object({
  port: z.number(),
  protocol: z.enum(['TCP', 'UDP']),
  to: z.enum(['machine', 'originals']),
  ifDown: z.enum(['refuse', 'original']),
});

export const Session = z.object({
  schema: z.literal(1),
  id: z.string(),
  name: z.string(),
  /** connecting and disconnecting are undone by a daemon that finds them; connected is taken up again. */
  phase: z.enum(['connecting', 'connected', 'disconnecting']),
  since: z.string(),
  request: ConnectRequest,
  context: z.string(),
  server: z.string(),
  namespace: z.string(),
  leaseName: z.string(),
  leaseUid: z.optional(z.string()),
  /** Who we are in the Lease. */
  holder: z.string(),
  controlPort: z.number(),
  image: z.object({ name: z.string(), hasAgent: z.boolean() }),
  credentials: SessionCredentials,
  target: Connection.shape.target,
  ports: Connection.shape.ports,
  passedOn: Connection.shape.passedOn,
  proofs: z.array(ProofTarget),
  originals: Connection.shape.originals,
  /** What the agent was told, and whom the way to the originals selects: to make its Secret and that Service again. */
  made: z.optional(
    z.object({
      ports: z.array(AgentPort),
      originals: z.optional(z.object({ address: z.string(), selector: z.record(z.string(), z.string()) })),
    }),
  ),
  /** The Services lead to the originals, or are on the way there, until an agent can be reached again. */
  suspended: z.optional(z.boolean()),
  /** Services to which somebody else gave another selector: they are not redirected again. */
  yielded: z.optional(z.array(z.string())),
  warnings: z.array(Warning),
});
export type Session = z.infer<typeof Session>;

/** What is known of a connection before it is taken up again. */
export function savedConnection(session: Session, reason: string): Connection {
  const { id, name, context, server, namespace, target, ports, passedOn, originals, warnings, since } = session;
  const state = session.phase === 'connected' ? 'reconnecting' : 'disconnecting';
  const place = { id, name, context, server, namespace, target };
  return { ...place, state, reason, since, ports, passedOn, originals, services: [], warnings };
}

/** Ten lower-case letters and digits, the first a letter: fits into names and label values. */
export function newSessionId(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
  const bytes = randomBytes(10);
  return [...bytes].map((byte, index) => alphabet[byte % (index === 0 ? 24 : alphabet.length)]).join('');
}

/** The store of sessions: one file each, written atomically (daemon/state/). */
export interface SessionStore {
  load(): Promise<Map<string, Session>>;
  save(id: string, session: Session): Promise<void>;
  remove(id: string): Promise<void>;
}
