/** `bowline connect`: ties the machine, and with a command behind `--` runs it and unties when it ends. */
import { constants } from 'node:os';
import { Command, Option } from 'commander';
import type { Client } from '../../api/client.ts';
import { BowlineError, exitStatus } from '../../api/errors.ts';
import type { ConnectInput } from '../../api/schema.ts';
import { openPlace } from '../command-place.ts';
import {
  connectRequest,
  filled,
  parseLapse,
  parsePort,
  parseSeconds,
  parseSize,
  type ConnectOptions,
} from '../connect-request.ts';
import { connect, release } from '../connected.ts';
import { ensureDaemon } from '../daemon-process.ts';
import { findProgram } from '../find-program.ts';
import { givenEnvironmentFile, withLines } from '../environment/read-environment-file.ts';
import { watchHeld } from '../held-connection.ts';
import { onInterrupt } from '../interrupts.ts';
import { outJson, type Io } from '../io.ts';
import { progressOption } from '../progress.ts';
import { privateFilesOption, type PrivateFilesMode } from '../private-files/for-connection.ts';
import { describeConnected, describePlan } from '../texts.ts';

export function connectCommand(io: Io): Command {
  return new Command('connect')
    .summary('tie this machine to a workload, or to the names of a namespace')
    .description(
      'Requests for TARGET in the cluster arrive at local ports, and the services of the namespace answer by their names here.\n' +
        'TARGET is deploy|sts|ds|rs|pod|svc/NAME, or a bare NAME when only one workload has it.\n' +
        'Without TARGET only the names of the namespace are tied: that of -n, else that of the context, else "default".\n' +
        'With a COMMAND it runs in the environment of the pod, and the connection ends with it; without, it stays in the background.',
    )
    .usage('[options] [TARGET] [-- COMMAND...]')
    .argument('[TARGET]', 'the workload whose requests come here')
    .option('-n, --namespace <NS>', "namespace (default: the context's)", filled('--namespace'))
    .option('--context <NAME>', 'context of the kubeconfig (default: its current one)', filled('--context'))
    .option('--kubeconfig <FILE>', 'kubeconfig (default: $KUBECONFIG, else ~/.kube/config)', filled('--kubeconfig'))
    .option(
      '--container <NAME>',
      'container of the pod to stand in for (default: the one that has the ports)',
      filled('--container'),
    )
    .addOption(
      new Option(
        '-p, --port <LOCAL[:REMOTE]>',
        'local port for a port of the pod or its Service (1 to 65535), may be repeated; LOCAL alone is that port of the pod, or else its only one. Below 1024 your program may need root',
      )
        .argParser(parsePort)
        .default([], 'as the container has them'),
    )
    .addOption(
      new Option('--if-down <WHAT>', 'what callers get while nothing listens on the local port')
        .choices(['refuse', 'original'])
        .default('refuse'),
    )
    .option('--stop-original', 'scale the workload to 0 meanwhile, for queue consumers and singletons', false)
    .option('--no-redirect', 'variables, files and names of TARGET only: its traffic stays where it is')
    .addOption(
      new Option(
        '--names <HOW>',
        'hosts: by name, needs the helper; env: by variables; auto: hosts when the helper is there',
      )
        .choices(['auto', 'hosts', 'env'])
        .default('auto'),
    )
    .addOption(
      new Option('--agent-image <IMAGE>', 'image with Node 24 for the agent')
        .env('BOWLINE_AGENT_IMAGE')
        .argParser((text) => text || undefined),
    )
    .option('--agent-image-has-agent', 'the image carries the agent itself', false)
    .addOption(
      new Option('--timeout <SECONDS>', 'how long the agent may take to run, at least 1')
        .argParser(parseSeconds(1))
        .default(60),
    )
    .addOption(
      new Option('--drain <SECONDS>', 'how long open requests may take when untying')
        .argParser(parseSeconds(0))
        .default(30),
    )
    .addOption(
      new Option(
        '--lapse <SECONDS>',
        'without a sign of this machine for so long, a keeper puts everything back; whole, at least 5',
      )
        .argParser(parseLapse)
        .default(60),
    )
    .addOption(
      new Option('--proof-every <SECONDS>', 'how often it is proved that requests arrive here, at least 1')
        .argParser(parseSeconds(1))
        .default(30),
    )
    .option('--take-over', 'end the session of somebody else who has the workload; he is told', false)
    .option('--wait', 'wait while somebody else has the workload', false)
    .addOption(new Option('--wait-timeout <SECONDS>', 'how long --wait waits').argParser(parseSeconds(1)).default(600))
    .option('--without-keeper', 'stop the originals also where no keeper would start them again', false)
    .addOption(privateFilesOption())
    .addOption(
      new Option('--max-volume <SIZE>', 'leave out volumes with more')
        .argParser(parseSize)
        .default(100 * 1024 * 1024, '100MiB'),
    )
    .addOption(globs('--include', 'bring only such files of the volumes; with / matched from the root of the volume'))
    .addOption(globs('--exclude', 'leave out such files and folders of the volumes'))
    .option('--no-volumes', 'bring no volumes to this machine but those that the environment file names')
    .option(
      '--env-file <FILE>',
      'environment file of the project (default: azds-local.env or KubernetesLocalProcessConfig.yaml in this folder)',
      filled('--env-file'),
    )
    .option('--no-env-file', 'use no environment file')
    .option('--dry-run', 'print every object and patch, and change nothing')
    .addOption(progressOption())
    .option('--json', 'NDJSON: steps, then the result (with a COMMAND on standard error)')
    .addHelpText('after', details)
    .action(async (target: string | undefined, options: ConnectOptions & { dryRun?: boolean }) => {
      if (io.command?.length === 0) throw new BowlineError('BAD_ARGUMENT', 'There is no command behind --.');
      const request = connectRequest(target, options, io.facts.env, await givenEnvironmentFile(io, options.envFile));
      const program = io.command && (await findProgram(io.command[0] ?? '', io.facts));
      const client = await ensureDaemon(io);
      if (options.dryRun) {
        const plan = await client.call('planConnect', { body: request }).catch((error: unknown) => {
          throw withLines(error, request.environmentFile);
        });
        if (io.json) outJson(io, plan);
        else io.out(describePlan(plan));
      } else if (io.command === undefined) {
        await connectInBackground(client, request, io);
      } else {
        io.status = await connectAndRun(client, {
          request,
          command: io.command,
          program,
          mode: options.privateFiles,
          io,
        });
      }
    });
}

