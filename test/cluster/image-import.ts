/** The images of the tests on a node: made once, in the cache, and imported where they are not there yet. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeArchive } from './images.ts';
import { must } from './run.ts';
import { stockImages } from './stock-images.ts';
import { waitUntil } from './wait.ts';
import { shopImage } from '../../examples/shop/image.ts';
import type { Binaries } from './binary.ts';
import type { Archive } from './images.ts';
import type { ClusterNode } from './instance.ts';

export async function makeArchives(binaries: Binaries, signal?: AbortSignal): Promise<Archive[]> {
  const archives: Archive[] = [];
  for (const image of [...stockImages(binaries.pause), shopImage()]) archives.push(await makeArchive(image, signal));
  return archives;
}

export async function importImages(node: ClusterNode, archives: Archive[], signal?: AbortSignal): Promise<void> {
  await waitUntil(() => existsSync(node.containerdSocket), { what: 'containerd', interval: 50, signal });
  const loaded = loadedImages(node);
  for (const archive of archives) {
    if (loaded[archive.image] === archive.key) continue;
    await load(node, archive.path, signal);
    loaded[archive.image] = archive.key;
    writeFileSync(listOf(node), JSON.stringify(loaded));
  }
}

/** Imports an archive as `docker save` writes it. */
export async function load(node: ClusterNode, archive: string, signal?: AbortSignal): Promise<void> {
  await must(['ctr', '--address', node.containerdSocket, '--namespace', 'k8s.io', 'images', 'import', archive], {
    signal,
    timeout: 300_000,
  });
}

/** Image -> key of its archive. */
export function loadedImages(node: ClusterNode): Record<string, string> {
  const list = listOf(node);
  return existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as Record<string, string>) : {};
}

const listOf = (node: ClusterNode): string => join(node.folder, 'images.json');
