/** The names of one connection on this machine: how they are had, and what the user must know of them. Owns the attachment. */
import type { AgentCalls } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { NamedService } from '../../api/schema.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import { namespacesOf } from '../../env-parser/references.ts';
import { externalsOf, ownServicesOf } from '../environment/environment-file.ts';
import type { NamesAttachment, NamesManager } from '../names/names.ts';
import type { OnProgress } from './manager.ts';
import type { Tie } from './tie.ts';
import type { Traffic } from './traffic.ts';

/** The warning of a connection without names. */
const missing = 'HELPER_MISSING';

export interface ConnectionNamesOptions {
  manager: NamesManager;
  traffic: Traffic;
  file: EnvironmentFile | undefined;
}

export class ConnectionNames {
  private readonly tie: Tie;
  private readonly options: ConnectionNamesOptions;
  private attachment: NamesAttachment | undefined;
  private chosen: 'hosts' | 'env' | undefined;

  constructor(tie: Tie, options: ConnectionNamesOptions) {
    this.tie = tie;
    this.options = options;
  }

  /** `undefined` before they were attached. */
  get mode(): 'hosts' | 'env' | undefined {
    return this.chosen;
  }

  services(): NamedService[] {
    return this.attachment?.services() ?? [];
  }

  /** Once: later calls find them attached. Needs the tunnels. */
  async attach(onProgress: OnProgress, signal: AbortSignal): Promise<void> {
    if (this.attachment !== undefined) return;
    const { tie } = this;
    const { manager, traffic, file } = this.options;
    const mode = (this.chosen = await this.choose(onProgress));
    this.attachment = await manager.attach(
      {
        cluster: tie.cluster,
        namespace: tie.session.namespace,
        dial: (target) => traffic.dial(target),
        mode,
        clusterDomain: await this.clusterDomain(signal),
        apiServer: true,
        ...(file && {
          withoutNamespace: ownServicesOf(file, tie.session.namespace),
          namespaces: namespacesOf(file),
          externals: externalsOf(file),
        }),
        localPorts: tie.session.ports.map((port) => port.local),
        onChange: () => tie.changed('names'),
        ...(tie.session.request.names === 'auto' && { onHelper: () => void this.useHelper() }),
      },
      signal,
    );
    this.warnOfShadowed(onProgress);
  }

  /** It was installed after the connection was made. Never rejects. */
  private async useHelper(): Promise<void> {
    if (this.attachment === undefined || this.chosen === 'hosts') return;
    this.chosen = 'hosts';
    await this.attachment.useHosts();
    this.tie.unwarn(missing);
    this.warnOfShadowed(() => undefined);
    this.tie.changed('names');
  }

  async detach(): Promise<void> {
    await this.attachment?.[Symbol.asyncDispose]();
    this.attachment = undefined;
  }

  /** From the search list of the agent's resolv.conf, which has `svc.DOMAIN`. */
  async clusterDomain(signal: AbortSignal): Promise<string> {
    const name = 'kubernetes.default.svc';
    const answer = (await this.tie.tunnels?.outbound.call('resolve', { name }, signal).catch(() => undefined)) as
      | AgentCalls['resolve']['answer']
      | undefined;
    const found = answer?.search
      .map((domain) => /^svc\.(.+)$/.exec(domain)?.[1])
      .find((domain) => domain !== undefined);
    return found ?? 'cluster.local';
  }

  private async choose(onProgress: OnProgress): Promise<'hosts' | 'env'> {
    const wanted = this.tie.session.request.names;
    const possible = wanted === 'env' ? { mode: 'env' as const } : await this.options.manager.mode();
    if (possible.mode === 'env' && wanted === 'hosts') {
      throw new BowlineError(
        'HELPER_MISSING',
        `Names in the hosts file need the helper, and it does not answer: ${'reason' in possible ? possible.reason : ''}`,
        {
          hint: 'Run `bowline helper install` once (it asks for administrator rights), or use --names env.',
        },
      );
    }
    if (possible.mode === 'env' && wanted === 'auto') {
      this.tie.warn(
        {
          code: missing,
          message:
            'The helper is not installed, so the services do not answer by their names on this machine as a whole; they answer at the addresses of the *_SERVICE_HOST and *_SERVICE_PORT variables (`bowline env`), and by name in a command behind -- on Linux. Ports below 1024 answer at other numbers, which `bowline status` shows. `bowline helper install` makes names and ports work everywhere.',
        },
        onProgress,
      );
    }
    return possible.mode;
  }

  /** A program that looks up a short name of another connection would silently talk to the wrong service. */
  private warnOfShadowed(onProgress: OnProgress): void {
    const { namespace } = this.tie.session;
    const own = this.services().filter((each) => each.namespace === namespace && each.address !== undefined);
    const shadowed = own.filter(({ service, names }) => names.length > 0 && !names.includes(service));
    if (shadowed.length === 0) return;
    const names = shadowed.map(({ service }) => service);
    this.tie.warn(
      {
        code: 'NAMES_TAKEN',
        message: `On this machine ${names.join(', ')} ${names.length === 1 ? 'leads' : 'lead'} elsewhere, to what was connected first or is in the hosts file already. Use ${names[0]}.${namespace}, or disconnect the other.`,
      },
      onProgress,
    );
  }
}
