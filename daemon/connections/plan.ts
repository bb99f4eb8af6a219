/** What `connect --dry-run` prints: every object and patch that `establish` would send, in its order. */
import type { Plan } from '../../api/schema.ts';
import { keeperAccount, keeperObjects, type KeeperCode } from '../redirect/keeper-objects.ts';
import { leaseObject } from '../redirect/lease.ts';
import { originalsSelector } from '../redirect/routes.ts';
import { redirectPatch } from '../redirect/services.ts';
import { sessionObjectName } from '../redirect/objects.ts';
import { keptPod, stoppedPatch, withStopped } from '../redirect/stop-original.ts';
import {
  agentReplicaSet,
  codeConfigMap,
  originalsService,
  sessionSecret,
  type AgentCode,
} from '../redirect/session-objects.ts';
import { recordMap } from '../redirect/session-record.ts';
import { describe } from '../redirect/workload.ts';
import type { Prepared } from './prepare.ts';

export function planOf(prepared: Prepared, code: AgentCode, keeperCode: KeeperCode, namesMode: 'hosts' | 'env'): Plan {
  const { session, record, workload, routes, template, agent } = prepared;
  const { id, namespace } = session;
  const secret = sessionSecret(id, namespace, session.credentials, agent);
  const masked = {
    ...secret,
    stringData: Object.fromEntries(
      Object.entries(secret.stringData ?? {}).map(([key, value]) => [key, key.endsWith('.json') ? value : '***']),
    ),
  };
  const actions: Plan['actions'] = [
    create(
      leaseObject(namespace, session.leaseName, record, session.request.lapseSeconds),
      'says who redirects, and what to put back; owns the rest',
    ),
    create(recordMap(namespace, record), 'the same once more: with one of the two deleted, the rest stays'),
  ];
  if (workload !== undefined && routes !== undefined && routes.agentPorts.length > 0) {
    actions.push(
      create(
        originalsService(id, namespace, originalsSelector(workload, routes.services), routes),
        'the way to the originals, for ports not asked for and while the machine does not answer',
      ),
    );
  }
  if (!session.image.hasAgent)
    actions.push(
      create(
        { ...codeConfigMap(namespace, { code: `(${code.code.length} bytes)`, hash: code.hash }) },
        'the agent, carried by this machine',
      ),
    );
  actions.push(
    create(masked, 'certificates and settings of this session'),
    create(agentReplicaSet(id, namespace, template), 'the agent: the pod template with one container swapped'),
  );
  if (workload !== undefined && prepared.mayMakeKeeper) {
    const {
      access,
      code: keeper,
      deployment,
    } = keeperObjects({
      namespace,
      scope: 'namespace',
      image: session.image.name,
      code: { ...keeperCode, code: `(${keeperCode.code.length} bytes)` },
    });
    const why = 'the keeper, unless one of the cluster or of another session is there';
    for (const object of [keeperAccount(namespace), ...access, keeper, deployment]) actions.push(create(object, why));
  }
  for (const { service } of routes?.services ?? []) {
    actions.push({
      verb: 'patch',
      object: `services/${service.metadata?.name}`,
      why: 'the redirect',
      body: redirectPatch(service, id),
    });
  }
  if (session.request.stopOriginal && workload !== undefined) {
    const why = '--stop-original: what to put back';
    const kept = keptPod(workload, id);
    if (kept !== undefined) actions.push(create(kept, why));
    const { body } = stoppedPatch(withStopped(record, workload));
    for (const object of [`configmaps/${sessionObjectName(id)}`, `leases/${session.leaseName}`])
      actions.push({ verb: 'patch', object, why, body });
    actions.push({
      verb: workload.kind === 'Pod' ? 'delete' : 'scale',
      object: describe(workload),
      why: '--stop-original',
      body: { replicas: 0, before: workload.replicas },
    });
  }
  actions.push({
    verb: 'machine',
    object: namesMode,
    why:
      namesMode === 'hosts'
        ? 'the Services by their names: one marked block in the hosts file, loopback addresses in 127.66.0.0/16'
        : 'the Services on loopback addresses, announced by variables only',
  });
  return { actions, warnings: session.warnings };
}

function create(object: { kind?: string; metadata?: { name?: string } }, why: string): Plan['actions'][number] {
  return { verb: 'create', object: `${object.kind?.toLowerCase()}s/${object.metadata?.name}`, why, body: object };
}
