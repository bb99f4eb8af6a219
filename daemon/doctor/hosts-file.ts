/** The hosts file: whether a block of ours stands in it though nothing is connected. */
import { readFile } from 'node:fs/promises';
import type { DoctorProbe } from '../server/handlers.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import { blockBegin } from '../../helper/hosts.ts';
import { failure, ok, warning } from './check.ts';

export function hostsFileProbe(manager: Pick<ConnectionManager, 'list'>, path: string, uid: number): DoctorProbe {
  return async () => {
    try {
      const lines = (await readFile(path, 'utf8')).split('\n');
      if (!lines.some((line) => line.startsWith(blockBegin(uid))))
        return [ok('hosts-file', `${path} holds nothing of ours.`)];
      const connected = manager.list().filter(({ namesMode }) => namesMode === 'hosts');
      if (connected.length > 0)
        return [ok('hosts-file', `${path} has the names of ${connected.map(({ name }) => name).join(', ')}.`)];
      return [
        warning(
          'hosts-file',
          `${path} has a block of yours though you have no connection.`,
          'The helper takes out what nobody holds when it starts (`bowline helper install`). By hand: delete the lines from "# BEGIN bowline" to "# END bowline".',
        ),
      ];
    } catch (error) {
      return [failure('hosts-file', error)];
    }
  };
}
