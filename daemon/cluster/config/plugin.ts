/**
 * Runs one exec credential plugin (aws, gke-gcloud-auth-plugin, kubelogin, ...) and reads its answer. There is never a
 * terminal: a plugin that asks must ask in a browser. What it says on stderr reaches the error with secrets blanked.
 */
import { spawn } from 'node:child_process';
import * as z from 'zod/mini';
import { BowlineError } from '../../../api/errors.ts';
import { abortReason } from '../transport/deadline.ts';
import type { ClientCertificate, PluginConfig, ServerConfig } from './access.ts';

export interface PluginCredential {
  token?: string;
  certificate?: ClientCertificate;
  /** Milliseconds since the epoch; without it the credential holds until the server refuses it. */
  expires?: number;
}

export interface PluginRun {
  plugin: PluginConfig;
  server: ServerConfig;
  user: string;
  env: NodeJS.ProcessEnv;
  /** Milliseconds; long enough for a login in a browser. */
  timeout: number;
}

const versions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];
const maxOutput = 1024 * 1024;

const Answer = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal('ExecCredential'),
  status: z.looseObject({
    token: z.optional(z.nullable(z.string())),
    clientCertificateData: z.optional(z.nullable(z.string())),
    clientKeyData: z.optional(z.nullable(z.string())),
    expirationTimestamp: z.optional(z.nullable(z.string())),
  }),
});

export async function runPlugin(run: PluginRun, signal: AbortSignal): Promise<PluginCredential> {
  const { plugin } = run;
  if (!versions.includes(plugin.apiVersion)) {
    throw failed(run, `has apiVersion "${plugin.apiVersion}"; ${versions.join(' and ')} are known`);
  }
  if (plugin.interactiveMode === 'Always')
    throw failed(run, 'wants a terminal (interactiveMode: Always), and there is none here');
  return readAnswer(run, await runCommand(run, signal));
}

function runCommand(run: PluginRun, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const { plugin, timeout } = run;
  // A group of its own, so that a wrapper script's children end with it.
  const grouped = process.platform !== 'win32';
  return new Promise((resolve, reject) => {
    const child = spawn(plugin.command, plugin.args, {
      env: { ...run.env, ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(execInfo(run)) },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: grouped,
      windowsHide: true,
    });
    let stdout = '';
    let stderr = '';
    const kill = (): void => {
      try {
        if (grouped && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
        else child.kill('SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    };
    const settle = (error: Error | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) return resolve(stdout);
      kill();
      reject(error);
    };
    const onAbort = (): void => settle(abortReason(signal));
    const timer = setTimeout(() => settle(failed(run, `did not answer within ${timeout / 1000} s`, stderr)), timeout);
    signal.addEventListener('abort', onAbort, { once: true });
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
      if (stdout.length > maxOutput) settle(failed(run, 'wrote more than 1 MiB'));
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr = (stderr + chunk).slice(-8192);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle(
        failed(
          run,
          error.code === 'ENOENT' ? 'is not installed, or not in PATH' : `could not be started (${error.code})`,
        ),
      );
    });
    child.on('close', (code, killedBy) => {
      settle(
        code === 0
          ? undefined
          : failed(run, killedBy ? `was ended by ${killedBy}` : `failed with exit status ${code}`, stderr),
      );
    });
  });
}

/** What the plugin learns from KUBERNETES_EXEC_INFO. */
function execInfo({ plugin, server }: PluginRun): unknown {
  const cluster = {
    server: server.url.href.replace(/\/$/, ''),
    ...(server.tlsServerName === undefined ? {} : { 'tls-server-name': server.tlsServerName }),
    ...(server.insecure ? { 'insecure-skip-tls-verify': true } : {}),
    ...(server.ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(server.ca).toString('base64') }),
    ...(server.proxy === undefined ? {} : { 'proxy-url': server.proxy }),
    ...(server.pluginConfig === undefined ? {} : { config: server.pluginConfig }),
  };
  return {
    apiVersion: plugin.apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, ...(plugin.provideClusterInfo ? { cluster } : {}) },
  };
}

function readAnswer(run: PluginRun, stdout: string): PluginCredential {
  let parsed;
  try {
    parsed = z.safeParse(Answer, JSON.parse(stdout));
  } catch {
    throw failed(run, 'did not print JSON');
  }
  if (!parsed.success) throw failed(run, 'did not print an ExecCredential with a status');
  const { apiVersion, status } = parsed.data;
  if (apiVersion !== run.plugin.apiVersion) {
    throw failed(run, `answered in ${maskSecrets(apiVersion)}, but the kubeconfig says ${run.plugin.apiVersion}`);
  }
  const { token, clientCertificateData: cert, clientKeyData: key } = status;
  if (!token && !(cert && key)) throw failed(run, 'gave neither a token nor a certificate with its key');
  const expires = Date.parse(status.expirationTimestamp ?? '');
  return {
    ...(token ? { token } : {}),
    ...(cert && key ? { certificate: { cert, key } } : {}),
    ...(Number.isNaN(expires) ? {} : { expires }),
  };
}

function failed({ plugin, user }: PluginRun, why: string, stderr = ''): BowlineError {
  const said = maskSecrets(stderr).trim().split('\n').slice(-5).join('\n').slice(-600);
  return new BowlineError(
    'CREDENTIALS_FAILED',
    `The credential plugin "${plugin.command}" of user "${user}" ${why}.${said ? ` It said: ${said}` : ''}`,
    {
      hint: plugin.installHint?.trim() || 'Check that kubectl works with this context; log in again if it asks for it.',
      details: { plugin: plugin.command, user },
    },
  );
}

/** Blanks what looks like a secret: JWTs, values of telling keys, long random-looking words. */
export function maskSecrets(text: string): string {
  return text
    .replace(/eyJ[\w-]{8,}(\.[\w-]*){0,2}/g, '***')
    .replace(/(bearer|basic)\s+[\w.~+/=-]+/gi, '$1 ***')
    .replace(
      /((?:token|secret|password|passwd|key|credential|assertion|code)["']?\s*[=:]\s*["']?)[^\s"',;&]+/gi,
      '$1***',
    )
    .replace(/(:\/\/)[^\s/@]+@/g, '$1***@')
    .replace(/[A-Za-z0-9+/_=-]{40,}/g, '***');
}
