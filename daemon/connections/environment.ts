/** What the container that a connection stands in for has: its environment here, and the pod's side of a comparison. */
import type { V1Container } from '@kubernetes/client-node';
import type { AgentCalls } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Environment, KnownNames, PodInspection } from '../../api/schema.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import { namespacesOf } from '../../env-parser/references.ts';
import { containerVariables, type ContainerInput } from '../environment/container.ts';
import { environmentOf, type EnvironmentUse } from '../environment/environment.ts';
import { imageVariables } from '../environment/image.ts';
import { knownServices } from '../environment/known-services.ts';
import type { ProcessFacts } from '../environment/process.ts';
import { resolveEnvironmentFile } from '../environment/resolve-file.ts';
import { inspectPod } from '../fidelity/inspect-pod.ts';
import { originalOf, processFacts, workloadOf } from './facts.ts';
import type { WantedFiles } from './files.ts';
import type { ConnectionNames } from './names.ts';
import type { Tie } from './tie.ts';

export interface ConnectionEnvironmentOptions {
  names: ConnectionNames;
  files: WantedFiles;
  file: EnvironmentFile | undefined;
}

export class ConnectionEnvironment {
  private readonly tie: Tie;
  private readonly options: ConnectionEnvironmentOptions;
  /** Asked for once more where a connect got none: then there is nothing to read, and not just a slow answer. */
  private facts: Promise<ProcessFacts | undefined> | undefined;

  constructor(tie: Tie, options: ConnectionEnvironmentOptions) {
    this.tie = tie;
    this.options = options;
  }

  /** What an original's process said before the originals may have been stopped. */
  know(facts: ProcessFacts | undefined): void {
    this.facts = facts && Promise.resolve(facts);
  }

  async read({ inPlace, kept = [] }: EnvironmentUse, signal: AbortSignal): Promise<Environment> {
    this.facts ??= this.readFacts(signal).catch((error: unknown) => {
      this.facts = undefined;
      throw error;
    });
    const { namespace, server, target } = this.tie.session;
    const { names, files: wanted, file } = this.options;
    const services = names.services();
    const files = wanted.snapshot();
    const placed = await wanted.placed(signal);
    return environmentOf({
      ...this.containerInput(await this.facts, signal),
      services,
      namespace,
      mode: names.mode ?? 'env',
      server,
      inPlace,
      kept,
      files,
      file: resolveEnvironmentFile(file, {
        services,
        namespace,
        serviceAccount: target?.serviceAccount,
        files,
        placed,
        inPlace,
        kept,
      }),
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    });
  }

  /** As a connect checks it: volumes of an original, Services of the namespaces. */
  async known(namespaces: readonly string[], signal: AbortSignal): Promise<KnownNames> {
    const { cluster, name, session } = this.tie;
    const { namespace, target } = session;
    const [found, original] = await Promise.all([
      knownServices(cluster, [namespace, ...namespaces], { signal }),
      this.containerInput(undefined, signal).original(),
    ]);
    const mounts = original?.container.volumeMounts?.map((mount) => mount.name);
    const copied = this.options.files.snapshot()?.mounts.map(({ volume }) => volume);
    const volumes = target === undefined ? [] : (mounts ?? copied);
    return {
      connection: name,
      namespace,
      ...(volumes && { volumes: [...new Set(volumes)] }),
      serviceAccount: target?.serviceAccount,
      ...found,
      unchecked: found.unchecked.map(({ error, ...place }) => ({ ...place, why: error.message })),
    };
  }

  /** The pod's side of a comparison with this machine: everything is asked anew. */
  async inspect(key: string, signal: AbortSignal): Promise<PodInspection> {
    const { tunnels, name, state, session, cluster } = this.tie;
    const { target, namespace } = session;
    if (target === undefined)
      throw new BowlineError('BAD_ARGUMENT', `${name} stands in for no pod: there is nothing to compare with.`, {
        hint: 'Name a workload: `bowline doctor deploy/NAME --fidelity`.',
      });
    if (tunnels === undefined)
      throw new BowlineError('PIPE_FAILED', `${name} is ${state}: the agent cannot be asked.`, {
        hint: `\`bowline status ${name}\` shows why; try again when it is connected.`,
      });
    const facts = await this.readFacts(signal);
    const container = this.containerInput(facts, signal);
    const { names, file } = this.options;
    return inspectPod(
      {
        cluster,
        namespace,
        container: target.container,
        original: await container.original(),
        tunnel: tunnels.outbound,
        carried: names.services(),
        namespaces: file === undefined ? [] : namespacesOf(file),
        clusterDomain: await names.clusterDomain(signal),
        variables: await containerVariables(container),
        uid: facts?.uid,
        key,
      },
      signal,
    );
  }

  /** The ways to what the container itself has. */
  private containerInput(facts: ProcessFacts | undefined, signal: AbortSignal): ContainerInput {
    const { target } = this.tie.session;
    const fromAgent = async (): Promise<Record<string, string> | undefined> => {
      const answer = (await this.tie.tunnels?.outbound.call('environment', {}, signal).catch(() => undefined)) as
        | AgentCalls['environment']['answer']
        | undefined;
      return answer?.variables;
    };
    let asked: ReturnType<ContainerInput['original']> | undefined;
    const original = (): ReturnType<ContainerInput['original']> =>
      (asked ??= workloadOf(this.tie.cluster, this.tie.session, signal).then(
        (workload) => workload && target && originalOf(workload, target.container),
      ));
    return {
      redirected: target !== undefined,
      facts,
      fromAgent,
      fromImage: async () => {
        const container = (await original())?.container;
        return container && this.imageVariables(container, signal);
      },
      original,
    };
  }

  /** Where the process cannot be read; `undefined` where this is not possible either. */
  private async imageVariables(
    container: V1Container,
    signal: AbortSignal,
  ): Promise<Record<string, string> | undefined> {
    const { agent, tunnels, cluster, session } = this.tie;
    if (agent === undefined || tunnels === undefined) return undefined;
    const call = (name: 'layOutProgram' | 'imageVariables', stop: AbortSignal): Promise<never> =>
      tunnels.outbound.call(name, {}, stop) as Promise<never>;
    return imageVariables({ cluster, namespace: session.namespace, pod: agent.pod, container, call }, signal);
  }

  /** A restarted daemon asks an original again; there is none where they are stopped. */
  private async readFacts(signal: AbortSignal): Promise<ProcessFacts | undefined> {
    const { cluster, session } = this.tie;
    const { target } = session;
    const workload = await workloadOf(cluster, session, signal);
    return workload && target && processFacts(cluster, workload, target.container, { signal });
  }
}
