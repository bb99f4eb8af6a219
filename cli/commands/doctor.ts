/** `bowline doctor`: what could be in the way, on the machine and at the cluster, with the next step for each. */
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Command, Option } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { checkPrivateFolder } from '../../api/private-folder.ts';
import type { DoctorCheck, DoctorRequest } from '../../api/schema.ts';
import { productVersion } from '../../api/version.ts';
import { filled, place, type PlaceOptions } from '../connect-request.ts';
import { ensureDaemon } from '../daemon-process.ts';
import { givenEnvironmentFile } from '../environment/read-environment-file.ts';
import { fidelityOf } from '../fidelity/fidelity.ts';
import { describeReport } from '../fidelity/report.ts';
import { onOut, outJson, type Io } from '../io.ts';
import { privateFilesOption, type PrivateFilesMode } from '../private-files/for-connection.ts';

interface DoctorOptions extends PlaceOptions {
  agentImage?: string;
  fidelity?: boolean;
  container?: string;
  privateFiles: PrivateFilesMode;
  envFile?: string | false;
}

export function doctorCommand(io: Io): Command {
  return new Command('doctor')
    .summary('find out what is in the way')
    .description(
      'Checks this machine, the kubeconfig, the API server and your rights, and what is in the way of connecting to\n' +
        'TARGET. Nothing is changed. Exit status 7 when something fails.\n' +
        'With --fidelity: connects to TARGET without taking its traffic, unless it is connected, and compares what its\n' +
        'program has with what one on this machine gets. Values are compared by digests and never shown.',
    )
    .argument('[TARGET]', 'as for connect: deploy/NAME, sts/NAME, svc/NAME, ..., or a bare NAME')
    .option(
      '-n, --namespace <NS>',
      "namespace whose rights are checked (default: the context's)",
      filled('--namespace'),
    )
    .option('--context <NAME>', 'context of the kubeconfig (default: its current one)', filled('--context'))
    .option('--kubeconfig <FILE>', 'kubeconfig (default: $KUBECONFIG, else ~/.kube/config)', filled('--kubeconfig'))
    .addOption(new Option('--agent-image <IMAGE>', 'the image that connect would be given').env('BOWLINE_AGENT_IMAGE'))
    .option(
      '--fidelity',
      'compare variables, files, names, identity, time zone and user of TARGET with those here; status 7 below 100 %',
    )
    .option('--container <NAME>', 'with --fidelity: as for connect', filled('--container'))
    .addOption(privateFilesOption())
    .option('--env-file <FILE>', 'with --fidelity: as for connect', filled('--env-file'))
    .option('--no-env-file', 'with --fidelity: as for connect')
    .option('--json', 'one JSON document')
    .action(async (target: string | undefined, given: DoctorOptions) => {
      if (given.fidelity === true) return fidelity(io, target, given);
      const { agentImage, ...options } = given;
      const where = {
        ...place(options, io.facts.env),
        ...(target !== undefined && { target }),
        ...(agentImage !== undefined && { agentImage }),
      };
      const checks = [
        ...(await Promise.all([folder(io), kubeconfig(where.kubeconfig, io)])),
        ...(await askDaemon(io, where)),
      ];
      if (io.json) outJson(io, { checks });
      else for (const check of checks) io.out(describe(check));
      if (checks.some(({ state }) => state === 'failure')) io.status = 7;
    });
}

async function fidelity(io: Io, target: string | undefined, options: DoctorOptions): Promise<void> {
  if (target === undefined)
    throw new BowlineError('BAD_ARGUMENT', '--fidelity needs a TARGET: the workload whose program is compared.', {
      hint: 'For example: bowline doctor deploy/stats-api --fidelity',
    });
  const { agentImage, container, privateFiles: mode, envFile } = options;
  const environmentFile = await givenEnvironmentFile(io, envFile);
  const request = {
    ...place(options, io.facts.env),
    target,
    ...(agentImage && { agentImage }),
    ...(container !== undefined && { container }),
    ...(environmentFile && { environmentFile }),
  };
  const report = await fidelityOf(await ensureDaemon(io), { request, mode, io });
  if (io.json) outJson(io, report);
  else io.out(describeReport(report));
  if (report.percent < 100) io.status = 7;
}

async function folder(io: Io): Promise<DoctorCheck> {
  const { runtimeFolder } = io.paths;
  try {
    await checkPrivateFolder(runtimeFolder, io.facts.uid);
    return { check: 'runtime-folder', state: 'ok', message: `${runtimeFolder} is yours alone.` };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return { check: 'runtime-folder', state: 'ok', message: `${runtimeFolder} is made when the daemon starts.` };
    }
    return failure('runtime-folder', error);
  }
}

async function kubeconfig(given: string | undefined, io: Io): Promise<DoctorCheck> {
  const files = given?.split(delimiter) ?? [join(io.facts.home, '.kube', 'config')];
  const readable = await Promise.all(
    files.map((file) =>
      access(file, constants.R_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  const missing = files.filter((_, index) => !readable[index]);
  if (missing.length === 0) return { check: 'kubeconfig', state: 'ok', message: `${files.join(', ')} can be read.` };
  const all = missing.length === files.length;
  return {
    check: 'kubeconfig',
    state: all ? 'failure' : 'warning',
    message: `${missing.join(', ')} cannot be read.`,
    hint: 'Set KUBECONFIG or give --kubeconfig.',
  };
}

async function askDaemon(io: Io, where: DoctorRequest): Promise<DoctorCheck[]> {
  try {
    const client = await ensureDaemon(io);
    const { version, pid } = await client.call('ping', {});
    const same = version === productVersion;
    const daemon: DoctorCheck = {
      check: 'daemon',
      state: same ? 'ok' : 'warning',
      message: `The daemon runs (pid ${pid}, version ${version}${same ? '' : `, this command is ${productVersion}`}).`,
      ...(same ? {} : { hint: '`bowline daemon stop`; the next command starts the new one.' }),
    };
    return [daemon, ...(await client.call('doctor', { body: where }, AbortSignal.timeout(30_000))).checks];
  } catch (error) {
    return [failure('daemon', error)];
  }
}

function failure(check: string, thrown: unknown): DoctorCheck {
  const { message, hint } = BowlineError.from(thrown);
  return { check, state: 'failure', message, ...(hint === undefined ? {} : { hint }) };
}

function describe({ check, state, message, hint }: DoctorCheck): string {
  const mark = { ok: onOut('green', '✓'), warning: onOut('yellow', '!'), failure: onOut('red', '✗') }[state];
  return `${mark} ${check}: ${message}\n${hint && state !== 'ok' ? `    hint: ${hint}\n` : ''}`;
}
