/**
 * The end of a session, from what the cluster itself remembers: used when a connection ends, when a connect fails half
 * way, when the daemon restarts over a half-done session, and by `restore` from any machine. Each step does nothing where
 * there is nothing left to do, so it may be run again after a kill at any instant.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import type { AgentStatus } from '../../agent-image/contract.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { configMaps, endpointSlices, leases, pods, replicaSets, secrets, services } from '../cluster/resources.ts';
import { originalsServiceName, sessionLabel, sessionObjectName } from './objects.ts';
import { accountOfKeeper, releaseKeeper } from './keeper.ts';
import { readOriginal, readRecord } from './record.ts';
import { restoreService } from './services.ts';
import { releaseCode } from './session-objects.ts';
import { findRecordMap } from './session-record.ts';
import { startOriginals } from './stop-original.ts';

export interface ReleaseOptions {
  session: string;
  /** Who we are in the Lease. Where somebody else holds it, Lease and originals are his, and only what the session made is removed. */
  holder: string;
  /** Empty where it is known that the Lease is gone. */
  leaseName: string;
  namespace: string;
  /** Milliseconds that open connections may take to finish. */
  drain: number;
  /** Milliseconds for stopped originals to become ready again. */
  patience: number;
  signal: AbortSignal;
  /** Leave what Lease and record map own to the garbage collector: slower, but needs no right to remove it. */
  collect?: boolean;
  /** The live agent, when there is a tunnel to it: told to send new connections to the originals, asked what is open. */
  agent?: { drain(): Promise<unknown>; status(): Promise<AgentStatus> };
  onStep: (step: string, message: string) => void;
}

/**
 * No new connection for this long means that kube-proxy (minSyncPeriod 1 s) leads nobody to the agent any more, and that no SYN
 * that was lost will be sent to it again, which is after 1 s (RFC 6298).
 */
const quietFor = 1200;
const settleFor = 1200;
/** On a busy node that takes longer; beyond this the agent has to serve them to their end by itself. */
const settleAtMost = 4000;
/**
 * Until everything is gone, and where only containers beside the agent are left that take their time: clones of sidecars that
 * drain for long, or do not hear SIGTERM. They have nobody left to serve, and kubelet ends them after the 12 s of the pod's
 * spec, which the garbage collector asks for before we can ask for less.
 */
const goneWithin = { all: 15_000, beside: 3_000 };
/**
 * Seconds for the agent to end. One that is not known to be quiet may hold requests for a machine of which it does not know yet that
 * it is gone: when its tunnel has been silent for 5 s it says them to the originals, whose Service must be there until then.
 */
const leave = { quiet: 5, busy: 12 };

/** Answers what was put back, in words. */
export async function releaseSession(cluster: Cluster, options: ReleaseOptions): Promise<string[]> {
  const { session, namespace, leaseName, signal, onStep } = options;
  const call = { signal };
  const done: string[] = [];
  const found = leaseName === '' ? undefined : await cluster.find(leases, leaseName, namespace, call);
  // The workload may be another session's by now: its Lease has the same name, and is none of ours.
  const ours = found?.metadata?.labels?.[sessionLabel] === session && found.spec?.holderIdentity === options.holder;
  const lease = ours ? found : undefined;
  const map = await findRecordMap(cluster, namespace, session, call);
  // Without any Lease what it said is in the map; the originals of somebody else's are his.
  const said = lease ?? (found === undefined ? map : undefined);
  const record = said === undefined ? undefined : readRecord(said);
  if (record?.stopped !== undefined) {
    onStep('originals', 'starting the originals again');
    const started = await startOriginals(cluster, namespace, record, { patience: options.patience, signal });
    if (started !== undefined) done.push(started);
  }
  const allServices = await cluster.list(services, { ...call, namespace });
  const redirected = allServices.filter((service) => readOriginal(service)?.session === session);
  let quiet = true;
  if (redirected.length > 0) {
    await options.agent?.drain().catch(() => undefined); // without the agent the machine still answers until the tunnel closes
    onStep('services', `putting back ${redirected.map((service) => service.metadata?.name).join(', ')}`);
    for (const service of redirected) {
      const name = service.metadata?.name ?? '';
      if (await restoreService(cluster, name, namespace, session, call))
        done.push(`Service ${name} selects its own pods again`);
    }
    onStep('drain', 'waiting for open connections');
    quiet = await drained(options);
  }
  onStep('remove', 'removing the agent');
  const ownServices = allServices.flatMap(({ metadata }) =>
    metadata?.name === originalsServiceName(session) ? [metadata.name] : [],
  );
  const leaseUid = lease?.metadata?.uid;
  const ownUids = new Set([leaseUid, map?.metadata?.uid].filter((uid) => uid !== undefined));
  if (options.collect !== true) await removeObjects(cluster, options, { ownUids, ownServices, quiet, done });
  if (ownUids.size === 0) return done;
  const keeper = options.collect === true ? undefined : await accountOfKeeper(cluster, namespace, ownUids, call);
  if (map !== undefined) await cluster.delete(configMaps, sessionObjectName(session), namespace, call);
  // Last, so that whoever finds a Lease finds a session that is not yet wholly released.
  if (leaseUid !== undefined)
    await cluster.delete(leases, leaseName, namespace, { ...call, preconditions: { uid: leaseUid } });
  if (keeper !== undefined) await releaseKeeper(cluster, namespace, keeper, ownUids, call);
  if (options.collect === true) done.push('the agent is left to the garbage collector');
  return done;
}

