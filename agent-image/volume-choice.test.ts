/** Which entries of a volume are chosen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isChosen, type FileChoice } from './volume-choice.ts';

const files = ['a.crt', 'b.crt', 'key.pem', '.hidden', 'conf/a.crt', 'conf/.rc', 'conf/deep/x', 'f[1].txt', 'f1.txt'];
const folders = ['conf', 'conf/deep', 'other'];

function chosen(choice: Partial<FileChoice>): string[] {
  const whole: FileChoice = { include: [], exclude: [], except: [], ...choice };
  const of = (kind: 'file' | 'folder', paths: string[]): string[] =>
    paths.filter((path) => isChosen(path, kind, whole));
  return [...of('folder', folders).map((path) => `${path}/`), ...of('file', files)];
}

test('a part is one file, or a folder with all in it', () => {
  assert.deepEqual(chosen({ part: 'a.crt' }), ['a.crt']);
  assert.deepEqual(chosen({ part: 'conf/a.crt' }), ['conf/', 'conf/a.crt']);
  assert.deepEqual(chosen({ part: 'conf' }), ['conf/', 'conf/deep/', 'conf/a.crt', 'conf/.rc', 'conf/deep/x']);
  assert.deepEqual(chosen({ part: 'f[1].txt' }), ['f[1].txt'], 'only the star is no text');
  assert.deepEqual(chosen({ part: 'gone' }), []);
});

test('a pattern stands where it is written: a star is any text of one name', () => {
  assert.deepEqual(chosen({ part: '*.crt' }), ['a.crt', 'b.crt']);
  assert.deepEqual(chosen({ part: 'con*/*.crt' }), ['conf/', 'conf/a.crt']);
  assert.deepEqual(
    chosen({ part: '**/*.crt' }).filter((path) => !path.endsWith('/')),
    ['a.crt', 'b.crt', 'conf/a.crt'],
  );
});

test('what is excluded is excluded from a part too', () => {
  assert.deepEqual(chosen({ part: 'conf', exclude: ['deep'] }), ['conf/', 'conf/a.crt', 'conf/.rc']);
  assert.deepEqual(chosen({ part: 'conf', except: ['conf/deep'] }), ['conf/', 'conf/a.crt', 'conf/.rc']);
});
