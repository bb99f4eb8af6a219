/** `bowline env schema`: the JSON schema of the YAML dialect, for editors. */
import { Command } from 'commander';
import { bridgeSchema } from '../../env-parser/bridge-schema.ts';
import { fileNames } from '../../env-parser/environment-file.ts';
import { outJson, type Io } from '../io.ts';

export function envSchemaCommand(io: Io): Command {
  return new Command('schema')
    .summary(`the JSON schema of ${fileNames.bridge}`)
    .description(
      `Prints the JSON schema of ${fileNames.bridge}, with which editors complete and check it. With the YAML\n` +
        'extension of VS Code, the first line of the file names it: # yaml-language-server: $schema=FILE',
    )
    .option('--json', 'it is JSON anyway')
    .action(() => outJson(io, bridgeSchema));
}
