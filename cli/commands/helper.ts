/** `bowline helper`: installs the one privileged part, which asks for root once, and takes it away again. */
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { BowlineError, type ErrorShape } from '../../api/errors.ts';
import {
  hasServiceManager,
  helperStatus,
  installCommand,
  planInstall,
  type HelperStatus,
  type InstallOptions,
} from '../../helper/install.ts';
import { findDaemon } from '../daemon-process.ts';
import { runAsRoot } from '../elevate.ts';
import { outJson, type Io } from '../io.ts';

interface HelperOptions {
  user?: number;
  allowSuffix?: string[];
}

export function helperCommand(io: Io): Command {
  const command = new Command('helper')
    .summary('the privileged part that makes names work on this machine')
    .description(
      'The helper puts names into a marked block of the hosts file and opens ports below 1024 on 127.66.0.0/16, for one user,\n' +
        'and does nothing else. Without it services are reached by the *_SERVICE_HOST and *_SERVICE_PORT variables.',
    );
  command
    .command('install')
    .description('install and start it; asks for root once')
    .addOption(userOption())
    .option('--allow-suffix <DOMAIN...>', 'endings of names that look public and are allowed all the same')
    .option('--json', 'one JSON document')
    .action(async (options: HelperOptions) => {
      const wanted = installOptions(io, options);
      if (!io.json) io.err(['This will, as root:', ...planInstall(wanted).map((step) => `  - ${step}`), ''].join('\n'));
      show(io, parse(await runAsRoot(installCommand('install', wanted), io)));
      // A daemon that is asked looks for the helper, and its connections have names from then on.
      await (await findDaemon(io))?.call('status', {}).catch(() => undefined);
    });
  command
    .command('uninstall')
    .description('take everything of it away; asks for root once')
    .addOption(userOption())
    .option('--json', 'one JSON document')
    .action(async (options: HelperOptions) => {
      show(io, parse(await runAsRoot(installCommand('uninstall', installOptions(io, options)), io)));
    });
  command
    .command('status')
    .description('whether it is there and answers; exit status 0 when it does, 7 when not')
    .addOption(userOption())
    .option('--json', 'one JSON document')
    .action(async (options: HelperOptions) => {
      const status = await helperStatus(installOptions(io, options), AbortSignal.timeout(10_000));
      show(io, status);
      if (!status.running) io.status = 7;
    });
  return command;
}

function userOption(): Option {
  return new Option('--user <UID>', 'for whom (default: you, or who called sudo)').argParser((text) => {
    if (/^\d{1,10}$/.test(text)) return Number(text);
    throw new BowlineError('BAD_ARGUMENT', `${JSON.stringify(text)} is not the number of a user.`);
  });
}

function installOptions({ facts }: Io, { user, allowSuffix = [] }: HelperOptions): InstallOptions {
  const bySudo = facts.uid === 0 ? Number(facts.env['SUDO_UID'] ?? 0) : facts.uid;
  const uid = user ?? bySudo;
  const gid =
    uid === bySudo ? (facts.uid === 0 ? Number(facts.env['SUDO_GID'] ?? 0) : (process.getgid?.() ?? uid)) : uid;
  return {
    uid,
    gid,
    platform: facts.platform,
    allowSuffixes: allowSuffix,
    sourceDir: fileURLToPath(new URL('../../helper', import.meta.url)),
    node: process.execPath,
    service: hasServiceManager(facts.platform),
  };
}

/** The installer's answer: the last line, a status or an error. */
function parse(output: string): HelperStatus {
  const line = output.trim().split('\n').at(-1) ?? '';
  let answer: HelperStatus | { error: ErrorShape };
  try {
    answer = JSON.parse(line) as typeof answer;
  } catch {
    throw new BowlineError('HELPER_REFUSED', 'Root was not given, or the installer could not run.', {
      hint: 'Try again in a terminal: `bowline helper install`.',
    });
  }
  if ('error' in answer) throw BowlineError.fromShape(answer.error);
  return answer;
}

function show(io: Io, status: HelperStatus): void {
  if (io.json) outJson(io, status);
  else io.out(`${status.detail}\n`);
}
