/**
 * Composition root of the privileged helper: `node helper/main.ts --user UID [--gid GID]`, run as root. Serves exactly one
 * user. The paths are parameters of this command line, which root writes; nothing that a caller sends can name one.
 */
import { lstatSync, mkdirSync, readFileSync, chmodSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HostsFile } from './hosts.ts';
import { Journal } from './journal.ts';
import { LowPorts } from './lowports.ts';
import { Machine } from './machine.ts';
import { Redirects } from './redirects.ts';
import { claimSocketPath, startHelperServer } from './server.ts';
import { helperVersion } from './version.ts';

const { values } = parseArgs({
  options: {
    user: { type: 'string' },
    gid: { type: 'string' },
    'run-dir': { type: 'string', default: '/run/bowline' },
    'state-dir': { type: 'string', default: '/var/lib/bowline' },
    hosts: { type: 'string', default: '/etc/hosts' },
    'grace-ms': { type: 'string', default: '5000' },
    redirects: { type: 'string', default: 'auto' },
    'allow-suffix': { type: 'string', multiple: true, default: [] },
  },
});

const uid = number(values.user, '--user');
const gid = values.gid === undefined ? primaryGroup(uid) : number(values.gid, '--gid');
const stateDir = values['state-dir'];
mkdirSync(stateDir, { recursive: true, mode: 0o700 });
const stat = lstatSync(stateDir);
if (!stat.isDirectory() || stat.uid !== process.getuid?.())
  throw new Error(`${stateDir} is not a folder of this user.`);
chmodSync(stateDir, 0o700);

const journal = new Journal(join(stateDir, `${uid}.journal`), () => new Date());
const hostsFile = new HostsFile({ path: values.hosts, user: uid, copy: join(stateDir, `${uid}.hosts-copy`) });
const lowPorts = new LowPorts({
  uid,
  gid,
  platform: process.platform,
  relayPath: join(import.meta.dirname, `relay${import.meta.filename.endsWith('.ts') ? '.ts' : '.mjs'}`),
  onProblem: (reason) => journal.note('relay', { reason }),
  onLost: () => void machine.restoreLowPorts(),
});
const policy = { hostname: hostname(), allowedSuffixes: values['allow-suffix'] };
// First of all: a helper that runs already must not have its redirects taken away.
await claimSocketPath(values['run-dir'], uid);
const redirects = values.redirects === 'auto' && process.platform === 'linux' ? await Redirects.open(uid) : undefined;
const machine = new Machine({ hostsFile, redirects, lowPorts, journal, policy });

const server = await startHelperServer({
  runDir: values['run-dir'],
  uid,
  gid,
  version: helperVersion,
  machine,
  audit: (operation, facts) => journal.note(`request:${operation}`, facts),
  grace: number(values['grace-ms'], '--grace-ms'),
});
machine.recover();
journal.note('started', { version: helperVersion, uid, redirects: machine.redirects });

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => {
    void server[Symbol.asyncDispose]().then(
      () => process.exit(0),
      (error: unknown) => {
        journal.note('stop-failed', { reason: String(error) });
        process.exit(1);
      },
    );
  });
}

function number(value: string | undefined, option: string): number {
  if (value === undefined || !/^\d{1,10}$/.test(value)) throw new Error(`${option} needs a number.`);
  return Number(value);
}

function primaryGroup(uid: number): number {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[2] === String(uid));
  if (line === undefined) throw new Error(`There is no user ${uid}; say its group with --gid.`);
  return Number(line[3]);
}
