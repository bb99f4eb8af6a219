/**
 * Debian packages that tests, demo and benchmark need. Says what it installs and why, asks nothing, and starts no
 * service: only the programs are wanted.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

interface Requirement {
  package: string;
  /** A file that is there exactly when the package is; so a hand-made installation does too. */
  file: string;
  why: string;
}

const requirements: Requirement[] = [
  { package: 'containerd', file: '/usr/bin/containerd', why: 'runs the containers of the test cluster' },
  { package: 'runc', file: '/usr/sbin/runc', why: 'starts containers for containerd' },
  { package: 'containernetworking-plugins', file: '/usr/lib/cni/bridge', why: 'gives pods their network' },
  { package: 'iproute2', file: '/usr/bin/ip', why: 'network namespaces and cables of node and machines' },
  { package: 'iptables', file: '/usr/sbin/iptables', why: 'Services, for kube-proxy' },
  { package: 'conntrack', file: '/usr/sbin/conntrack', why: 'Services, for kube-proxy' },
  { package: 'busybox-static', file: '/bin/busybox', why: 'the shell in test images' },
  { package: 'fish', file: '/usr/bin/fish', why: 'a shell that reads what `bowline env` writes' },
  { package: 'zsh', file: '/usr/bin/zsh', why: 'the same' },
  { package: 'ksh93u+m', file: '/usr/bin/ksh', why: 'the same' },
  { package: 'buildah', file: '/usr/bin/buildah', why: 'builds the image of the agent from its Dockerfile' },
  { package: 'redis-server', file: '/usr/bin/redis-server', why: 'the Redis of the example shop' },
  { package: 'redis-tools', file: '/usr/bin/redis-cli', why: 'a Redis client no one here wrote' },
  { package: 'postgresql', file: '/usr/share/doc/postgresql', why: 'the PostgreSQL of the example shop' },
  { package: 'postgresql-client', file: '/usr/bin/psql', why: 'a PostgreSQL client no one here wrote' },
  { package: 'sudo', file: '/usr/bin/sudo', why: 'installing the helper as a user does' },
  { package: 'faketime', file: '/usr/bin/faketime', why: 'a clock that jumps, for one program' },
  { package: 'curl', file: '/usr/bin/curl', why: 'an HTTP client no one here wrote' },
];

export async function ensurePackages(report: (line: string) => void, signal?: AbortSignal): Promise<void> {
  const missing = requirements.filter((requirement) => !existsSync(requirement.file));
  if (missing.length === 0) return;
  const names = missing.map((requirement) => requirement.package);
  const byHand = `install by hand: apt-get install ${names.join(' ')}`;
  if (!existsSync('/usr/bin/apt-get'))
    throw new Error(
      `this needs ${names.join(', ')}, and there is no apt-get to install them; ${byHand} (or what they are called here)`,
    );
  if (process.getuid?.() !== 0)
    throw new Error(`installing ${names.join(', ')} needs root; run this as root, or ${byHand}`);
  report('installing Debian packages:');
  for (const { package: name, why } of missing) report(`  ${name}: ${why}`);
  await withoutServices(async () => {
    await apt(['update', '--quiet=2'], byHand, signal);
    await apt(
      [
        'install',
        '--yes',
        '--quiet=2',
        '--no-install-recommends',
        '--option',
        'Dpkg::Options::=--force-confold',
        ...names,
      ],
      byHand,
      signal,
    );
  });
  const still = missing.filter((requirement) => !existsSync(requirement.file));
  if (still.length > 0)
    throw new Error(`installed, but not where expected: ${still.map((requirement) => requirement.file).join(', ')}`);
}

async function apt(args: string[], byHand: string, signal?: AbortSignal): Promise<void> {
  const child = spawn('apt-get', args, {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    // Its output is for people, and standard output belongs to whoever called us.
    stdio: ['ignore', process.stderr, process.stderr],
    ...(signal === undefined ? {} : { signal }),
  });
  const exitCode = await new Promise<number | null>((resolve, reject) =>
    child.on('error', reject).on('close', resolve),
  );
  if (exitCode !== 0) throw new Error(`apt-get ${args[0]} failed (its output is above); ${byHand}`);
}

/**
 * Debian starts a service when its package is installed, and the PostgreSQL package makes a data directory for it. Both
 * have a switch for administrators, which is used only where there is none yet, and the first only for as long.
 */
async function withoutServices(install: () => Promise<void>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const postgres = '/etc/postgresql-common/createcluster.conf';
  if (!existsSync(postgres)) {
    mkdirSync(dirname(postgres), { recursive: true });
    writeFileSync(postgres, 'create_main_cluster = false\n');
  }
  try {
    await install();
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}
