/** Where a command of a connection runs: with the pod's variables, and its files and names as far as the machine allows. */
import type { Client } from '../api/client.ts';
import type { Connection, Environment, NamedService } from '../api/schema.ts';
import { chooseVariables } from './environment/choose-variables.ts';
import type { Io } from './io.ts';
import { privateFilesFor, type PrivateFilesMode } from './private-files/for-connection.ts';
import type { PrivateFiles } from './private-files/private-files.ts';
import { untilWeEnd } from './parent-death.ts';
import { createProgressView } from './progress.ts';
import { runCommand, type Streams } from './run-command.ts';

export interface CommandPlace extends Disposable {
  /** As the daemon says it is for this place. */
  readonly environment: Environment;
  /** `undefined` where the pod's files are not at their real paths. */
  readonly files: Pick<PrivateFiles, 'refused'> | undefined;
  /** Brings names and files up to date with the connection. */
  update(services: readonly NamedService[]): void;
  /** The exit status. Rejects with COMMAND_NOT_STARTED. */
  run(command: string[], streams?: Streams): Promise<number>;
}

export interface PlaceWish {
  /** The command's program, where it is known. */
  program: string | undefined;
  mode: PrivateFilesMode;
  io: Io;
}

/** Rejects with PRIVATE_FILES_IMPOSSIBLE where they are asked for. */
export async function openPlace(client: Client, connection: Connection, wish: PlaceWish): Promise<CommandPlace> {
  const { io } = wish;
  const warn = (code: string, message: string): void =>
    createProgressView(io, io.err).line({ type: 'warning', code, message });
  using undo = new DisposableStack();
  const files = undo.use(await privateFilesFor(connection, { ...wish, warn }));
  const kept = files?.refused.map(({ target }) => target).join('\n');
  const query = { inPlace: files !== undefined, ...(kept ? { kept } : {}) };
  const environment = await client.call('environment', { params: { name: connection.name }, query });
  for (const message of environment.warnings) warn('ENVIRONMENT', message);
  const { variables } = chooseVariables(environment, { all: false });
  // A program that is not known by its file must fail to start by itself, which says why.
  const withUs = wish.program === undefined ? [] : untilWeEnd(io.facts.platform);
  const place = undo.move();
  return {
    environment,
    files,
    update: (services) => void files?.update(services).catch(() => undefined),
    run: (command, streams) =>
      runCommand({
        command,
        env: io.facts.env,
        podVariables: variables,
        enter: [...(files?.enter ?? []), ...withUs],
        ...(streams && { streams }),
      }),
    [Symbol.dispose]: () => place.dispose(),
  };
}
