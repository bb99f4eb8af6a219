/**
 * The pod's files at their real paths, with the real mounts of this system: as an ordinary user by user namespaces, and as
 * root. The machine's own files must stay as they are.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { NamedService } from '../../api/schema.ts';
import { waitUntil } from '../../test/cluster/wait.ts';
import type { Inside } from './testing/command-inside.ts';

const nobody = 65534;
const unique = `bowline-test-${process.pid}`;

const missing = ['unshare', 'nsenter', 'mount', 'pivot_root'].filter(
  (program) => spawnSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`]).status !== 0,
);
const skip =
  process.platform !== 'linux'
    ? 'mount namespaces are of Linux'
    : process.getuid?.() !== 0
      ? 'needs root, to become another user'
      : missing.length > 0
        ? `needs ${missing.join(', ')}`
        : false;

interface Result {
  status: number;
  stdout: string;
  stderr: string;
  refused: Array<{ target: string; why: string }>;
  error?: string;
}

for (const uid of [nobody, 0]) {
  void suite(`private files as user ${uid}`, { skip, timeout: 120_000 }, () => {
    let base: string;
    const local = (name: string): string => join(base, 'volumes', name);
    /** As the daemon keeps a volume: a link to a folder with the content. */
    const write = (name: string, content: Record<string, string>): void => {
      const version = `..${name}-${readdirSync(join(base, 'volumes')).length}`;
      mkdirSync(local(version), { mode: 0o700 });
      chownSync(local(version), uid, uid);
      for (const [file, text] of Object.entries(content)) {
        writeFileSync(join(local(version), file), text, { mode: 0o600 });
        chownSync(join(local(version), file), uid, uid);
      }
      symlinkSync(version, local(`${version}-link`));
      renameSync(local(`${version}-link`), local(name));
    };

    before(() => {
      base = mkdtempSync(`/tmp/${unique}-`);
      for (const name of ['volumes', 'home', 'run']) mkdirSync(join(base, name), { mode: 0o700 });
      for (const name of ['', 'volumes', 'home', 'run']) chownSync(join(base, name), uid, uid);
    });
    after(() => rmSync(base, { recursive: true, force: true }));

    const start = (command: string[], inside: Partial<Inside> = {}, env: Record<string, string> = {}): ChildProcess => {
      const given: Inside = {
        files: [],
        services: [],
        folder: join(base, 'run/private'),
        home: join(base, 'home'),
        command,
        variables: {},
        ...inside,
      };
      const program = join(import.meta.dirname, 'testing/command-inside.ts');
      return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, JSON.stringify(given)], {
        cwd: join(base, 'home'),
        uid,
        gid: uid,
        env: { PATH: process.env['PATH'], HOME: join(base, 'home'), ...env },
        stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      });
    };
    const run = async (...args: Parameters<typeof start>): Promise<Result> => finish(start(...args));
    const shell = async (script: string, inside: Partial<Inside> = {}): Promise<string> => {
      const { status, stdout, stderr, error } = await run(['sh', '-ec', script], inside);
      assert.equal(status, 0, `${script}: ${error ?? ''}${stderr}${stdout}`);
      return stdout;
    };
    const mounted = (name: string, mountPath: string, readOnly = true): { files: Inside['files'] } => ({
      files: [{ local: local(name), mountPath, readOnly, switched: readOnly }],
    });

    test('a folder that the machine does not have, wherever it lies', async () => {
      write('config', { 'app.yaml': 'from the pod\n' });
      const list = 'ls -d /etc/* /run/* /opt/* /var/* /bin/sh';
      const own = (): string[] => spawnSync('sh', ['-c', list]).stdout.toString().split('\n');
      for (const path of [
        `/${unique}/deep/config`,
        `/etc/${unique}`,
        `/var/run/${unique}/kubernetes.io/serviceaccount`,
        `/opt/${unique}/a b\\040c#d`,
        `/root/.${unique}`,
        ...(uid === 0 ? [] : [`/run/user/${unique}`]),
      ]) {
        const earlier = own();
        const [text, ...seen] = (await shell(`cat '${path}/app.yaml'; ${list}`, mounted('config', path))).split('\n');
        assert.equal(text, 'from the pod', path);
        const entries = new Set(seen);
        // Other programs come and go.
        const later = new Set(own());
        const hidden = earlier.filter((entry) => later.has(entry) && !entries.has(entry));
        assert.deepEqual(hidden, [], `${path}: what the machine has there is still there`);
        assert.ok(!existsSync(path), `${path} is seen by the command only`);
      }
    });

    test('a folder and a file that the machine has are hidden from the others by nothing', async () => {
      write('config', { 'app.yaml': 'from the pod\n' });
      const before = readFileSync('/etc/passwd', 'utf8');
      const files = [
        { local: local('config'), mountPath: '/mnt', readOnly: true, switched: true },
        { local: join(local('config'), 'app.yaml'), mountPath: '/etc/passwd', readOnly: true, switched: true },
      ];
      assert.equal(await shell('cat /mnt/app.yaml /etc/passwd', { files }), 'from the pod\nfrom the pod\n');
      assert.equal(readFileSync('/etc/passwd', 'utf8'), before);
      assert.ok(!existsSync('/mnt/app.yaml'));
    });

    test('our own folder may lie in a folder that is remade, as the runtime folder does', async () => {
      write('config', { 'app.yaml': 'from the pod\n' });
      const own = mkdtempSync(`/run/${unique}-`);
      try {
        chownSync(own, uid, uid);
        const inside = { ...mounted('config', `/run/${unique}/config`), folder: join(own, 'private') };
        const out = await shell(
          `cat /run/${unique}/config/app.yaml; grep -c ${own}/private/0 /proc/self/mountinfo || :`,
          inside,
        );
        assert.equal(out, 'from the pod\n0\n', 'nothing is bound into itself');
      } finally {
        rmSync(own, { recursive: true });
      }
    });

    test('volumes inside volumes, and many at once', async () => {
      write('outer', { one: '1\n' });
      write('inner', { two: '2\n' });
      mkdirSync(local('data'));
      chownSync(local('data'), uid, uid);
      const files = [
        { local: local('inner'), mountPath: `/${unique}/outer/deep/inner`, readOnly: true, switched: true },
        { local: local('outer'), mountPath: `/${unique}/outer`, readOnly: true, switched: true },
        { local: local('data'), mountPath: `/run/${unique}/data`, readOnly: false, switched: false },
        { local: join(local('inner'), 'two'), mountPath: `/run/${unique}/data/two`, readOnly: true, switched: true },
        { local: local('inner'), mountPath: `/etc/${unique}`, readOnly: true, switched: true },
      ];
      const script = `cd /${unique}/outer; cat one deep/inner/two /run/${unique}/data/two /etc/${unique}/two; echo 3 > /run/${unique}/data/three`;
      assert.equal(await shell(script, { files }), '1\n2\n2\n2\n');
      assert.equal(readFileSync(join(local('data'), 'three'), 'utf8'), '3\n', 'a volume that can be written is');
    });

    test('a volume that the pod mounts read-only cannot be written, and looks like any folder', async () => {
      mkdirSync(local('data'), { recursive: true });
      writeFileSync(join(local('data'), 'one'), '1\n');
      chownSync(local('data'), uid, uid);
      const path = `/etc/${unique}`;
      const files = [{ local: local('data'), mountPath: path, readOnly: true, switched: false }];
      const script = `cd ${path}; ls -A; cat one; ! touch two 2>/dev/null; ! sh -c 'echo x > one' 2>/dev/null`;
      const out = await shell(script, { files });
      assert.match(out, /^(?!\.\.data)/);
      assert.ok(out.split('\n').includes('one') && !out.includes('..data'), out);
      assert.equal(readFileSync(join(local('data'), 'one'), 'utf8'), '1\n');
    });

    test('what kubelet writes looks as it does in a pod, cannot be written, and follows the switch', async () => {
      write('config', { level: 'info\n', old: 'x\n' });
      const path = `/etc/${unique}`;
      const script = [
        `cd ${path}; readlink level; ls; ! touch new 2>/dev/null; ! sh -c 'echo x > level' 2>/dev/null; echo started`,
        'until [ "$(cat level)" = debug ]; do sleep 0.02; done; echo switched',
        // The name of the new file comes with the update, its content at once.
        'until [ -e new ]; do sleep 0.02; done; ls; cat new',
      ].join('\n');
      const command = start(['sh', '-ec', script], mounted('config', path));
      const result = finish(command);
      await hears(command, 'started');
      write('config', { level: 'debug\n', new: 'y\n' });
      await hears(command, 'switched');
      command.send([]);
      const { status, stdout, stderr } = await result;
      assert.deepEqual(
        [status, stdout.split('\n')],
        [0, ['..data/level', 'level', 'old', 'started', 'switched', 'level', 'new', 'y', '']],
        stderr,
      );
      assert.equal(readFileSync(join(local('config'), 'level'), 'utf8'), 'debug\n');
    });

    test('a program that watches as one does in a pod sees the switch', async () => {
      write('config', { level: 'info\n' });
      const path = `/etc/${unique}`;
      const watch = `require('node:fs').watch('${path}', (_, name) => name === '..data' && process.exit(5)); console.log('watching')`;
      const command = start([process.execPath, '-e', watch], mounted('config', path));
      const result = finish(command);
      await hears(command, 'watching');
      write('config', { level: 'debug\n' });
      command.send([]);
      assert.equal((await result).status, 5);
    });

    test('names: those of the connection beside those of the machine, as they change', async () => {
      const service = (address: string): NamedService[] => [
        { namespace: 'shop', service: 'db', names: [], hostNames: [unique, `${unique}.shop`], address, ports: [] },
      ];
      const script = `getent hosts ${unique} localhost; until getent hosts ${unique}.shop | grep -q 127.66.0.9; do sleep 0.02; done; getent hosts ${unique}; grep -c . /etc/hosts`;
      const command = start(['sh', '-c', script], { services: service('127.66.0.8') });
      const result = finish(command);
      await hears(command, unique);
      command.send(service('127.66.0.9'));
      const { stdout } = await result;
      const lines = stdout.split('\n');
      assert.match(lines[0] ?? '', new RegExp(`^127\\.66\\.0\\.8 +${unique}`));
      assert.match(stdout, /localhost/);
      assert.match(stdout, new RegExp(`127\\.66\\.0\\.9 +${unique}`));
      assert.ok(!readFileSync('/etc/hosts', 'utf8').includes(unique));
    });

    test('the host name is that of the pod, for the command alone, and leads to this machine', async () => {
      const hostName = `web-${unique}-0`.toLowerCase();
      const own = hostname();
      assert.equal(
        await shell(`hostname; getent hosts ${hostName}`, { hostName }),
        `${hostName}\n127.0.1.1       ${hostName}\n`,
      );
      assert.equal(hostname(), own);
      assert.equal(await shell('hostname'), `${own}\n`, 'where none is known');
    });

    test('user, groups, working folder, variables, streams and end of the command are as without', async () => {
      const variables = { 'my.dotted-name': 'kept', QUOTED: `'"$(x)\n` };
      const out = await shell('id -u; id -g; pwd; tr "\\0" "\\n" < /proc/self/environ; cat >&2 /dev/null', {
        variables,
      });
      const lines = out.split('\n');
      assert.deepEqual(lines.slice(0, 3), [String(uid), String(uid), join(base, 'home')]);
      const direct = await run(['cat', '/proc/self/environ'], { variables });
      const seen = direct.stdout.split('\0');
      for (const [name, value] of Object.entries(variables)) assert.ok(seen.includes(`${name}=${value}`), name);

      const command = start(['sh', '-c', 'read -r line; echo "got $line"; echo err >&2; exit 7']);
      const result = finish(command);
      command.stdin?.end('a line\n');
      const { status, stdout, stderr } = await result;
      assert.deepEqual([status, stdout, stderr], [7, 'got a line\n', 'err\n']);
      assert.equal((await run(['sh', '-c', 'kill -KILL $$'])).status, 128 + 9);

      const signalled = start(['sh', '-c', 'trap "echo TERM; exit 9" TERM; echo ready; while :; do sleep 0.02; done']);
      const end = finish(signalled);
      await hears(signalled, 'ready');
      signalled.kill('SIGTERM');
      const { status: byTrap, stdout: said } = await end;
      assert.deepEqual([byTrap, said], [9, 'ready\nTERM\n']);
      if (uid !== 0) assert.notEqual((await run(['umount', '/etc/hosts'])).status, 0, 'no right over the mounts');
    });

    test('paths without which the command could not run stay, with the reason', async () => {
      write('config', { 'app.yaml': 'from the pod\n' });
      const refused = ['/', '/proc/self', '/dev/shm/x', '/etc', '/usr/../etc', '/tmp', '/var/run', 'relative', '/a\nb']
        .concat([base, join(base, 'home'), join(base, 'home/new'), join(process.execPath, '..')])
        .map((mountPath) => ({ local: local('config'), mountPath, readOnly: true, switched: true }));
      const files = [
        ...refused,
        { local: local('config'), mountPath: `/etc/${unique}`, readOnly: true, switched: true },
      ];
      const result = await run(['cat', `/etc/${unique}/app.yaml`], { files });
      assert.deepEqual([result.status, result.stdout], [0, 'from the pod\n'], result.stderr);
      assert.deepEqual(
        result.refused.map(({ target }) => target).sort(),
        refused.map(({ mountPath }) => mountPath).sort(),
      );
      assert.match(result.refused.find(({ target }) => target.endsWith('new'))?.why ?? '', /mkdir/);
    });

    test('nothing is left when the command, or the process that started it, is killed', async () => {
      write('config', { 'app.yaml': 'from the pod\n' });
      const holders = (): string[] =>
        readdirSync('/proc').filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(join(base, 'run/private'));
          } catch {
            return false;
          }
        });
      const command = start(['sh', '-c', 'echo $$; exec sleep 60'], mounted('config', `/etc/${unique}`));
      const end = once(command, 'close');
      const pid = Number(await hears(command, /^\d+\n/));
      assert.notEqual(holders().length, 0);
      command.kill('SIGKILL');
      // It holds the pipes until it ends, too.
      const still = readdirSync(`/proc/${pid}/root/etc/${unique}`);
      process.kill(pid, 'SIGKILL');
      assert.ok(still.includes('app.yaml'), 'the command goes on with its files');
      await end;
      await waitUntil(() => holders().length === 0, { what: 'the end of the holder' });
      assert.deepEqual(readdirSync(join(base, 'run/private')), [], 'what it had lay in memory inside');
    });

    test('where it is impossible the reason is said', async () => {
      const without = await run(['/bin/true'], {}, { PATH: join(base, 'home') });
      assert.equal(without.status, 0, 'util-linux is found although PATH lacks it');
      if (uid === 0) return;
      // A user namespace that allows itself no other one inside.
      const limit = 'echo 1 > /proc/sys/user/max_user_namespaces; exec "$@"';
      const inner = ['unshare', '--user', `--map-user=${uid}`, `--map-group=${uid}`, process.execPath];
      const program = join(import.meta.dirname, 'testing/command-inside.ts');
      const given: Inside = {
        files: [],
        services: [],
        folder: join(base, 'run/private'),
        home: base,
        command: ['true'],
        variables: {},
      };
      const child = spawn(
        'unshare',
        ['--user', '--map-root-user', 'sh', '-c', limit, 'sh', ...inner, program, JSON.stringify(given)],
        { uid, gid: uid, cwd: '/', stdio: ['pipe', 'pipe', 'pipe', 'ipc'], env: { PATH: process.env['PATH'] } },
      );
      const { status, error } = await finish(child);
      assert.equal(status, 99);
      assert.match(error ?? '', /real paths: user namespaces are off/);
    });
  });
}

async function finish(child: ChildProcess): Promise<Result> {
  const result: Result = { status: -1, stdout: '', stderr: '', refused: [] };
  child.stdout?.on('data', (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (result.stderr += chunk.toString()));
  child.on('message', (message: Partial<Result>) => Object.assign(result, message));
  const [code] = (await once(child, 'close')) as [number | null];
  result.status = code ?? -1;
  return result;
}

/** Until it has said that; all it has said since this call. */
async function hears(child: ChildProcess, wanted: string | RegExp): Promise<string> {
  let said = '';
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (typeof wanted === 'string' ? said.includes(wanted) : wanted.test(said)) resolve(said);
    });
    child.once('close', () => reject(new Error(`it ended and had said ${said}`)));
  });
}
