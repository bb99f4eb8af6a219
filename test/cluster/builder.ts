/**
 * Images as their users build them: Debian's Buildah reads a Dockerfile. It has no way out, so the base is an archive that
 * is there already.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from './run.ts';
import type { Archive } from './images.ts';

export interface BuildOptions {
  /** Name with registry and tag that the image gets. */
  name: string;
  dockerfile: string;
  /** The files of the build context, by their paths in it. */
  context: Record<string, string>;
  /** The image that the argument `argument` of the Dockerfile stands for. */
  base: { argument: string; archive: Archive };
}

/** Resolves with the path of an archive as `docker save` writes it; disposal removes it. */
export async function buildImage(options: BuildOptions): Promise<AsyncDisposable & { path: string }> {
  const { name, dockerfile, context, base } = options;
  const folder = await mkdtemp(join(tmpdir(), 'bowline-build-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const policy = join(folder, 'policy.json');
    await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
    for (const [path, text] of Object.entries(context)) {
      const file = join(folder, 'context', path);
      await mkdir(join(file, '..'), { recursive: true });
      await writeFile(file, text);
    }
    const store = ['--root', join(folder, 'store'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
    const buildah = (command: string, ...args: string[]): Promise<string> =>
      must(['buildah', ...store, command, '--signature-policy', policy, ...args], { timeout: 120_000 });
    await buildah('pull', `docker-archive:${base.archive.path}`);
    const from = ['--pull-never', '--build-arg', `${base.argument}=${base.archive.image}`];
    await buildah('build', '--isolation', 'chroot', ...from, '-f', dockerfile, '-t', name, join(folder, 'context'));
    const path = join(folder, 'image.tar');
    await buildah('push', name, `docker-archive:${path}:${name}`);
    return { path, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
