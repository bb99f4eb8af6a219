/** What stands around a workload and behaves otherwise while it is redirected: said beforehand, changed never. */
import type { V1HorizontalPodAutoscaler, V1Pod } from '@kubernetes/client-node';
import type { Connection, Warning } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { horizontalPodAutoscalers, pods } from '../cluster/resources.ts';
import { sessionLabel } from '../redirect/objects.ts';
import type { Routes } from '../redirect/routes.ts';
import { describe, type Workload } from '../redirect/workload.ts';

export function headlessWarnings(routes: Routes): Warning[] {
  const headless = routes.services
    .filter(({ service }) => service.spec?.clusterIP === 'None')
    .map(({ service }) => service.metadata?.name);
  if (headless.length === 0) return [];
  return [
    {
      code: 'HEADLESS',
      message: `${headless.join(', ')} ${headless.length === 1 ? 'is' : 'are'} headless: callers come here when they look the name up again; open connections and cached addresses stay with the originals.`,
    },
  ];
}

/** Requests of two workloads at one program: it may be meant so, and is easily a slip. */
export function sharedPortWarnings(ports: Connection['ports'], others: readonly Connection[]): Warning[] {
  return ports.flatMap(({ local }) =>
    others
      .filter((other) => other.ports.some((port) => port.local === local))
      .map(({ name }) => ({
        code: 'LOCAL_PORT_SHARED',
        message: `Port ${local} of this machine answers for ${name} too: one program gets the requests of both. --port LOCAL:REMOTE names another one.`,
      })),
  );
}

export async function surroundings(
  cluster: Cluster,
  workload: Workload,
  routes: Routes,
  call: CallOptions,
): Promise<Warning[]> {
  const [scalers, all] = await Promise.all([
    // Whoever may not see them is told so by the doctor, and not at each connect.
    cluster.list(horizontalPodAutoscalers, { ...call, namespace: workload.namespace }).catch(() => []),
    routes.services.length === 0 ? [] : cluster.list(pods, { ...call, namespace: workload.namespace }),
  ]);
  const warnings: Warning[] = [];
  const scaler = scalers.find((each) => scales(each, workload));
  if (scaler !== undefined) {
    warnings.push({
      code: 'AUTOSCALER',
      message: `Autoscaler ${scaler.metadata?.name} averages over the labels of ${describe(workload)} and counts the agent pod too.`,
    });
  }
  for (const { service } of routes.services) {
    const { name } = service.metadata ?? {};
    const others = strangers(all, service.spec?.selector ?? {}, workload);
    if (others.length > 0) {
      warnings.push({
        code: 'SERVICE_SHARED',
        message: `Service ${name} also leads to ${others.slice(0, 3).join(', ')}${others.length > 3 ? ', ...' : ''}: while it is redirected, their share of its traffic comes here too.`,
      });
    }
    if (service.spec?.externalTrafficPolicy === 'Local' || service.spec?.internalTrafficPolicy === 'Local') {
      warnings.push({
        code: 'LOCAL_TRAFFIC',
        message: `Service ${name} keeps traffic on the node where it arrives (trafficPolicy Local): on nodes other than the agent's nobody answers.`,
      });
    }
  }
  return warnings;
}

export function scales({ spec }: V1HorizontalPodAutoscaler, { kind, name }: Workload): boolean {
  return spec?.scaleTargetRef.kind === kind && spec.scaleTargetRef.name === name;
}

/** Pods that the Service selects and that are not the workload's, nor an agent. */
function strangers(all: V1Pod[], selector: Record<string, string>, workload: Workload): string[] {
  const own = new Set(workload.pods.map((pod) => pod.metadata?.uid));
  return all
    .filter(
      ({ metadata }) => metadata?.deletionTimestamp === undefined && metadata?.labels?.[sessionLabel] === undefined,
    )
    .filter(({ metadata }) => Object.entries(selector).every(([key, value]) => metadata?.labels?.[key] === value))
    .filter(({ metadata }) => !own.has(metadata?.uid))
    .map(({ metadata }) => `pod ${metadata?.name}`);
}
