import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Connection, DoctorCheck } from '../../api/schema.ts';
import { HostsFile } from '../../helper/hosts.ts';
import { hostsFileProbe } from './hosts-file.ts';

const [mine, theirs] = [1000, 1001];
let folder: string;
let path: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bowline-hosts-'));
  path = join(folder, 'hosts');
});
after(() => rm(folder, { recursive: true, force: true }));

const block = (user: number): unknown =>
  new HostsFile({ path, user, copy: join(folder, 'copy') }).apply([{ address: '127.66.0.1', names: ['redis'] }]);

async function look(connections: Array<Partial<Connection>> = []): Promise<DoctorCheck | undefined> {
  const [check] = await hostsFileProbe(
    { list: () => connections as Connection[] },
    path,
    mine,
  )({}, new AbortController().signal);
  return check;
}

void test('a block that is left though nothing is connected is a warning, and one of another user is his', async () => {
  await writeFile(path, '127.0.0.1 localhost\n');
  assert.deepEqual((await look())?.state, 'ok');
  block(theirs);
  assert.match((await look())?.message ?? '', /holds nothing of ours/);
  block(mine);
  const left = await look();
  assert.deepEqual([left?.check, left?.state], ['hosts-file', 'warning']);
  assert.match(
    `${left?.message} ${left?.hint}`,
    /a block of yours though you have no connection.*bowline helper install/,
  );
  assert.equal((await look([{ name: 'shop', namesMode: 'env' }]))?.state, 'warning', 'it has no names there');
  const held = await look([{ name: 'shop/web', namesMode: 'hosts' }]);
  assert.deepEqual([held?.state, /the names of shop\/web/.test(held?.message ?? '')], ['ok', true]);
});

void test('a hosts file that cannot be read is a failure', async () => {
  await rm(path);
  assert.equal((await look())?.state, 'failure');
});
