/**
 * Names on the machine. Owns the scopes (one per connection), and brings listeners and hosts block in line with what the
 * clusters say: bursts of changes become one pass, passes never overlap, what did not change is not touched.
 */
import type { NamedService } from '../../api/schema.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Desired, HostEntry, LowPort } from '../../helper/protocol.ts';
import { DialError, type Target, type TunnelStream } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Log } from '../log.ts';
import { AddressBook, type AllocationStore } from './addresses.ts';
import { apiServerService, externalHost, hostNames, type CarriedPort, type CarriedService } from './carried.ts';
import { HelperLink, type ConnectHelper } from './helper-link.ts';
import { listenerKey, Listeners, type ListenerState, type WantedListener } from './listeners.ts';
import type { NamesAttachment, NamesManager, NamesScope } from './names.ts';
import { abortable, ServiceSource } from './source.ts';

export interface NamesOptions {
  connectHelper: ConnectHelper;
  allocationStore: AllocationStore;
  log: Log;
  platform: NodeJS.Platform;
  /** Salts the addresses, so that users of one machine seldom get the same ones. */
  uid: number;
  /** Milliseconds between tries of a port that another program has; default 2,000. */
  retryAfter?: number;
}

/** A burst of changes is waited for this long after its last one, but not longer than the second since its first. */
const settle = 50;
const settleAtMost = 250;

export async function startNames(options: NamesOptions, signal: AbortSignal): Promise<NamesManager> {
  const book = new AddressBook(await options.allocationStore.load(), String(options.uid));
  return new Names(options, book, signal);
}

interface Scope {
  options: NamesScope;
  source: SharedSource;
  services: NamedService[];
  /** What `onChange` was last called for. */
  announced: string;
}

interface SharedSource {
  source: ServiceSource;
  users: number;
}

/** One service of one cluster, and the scopes that see it. */
interface Entry {
  id: string;
  service: CarriedService;
  scopes: Scope[];
  address: string;
  names: string[];
  notes: string[];
}

class Names implements NamesManager {
  readonly #options: NamesOptions;
  readonly #book: AddressBook;
  readonly #listeners: Listeners;
  readonly #link: HelperLink;
  readonly #stop = new AbortController();
  readonly #lifetime: AbortSignal;
  readonly #sources = new Map<Cluster, SharedSource>();
  readonly #scopes: Scope[] = [];
  readonly #entries = new Map<string, Entry>();
  #pass: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #burstSince = 0;
  #retry: NodeJS.Timeout | undefined;
  #saved: Promise<void> = Promise.resolve();

  constructor(options: NamesOptions, book: AddressBook, signal: AbortSignal) {
    this.#options = options;
    this.#book = book;
    this.#listeners = new Listeners(options.platform);
    this.#lifetime = AbortSignal.any([signal, this.#stop.signal]);
    const { connectHelper: connect, log } = options;
    this.#link = new HelperLink({ connect, log, onChange: () => this.#changed() }, this.#lifetime);
  }

