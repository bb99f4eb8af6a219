/** Says who still talks to the originals over connections from before the redirect. Owns nothing. */
import { openConnections } from '../redirect/open-connections.ts';
import type { OnProgress } from './manager.ts';
import type { Tie } from './tie.ts';

const code = 'OPEN_CONNECTIONS';
/** Milliseconds: it is a help, for which a connect must not wait long. */
const patience = 3000;

const told = ({ session }: Tie): string | undefined =>
  session.warnings.find((warning) => warning.code === code)?.message;

export const isHeldOpen = (tie: Tie): boolean => told(tie) !== undefined;

/** Warns, or takes the warning back. Never fails but for `signal`. */
export async function tellHeldOpen(tie: Tie, signal: AbortSignal, onProgress?: OnProgress): Promise<void> {
  const { cluster, session, log } = tie;
  const { namespace, target, proofs, originals, ports } = session;
  const selector = session.made?.originals?.selector;
  if (selector === undefined || target === undefined || proofs.length === 0 || originals?.stopped === true) return;
  try {
    const redirected = { namespace, selector, container: target.container, ports: ports.map(({ remote }) => remote) };
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(patience)]);
    const callers = await openConnections(cluster, redirected, { signal: bounded });
    const before = told(tie);
    if (callers.size > 0) tie.warn({ code, message: message(tie, callers) }, onProgress);
    else tie.unwarn(code);
    if (told(tie) !== before) tie.changed('open-connections');
  } catch (error) {
    signal.throwIfAborted();
    log.debug('open-connections-unknown', { connection: tie.name, reason: String(error) });
  }
}

function message({ session: { namespace, target } }: Tie, callers: Map<string, number>): string {
  const all = [...callers].toSorted(([, a], [, b]) => b - a);
  const total = all.reduce((sum, [, count]) => sum + count, 0);
  const shown = all.slice(0, 5).map(([caller, count]) => (count === 1 ? caller : `${caller} (${count})`));
  const more = all.length > shown.length ? ` and ${all.length - shown.length} more` : '';
  const are =
    total === 1 ? '1 connection from before the redirect is' : `${total} connections from before the redirect are`;
  const restart =
    target?.kind === 'Pod'
      ? ''
      : `, or the originals with \`kubectl rollout restart ${target?.kind.toLowerCase()}/${target?.name} -n ${namespace}\``;
  return `${are} still open, and what comes by them the originals answer: ${shown.join(', ')}${more}. Restart these callers${restart}; or wait until they connect again.`;
}
