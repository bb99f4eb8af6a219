/**
 * What stands in the way of connecting to one workload: everything that `connect` finds before it touches anything, then
 * what the API server says of the agent's pod (a dry run), its image on the nodes, who else manages the workload, and the
 * ports of this machine.
 */
import type { V1PodTemplateSpec, V1ReplicaSet } from '@kubernetes/client-node';
import type { DoctorCheck } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { horizontalPodAutoscalers, nodes, pods, services } from '../cluster/resources.ts';
import { describe, findWorkload, type Workload } from '../redirect/workload.ts';
import { scales } from '../connections/surroundings.ts';
import { failure, ok, warning } from './check.ts';
import type { ClusterChecked } from './cluster.ts';
import { localPorts, type PortPair } from './local-ports.ts';
import { notAllowed } from './namespace.ts';
import { ownersOf } from './owners.ts';

export async function checkTarget(checked: ClusterChecked): Promise<DoctorCheck[]> {
  const { request, held, planned, uid } = checked;
  const { target } = request;
  if (target === undefined) return [];
  if (held !== undefined) {
    const down = new Set(held.down?.map(({ local }) => local));
    return [
      ok('target', `${target} is connected as ${held.name} (${held.state}); \`bowline status\` has the rest.`),
      ...(held.down ?? []).map(({ local, callers }) =>
        warning(
          'local-port',
          `Nothing listens on localhost:${local}: ${callers === 'reset' ? 'its callers are reset' : 'the originals answer instead'}.`,
          'Start your program; --if-down decides what callers get while it does not run.',
        ),
      ),
      ...(await localPorts(
        held.ports.filter(({ local }) => !down.has(local)),
        uid,
      )),
      ...(await around(checked, target)),
    ];
  }
  try {
    const plan = await planned!;
    const template = (
      plan.actions.map(({ body }) => body as V1ReplicaSet | undefined).find((body) => body?.kind === 'ReplicaSet')
        ?.spec as { template?: V1PodTemplateSpec } | undefined
    )?.template;
    const patched = plan.actions.filter(({ why }) => why === 'the redirect').map(({ object }) => object);
    return [
      ok('target', `${target} can be redirected: ${patched.length === 0 ? 'it has no Service' : patched.join(', ')}.`),
      // The autoscaler has a line of its own.
      ...plan.warnings
        .filter(({ code }) => code !== 'AUTOSCALER')
        .map(({ code, message }) => warning(`target-${code.toLowerCase()}`, message, 'Good to know.')),
      ...(template === undefined ? [] : await Promise.all([admission(checked, template), image(checked, template)])),
      ...(await around(checked, target)),
      ...(template === undefined ? [] : await localPorts(portsOf(template), uid)),
    ];
  } catch (error) {
    return [failure('target', error)];
  }
}

/** The ports of the pod, under their own numbers: what `connect` takes where --port does not say otherwise. */
function portsOf(template: V1PodTemplateSpec): PortPair[] {
  const all = template.spec?.containers.flatMap(({ ports }) => ports ?? []) ?? [];
  const tcp = all.filter(({ protocol }) => protocol === undefined || protocol === 'TCP');
  return [...new Set(tcp.map(({ containerPort }) => containerPort))].map((port) => ({ local: port, remote: port }));
}

/** Pod Security, quotas, limit ranges and webhooks, all as the API server itself judges them. */
async function admission(
  { cluster, namespace, signal }: ClusterChecked,
  template: V1PodTemplateSpec,
): Promise<DoctorCheck> {
  const body = { metadata: { ...template.metadata, name: 'bowline-doctor', namespace }, spec: template.spec! };
  try {
    await cluster.create(pods, body, { dryRun: true, signal });
    return ok('admission', "The API server would admit the agent's pod (asked with a dry run).");
  } catch (error) {
    if (!notAllowed(error)) return failure('admission', error);
    return warning(
      'admission',
      'You may not create pods yourself, so the API server could not be asked whether it admits the agent.',
      'Nothing to do: a refusal would be told by `bowline connect`.',
    );
  }
}

