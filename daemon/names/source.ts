/**
 * The Services of one cluster as they are now, from watches: of all namespaces where the user may list them, else of each
 * namespace that is connected to. Owns the watches and what they have said; shared by all scopes of a cluster.
 */
import type { KubernetesObject, V1EndpointSlice, V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { Cluster, Right } from '../cluster/cluster.ts';
import { endpointSlices, services, type Resource } from '../cluster/resources.ts';
import type { Log } from '../log.ts';
import { carriedServices, isHeadless, isOurs, type CarriedService } from './carried.ts';

export interface ServiceSourceOptions {
  cluster: Cluster;
  log: Log;
  onChange: () => void;
  /** Milliseconds until the first answer of a watch; default 20,000. */
  timeout?: number;
}

/** Set by the controller of EndpointSlices; without it every slice of the cluster would have to be read. */
const headlessSlices = 'service.kubernetes.io/headless';

export class ServiceSource implements Disposable {
  readonly #options: ServiceSourceOptions;
  readonly #stop = new AbortController();
  readonly #feeds = new Map<string, { services: Feed<V1Service>; slices: Feed<V1EndpointSlice> }>();
  #wide: Promise<boolean> | undefined;

  constructor(options: ServiceSourceOptions) {
    this.#options = options;
  }

  /** Resolves when the Services of the namespace are known. */
  async cover(namespace: string, signal: AbortSignal): Promise<void> {
    this.#wide ??= this.#mayListAll();
    this.#wide.catch(() => (this.#wide = undefined));
    const scope = (await abortable(this.#wide, signal)) ? '' : namespace;
    const timeout = AbortSignal.timeout(this.#options.timeout ?? 20_000);
    const feed = this.#feed(scope);
    try {
      await abortable(Promise.all([feed.services.listed, feed.slices.tried]), AbortSignal.any([signal, timeout]));
    } catch (error) {
      if (signal.aborted || !timeout.aborted) throw error;
      const { trouble } = feed.services;
      throw new BowlineError(
        'API_ERROR',
        `The Services of namespace ${namespace} could not be listed: ${trouble ?? 'no answer in time'}.`,
      );
    }
  }

  /** Everything known, sorted. */
  carried(): CarriedService[] {
    const slices = new Map<string, V1EndpointSlice[]>();
    const found: V1Service[] = [];
    for (const feed of this.#feeds.values()) {
      for (const slice of feed.slices.objects.values()) {
        const key = `${slice.metadata?.namespace}/${slice.metadata?.labels?.['kubernetes.io/service-name']}`;
        slices.set(key, [...(slices.get(key) ?? []), slice]);
      }
      for (const service of feed.services.objects.values()) if (!isOurs(service)) found.push(service);
    }
    return found
      .flatMap((service) => carriedServices(service, isHeadless(service) ? (slices.get(keyOf(service)) ?? []) : []))
      .sort((a, b) => a.namespace.localeCompare(b.namespace) || a.service.localeCompare(b.service));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #mayListAll(): Promise<boolean> {
    const wanted: Right[] = ['list', 'watch'].flatMap((verb) => [
      { verb, group: '', resource: 'services' },
      { verb, group: 'discovery.k8s.io', resource: 'endpointslices' },
    ]);
    return (await this.#options.cluster.missingRights(wanted, { signal: this.#stop.signal })).length === 0;
  }

  #feed(namespace: string): { services: Feed<V1Service>; slices: Feed<V1EndpointSlice> } {
    const known = this.#feeds.get(namespace);
    if (known !== undefined) return known;
    const { cluster, log, onChange } = this.#options;
    const common = {
      cluster,
      namespace,
      log: log.child({ context: cluster.context, namespace }),
      onChange,
      signal: this.#stop.signal,
    };
    const feed = {
      services: new Feed({ ...common, resource: services }),
      slices: new Feed({ ...common, resource: endpointSlices, labelSelector: headlessSlices }),
    };
    this.#feeds.set(namespace, feed);
    return feed;
  }
}

interface FeedOptions<T extends KubernetesObject> {
  cluster: Cluster;
  resource: Resource<T>;
  /** Empty for all. */
  namespace: string;
  labelSelector?: string;
  log: Log;
  onChange: () => void;
  signal: AbortSignal;
}

/** One watch and the objects it has told of. */
class Feed<T extends KubernetesObject> {
  readonly objects = new Map<string, T>();
  /** The first list is there. */
  readonly listed: Promise<void>;
  /** The first list is there, or has failed once. */
  readonly tried: Promise<void>;
  trouble: string | undefined;

  constructor(options: FeedOptions<T>) {
    const listed = Promise.withResolvers<void>();
    const tried = Promise.withResolvers<void>();
    this.listed = listed.promise;
    this.tried = tried.promise;
    void this.#follow(options, listed.resolve, tried.resolve);
  }

  async #follow(
    { cluster, resource, namespace, labelSelector, log, onChange, signal }: FeedOptions<T>,
    listed: () => void,
    tried: () => void,
  ): Promise<void> {
    const scope = {
      ...(namespace === '' ? {} : { namespace }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
    };
    try {
      for await (const event of cluster.watch(resource, { ...scope, signal })) {
        if (event.type === 'trouble') {
          this.trouble = event.reason;
          log.warn('names.watch-trouble', { resource: resource.plural, reason: event.reason });
          tried();
          continue;
        }
        this.trouble = undefined;
        if (event.type === 'reset') {
          this.objects.clear();
          for (const object of event.objects) this.objects.set(keyOf(object), object);
          listed();
          tried();
        } else if (event.type === 'deleted') {
          this.objects.delete(keyOf(event.object));
        } else {
          this.objects.set(keyOf(event.object), event.object);
        }
        onChange();
      }
    } catch (error) {
      if (!signal.aborted) log.error('names.watch-ended', { resource: resource.plural, reason: String(error) });
    }
  }
}

function keyOf(object: KubernetesObject): string {
  return `${object.metadata?.namespace}/${object.metadata?.name}`;
}

/** The promise, or the signal's reason if that comes first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
