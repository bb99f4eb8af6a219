/** How a context leads to its API server and as whom, in words and dates. No secret is in it. */
import { X509Certificate } from 'node:crypto';
import { readAccess, type AccessOptions } from './open.ts';
import { tokenEnd } from './config/credentials.ts';
import { proxyFor, proxyName } from './transport/proxy.ts';
import type { UserConfig } from './config/access.ts';

export interface AccessDescription {
  context: string;
  server: string;
  /** Address and where it was configured; undefined when the way is direct. */
  proxy?: string;
  /** Who says that the server is the right one. */
  authority: 'kubeconfig' | 'system' | 'nobody';
  user: string;
  /** How the user is shown to be that: a token, a certificate, a plugin, ... */
  credential: string;
  /** When that ends, where it can be read without asking anybody. */
  expires?: Date;
}

export async function describeAccess(options: AccessOptions): Promise<AccessDescription> {
  const { context, server, user } = await readAccess(options);
  const proxy = proxyFor(server, options.env);
  return {
    context,
    server: server.url.href,
    ...(proxy === undefined ? {} : { proxy: proxyName(proxy) }),
    authority: server.insecure ? 'nobody' : server.ca === undefined ? 'system' : 'kubeconfig',
    user: user.name,
    ...credentialOf(user),
  };
}

type Credential = Pick<AccessDescription, 'credential' | 'expires'>;

const ends = (credential: string, end: number | undefined): Credential =>
  end === undefined || Number.isNaN(end) ? { credential } : { credential, expires: new Date(end) };

function credentialOf(user: UserConfig): Credential {
  if (user.tokenFile !== undefined) return { credential: `the token file ${user.tokenFile}` };
  if (user.token !== undefined) return ends('a token', tokenEnd(user.token));
  if (user.username !== undefined) return { credential: 'a password' };
  if (user.authProvider !== undefined) return { credential: `the auth provider ${user.authProvider.name}` };
  if (user.exec !== undefined) return { credential: `the plugin ${user.exec.command}` };
  if (user.certificate === undefined) return { credential: 'nothing' };
  return ends('a client certificate', Date.parse(new X509Certificate(user.certificate.cert).validTo));
}
