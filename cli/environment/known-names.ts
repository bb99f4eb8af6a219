/** What a live connection knows of volumes and Services, for the check of environment files as a connect would do it. */
import type { Client } from '../../api/client.ts';
import type { KnownNames } from '../../api/schema.ts';
import type { EnvironmentFile, Problem } from '../../env-parser/environment-file.ts';
import { namespacesOf, perhapsNamespaces, tokensOf } from '../../env-parser/references.ts';
import { chooseConnection } from '../choose-connection.ts';

/** Throws CONNECTION_NOT_FOUND, or BAD_ARGUMENT where there are several and none is named. */
export async function knownNames(
  client: Client | undefined,
  wanted: string | undefined,
  files: readonly EnvironmentFile[],
): Promise<KnownNames> {
  const { name } = await chooseConnection(client, wanted);
  const ask = (namespaces: string[]): Promise<KnownNames> =>
    client!.call('known', { params: { name }, body: { namespaces: [...new Set(namespaces)] } });
  const known = await ask(files.flatMap(namespacesOf));
  const perhaps = files.flatMap((file) => perhapsNamespaces(file, known.absent));
  if (perhaps.length === 0) return known;
  const { services } = await ask(perhaps);
  return { ...known, services: [...known.services, ...services] };
}

/** A warning for each token whose namespace the user may not look into. */
export function notChecked(file: EnvironmentFile, { unchecked }: KnownNames): Problem[] {
  return tokensOf(file).flatMap((token) => {
    const found =
      token.kind === 'service' ? unchecked.find(({ namespace }) => namespace === token.namespace) : undefined;
    const why = found?.why.replace(/\.$/, '');
    if (why === undefined) return [];
    const expected = 'the right to list the Services of that namespace';
    return [file.source.problem(token.position, `This could not be checked: ${why}`, { expected })];
  });
}
