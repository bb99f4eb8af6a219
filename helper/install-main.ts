/**
 * What runs as root once: `node helper/install-main.ts install|uninstall|status --user UID [--gid GID]`. Answers with one line of JSON; the command
 * (bowline helper ...) asks for root and shows it.
 */
import { parseArgs } from 'node:util';
import { BowlineError } from '../api/errors.ts';
import { helperStatus, installOptions, runInstall, runUninstall } from './install.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    user: { type: 'string' },
    gid: { type: 'string' },
    'allow-suffix': { type: 'string', multiple: true, default: [] },
  },
});

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

try {
  const [action] = positionals;
  const uid = number(values.user, '--user');
  const gid = values.gid === undefined ? uid : number(values.gid, '--gid');
  const options = installOptions(uid, gid, values['allow-suffix'].map(suffix));
  if (action !== 'status' && process.getuid?.() !== 0) throw new BowlineError('BAD_ARGUMENT', 'This must run as root.');
  if (action === 'install') answer(await runInstall(options, stop.signal));
  else if (action === 'uninstall')
    answer((await runUninstall(options), { installed: false, running: false, detail: 'The helper is gone.' }));
  else if (action === 'status') answer(await helperStatus(options, stop.signal));
  else throw new BowlineError('BAD_ARGUMENT', 'Say install, uninstall or status.');
} catch (error) {
  answer({ error: BowlineError.from(error).toShape() });
  process.exitCode = 1;
}

function answer(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function number(value: string | undefined, option: string): number {
  if (value === undefined || !/^\d{1,10}$/.test(value))
    throw new BowlineError('BAD_ARGUMENT', `${option} needs a number.`);
  return Number(value);
}

/** It ends up on a command line of the service manager. */
function suffix(value: string): string {
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(value))
    throw new BowlineError('BAD_ARGUMENT', `${value} is not the end of a host name.`);
  return value;
}
