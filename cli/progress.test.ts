/** What of a connect is shown while it runs, as bytes of a terminal and of a pipe. */
import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { test } from 'node:test';
import type { Progress } from '../api/schema.ts';
import type { Io } from './io.ts';
import { createProgressView } from './progress.ts';

const mebibyte = 1024 * 1024;
const volume = (name: string, more: Partial<Extract<Progress, { type: 'volume' }>>): Progress => ({
  type: 'volume',
  name,
  state: 'downloading',
  ...more,
});
const lines: Progress[] = [
  { type: 'step', step: 'files', message: 'bringing the files of the volumes', seconds: 1 },
  volume('/data', { bytes: 24 * mebibyte, received: 0 }),
  volume('/etc/app', { state: 'waiting' }),
  volume('/data', { bytes: 24 * mebibyte, received: 6 * mebibyte }),
  volume('/etc/app', { state: 'ready', bytes: mebibyte, files: 1 }),
  volume('/data', { state: 'ready', bytes: 24 * mebibyte, files: 3 }),
  volume('/big', { state: 'skipped', bytes: 900 * mebibyte }),
  { type: 'step', step: 'done', message: 'connected', seconds: 3.5 },
];

function shown(io: Partial<Io>): string[] {
  const said: string[] = [];
  const view = createProgressView({
    json: false,
    watched: false,
    steps: false,
    err: (text) => said.push(text),
    ...io,
  } as Io);
  for (const line of lines) view.line(line);
  view.end('done');
  return said.map((text) => stripVTControlCharacters(text).replace(/^\r/, ''));
}

test('on a terminal one line: the size first, then how much has come', () => {
  const seen = shown({ watched: true, steps: true });
  const at = (text: string): number => seen.findIndex((each) => each.includes(text));
  assert.ok(at('bringing the files of the volumes: 0 of 1 volumes; /data 0.0 of 24.0 MiB') >= 0, seen.join('\n'));
  assert.ok(at('/data 6.0 of 24.0 MiB') > at('/data 0.0 of 24.0 MiB'), seen.join('\n'));
  assert.equal(seen.filter((text) => text.includes('\n')).length, 1, 'only its end stays');
  assert.equal(seen.at(-1), '✓ bringing the files of the volumes: 2 of 3 volumes 2.5 s\n');
});

test('in a pipe a line for each volume, when it is here or will not come; without --progress none', () => {
  assert.deepEqual(shown({ steps: true }), [
    '  /etc/app 1.0 MiB in 1 file\n',
    '  /data 24.0 MiB in 3 files\n',
    '  /big skipped\n',
    '✓ bringing the files of the volumes: 2 of 3 volumes 2.5 s\n',
  ]);
  assert.deepEqual(shown({}), []);
});
