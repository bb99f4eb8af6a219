/**
 * List and watch as one endless iterable. What the consumer has seen is always one consistent state: after anything
 * that may have lost a change (410, an unreadable line) everything is listed again and given as a `reset`.
 */
import { BowlineError } from '../../api/errors.ts';
import { pathOf, subjectOf } from './paths.ts';
import { abortReason, pause, startDeadline } from './transport/deadline.ts';
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Readable } from 'node:stream';
import type { ListOptions, WatchEvent } from './cluster.ts';
import type { Resource } from './resources.ts';
import type { Transport } from './transport/transport.ts';

export interface WatchTiming {
  /** Milliseconds before the first repetition; doubled with each failure in a row. */
  firstDelay: number;
  maxDelay: number;
  /** Seconds after which the server is asked to end a watch; shortened at random by up to a fifth. */
  serverTimeout: number;
  /** Milliseconds beyond that until a watch that has not ended counts as dead. */
  margin: number;
  pageSize: number;
}

export const defaultTiming: WatchTiming = {
  firstDelay: 200,
  maxDelay: 30_000,
  serverTimeout: 300,
  margin: 15_000,
  pageSize: 500,
};

const maxLine = 32 * 1024 * 1024;

interface ListPage<T> {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: T[];
}

/** A bookmark only carries the resourceVersion from which to go on. */
interface SingleEvent<T> {
  type: 'added' | 'modified' | 'deleted' | 'bookmark';
  object: T;
}

/** What was known is no longer enough to go on watching. */
class ListAgain extends Error {}

export async function listAll<T extends KubernetesObject>(
  transport: Transport,
  resource: Resource<T>,
  options: ListOptions,
  pageSize = defaultTiming.pageSize,
): Promise<{ objects: T[]; resourceVersion: string }> {
  const objects: T[] = [];
  let next: string | undefined;
  let limit: number | undefined = pageSize;
  for (;;) {
    const page: ListPage<T> | undefined = await transport
      .json<ListPage<T>>({
        method: 'GET',
        path: pathOf(resource, options),
        query: { ...selectors(options), limit, continue: next },
        subject: subjectOf('list', resource, options),
        signal: options.signal,
        timeout: options.timeout,
      })
      .catch((error: unknown) => {
        // The snapshot behind the pages is gone: once more from the start, in one piece.
        if (next !== undefined && isGone(error)) return undefined;
        throw error;
      });
    if (page === undefined) {
      objects.length = 0;
      next = undefined;
      limit = undefined;
      continue;
    }
    objects.push(...(page.items ?? []));
    next = page.metadata?.continue || undefined;
    if (next === undefined) return { objects, resourceVersion: page.metadata?.resourceVersion ?? '' };
  }
}

export async function* watchAll<T extends KubernetesObject>(
  transport: Transport,
  resource: Resource<T>,
  options: ListOptions & { signal: AbortSignal },
  timing: WatchTiming = defaultTiming,
): AsyncGenerator<WatchEvent<T>, never, undefined> {
  const { signal } = options;
  let resourceVersion: string | undefined;
  let failures = 0;
  for (;;) {
    if (signal.aborted) throw abortReason(signal);
    try {
      if (resourceVersion === undefined) {
        const list = await listAll(transport, resource, options, timing.pageSize);
        resourceVersion = list.resourceVersion;
        yield { type: 'reset', objects: list.objects };
      }
      for await (const { type, object } of watchOnce(transport, resource, options, resourceVersion, timing)) {
        failures = 0;
        resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
        if (type !== 'bookmark') yield { type, object };
      }
      // Ended by the server in good order: go on from where it was. One that ends at once, again and again, is slowed down.
      failures++;
      if (failures > 1) await pause(delay(failures - 1, timing), signal);
    } catch (error) {
      if (signal.aborted) throw abortReason(signal);
      if (error instanceof ListAgain || isGone(error)) resourceVersion = undefined;
      failures++;
      yield { type: 'trouble', reason: error instanceof Error ? error.message : String(error) };
      // With the network back nobody shall wait for what is left of a long pause.
      const unreachable = error instanceof BowlineError && error.code === 'API_UNREACHABLE';
      await pauseUntil(unreachable ? transport.answered : undefined, delay(failures, timing), signal);
    }
  }
}

async function pauseUntil(woken: Promise<void> | undefined, longest: number, signal: AbortSignal): Promise<void> {
  const early = new AbortController();
  void woken?.then(() => early.abort());
  await pause(longest, AbortSignal.any([signal, early.signal])).catch((error: unknown) => {
    if (signal.aborted) throw error;
  });
}

/** One watch until the server ends it. */
async function* watchOnce<T extends KubernetesObject>(
  transport: Transport,
  resource: Resource<T>,
  options: ListOptions & { signal: AbortSignal },
  resourceVersion: string,
  timing: WatchTiming,
): AsyncGenerator<SingleEvent<T>> {
  const timeoutSeconds = Math.ceil(timing.serverTimeout * (0.8 + Math.random() * 0.2));
  const longest = timeoutSeconds * 1000 + timing.margin;
  // A connection that died without a word is noticed here at the latest; TCP keep-alive mostly notices it before.
  using life = startDeadline(
    longest,
    [options.signal],
    () => new Error(`the watch was silent beyond its time of ${timeoutSeconds} s`),
  );
  const stream = await transport.stream({
    method: 'GET',
    path: pathOf(resource, options),
    query: { ...selectors(options), watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds },
    subject: subjectOf('watch', resource, options),
    signal: life.signal,
    timeout: options.timeout,
  });
  for await (const line of linesOf(stream)) yield readEvent<T>(line);
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLine) throw new ListAgain('A line of the watch is too long.');
    for (const line of lines) if (line !== '') yield line;
  }
  if (rest !== '') throw new Error('The watch was cut in the middle of a line.');
}

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- JSON has no type of its own; the resource gives it
function readEvent<T extends KubernetesObject>(line: string): SingleEvent<T> {
  let event: { type?: string; object?: T & { code?: number; message?: string } };
  try {
    event = JSON.parse(line) as typeof event;
  } catch {
    // A change may be lost with it. The line itself is not quoted: it may hold a secret.
    throw new ListAgain(`A line of the watch is not JSON (${line.length} characters).`);
  }
  const { type, object } = event;
  if (object === undefined) throw new ListAgain('A line of the watch has no object.');
  switch (type ?? '') {
    case 'ADDED':
      return { type: 'added', object };
    case 'MODIFIED':
      return { type: 'modified', object };
    case 'DELETED':
      return { type: 'deleted', object };
    case 'BOOKMARK':
      return { type: 'bookmark', object };
    case 'ERROR':
      if (object.code === 410) throw new ListAgain('The watch was too far behind; everything is listed again.');
      throw new Error(`The server ended the watch: ${object.message ?? 'without a reason'}`);
    default:
      throw new ListAgain('The watch sent an event of an unknown type.');
  }
}

function selectors({ labelSelector, fieldSelector }: ListOptions): { labelSelector?: string; fieldSelector?: string } {
  return {
    ...(labelSelector === undefined ? {} : { labelSelector }),
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
  };
}

function isGone(error: unknown): boolean {
  return error instanceof BowlineError && error.details?.['status'] === 410;
}

function delay(failures: number, { firstDelay, maxDelay }: WatchTiming): number {
  return Math.min(maxDelay, firstDelay * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}