const globs = (name: string, what: string): Option =>
  new Option(`${name} <GLOB>`, `${what}; may be repeated`)
    .argParser((text: string, previous: string[]) => [...previous, filled(name)(text)])
    .default([], 'none');

async function connectInBackground(client: Client, request: ConnectInput, io: Io): Promise<void> {
  const { connection, lines } = await connect(client, request, { io, hold: false, jsonTo: io.out });
  await lines.return?.();
  if (io.json) return;
  io.err(describeConnected(connection));
  if (io.watched) io.err(`\`bowline disconnect ${connection.name}\` puts everything back.\n`);
}

interface CommandRun {
  request: ConnectInput;
  command: string[];
  /** Its program's file, where it is known. */
  program: string | undefined;
  mode: PrivateFilesMode;
  io: Io;
}

async function connectAndRun(client: Client, { request, command, program, mode, io }: CommandRun): Promise<number> {
  // Between the steps of the connect and the command nobody else listens: it is not started then, and all is put back.
  let asked: NodeJS.Signals | undefined;
  using _ = onInterrupt((signal) => void (asked ??= signal));
  // Standard output belongs to the command, and in a pipe standard error too.
  const { connection, lines } = await connect(client, request, { io, hold: true, jsonTo: io.err });
  if (io.steps && !io.json) io.err(describeConnected(connection));
  // The hold is written down before the command runs; should the daemon be gone, it is taken up again below.
  await lines.next().catch(() => undefined);
  const held = watchHeld(io, { client, name: connection.name, lines });
  let status: number;
  let failure: unknown;
  try {
    using place = await openPlace(client, connection, { program, mode, io });
    held.onChange(({ services }) => place.update(services));
    status = asked === undefined ? await place.run(command) : 128 + constants.signals[asked];
  } catch (error) {
    failure = error;
    status = exitStatus[BowlineError.from(error).category];
  }
  held.commandEnded();
  const released = await release(connection.name, io);
  await held.letGo();
  if (failure) throw failure;
  if (status !== 0) return status;
  return held.failure === undefined ? released : exitStatus[held.failure];
}

const details = `
What it changes, and puts back when untied:
  in the cluster   a Lease, a Secret and a ReplicaSet of one agent pod (a clone of the workload's pod), a Service for the
                   originals, the selector of the Services that lead to the workload. The originals keep running.
  on this machine  a marked block in the hosts file and loopback addresses of 127.66.0.0/16, by the helper.

Examples:
  bowline connect deploy/stats-api --port 3001 -- npm start
  bowline connect sts/orders -n shop --port 8080:80 --port 9090
  bowline connect -n shop
  bowline connect deploy/stats-api --no-redirect -- npm test
  bowline connect deploy/worker --stop-original -- node worker.js
  bowline connect deploy/stats-api --dry-run

Exit status: of the COMMAND (128 + number when a signal ended it), but 6 instead of 0 when the connection was taken over; else 2 usage, 3 kubeconfig, 4 rights, 5 cluster,
6 conflict, 7 this machine, 130 cancelled.
`;
