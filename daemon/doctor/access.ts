/** How the API server is reached and as whom: proxy, authority, credentials, and the clock that their dates are read by. */
import { describeAccess, type AccessDescription } from '../cluster/describe.ts';
import type { AccessOptions } from '../cluster/open.ts';
import type { DoctorCheck } from '../../api/schema.ts';
import { failure, ok, warning } from './check.ts';
import type { ClusterCheck } from './cluster.ts';

const day = 24 * 3600_000;
/** Tokens and certificates are refused by clocks that differ more; Kubernetes itself allows none for certificates. */
const clockTolerance = 30_000;

/** Read from the kubeconfig alone, so it is said also of a server that does not answer. */
export async function checkAccess(options: AccessOptions, now: number): Promise<DoctorCheck[]> {
  try {
    const access = await describeAccess(options);
    return [route(access), credentials(access, now)];
  } catch (error) {
    return [failure('kubeconfig', error)];
  }
}

function route({ server, proxy, authority }: AccessDescription): DoctorCheck {
  const way = proxy === undefined ? 'directly' : `through the proxy ${proxy}`;
  if (authority === 'nobody')
    return warning(
      'route',
      `${server} is reached ${way}, and its certificate is not checked (insecure-skip-tls-verify).`,
      'Put certificate-authority-data of the cluster into the kubeconfig: now anybody on the way can read the credentials.',
    );
  const said = authority === 'system' ? "the system's authorities" : "the kubeconfig's authority";
  return ok('route', `${server} is reached ${way}; its certificate is checked by ${said}.`);
}

function credentials({ user, credential, expires }: AccessDescription, now: number): DoctorCheck {
  const who = `User ${user} of the kubeconfig shows ${credential}`;
  if (credential === 'nothing')
    return warning('credentials', `${who}.`, 'The API server will take it for an anonymous caller.');
  if (expires === undefined) return ok('credentials', `${who}.`);
  const when = expires.toISOString();
  if (expires.getTime() <= now)
    return {
      check: 'credentials',
      state: 'failure',
      message: `${who} that expired at ${when}.`,
      hint: 'Log in again, or ask who gave you the kubeconfig for a new one.',
    };
  if (expires.getTime() - now < day)
    return warning('credentials', `${who} that expires soon, at ${when}.`, 'Renew it before it interrupts you.');
  return ok('credentials', `${who} that is valid until ${when}.`);
}

/** Leases do not depend on it; the dates of certificates and tokens do. */
export const clock: ClusterCheck = async ({ cluster, now, signal }) => {
  const before = now();
  const server = (await cluster.serverTime({ signal })).getTime();
  const here = (before + now()) / 2;
  if (Number.isNaN(server)) return [];
  const apart = Math.round((here - server) / 1000);
  if (Math.abs(here - server) <= clockTolerance)
    return [ok('clock', "This machine's clock agrees with the API server's.")];
  return [
    warning(
      'clock',
      `This machine's clock is ${Math.abs(apart)} s ${apart > 0 ? 'ahead of' : 'behind'} the API server's.`,
      'Set it (NTP): tokens and certificates may be refused as expired or not yet valid.',
    ),
  ];
};
