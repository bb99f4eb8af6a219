/**
 * Container images without Docker: a folder becomes a layer, layers and a configuration become an archive as
 * `docker save` writes it, which containerd imports. Layers and archives are cached by what goes into them.
 */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { cached, cacheFolder, keyOf } from './cache.ts';
import { must } from './run.ts';

export interface Layer {
  /** For people: what is in it. */
  name: string;
  /** All that decides its content; the cache goes by it. */
  inputs: unknown;
  /** Fills the empty folder that becomes the root of the image. */
  fill(root: string): Promise<void>;
}

/** The part of the image configuration that we use, in the words of the OCI. */
export interface ImageConfig {
  Entrypoint?: string[];
  Cmd?: string[];
  Env?: string[];
  User?: string;
  WorkingDir?: string;
  StopSignal?: string;
}

export interface Image {
  /** Name with registry and tag: `bowline.test/node:24`. */
  name: string;
  layers: Layer[];
  config: ImageConfig;
}

export interface Archive {
  image: string;
  path: string;
  /** Changes with the content. */
  key: string;
}

const day = 24 * 60 * 60 * 1000;
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export async function makeArchive(image: Image, signal?: AbortSignal): Promise<Archive> {
  const key = keyOf([image.name, image.config, image.layers.map(layerKey), architecture]);
  const prefix = `image-${image.name.replaceAll(/[^\w.-]/g, '-')}-`;
  const file = `${prefix}${key}.tar`;
  const archive = await cached(file, async (result) => {
    const folder = `${result}.parts`;
    mkdirSync(folder);
    const layers = [];
    for (const layer of image.layers) layers.push(await makeLayer(layer, signal));
    const config = JSON.stringify({
      architecture,
      os: 'linux',
      config: { ...image.config, Env: [path, ...(image.config.Env ?? [])] },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${layer.digest}`) },
      history: image.layers.map((layer) => ({ created_by: layer.name })),
    });
    const configFile = `${createHash('sha256').update(config).digest('hex')}.json`;
    writeFileSync(join(folder, configFile), config);
    for (const layer of layers) linkSync(layer.path, join(folder, `${layer.digest}.tar`));
    const manifest = [
      { Config: configFile, RepoTags: [image.name], Layers: layers.map((layer) => `${layer.digest}.tar`) },
    ];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    await makeTar(folder, result, signal);
  });
  dropOld(prefix, archive);
  return { image: image.name, path: archive, key };
}

/** Each change makes another archive, and they are large: those that nobody made or used today go. */
function dropOld(prefix: string, used: string): void {
  const now = new Date();
  utimesSync(used, now, now);
  for (const name of readdirSync(cacheFolder())) {
    const path = join(cacheFolder(), name);
    if (name.startsWith(prefix) && name.endsWith('.tar') && now.getTime() - statSync(path).mtimeMs > day)
      rmSync(path, { force: true });
  }
}

function layerKey(layer: Layer): string {
  return keyOf([layer.name, layer.inputs, architecture]);
}

async function makeLayer(layer: Layer, signal?: AbortSignal): Promise<{ path: string; digest: string }> {
  const folder = await cached(`layer-${layer.name}-${layerKey(layer)}`, async (result) => {
    const root = join(result, 'root');
    mkdirSync(root, { recursive: true, mode: 0o755 });
    await layer.fill(root);
    const tar = join(result, 'layer.tar');
    await makeTar(root, tar, signal);
    await must(['rm', '-rf', root], { signal });
    const hash = createHash('sha256');
    await pipeline(createReadStream(tar), hash);
    writeFileSync(join(result, 'digest'), hash.digest('hex'));
  });
  return { path: join(folder, 'layer.tar'), digest: readFileSync(join(folder, 'digest'), 'utf8') };
}

/** The same folder gives the same bytes: sorted, without times and owners. */
async function makeTar(folder: string, file: string, signal?: AbortSignal): Promise<void> {
  await must(
    [
      'tar',
      '--create',
      '--file',
      file,
      '--sort=name',
      '--mtime=@0',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--format=gnu',
      '--hard-dereference',
      '-C',
      folder,
      '.',
    ],
    { signal },
  );
}
