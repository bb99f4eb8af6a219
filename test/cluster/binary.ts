/**
 * Builds the Go programs of the cluster from their pinned modules: all of Kubernetes as one binary, and two tiny ones.
 * The first build takes minutes, so it says how far it is.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cached, keyOf } from './cache.ts';
import { must, run } from './run.ts';

export const kubernetesVersion = 'v1.34.4';
const sources = join(import.meta.dirname, 'kubernetes');
const inputs = ['go.mod', 'go.sum', 'main.go', 'node-init/main.go', 'pause/main.go'];

/** The names under which the one binary is called. */
export const kubernetesPrograms = [
  'coredns',
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-proxy',
  'kube-scheduler',
  'kubectl',
  'kubelet',
] as const;

export interface Binaries {
  kubernetes: string;
  nodeInit: string;
  pause: string;
  /** Changes when anything does that goes into them. */
  key: string;
}

export type Report = (line: string) => void;

export async function buildBinaries(report: Report, signal?: AbortSignal): Promise<Binaries> {
  const go = await findGo(signal);
  const key = keyOf([
    await goVersion(go, signal),
    process.arch,
    ...inputs.map((file) => readFileSync(join(sources, file), 'utf8')),
  ]);
  const folder = await cached(`binaries-${key}`, async (path) => {
    report(
      `building Kubernetes ${kubernetesVersion}, etcd and CoreDNS from their Go modules; this takes about 5 minutes the first time`,
    );
    mkdirSync(path);
    const began = performance.now();
    const flags = ['-ldflags', `-s -w ${versionStamps()}`];
    await build(go, [...flags, '-o', join(path, 'kubernetes'), '.'], report, signal);
    await build(go, ['-ldflags', '-s -w', '-o', join(path, 'node-init'), './node-init'], report, signal);
    await build(go, ['-ldflags', '-s -w', '-o', join(path, 'pause'), './pause'], report, signal);
    report(`built in ${Math.round((performance.now() - began) / 1000)} s`);
  });
  return {
    kubernetes: join(folder, 'kubernetes'),
    nodeInit: join(folder, 'node-init'),
    pause: join(folder, 'pause'),
    key,
  };
}

async function build(go: string, args: string[], report: Report, signal?: AbortSignal): Promise<void> {
  const child = spawn(go, ['build', '-v', ...args], {
    cwd: sources,
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false', GOWORK: 'off' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  const failures: string[] = [];
  let downloaded = 0;
  let compiled = 0;
  const progress = setInterval(
    () => report(`... ${downloaded} modules downloaded, ${compiled} packages compiled`),
    10_000,
  );
  try {
    createInterface(child.stderr).on('line', (line) => {
      if (line.startsWith('go: downloading ')) downloaded += 1;
      else if (/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) compiled += 1;
      else failures.push(line);
    });
    const exitCode = await new Promise<number | null>((resolve, reject) =>
      child.on('error', reject).on('close', resolve),
    );
    if (exitCode === 0) return;
  } finally {
    clearInterval(progress);
  }
  const said = failures.slice(-20).join('\n');
  throw new Error(
    `go build ${args.at(-1)} in ${sources} failed:\n${said}\nThe modules come from GOPROXY (${process.env['GOPROXY'] ?? 'the default'}): can this machine reach it?`,
  );
}

/** The version that kubectl, kubelet and the API server say they are; without it they say v0.0.0. */
function versionStamps(): string {
  const [major, minor] = kubernetesVersion.slice(1).split('.');
  const stamps = {
    gitVersion: kubernetesVersion,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'clean',
    buildDate: '2026-01-01T00:00:00Z',
  };
  const packages = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'];
  return packages
    .flatMap((name) => Object.entries(stamps).map(([field, value]) => `-X ${name}.${field}=${value}`))
    .join(' ');
}

async function goVersion(go: string, signal?: AbortSignal): Promise<string> {
  return (await must([go, 'env', 'GOVERSION', 'GOARCH'], { cwd: sources, signal })).trim();
}

/** Go of the PATH, or where its own installer puts it, which a fresh shell often does not have in PATH. */
async function findGo(signal?: AbortSignal): Promise<string> {
  for (const candidate of ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go']) {
    if (candidate.startsWith('/') && !existsSync(candidate)) continue;
    try {
      if ((await run([candidate, 'version'], { signal })).exitCode === 0) return candidate;
    } catch {
      signal?.throwIfAborted();
    }
  }
  throw new Error(
    'building the test cluster needs Go 1.24 or newer: install it (https://go.dev/doc/install) and run this again',
  );
}
