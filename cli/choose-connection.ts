/** The connection that a command means: the named one, or the only one there is. */
import type { Client } from '../api/client.ts';
import { BowlineError } from '../api/errors.ts';
import { isOver, noConnection } from './texts.ts';

/**
 * A name is only looked up by the daemon, which knows short forms and offers near ones. `orOver`: where none is live, the
 * only one that has failed.
 */
export async function chooseConnection(
  client: Client | undefined,
  name: string | undefined,
  { orOver = false }: { orOver?: boolean } = {},
): Promise<{ name: string }> {
  if (client === undefined) throw nothing(name);
  if (name !== undefined) return { name };
  const { connections } = await client.call('listConnections', {});
  const live = connections.filter((each) => !isOver(each));
  const meant = orOver && live.length === 0 ? connections : live;
  const [only, ...others] = meant;
  if (only === undefined) throw nothing(name);
  if (others.length === 0) return only;
  const names = meant.map(({ name }) => name);
  throw new BowlineError('BAD_ARGUMENT', `There are several connections: ${names.join(', ')}.`, {
    hint: 'Name the one you mean.',
    details: { alternatives: names },
  });
}

function nothing(name: string | undefined): BowlineError {
  const what = name === undefined ? noConnection : `There is no connection "${name}".`;
  return new BowlineError('CONNECTION_NOT_FOUND', what, {
    hint: '`bowline connect TARGET` ties this machine to a workload.',
  });
}
