/**
 * Who we are towards one API server: the user of the kubeconfig as headers and a client certificate, fresh at each
 * call. When the server answers 401 the user is read again (a login may have renewed it) and the plugin is run again.
 */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { BowlineError } from '../../../api/errors.ts';
import type { ClientCertificate, Impersonation, ServerConfig, UserConfig } from './access.ts';
import type { PluginCache } from './plugincache.ts';
import type { PluginCredential, PluginRun } from './plugin.ts';

export interface Credentials {
  /** Authorization and impersonation. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly certificate?: ClientCertificate;
  /** Facts for error messages, without the secret itself. */
  readonly origin: string;
  readonly expired?: string;
}

export interface CredentialSource {
  get(signal: AbortSignal): Promise<Credentials>;
  /** The server refused `used`; true when another try with other credentials makes sense. */
  refused(used: Credentials): Promise<boolean>;
}

export interface CredentialOptions {
  user: UserConfig;
  server: ServerConfig;
  env: NodeJS.ProcessEnv;
  plugins: PluginCache;
  /** The user as the kubeconfig has it now. */
  reload: () => Promise<UserConfig>;
  now?: () => number;
}

/** A token file is read again after this time, as other clients of the same files do. */
const tokenFileAge = 10_000;
const pluginTimeout = 60_000;

export function createCredentials(options: CredentialOptions): CredentialSource {
  const { server, env, plugins, reload, now = Date.now } = options;
  let user = options.user;
  let fileToken: { token: string; read: number } | undefined;
  const fromPlugin = new WeakMap<Credentials, { run: PluginRun; credential: PluginCredential }>();
  const madeFrom = new WeakMap<Credentials, UserConfig>();

  const readToken = async (path: string): Promise<string> => {
    if (fileToken === undefined || now() - fileToken.read >= tokenFileAge) {
      try {
        fileToken = { token: (await readFile(path, 'utf8')).trim(), read: now() };
      } catch (error) {
        throw new BowlineError('CREDENTIALS_FAILED', `The token file ${path} of ${describe(user)} cannot be read.`, {
          cause: error,
        });
      }
    }
    return fileToken.token;
  };

  const bearer = (token: string, origin: string): Credentials => ({
    headers: { authorization: `Bearer ${token}`, ...impersonation(user.impersonate) },
    origin,
    ...(user.certificate === undefined ? {} : { certificate: user.certificate }),
    ...expiry(tokenEnd(token), now()),
  });

  const runOf = (plugin: NonNullable<UserConfig['exec']>): PluginRun => ({
    plugin,
    server,
    user: user.name,
    env,
    timeout: pluginTimeout,
  });

  const make = async (signal: AbortSignal): Promise<Credentials> => {
    if (user.tokenFile !== undefined)
      return bearer(await readToken(user.tokenFile), `the token file ${user.tokenFile}`);
    if (user.token !== undefined) return bearer(user.token, `the token of ${describe(user)}`);
    if (user.username !== undefined) {
      const basic = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64');
      return {
        headers: { authorization: `Basic ${basic}`, ...impersonation(user.impersonate) },
        origin: `the password of ${describe(user)}`,
        ...(user.certificate === undefined ? {} : { certificate: user.certificate }),
      };
    }
    if (user.authProvider !== undefined)
      return bearer(providerToken(user, now()), `the OIDC token of ${describe(user)}`);
    if (user.exec !== undefined) {
      const run = runOf(user.exec);
      const credential = await plugins.get(run, signal);
      const certificate = credential.certificate ?? user.certificate;
      const credentials: Credentials = {
        headers: {
          ...(credential.token === undefined ? {} : { authorization: `Bearer ${credential.token}` }),
          ...impersonation(user.impersonate),
        },
        origin: `the plugin "${user.exec.command}" of ${describe(user)}`,
        ...(certificate === undefined ? {} : { certificate }),
        ...expiry(credential.token === undefined ? undefined : tokenEnd(credential.token), now()),
      };
      fromPlugin.set(credentials, { run, credential });
      return credentials;
    }
    return {
      headers: impersonation(user.impersonate),
      origin: user.certificate === undefined ? 'no credentials at all' : `the client certificate of ${describe(user)}`,
      ...(user.certificate === undefined
        ? {}
        : { certificate: user.certificate, ...expiry(certificateEnd(user.certificate), now()) }),
    };
  };

  return {
    async get(signal) {
      const from = user;
      const credentials = await make(signal);
      madeFrom.set(credentials, from);
      return credentials;
    },

    async refused(used) {
      const plugin = fromPlugin.get(used);
      if (plugin !== undefined) plugins.drop(plugin.run, plugin.credential);
      fileToken = undefined;
      user = await reload().catch(() => user);
      // Compared with what `used` came from: another call may have brought the new user already.
      const changed = JSON.stringify(user) !== JSON.stringify(madeFrom.get(used));
      return changed || plugin !== undefined || user.tokenFile !== undefined;
    },
  };
}

/** Only oidc is left in kubectl; it renews its token into the kubeconfig, which we never write. */
function providerToken(user: UserConfig, now: number): string {
  const provider = user.authProvider;
  const token = provider?.config['id-token'];
  if (provider?.name !== 'oidc' || !token) {
    throw new BowlineError(
      'CREDENTIALS_FAILED',
      `The auth-provider "${provider?.name}" of ${describe(user)} ${provider?.name === 'oidc' ? 'has no id-token' : 'is not supported'}.`,
      { hint: 'Use an exec credential plugin (kubelogin, gke-gcloud-auth-plugin) in the kubeconfig.' },
    );
  }
  const { expired } = expiry(tokenEnd(token), now);
  if (expired !== undefined) {
    throw new BowlineError(
      'CREDENTIALS_EXPIRED',
      `The OIDC token of ${describe(user)} expired at ${expired}, and Bowline does not renew tokens of an auth-provider.`,
      {
        hint: 'Any kubectl command with this context renews it; then try again. An exec plugin (kubelogin) renews it by itself.',
      },
    );
  }
  return token;
}

function impersonation(as: Impersonation | undefined): Record<string, string | string[]> {
  if (as === undefined) return {};
  const extra = Object.entries(as.extra).map(([key, values]) => [
    `Impersonate-Extra-${encodeURIComponent(key.toLowerCase())}`,
    [...values],
  ]);
  return {
    ...(as.user === undefined ? {} : { 'Impersonate-User': as.user }),
    ...(as.uid === undefined ? {} : { 'Impersonate-Uid': as.uid }),
    ...(as.groups.length === 0 ? {} : { 'Impersonate-Group': [...as.groups] }),
    ...Object.fromEntries(extra),
  };
}

function expiry(end: number | undefined, now: number): { expired?: string } {
  return end === undefined || end > now ? {} : { expired: new Date(end).toISOString() };
}

/** `exp` of a JSON Web Token in milliseconds; undefined for other tokens. */
export function tokenEnd(token: string): number | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const exp = claims !== null && typeof claims === 'object' && 'exp' in claims ? claims.exp : undefined;
    return typeof exp === 'number' ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

function certificateEnd({ cert }: ClientCertificate): number | undefined {
  try {
    return Date.parse(new X509Certificate(cert).validTo);
  } catch {
    return undefined;
  }
}

function describe(user: UserConfig): string {
  return `user "${user.name}"`;
}
