/** The two tunnels of a connection over their pipes. They live and die together: half a tie is none. */
import type { OutboundTunnel, Tunnel, TunnelIdentity } from '../../tunnel/tunnel.ts';
import { openInbound, type OpenInboundOptions } from '../../tunnel/inbound.ts';
import { openOutbound } from '../../tunnel/outbound.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { PipeKind } from '../cluster/pipe.ts';
import type { Session } from './session.ts';

export interface Tunnels {
  readonly outbound: OutboundTunnel;
  readonly kind: PipeKind;
  /** Resolves with the reason when either has ended; the other is closed by then. */
  readonly closed: Promise<string>;
  close(): Promise<void>;
}

export async function openTunnels(
  cluster: Cluster,
  session: Session,
  pod: string,
  accept: OpenInboundOptions['accept'],
  signal: AbortSignal,
): Promise<Tunnels> {
  const { credentials, namespace, controlPort } = session;
  const identity: TunnelIdentity = {
    key: credentials.daemonKey,
    cert: credentials.daemonCert,
    peerCert: credentials.agentCert,
  };
  const address = { namespace, name: pod, port: controlPort };
  const outboundPipe = await cluster.openPipe(address, 'outbound', { signal });
  const outbound = await openOutbound(outboundPipe.stream, identity, { signal });
  let inbound: Tunnel | undefined;
  try {
    if (session.target !== undefined) {
      const inboundPipe = await cluster.openPipe(address, 'inbound', { signal });
      inbound = await openInbound(inboundPipe.stream, identity, { accept, signal });
    }
  } catch (error) {
    await outbound.close();
    throw error;
  }
  const close = async (): Promise<void> => {
    await Promise.all([outbound.close(), inbound?.close()]);
  };
  const closed = Promise.race([outbound.closed, ...(inbound === undefined ? [] : [inbound.closed])]).then(
    async (reason) => {
      await close();
      return reason;
    },
  );
  return { outbound, kind: outboundPipe.kind, closed, close };
}
