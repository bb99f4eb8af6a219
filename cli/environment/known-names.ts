/** What a live connection knows of volumes and Services, for the check of an environment file. */
import type { Client } from '../../api/client.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection } from '../../api/schema.ts';
import type { Known } from '../../env-parser/references.ts';
import { chooseConnection } from '../choose-connection.ts';

export interface ConnectionNames extends Known {
  connection: string;
}

/** Throws CONNECTION_NOT_FOUND, or BAD_ARGUMENT where there are several and none is named. */
export async function knownNames(client: Client | undefined, wanted: string | undefined): Promise<ConnectionNames> {
  const { name } = await chooseConnection(client, wanted);
  const { connections = [] } = (await client?.call('status', {})) ?? {};
  const connection = connections.find((each) => each.name === name || each.name.endsWith(`/${name}`));
  if (connection !== undefined) return { connection: connection.name, ...namesOf(connection) };
  throw new BowlineError('CONNECTION_NOT_FOUND', `There is no connection "${name}".`, {
    hint: '`bowline list` shows what there is.',
  });
}

/** Of other namespaces a connection has only the Services that its own file names, so those are not judged. */
function namesOf({ namespace, services, files }: Connection): Known {
  return {
    ...(files && { volumes: files.mounts.map(({ volume }) => volume) }),
    services: services
      .filter(({ external }) => external !== true)
      .map((each) => ({ namespace: each.namespace, name: each.service })),
    namespace,
    namespaces: [namespace],
  };
}