/**
 * Until nobody comes any more or waits for an original, and nothing is open or the time for it is over. False where the agent
 * cannot say so, or somebody still does: kube-proxy may be late.
 */
async function drained({ agent, drain, collect, signal }: ReleaseOptions): Promise<boolean> {
  const started = Date.now();
  for (;;) {
    await delay(100, undefined, { signal });
    const waited = Date.now() - started;
    if (waited < settleFor) continue;
    const status = await agent?.status().catch(() => undefined);
    if (status === undefined) {
      // The garbage collector takes the way to the originals at once: nobody may need it any more by then.
      if (collect === true && waited < settleAtMost) continue;
      return false;
    }
    const open = status.machine + status.originals;
    if (status.quiet >= quietFor && status.waiting === 0 && (open === 0 || waited > drain)) return true;
    if (waited > drain + settleAtMost) return false;
  }
}

interface Removal {
  /** Of those who own the rest. */
  ownUids: ReadonlySet<string>;
  ownServices: string[];
  quiet: boolean;
  done: string[];
}

async function removeObjects(cluster: Cluster, options: ReleaseOptions, removal: Removal): Promise<void> {
  const { session, namespace, signal } = options;
  const { ownUids, ownServices, quiet, done } = removal;
  const call: CallOptions = { signal };
  const labelSelector = `${sessionLabel}=${session}`;
  const removed = await cluster.delete(replicaSets, sessionObjectName(session), namespace, {
    ...call,
    propagationPolicy: 'Background',
  });
  if (removed) done.push('the agent is removed');
  const agents = await cluster.list(pods, { ...call, namespace, labelSelector });
  const gracePeriodSeconds = quiet ? leave.quiet : leave.busy;
  // Where there is none, the right to delete Services may lack too.
  const removeServices = (): Promise<unknown> =>
    Promise.all(ownServices.map((service) => cluster.delete(services, service, namespace, call)));
  await Promise.all([
    ...agents.map((pod) => cluster.delete(pods, pod.metadata?.name ?? '', namespace, { ...call, gracePeriodSeconds })),
    cluster.delete(secrets, sessionObjectName(session), namespace, call),
    releaseCode(cluster, namespace, ownUids, call),
    ...(quiet ? [removeServices()] : []),
  ]);
  await podGone(cluster, options, quiet);
  if (!quiet) await removeServices();
  await endpointsGone(cluster, options);
}

/** Bounded: the rest is the cluster's own work. */
async function podGone(cluster: Cluster, options: ReleaseOptions, quiet: boolean): Promise<void> {
  const { namespace, session, signal, onStep } = options;
  const started = Date.now();
  while (Date.now() - started < goneWithin.all) {
    const left = await cluster.list(pods, { signal, namespace, labelSelector: `${sessionLabel}=${session}` });
    if (left.length === 0) return;
    if (quiet && left.every(endsBeside) && Date.now() - started > goneWithin.beside) {
      onStep('ending', "leaving the clones of the pod's other containers to their end; nothing reaches them any more");
      return;
    }
    await delay(50, undefined, { signal });
  }
}

/** Of the Service by which the agent reaches the originals; bounded too. */
async function endpointsGone(cluster: Cluster, { namespace, session, signal }: ReleaseOptions): Promise<void> {
  const started = Date.now();
  const labelSelector = `kubernetes.io/service-name=${originalsServiceName(session)}`;
  while (Date.now() - started < goneWithin.all) {
    const left = await cluster.list(endpointSlices, { signal, namespace, labelSelector }).catch(() => []);
    if (left.length === 0) return;
    await delay(50, undefined, { signal });
  }
}

/** It is being deleted, and has others than the agent. */
const endsBeside = ({ metadata, spec }: V1Pod): boolean =>
  metadata?.deletionTimestamp !== undefined &&
  [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].length > 1;
