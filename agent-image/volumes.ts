/** The container's volumes, read out for the daemon: how large they are, their content as tar, and that kubelet has written. */
import { watch, type FSWatcher } from 'node:fs';
import { access, constants, open, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Readable, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';
import type { AgentCalls, AgentStreams, VolumeVersion } from './contract.ts';
import { reasonOf } from './log.ts';
import { entriesOf, versionOf, type VolumeEntry } from './volume-tree.ts';

type SizeOf = AgentCalls['filesSize'];

const namesOfLeftOut = 5;
/** Milliseconds between looks, for file systems that do not say when they change. */
const lookInterval = 1_000;
const block = 512;

export async function filesSize({ mounts }: SizeOf['request']): Promise<SizeOf['answer']> {
  return { sizes: await Promise.all(mounts.map(sizeOf)) };
}

async function sizeOf({ path, ...choice }: AgentStreams['files']): Promise<SizeOf['answer']['sizes'][number]> {
  const size = { path, single: false, bytes: 0, files: 0, leftOut: [] as string[], leftOutCount: 0 };
  try {
    size.single = !(await stat(path)).isDirectory();
    for await (const entry of readable(entriesOf(path, choice))) {
      if (entry.kind === 'file') {
        size.bytes += entry.stats.size;
        size.files++;
      } else if (entry.kind === 'left out' && size.leftOutCount++ < namesOfLeftOut) {
        size.leftOut.push(`${entry.path} (${entry.why})`);
      }
    }
    return size;
  } catch (error) {
    return { ...size, problem: reasonOf(error) };
  }
}

/** Files that the container's user may not read are left out like what is no file. */
async function* readable(entries: AsyncIterable<VolumeEntry>): AsyncGenerator<VolumeEntry> {
  for await (const entry of entries) {
    const may =
      entry.kind !== 'file' ||
      (await access(entry.source, constants.R_OK).then(
        () => true,
        () => false,
      ));
    yield may ? entry : { kind: 'left out', path: entry.path, why: 'may not be read by the container' };
  }
}

/** The content as tar. Ends only when all is said; whatever goes wrong on the way resets the stream. */
export async function sendFiles(
  { path, ...choice }: AgentStreams['files'],
  stream: Duplex,
  signal: AbortSignal,
): Promise<void> {
  await stat(path); // a refusal while it still can be one
  stream.resume(); // nothing comes
  await pipeline(Readable.from(archive(readable(entriesOf(path, choice))), { objectMode: false }), stream, { signal });
}

async function* archive(entries: AsyncIterable<VolumeEntry>): AsyncGenerator<Buffer> {
  for await (const entry of entries) {
    if (entry.kind === 'left out') continue;
    const { size, mode, mtime } = entry.stats;
    if (entry.kind === 'folder')
      yield header({ path: `${entry.path}/`, mode: mode & 0o777, mtime, size: 0, type: 'Directory' });
    else {
      yield header({ path: entry.path, mode: mode & 0o777, mtime, size, type: 'File' });
      yield* content(entry.source, size);
      yield Buffer.alloc((block - (size % block)) % block);
    }
  }
  yield Buffer.alloc(2 * block);
}

function header(data: ConstructorParameters<typeof Pax>[0] & { type: 'File' | 'Directory' }): Buffer {
  const made = new Header(data);
  const needsPax = made.encode();
  return needsPax ? Buffer.concat([new Pax(data).encode(), made.block!]) : made.block!;
}

/** Exactly as many bytes as were announced: one that has grown is cut, one that has shrunk is an error. */
async function* content(source: string, size: number): AsyncGenerator<Buffer> {
  if (size === 0) return;
  await using file = await open(source);
  let sent = 0;
  for await (const chunk of file.createReadStream({ end: size - 1, autoClose: false })) {
    sent += (chunk as Buffer).length;
    yield chunk as Buffer;
  }
  if (sent < size) throw new Error(`${source} became shorter while it was read`);
}

/** A line of JSON (VolumeVersion) for each mount at once, and again when kubelet has written it anew. */
export async function watchFiles(
  { paths }: AgentStreams['watchFiles'],
  stream: Duplex,
  signal: AbortSignal,
): Promise<void> {
  const known = new Map<string, string>();
  const look = async (): Promise<void> => {
    for (const path of paths) {
      const version = await versionOf(path);
      if (known.get(path) === version || signal.aborted) continue;
      known.set(path, version);
      stream.write(`${JSON.stringify({ path, version } satisfies VolumeVersion)}\n`);
    }
  };
  stream.resume();
  await look();
  let looking = Promise.resolve();
  const soon = (): void => void (looking = looking.then(look).catch(() => undefined));
  const watchers = paths.flatMap((path): FSWatcher[] => {
    try {
      return [watch(path, soon).on('error', () => undefined)];
    } catch {
      return []; // the looks find it
    }
  });
  try {
    while (!signal.aborted) {
      await delay(lookInterval, undefined, { signal, ref: false }).catch(() => undefined);
      soon();
    }
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}
