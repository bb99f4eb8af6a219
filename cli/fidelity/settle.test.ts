import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodInspection } from '../../api/schema.ts';
import { counted, type FidelityRow } from './compare.ts';
import { mayPass, settle, type Look } from './settle.ts';

type Seen = [name: string, state: FidelityRow['state'], reason?: string];

/** `digests`: of the pod's files. */
function look(kind: FidelityRow['kind'], seen: Seen[], digests: Record<string, string> = {}): Look {
  const rows = seen.map(([name, state, reason]): FidelityRow => ({
    kind,
    name,
    state,
    source: 'agent',
    ...(reason !== undefined && { reason }),
  }));
  const pod: PodInspection = {
    container: 'main',
    variables: { source: 'process', digests: {}, notes: [] },
    filesFrom: 'original',
    files: Object.entries(digests).map(([path, digest]) => ({ path, digest, executable: false })),
    unreadable: [],
    endpoints: [],
  };
  return { pod, report: { connection: 'shop/web', container: 'main', rows, ...counted(rows), notes: [] } };
}

const rowsOf = ({ report }: Look): Seen[] =>
  report.rows.map(({ name, state, reason }) => (reason === undefined ? [name, state] : [name, state, reason]));

test('a port that opens and closes is told and no difference; one that differs each time is', () => {
  const looks = [
    look('name', [
      ['opens:80', 'different', 'here not'],
      ['closes:80', 'equal'],
      ['dead:80', 'different', 'here not'],
      ['low:80', 'rewritten', 'at port 8042'],
    ]),
    look('name', [
      ['opens:80', 'equal'],
      ['closes:80', 'different', 'in the pod not'],
      ['dead:80', 'different', 'here not'],
      ['low:80', 'different', 'here not'],
    ]),
    look('name', [
      ['opens:80', 'equal'],
      ['closes:80', 'different', 'in the pod not'],
      ['dead:80', 'different', 'here not'],
      ['low:80', 'rewritten', 'at port 8042'],
    ]),
  ];
  const settled = looks.reduce((former, latest) => settle(former, latest));
  assert.deepEqual(rowsOf(settled), [
    ['opens:80', 'equal', 'not at each look: here not'],
    ['closes:80', 'equal', 'not at each look: in the pod not'],
    ['dead:80', 'different', 'here not'],
    ['low:80', 'rewritten', 'at port 8042; not at each look: here not'],
  ]);
  assert.deepEqual([settled.report.kept, settled.report.total, settled.report.percent], [3, 4, 75]);
});

test('a file of which the pod has another content at each look is newer; one that only differs from the copy is not', () => {
  const seen: Seen[] = [
    ['/data/wal', 'different', 'another content'],
    ['/data/broken', 'different', 'another content'],
  ];
  const first = look('file', seen, { '/data/wal': '1', '/data/broken': 'x' });
  const second = settle(first, look('file', seen, { '/data/wal': '2', '/data/broken': 'x' }));
  const third = settle(second, look('file', seen, { '/data/wal': '2', '/data/broken': 'x' }));
  for (const each of [second, third]) {
    assert.deepEqual(rowsOf(each), [
      ['/data/wal', 'newer', 'the pod writes it at this moment'],
      ['/data/broken', 'different', 'another content'],
    ]);
    assert.deepEqual([each.report.kept, each.report.total], [0, 1]);
  }
});

test('only what may be otherwise the next time is looked at again', () => {
  assert.equal(mayPass(look('name', [['db:5432', 'different', 'here not']])), true);
  assert.equal(mayPass(look('file', [['/data/wal', 'different', 'another content']])), true);
  assert.equal(mayPass(look('file', [['/data', 'missing', 'too large']])), false);
  assert.equal(mayPass(look('variable', [['A', 'different', 'another value']])), false);
  const [was, is] = [look('variable', [['A', 'different', 'x']]), look('variable', [['A', 'equal']])];
  assert.deepEqual(rowsOf(settle(is, was)), [['A', 'different', 'x']], 'what cannot pass is as it was seen last');
});