/** A pull cannot be tried without a pod; nodes say which images they have (kubelet reports the 50 largest by default). */
async function image({ cluster, signal }: ClusterChecked, template: V1PodTemplateSpec): Promise<DoctorCheck> {
  const name = template.spec?.containers.find(({ command }) =>
    command?.some((word) => word.endsWith('agent.mjs')),
  )?.image;
  if (name === undefined) return ok('image', 'The image brings the agent itself.');
  try {
    const all = await cluster.list(nodes, { signal });
    const having = all.filter(({ status }) => status?.images?.some(({ names }) => names?.includes(name)));
    if (having.length > 0) return ok('image', `${name} is on ${having.length} of ${all.length} nodes already.`);
    return warning(
      'image',
      `No node reports ${name}: it is pulled when the first agent starts.`,
      'Where the cluster may not pull from there, give an image of your own with Node 24 (`--agent-image`).',
    );
  } catch (error) {
    if (!notAllowed(error)) return failure('image', error);
    return warning(
      'image',
      `You may not look at nodes, so it is not known whether ${name} must be pulled.`,
      'Nothing to do: a pull that fails is told by `bowline connect`.',
    );
  }
}

/** Who else has a hand in the workload. */
async function around({ cluster, namespace, signal }: ClusterChecked, target: string): Promise<DoctorCheck[]> {
  const call = { signal };
  const workload = await findWorkload(cluster, namespace, target, call);
  return (await Promise.all([ownership(cluster, workload, call), autoscaler(cluster, workload, call)])).flat();
}

async function autoscaler(cluster: Cluster, workload: Workload, call: CallOptions): Promise<DoctorCheck[]> {
  const what = describe(workload);
  try {
    const all = await cluster.list(horizontalPodAutoscalers, { ...call, namespace: workload.namespace });
    const names = all.filter((scaler) => scales(scaler, workload)).map(({ metadata }) => metadata?.name);
    if (names.length === 0) return [ok('autoscaler', `No HorizontalPodAutoscaler scales ${what}.`)];
    return [
      warning(
        'autoscaler',
        `${what} is scaled by HorizontalPodAutoscaler ${names.join(', ')}, which counts the agent's pod too.`,
        'Its average is lower while you are connected, and so may be the number of originals. With --stop-original it rests as long as they do.',
      ),
    ];
  } catch (error) {
    if (!notAllowed(error)) return [failure('autoscaler', error)];
    return [
      warning(
        'autoscaler',
        `You may not look at HorizontalPodAutoscalers, so it is not known whether one scales ${what}.`,
        "If one does, it counts the agent's pod too.",
      ),
    ];
  }
}

async function ownership(cluster: Cluster, workload: Workload, call: CallOptions): Promise<DoctorCheck[]> {
  const { namespace } = workload;
  const selected = (await cluster.list(services, { ...call, namespace })).filter(({ spec }) => selects(spec, workload));
  const found = [workload.object, ...selected].flatMap((object) => ownersOf(object));
  const owners = [...new Map(found.map((owner) => [owner.tool, owner])).values()];
  if (owners.length === 0) return [ok('owner', `No deployment tool shows itself on ${describe(workload)}.`)];
  return owners.map(({ tool, says, restoresSelectors }) =>
    restoresSelectors
      ? warning(
          'owner',
          `${describe(workload)} is managed by ${tool} (${says}).`,
          `${tool} may put a redirected Service back at its next sync; \`bowline status\` says so when it happens. Pause its sync, or let it ignore /spec/selector of the Service.`,
        )
      : ok('owner', `${describe(workload)} was installed by ${tool} (${says}); a redirect does not disturb it.`),
  );
}

function selects(spec: { selector?: Record<string, string> } | undefined, { template }: Workload): boolean {
  const selector = Object.entries(spec?.selector ?? {});
  return selector.length > 0 && selector.every(([key, value]) => template.metadata?.labels?.[key] === value);
}