  async mode(): Promise<{ mode: 'hosts' | 'env'; reason?: string }> {
    try {
      await this.#link.connect();
      // One that was installed meanwhile: those who had to do without it hear of it here, as nobody asks for it all the time.
      for (const { options } of this.#scopes) if (options.mode === 'env') options.onHelper?.();
      return { mode: 'hosts' };
    } catch (error) {
      const { message, hint } = BowlineError.from(error);
      return { mode: 'env', reason: hint === undefined ? message : `${message} ${hint}` };
    }
  }

  async attach(options: NamesScope, caller: AbortSignal): Promise<NamesAttachment> {
    const signal = AbortSignal.any([caller, this.#lifetime]);
    const source = this.#share(options.cluster);
    const scope: Scope = { options: { ...options }, source, services: [], announced: '' };
    this.#scopes.push(scope);
    const detach = async (): Promise<void> => {
      const index = this.#scopes.indexOf(scope);
      if (index < 0) return;
      this.#scopes.splice(index, 1);
      this.#unshare(options.cluster, source);
      await this.#passNow();
    };
    try {
      const namespaces = new Set([options.namespace, ...(options.namespaces ?? [])]);
      await Promise.all([...namespaces].map((namespace) => source.source.cover(namespace, signal)));
      await abortable(this.#passNow(), signal);
    } catch (error) {
      await detach();
      throw error;
    }
    const useHosts = (): Promise<void> => {
      scope.options.mode = 'hosts';
      return this.#passNow();
    };
    return { services: () => scope.services, useHosts, [Symbol.asyncDispose]: detach };
  }

  async releaseFormer(): Promise<void> {
    this.#pass = this.#pass.then(() => (this.#scopes.length === 0 ? this.#link.releaseFormer() : undefined));
    await this.#pass;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new BowlineError('CANCELLED', 'Names are being taken down.'));
    clearTimeout(this.#timer);
    this.#scopes.length = 0;
    for (const { source } of this.#sources.values()) source[Symbol.dispose]();
    await this.#pass;
    clearTimeout(this.#retry);
    this.#listeners.close();
    await this.#link.release();
    await this.#saved;
  }

  #share(cluster: Cluster): SharedSource {
    let shared = this.#sources.get(cluster);
    if (shared === undefined) {
      shared = {
        source: new ServiceSource({ cluster, log: this.#options.log, onChange: () => this.#changed() }),
        users: 0,
      };
      this.#sources.set(cluster, shared);
    }
    shared.users += 1;
    return shared;
  }

  #unshare(cluster: Cluster, shared: SharedSource): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    shared.source[Symbol.dispose]();
    this.#sources.delete(cluster);
  }

  #changed(): void {
    if (this.#stop.signal.aborted) return;
    const now = performance.now();
    if (this.#timer === undefined) this.#burstSince = now;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(settle, this.#burstSince + settleAtMost - now));
    this.#timer = setTimeout(() => void this.#passNow(), wait);
  }

  /** Resolves after a pass that began after this call. */
  #passNow(again = false): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pass = this.#pass.then(() =>
      this.#run(again).catch((error: unknown) =>
        this.#options.log.error('names.pass-failed', { reason: String(error) }),
      ),
    );
    return this.#pass;
  }

  async #run(again: boolean): Promise<void> {
    clearTimeout(this.#retry);
    const hosts = this.#scopes.some(({ options }) => options.mode === 'hosts');
    // Known before ports are opened: what the helper can do decides which.
    if (hosts) await this.#link.connect().catch(() => undefined);
    this.#gather();
    this.#name();
    const wanted = [...this.#entries.values()].flatMap((entry) => this.#wantedListeners(entry));
    const states = await this.#listeners.apply(wanted);
    const desired = this.#desired(states);
    const led = new Set(desired.lowPorts.map(listenerKey));
    const refused = new Map<string, string>();
    let helperProblem: string | undefined;
    if (hosts) {
      const answer = await this.#link.apply(desired, again);
      if (answer instanceof BowlineError) helperProblem = answer.message;
      else for (const { what, reason } of answer.refused) refused.set(what, reason);
    } else {
      await this.#link.release();
    }
    for (const scope of this.#scopes) this.#announce(scope, { states, led, refused, helperProblem });
    const lowPortRefused = desired.lowPorts.some((low) => refused.has(listenerKey(low)));
    const taken = [...states.values()].some(({ local }) => local === undefined);
    // A helper that is gone is looked for by the link; one that could not write has to be asked again.
    const unwritten = helperProblem !== undefined && this.#link.connected;
    if (lowPortRefused || taken || unwritten) this.#retryLater(lowPortRefused);
  }

  /** What the sources say, with an address for each; the order of the scopes is the order in which they came. */
  #gather(): void {
    this.#entries.clear();
    for (const scope of this.#scopes) {
      const { context, server } = scope.options.cluster;
      const carried = wantedBy(scope);
      const own = (service: CarriedService): number => Number(service.namespace !== scope.options.namespace);
      for (const service of carried.sort((a, b) => own(a) - own(b))) {
        const id = `${context} ${server} ${service.namespace}/${service.service}`;
        const entry = this.#entries.get(id);
        if (entry === undefined) {
          this.#entries.set(id, { id, service, scopes: [scope], address: '', names: [], notes: [] });
        } else {
          entry.scopes.push(scope);
          if (service.external === true) entry.service = withPortsOf(entry.service, service);
        }
      }
    }
    const carried = [...this.#entries.values()].filter(({ service }) => service.problem === undefined);
    const { addresses, changed } = this.#book.assign(carried.map(({ id }) => id));
    for (const entry of carried) entry.address = addresses.get(entry.id) ?? '';
    if (changed) this.#save();
  }

  /** Each name belongs to the first that asks for it: earlier connections first, their own namespace before others. */
  #name(): void {
    const owners = new Map<string, Entry>();
    for (const scope of this.#scopes) {
      if (scope.options.mode !== 'hosts') continue;
      for (const entry of this.#entries.values()) {
        if (entry.address === '' || !entry.scopes.includes(scope)) continue;
        for (const name of hostNames(entry.service, scope.options)) {
          const owner = owners.get(name);
          if (owner === entry) continue;
          if (owner === undefined) {
            owners.set(name, entry);
            entry.names.push(name);
          } else {
            const { namespace, service } = owner.service;
            const note = `${name} is ${service} of namespace ${namespace} (context ${contextOf(owner)}), which was connected first.`;
            if (!entry.notes.includes(note)) entry.notes.push(note);
          }
        }
      }
    }
    for (const { names } of this.#entries.values()) names.sort((a, b) => a.length - b.length);
  }

  #wantedListeners({ id, service, address, names }: Entry): WantedListener[] {
    if (address === '') return [];
    const localPorts = new Set(this.#scopes.flatMap(({ options }) => options.localPorts ?? []));
    const redirected = names.length > 0 && this.#link.redirects;
    return service.ports.filter(isOpen).map(({ port }) => {
      const candidates = redirected ? [0] : candidatesFor(port, localPorts.has(port));
      return { address, port, candidates, dial: () => this.#dial(id, port) };
    });
  }

  /** Looked up for each connection: a scope may have gone, a pod may have another address. */
  #dial(id: string, port: number): TunnelStream {
    const entry = this.#entries.get(id);
    const target = pick(entry?.service.ports.find((one) => one.port === port && isOpen(one)));
    if (entry === undefined || target === undefined) throw new DialError('ECONNREFUSED', 'The service is gone.');
    const ownNamespaceFirst = entry.scopes.toSorted((a, b) => rank(a) - rank(b));
    let last: unknown;
    for (const { options } of ownNamespaceFirst) {
      try {
        return options.dial(target);
      } catch (error) {
        last = error;
      }
    }
    throw last;

    function rank(scope: Scope): number {
      return Number(scope.options.namespace !== entry?.service.namespace);
    }
  }

  #desired(states: Map<string, ListenerState>): Desired {
    const hosts: HostEntry[] = [];
    const lowPorts: LowPort[] = [];
    for (const { address, names, service } of this.#entries.values()) {
      if (names.length === 0) continue;
      hosts.push({ address, names });
      for (const { port } of service.ports.filter(isOpen)) {
        const local = states.get(listenerKey({ address, port }))?.local;
        const leads = port < 1024 || this.#link.redirects;
        if (local !== undefined && local !== port && leads) lowPorts.push({ address, port, targetPort: local });
      }
    }
    return { hosts, lowPorts };
  }

  #announce(scope: Scope, applied: Applied): void {
    const seen = [...this.#entries.values()].filter(({ scopes }) => scopes.includes(scope));
    const own = (entry: Entry): number => Number(entry.service.namespace !== scope.options.namespace);
    scope.services = seen.sort((a, b) => own(a) - own(b)).map((entry) => describe(entry, scope.options, applied));
    const text = JSON.stringify(scope.services);
    if (text === scope.announced) return;
    scope.announced = text;
    scope.options.onChange();
  }

  /** What is in the way may go: another program from a port, whatever keeps the hosts file from being written. */
  #retryLater(again: boolean): void {
    if (this.#stop.signal.aborted) return;
    this.#retry = setTimeout(() => void this.#passNow(again), this.#options.retryAfter ?? 2000);
    this.#retry.unref();
  }

  #save(): void {
    const { allocationStore, log } = this.#options;
    this.#saved = this.#saved
      .then(() => allocationStore.save(this.#book.entries()))
      .catch((error: unknown) => log.warn('names.addresses-not-saved', { reason: String(error) }));
  }
}

/** What a pass has come to. */
interface Applied {
  states: Map<string, ListenerState>;
  /** Ports that the helper was asked to lead to another, and what it refused of names and ports. */
  led: Set<string>;
  refused: Map<string, string>;
  helperProblem: string | undefined;
}

function describe({ service, address, names, notes }: Entry, scope: NamesScope, applied: Applied): NamedService {
  const { mode } = scope;
  const { states, led, refused, helperProblem } = applied;
  const named = {
    namespace: service.namespace,
    service: service.service,
    ...(service.external === true && { external: true }),
    ...(service.clusterIp !== undefined && { clusterIp: service.clusterIp }),
  };
  if (service.problem !== undefined) return { ...named, names: [], ports: [], problem: service.problem };
  const byName = mode === 'hosts' && helperProblem === undefined;
  const remarks = mode === 'hosts' ? [...notes] : [];
  for (const name of mode === 'hosts' ? names : [])
    if (refused.has(name)) remarks.push(`${name}: ${refused.get(name)}`);
  if (mode === 'hosts' && helperProblem !== undefined) remarks.push(helperProblem);
  const ports = service.ports.map((carried) => {
    const { port, name, protocol, problem: notCarried } = carried;
    if (!isOpen(carried))
      return {
        port,
        ...(name === undefined ? {} : { name }),
        ...(protocol === undefined ? {} : { protocol }),
        ...(notCarried === undefined ? {} : { problem: notCarried }),
      };
    const key = listenerKey({ address, port });
    const { local, problem = notCarried } = states.get(key) ?? {};
    const direct = local === port || (byName && led.has(key) && !refused.has(key));
    const elsewhere =
      byName && local !== undefined && !direct ? `It answers at ${address}:${local} instead.` : undefined;
    const why =
      elsewhere === undefined
        ? problem
        : `${refused.get(key) ?? `Port ${port} is left to your own program`}. ${elsewhere}`;
    return {
      port,
      ...(local === undefined ? {} : { local: direct ? port : local }),
      ...(name === undefined ? {} : { name }),
      ...(why === undefined ? {} : { problem: why }),
    };
  });
  const answering = byName ? names.filter((name) => !refused.has(name)) : [];
  const inPod = hostNames(service, scope);
  return {
    ...named,
    names: answering,
    ...(inPod.every((name) => answering.includes(name)) ? {} : { hostNames: inPod }),
    address,
    ports,
    ...(remarks.length === 0 ? {} : { notes: remarks }),
  };
}

/** Two connections may ask for different ports of one host. */
function withPortsOf(one: CarriedService, other: CarriedService): CarriedService {
  const more = other.ports.filter(({ port }) => !one.ports.some((known) => known.port === port));
  return { ...one, ports: [...one.ports, ...more] };
}

/** What the cluster says, and what the scope asks for beside it. */
function wantedBy({ options, source }: Scope): CarriedService[] {
  const known = source.source.carried();
  const hasApiServer = known.some(({ namespace, service }) => namespace === 'default' && service === 'kubernetes');
  return [
    ...known,
    ...(options.apiServer === true && !hasApiServer ? [apiServerService] : []),
    ...(options.externals ?? []).map(({ host, ports }) => externalHost(host, ports)),
  ];
}

/**
 * Which ports may stand for a Service's: its own number; without root for a low one the number plus 10,000, else any. The
 * number of a program of the user is not touched, for a listener on any address keeps a program from listening on all.
 */
function candidatesFor(port: number, isLocal: boolean): number[] {
  const other = port + 10_000 <= 65_535 ? [port + 10_000, 0] : [0];
  if (isLocal) return other;
  return port < 1024 ? [port, ...other] : [port];
}

/** UDP may share its number with TCP: only one of them is open. */
function isOpen(port: CarriedPort): boolean {
  return port.targets.length > 0;
}

/** Any of the ready pods, as the cluster's DNS would give it. */
function pick(port: CarriedPort | undefined): Target | undefined {
  const targets = port?.targets ?? [];
  return targets[Math.floor(Math.random() * targets.length)];
}

function contextOf({ scopes }: Entry): string {
  return scopes[0]?.options.cluster.context ?? '';
}
