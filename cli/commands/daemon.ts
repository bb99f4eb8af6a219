/** `bowline daemon`: the background process of the user, for those who want to see it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { Command } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { daemonProgram, ensureDaemon, findDaemon, savedConnections } from '../daemon-process.ts';
import { endingSignals, onInterrupt } from '../interrupts.ts';
import { outJson, type Io } from '../io.ts';
import { follow } from '../operation.ts';
import { progressOption } from '../progress.ts';

export function daemonCommand(io: Io): Command {
  const command = new Command('daemon')
    .summary('the background process that holds the connections')
    .description('Commands that need the daemon start it by themselves. It runs as you, never as root.');
  command
    .command('start')
    .description('start it, unless it runs; it takes up the connections that a former one left')
    .option('--json', 'one JSON document')
    .action(async () => {
      const { pid } = await ensureDaemon(io);
      if (io.json) outJson(io, { running: true, pid });
      else io.err(`The daemon runs (pid ${pid}).\n`);
    });
  command
    .command('stop')
    .description('release all connections, then end it')
    .addOption(progressOption())
    .option('--json', 'NDJSON: steps, then the result')
    .action(() => stop(io));
  command
    .command('status')
    .description('whether it runs; exit status 0 when it does, 7 when not')
    .option('--json', 'one JSON document')
    .action(async () => {
      const client = await findDaemon(io);
      if (client === undefined) {
        if (io.json) outJson(io, { running: false });
        else io.out('not running\n');
        io.status = 7;
        return;
      }
      const { version, pid } = await client.call('ping', {});
      if (io.json) outJson(io, { running: true, pid, version, logFile: io.paths.logFile });
      else io.out(`running, pid ${pid}, version ${version}, log ${io.paths.logFile}\n`);
    });
  command
    .command('run')
    .description('run it in the foreground, as a service manager wants it')
    .option('--json', 'one JSON document when it cannot be started')
    .action(async () => {
      io.status = await runInForeground();
    });
  return command;
}

const exitTimeout = 20_000;

async function stop(io: Io): Promise<void> {
  const client = await findDaemon(io);
  if (client === undefined) {
    if (io.json) io.out(`${JSON.stringify({ type: 'result' })}\n`);
    else io.err('No daemon runs.\n');
    return;
  }
  await follow(client, 'stop', {}, { io, cancellable: false });
  const deadline = Date.now() + exitTimeout;
  while (await lives(client.pid)) {
    if (Date.now() > deadline) {
      throw new BowlineError(
        'DAEMON_UNREACHABLE',
        `The daemon (pid ${client.pid}) released everything but has not ended.`,
        {
          hint: `\`kill ${client.pid}\` ends it.`,
        },
      );
    }
    await setTimeout(20);
  }
  if (io.json) return;
  const saved = await savedConnections(io);
  const rest = saved === 0 ? 'nothing is left of it' : `what could not be released waits for the next one (${saved})`;
  io.err(`The daemon has ended; ${rest}.\n`);
}

/** A process that ended and was not yet reaped by its parent is over too. */
async function lives(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = process.platform === 'linux' ? await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined) : '';
  return stat !== undefined && !/\) [ZX] /.test(stat);
}

async function runInForeground(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, daemonProgram], { stdio: 'inherit' });
  using _ = onInterrupt((signal) => {
    // A terminal sends its Ctrl-C to the daemon too; twice is as good as once.
    if (endingSignals.some((name) => name === signal)) child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
