/**
 * `bowline diagnostics`: what somebody who shall help needs to see, in one file that its owner can read before it is sent.
 * Starts nothing and changes nothing; what cannot be had is told in its place.
 */
import { open } from 'node:fs/promises';
import { release, version as systemVersion } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { readLogLines } from '../../api/log-lines.ts';
import { redact } from '../../api/redaction.ts';
import { productVersion } from '../../api/version.ts';
import { connectHelper } from '../../helper/client.ts';
import { place } from '../connect-request.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';

/** Of the daemon's log: some hours of work, a few megabytes at most. */
const logLines = 5_000;

export function diagnosticsCommand(io: Io): Command {
  return new Command('diagnostics')
    .summary('write one file for whoever shall help')
    .description(
      'Writes versions, state, objects in the cluster and the log into one JSON file that only you can read.\n' +
        'Secrets are taken out: keys, tokens, passwords, variables. Names of hosts, users and workloads stay in; look at\n' +
        'it before you send it.',
    )
    .option('-o, --output <FILE>', 'where to write; - is standard output (default: bowline-diagnostics-TIME.json)')
    .option('--json', 'say where it was written as JSON')
    .action(async ({ output }: { output?: string }) => {
      const text = `${JSON.stringify(redact(await collect(io)), null, 2)}\n`;
      if (output === '-') {
        io.out(text);
        return;
      }
      const file = resolve(output ?? `bowline-diagnostics-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`);
      await writeNew(file, text);
      if (io.json) outJson(io, { file });
      else io.out(`${file}\n`);
    });
}

const bound = (): AbortSignal => AbortSignal.timeout(30_000);

async function collect(io: Io): Promise<Record<string, unknown>> {
  const daemon = await daemonIfAnything(io).catch((error: unknown) => ({ problem: asText(error) }));
  const client = daemon === undefined || 'problem' in daemon ? undefined : daemon;
  const body = place({}, io.facts.env);
  const [status, redirects, objects, doctor, helper, log] = await Promise.all([
    client === undefined ? (daemon ?? 'not running') : ask(() => client.call('status', {})),
    client && ask(() => client.call('redirects', { body }, bound())),
    client && ask(() => client.call('objects', { body }, bound())),
    client && ask(() => client.call('doctor', { body }, bound())),
    ask(() => helperState(io)),
    ask(() => Array.fromAsync(readLogLines(io.paths.logFile, { lines: logLines, follow: false }))),
  ]);
  return {
    about: 'bowline diagnostics',
    written: new Date().toISOString(),
    versions: {
      bowline: productVersion,
      node: process.versions.node,
      system: `${process.platform} ${process.arch} ${release()}`,
      systemVersion: systemVersion(),
    },
    paths: io.paths,
    helper,
    status,
    redirects,
    objects,
    doctor,
    log,
  };
}

/** What cannot be had is a finding too. */
async function ask(what: () => Promise<unknown>): Promise<unknown> {
  try {
    return await what();
  } catch (error) {
    return { problem: asText(error) };
  }
}

async function helperState(io: Io): Promise<unknown> {
  const helper = await connectHelper({ uid: io.facts.uid }, AbortSignal.timeout(5_000));
  helper.close();
  return { version: helper.version, redirects: helper.redirects };
}

/** Never over something that is there, and never readable by others, not even for a moment. */
async function writeNew(file: string, text: string): Promise<void> {
  try {
    await using handle = await open(file, 'wx', 0o600);
    await handle.writeFile(text);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new BowlineError(
      'BAD_ARGUMENT',
      code === 'EEXIST' ? `${file} is there already.` : `${file} cannot be written: ${asText(error)}`,
      { hint: 'Name another file with --output.', cause: error },
    );
  }
}

const asText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
