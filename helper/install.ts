/**
 * Puts the helper on this machine and takes it off again; run as root, once. What is executed afterwards (Node and the
 * program) is copied to a folder that only root may write, so that the user cannot change what root runs. Where there is no
 * service manager (containers), the helper is started as a background process with a pid file, and that is said.
 */
import { execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { BowlineError } from '../api/errors.ts';
import { bundleHelper, programNames } from './bundle.ts';
import { connectHelper } from './client.ts';
import { HostsFile } from './hosts.ts';
import { Redirects } from './redirects.ts';
import { defineService as darwin } from './service/darwin.ts';
import { helperArguments, type DefineService, type ServiceDefinition } from './service/definition.ts';
import { defineService as linux } from './service/linux.ts';
import { defineService as win32 } from './service/win32.ts';

export interface InstallPlaces {
  /** Node and program. */
  libDir: string;
  runDir: string;
  stateDir: string;
  hosts: string;
}

export interface InstallOptions {
  uid: number;
  gid: number;
  platform: NodeJS.Platform;
  /** Namespaces or cluster domains under a public top-level domain that names may end in, see validate.ts. */
  allowSuffixes: readonly string[];
  /** The folder with `main.ts` (a clone) or `main.mjs` (a package). */
  sourceDir: string;
  /** The Node that is copied. */
  node: string;
  /** A service manager runs here; see `hasServiceManager`. */
  service: boolean;
  places?: InstallPlaces;
}

export interface HelperStatus {
  /** There is something to start. */
  installed: boolean;
  /** It answers to this user. */
  running: boolean;
  version?: string;
  /** `service` under the service manager, `process` in the background. */
  startedAs?: 'service' | 'process';
  detail: string;
}

const systemPlaces: InstallPlaces = {
  libDir: '/usr/local/lib/bowline-helper',
  runDir: '/run/bowline',
  stateDir: '/var/lib/bowline',
  hosts: '/etc/hosts',
};

const definitions: Partial<Record<NodeJS.Platform, DefineService>> = { linux, darwin, win32 };

export function hasServiceManager(platform: NodeJS.Platform): boolean {
  return platform !== 'linux' || existsSync('/run/systemd/system');
}

/** The usual options: this program, this Node, this system. */
export function installOptions(uid: number, gid: number, allowSuffixes: readonly string[] = []): InstallOptions {
  const { platform, execPath: node } = process;
  return {
    uid,
    gid,
    platform,
    allowSuffixes,
    sourceDir: import.meta.dirname,
    node,
    service: hasServiceManager(platform),
  };
}

/** What `runInstall` would do, for people to read before they give their password. */
export function planInstall(options: InstallOptions): string[] {
  const { libDir, hosts } = places(options);
  const service = definition(options);
  return [
    `copy Node and the helper to ${libDir}, owned by root`,
    options.service
      ? `write ${service.path} and start it now and at boot`
      : 'start the helper in the background until the next boot (no service manager runs here)',
    `from then on user ${options.uid} may, through it and nothing else, have a block of his own in ${hosts} and ports on 127.66.0.0/16`,
  ];
}

export async function runInstall(options: InstallOptions, signal: AbortSignal): Promise<HelperStatus> {
  const { libDir } = places(options);
  await stop(options);
  mkdirSync(libDir, { recursive: true, mode: 0o755 });
  installFile(options.node, join(libDir, basename(options.node)), 0o755);
  for (const [file, code] of await programFiles(options.sourceDir)) installText(code, join(libDir, file));
  writeFileSync(join(libDir, 'package.json'), '{ "type": "module" }\n', { mode: 0o644 });
  const service = definition(options);
  if (options.service) {
    writeFileSync(service.path, service.content, { mode: 0o644 });
    for (const command of service.start) await run(command);
  } else {
    startInBackground(options);
  }
  return untilRunning(options, signal);
}

export async function runUninstall(options: InstallOptions): Promise<void> {
  const { libDir, runDir, stateDir, hosts } = places(options);
  await stop(options);
  // Its last act was to undo everything; this is for one that was killed.
  new HostsFile({ path: hosts, user: options.uid, copy: join(stateDir, `${options.uid}.hosts-copy`) }).recover();
  if (options.platform === 'linux') await Redirects.remove(options.uid).catch(() => undefined);
  rmSync(definition(options).path, { force: true });
  rmSync(join(runDir, String(options.uid)), { recursive: true, force: true });
  for (const file of list(stateDir)) if (file.startsWith(`${options.uid}.`)) rmSync(join(stateDir, file));
  // Program and folders are shared by the users of the machine.
  if (list(stateDir).length > 0) return;
  for (const folder of [stateDir, libDir, runDir]) rmSync(folder, { recursive: true, force: true });
}

/** Needs no root. */
export async function helperStatus(options: InstallOptions, signal: AbortSignal): Promise<HelperStatus> {
  const { libDir, runDir } = places(options);
  const installed = existsSync(libDir);
  const startedAs = existsSync(definition(options).path) ? 'service' : 'process';
  try {
    const client = await connectHelper({ uid: options.uid, runDir, timeout: 3000 }, signal);
    client.close();
    return {
      installed,
      running: true,
      version: client.version,
      startedAs,
      detail: `The helper ${client.version} runs for user ${options.uid}.`,
    };
  } catch (error) {
    const { message, hint } = BowlineError.from(error);
    return { installed, running: false, detail: hint === undefined ? message : `${message} ${hint}` };
  }
}

/** The command that does it as root; the caller puts `sudo` or a dialog before it. */
export function installCommand(action: 'install' | 'uninstall', options: InstallOptions): string[] {
  const suffixes = options.allowSuffixes.flatMap((suffix) => ['--allow-suffix', suffix]);
  const installer =
    ['install-main.ts', 'install-main.mjs']
      .map((name) => join(options.sourceDir, name))
      .find((path) => existsSync(path)) ?? '';
  return [options.node, installer, action, '--user', String(options.uid), '--gid', String(options.gid), ...suffixes];
}

function places(options: InstallOptions): InstallPlaces {
  return options.places ?? systemPlaces;
}

function definition(options: InstallOptions): ServiceDefinition {
  const define = definitions[options.platform];
  if (define === undefined) throw new BowlineError('HELPER_MISSING', `There is no helper for ${options.platform}.`);
  const { libDir } = places(options);
  return define({
    ...options,
    node: join(libDir, basename(options.node)),
    program: join(libDir, program),
  });
}

/** The installed program. */
const program = 'main.mjs';

/** The programs as they are installed: from a package as they lie there, from a clone bundled now. */
async function programFiles(sourceDir: string): Promise<Map<string, string>> {
  if (!existsSync(join(sourceDir, program))) return bundleHelper();
  return new Map(programNames.map((name) => [`${name}.mjs`, readFileSync(join(sourceDir, `${name}.mjs`), 'utf8')]));
}

/** In one step, so that a running program is never half replaced. */
function installFile(from: string, to: string, mode: number): void {
  copyFileSync(from, `${to}.new`);
  putInPlace(to, mode);
}

function installText(text: string, to: string): void {
  writeFileSync(`${to}.new`, text);
  putInPlace(to, 0o644);
}

function putInPlace(to: string, mode: number): void {
  if (process.getuid?.() === 0) chownSync(`${to}.new`, 0, 0);
  chmodSync(`${to}.new`, mode);
  renameSync(`${to}.new`, to);
}

function startInBackground(options: InstallOptions): void {
  const { libDir, runDir, stateDir, hosts } = places(options);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const log = openSync(join(stateDir, `${options.uid}.log`), 'a', 0o600);
  const args = helperArguments({ ...options, program: join(libDir, program) });
  const child = spawn(
    join(libDir, basename(options.node)),
    [...args, '--run-dir', runDir, '--state-dir', stateDir, '--hosts', hosts],
    {
      detached: true,
      cwd: '/',
      env: {},
      stdio: ['ignore', log, log],
    },
  );
  child.unref();
  writeFileSync(pidFile(options), `${child.pid}\n`, { mode: 0o600 });
}

async function stop(options: InstallOptions): Promise<void> {
  const service = definition(options);
  if (options.service && existsSync(service.path)) for (const command of service.stop) await run(command);
  const pid = Number(read(pidFile(options)));
  // Two proofs: the number from our own file, and that the process there is the helper.
  const isHelper = (): boolean => read(`/proc/${pid}/cmdline`).includes(join(places(options).libDir, program));
  if (!Number.isInteger(pid) || pid <= 1 || !isHelper()) return;
  process.kill(pid, 'SIGTERM');
  for (let waited = 0; isHelper(); waited += 20) {
    if (waited >= 10_000) process.kill(pid, 'SIGKILL');
    await delay(20);
  }
  rmSync(pidFile(options), { force: true });
}

async function untilRunning(options: InstallOptions, signal: AbortSignal): Promise<HelperStatus> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(15_000)]);
  for (;;) {
    const status = await helperStatus(options, signal);
    if (status.running)
      return {
        ...status,
        detail: options.service
          ? status.detail
          : `${status.detail} It must be started again after a boot: no service manager runs here.`,
      };
    if (limit.aborted) {
      signal.throwIfAborted();
      const log = read(join(places(options).stateDir, `${options.uid}.log`))
        .trim()
        .split('\n')
        .slice(-5)
        .join('\n');
      throw new BowlineError(
        'HELPER_MISSING',
        `The helper was installed but does not answer. ${status.detail} ${log}`.trim(),
      );
    }
    await delay(50);
  }
}

async function run([command = '', ...args]: string[]): Promise<void> {
  await promisify(execFile)(command, args, { timeout: 60_000 });
}

function pidFile(options: InstallOptions): string {
  return join(places(options).stateDir, `${options.uid}.pid`);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
