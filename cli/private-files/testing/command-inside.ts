/** A process of its own for one command with private files, so that tests can run it as any user. Its argument is `Inside`. */
import { realpathSync } from 'node:fs';
import type { NamedService } from '../../../api/schema.ts';
import { runCommand } from '../../run-command.ts';
import { openPrivateFiles, type PodFile } from '../private-files.ts';

export interface Inside {
  files: PodFile[];
  services: NamedService[];
  hostName?: string;
  folder: string;
  home: string;
  command: string[];
  variables: Record<string, string>;
}

const { files, services, hostName, folder, home, command, variables } = JSON.parse(process.argv[2] ?? '') as Inside;
try {
  using opened = await openPrivateFiles({
    files,
    services,
    hostName,
    folder,
    user: { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1, home },
    env: process.env,
    cwd: process.cwd(),
    needed: [realpathSync(process.execPath)],
  });
  process.send?.({ refused: opened.refused });
  process.on('message', (next: NamedService[]) => {
    void opened.update(next).then(() => process.send?.({ updated: true }));
  });
  const { enter } = opened;
  process.exitCode = await runCommand({ command, env: process.env, podVariables: variables, enter });
} catch (error) {
  process.send?.({ error: error instanceof Error ? error.message : String(error) });
  process.exitCode = 99;
}
process.disconnect?.();
