import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parse, readProcess } from './process.ts';
import type { Cluster } from '../cluster/cluster.ts';

const status = (last: string): string =>
  `Name:\tnode\nUmask:\t0022\nUid:\t1000\t1001\t1000\t1000\nGid:\t2000\t2001\t2000\t2000\n${last}`;
const environ = 'KUBERNETES_SERVICE_HOST=10.96.0.1\0PATH=/bin\0EMPTY=\0LINES=a\nb=c\nName:\tx\0EQUALS=a=b=c\0';
const variables = {
  KUBERNETES_SERVICE_HOST: '10.96.0.1',
  PATH: '/bin',
  EMPTY: '',
  LINES: 'a\nb=c\nName:\tx',
  EQUALS: 'a=b=c',
};

void suite('what a process says of itself', () => {
  void test('effective user and group, and variables as they are, on older and newer kernels', () => {
    for (const last of [
      'nonvoluntary_ctxt_switches:\t9\n',
      'nonvoluntary_ctxt_switches:\t9\nx86_Thread_features:\t\nx86_Thread_features_locked:\t\n',
    ])
      assert.deepEqual(parse(Buffer.from(status(last) + environ), 'process'), {
        uid: 1001,
        gid: 2001,
        variables,
        source: 'process',
      });
  });

  void test('values that are not UTF-8 are named, not altered', () => {
    const output = Buffer.from(`${status('Threads:\t1\n')}A=grüß\0B=\xE9t\xE9\0C=x\0`, 'latin1');
    const text = Buffer.from('É=漢\0', 'utf8');
    const { variables, notText } = parse(Buffer.concat([output, text]), 'process')!;
    assert.deepEqual({ variables, notText }, { variables: { C: 'x', É: '漢' }, notText: ['A', 'B'] });
  });

  void test('output of something else is not taken', () => {
    assert.equal(parse(Buffer.from('cat: not found'), 'process'), undefined);
  });

  void test('the main process first; a command of its own where processes are shared or it may not be read; nothing without cat', async () => {
    const asked: string[][] = [];
    const cluster = (may: (command: string) => boolean): Cluster =>
      ({
        async exec(_pod: unknown, command: string[]) {
          asked.push(command);
          const text = command.join(' ');
          if (!may(text)) return { stdout: Buffer.alloc(0), stderr: '', exitCode: 126 };
          const parts = [text.includes('status') ? status('Threads:\t1\n') : '', text.includes('env') ? environ : ''];
          return { stdout: Buffer.from(parts.join('')), stderr: '', exitCode: 0 };
        },
      }) as unknown as Cluster;
    const pod = { namespace: 'shop', name: 'web', container: 'main' };
    const sourceOf = async (may: (command: string) => boolean, shared = false) =>
      (await readProcess(cluster(may), pod, shared, {}))?.source;
    assert.equal(await sourceOf(() => true), 'process');
    assert.equal(await sourceOf((command) => !command.includes('/proc/1/')), 'exec');
    asked.length = 0;
    assert.equal(await sourceOf(() => true, true), 'exec');
    assert.deepEqual(
      asked.filter((command) => command.join().includes('/proc/1/')),
      [],
    );
    assert.equal(await sourceOf(() => false), undefined);
  });

  void test('a program that wrote its title over its variables: those of a command beside it, with its own user', async () => {
    const cluster = {
      async exec(_pod: unknown, command: string[]) {
        const main = command.includes('/proc/1/environ');
        const text = main ? `${status('Threads:\t1\n')}${'\0'.repeat(40)}` : command[0] === 'env' ? environ : asRoot;
        return { stdout: Buffer.from(text), stderr: '', exitCode: 0 };
      },
    } as unknown as Cluster;
    const asRoot = status('Threads:\t1\n').replaceAll(/[12]00[01]/g, '0');
    const facts = await readProcess(cluster, { namespace: 'shop', name: 'web', container: 'main' }, false, {});
    assert.deepEqual(
      { ...facts, timeZone: undefined },
      { uid: 1001, gid: 2001, variables, source: 'exec', timeZone: undefined },
    );
  });
});
