/**
 * Makes a connection, step by step: records first, then the agent, then the tunnels, then the redirect, then the proof.
 * Undoing is not here: whatever step fails, `releaseSession` puts back what the cluster remembers.
 */
import type { V1Lease } from '@kubernetes/client-node';
import type { Warning } from '../../api/schema.ts';
import type { OpenInboundOptions } from '../../tunnel/inbound.ts';
import { DialError } from '../../tunnel/tunnel.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { agentRunning, type RunningAgent } from '../redirect/agent-wait.ts';
import { proveRedirect } from '../redirect/proof.ts';
import { createLease, leaseObject, renewLease } from '../redirect/lease.ts';
import type { KeeperCode } from '../redirect/keeper-objects.ts';
import { originalsSelector } from '../redirect/routes.ts';
import {
  agentReplicaSet,
  createOriginalsService,
  createReplicaSet,
  createSecret,
  ensureCode,
  originalsService,
  sessionSecret,
  type AgentCode,
} from '../redirect/session-objects.ts';
import { createRecordMap } from '../redirect/session-record.ts';
import { redirectService } from '../redirect/services.ts';
import { stopOriginals } from '../redirect/stop-original.ts';
import type { Prepared } from './prepare.ts';
import { confirmKeeper, provideKeeper } from './keeper.ts';
import { reachAgent } from './reach.ts';
import type { Session } from './session.ts';
import type { Tunnels } from './tunnels.ts';

export interface EstablishOptions {
  code: AgentCode;
  keeperCode: () => Promise<KeeperCode>;
  accept: OpenInboundOptions['accept'];
  onStep: (step: string, message: string) => void;
  /** Called once the Lease exists: from here on there is something to release. */
  onLease: (uid: string) => Promise<void>;
  /** The tunnels are the caller's from here on, also when a later step fails: what is open drains through them. */
  onTunnels: (tunnels: Tunnels, agent: RunningAgent) => void;
  /** Waits, bounded, for what must be had of the originals. */
  beforeStop: () => Promise<void>;
  onWarning: (warning: Warning) => void;
  signal: AbortSignal;
}

export interface Established {
  agent: RunningAgent;
  /** Names of the Services whose redirect is proved. */
  proved: string[];
  stopped: boolean;
  made: Session['made'];
}

export async function establish(cluster: Cluster, prepared: Prepared, options: EstablishOptions): Promise<Established> {
  const { session, record, workload, routes, template, agent } = prepared;
  const { signal, code } = options;
  const { id, namespace, request } = session;
  // What changes the cluster is not cut off half way (each is bounded by its own timeout): its outcome must be known
  // before anything is undone. An abort counts between two of them.
  const call: CallOptions = {};
  const onStep = (step: string, message: string): void => {
    signal.throwIfAborted();
    options.onStep(step, message);
  };
  onStep('lease', `writing the session's record (Lease ${session.leaseName})`);
  const lease = await createLease(
    cluster,
    leaseObject(namespace, session.leaseName, record, request.lapseSeconds),
    workload,
    call,
  );
  await options.onLease(lease.uid);
  const owners = [lease, await createRecordMap(cluster, namespace, record, call)];

  const hasPorts = workload !== undefined && routes !== undefined && routes.agentPorts.length > 0;
  onStep(
    'agent',
    workload === undefined ? 'starting the agent' : `starting the agent (a clone of the pod of ${workload.name})`,
  );
  let originals: NonNullable<Session['made']>['originals'];
  if (hasPorts) {
    const selector = originalsSelector(workload, routes.services);
    const service = originalsService(id, namespace, selector, routes, owners);
    originals = { address: await createOriginalsService(cluster, service, call), selector };
  }
  if (!session.image.hasAgent) await ensureCode(cluster, namespace, code, owners, call);
  await createSecret(
    cluster,
    sessionSecret(
      id,
      namespace,
      session.credentials,
      { ...agent, ...(originals === undefined ? {} : { originals: originals.address }) },
      owners,
    ),
    call,
  );
  signal.throwIfAborted();
  await createReplicaSet(cluster, agentReplicaSet(id, namespace, template, owners), call);
  const timeout = request.timeoutSeconds * 1000;
  const running = await agentRunning(cluster, {
    session: id,
    namespace,
    container: routes?.container.name ?? 'agent',
    image: session.image.name,
    timeout,
    signal,
    onWaiting: (reason) => onStep('waiting', `waiting for ${reason}`),
  });

  onStep('tunnel', `opening the tunnel to ${running.pod}`);
  const held = { name: session.leaseName, namespace, uid: lease.uid, holder: session.holder };
  const renew = (): Promise<V1Lease> => renewLease(cluster, held, call);
  const keeper = workload === undefined ? undefined : provideKeeper(cluster, prepared, await renew(), owners, options);
  const reach = async (): Promise<Tunnels> => {
    const opened = await reachAgent(cluster, session, running, options.accept, { timeout: 15_000, signal });
    options.onTunnels(opened, running);
    return opened;
  };
  const [tunnels] = await Promise.all([
    reach(),
    keeper?.known,
    // All of it before the first Service is touched: from then on this machine may vanish at any instant.
    keeper?.made,
  ]);
  const redirected = routes?.services ?? [];
  // Not after somebody took the workload over: he has put the Services back already.
  await renew();
  if (redirected.length > 0) {
    onStep('redirect', `redirecting ${redirected.map(({ service }) => service.metadata?.name).join(', ')}`);
    for (const { service } of redirected) {
      signal.throwIfAborted();
      await redirectService(cluster, service, id, call);
    }
    onStep('proof', 'proving that requests through the Service arrive here');
  }
  const proof = { session: id, namespace, targets: session.proofs, timeout: Math.min(timeout, 30_000), signal };
  const proved = await proveRedirect(cluster, { ...proof, tunnel: tunnels.outbound }).catch(async (error: unknown) => {
    // A machine that was asleep or without a network for a moment: the agent is there, only the way to it was lost.
    if (!(error instanceof DialError && error.tunnelEnded)) throw error;
    onStep('tunnel', `opening the tunnel to ${running.pod} again`);
    return proveRedirect(cluster, { ...proof, tunnel: (await reach()).outbound });
  });
  if (request.stopOriginal && workload !== undefined) {
    await options.beforeStop();
    if (!request.withoutKeeper) await confirmKeeper(cluster, session, { timeout, signal, onStep });
    onStep('stop', `stopping the originals (${workload.replicas} ${workload.replicas === 1 ? 'replica' : 'replicas'})`);
    await stopOriginals(cluster, workload, session.leaseName, record, { owners, patience: timeout, signal });
  }
  return { agent: running, proved, stopped: request.stopOriginal, made: { ports: agent.ports, originals } };
}
