import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { test } from 'node:test';
import { parseEnv, promisify } from 'node:util';
import { parse as dotenv } from 'dotenv';
import { formatVariables } from '../formats.ts';
import { awkward } from '../testing/awkward-values.ts';
import { isInstalled, temporaryFile } from '../testing/consumer.ts';
import { Random } from '../testing/random.ts';

const namesOf = (skipped: Array<{ name: string }>): string[] => skipped.map(({ name }) => name).sort();
const without = (names: string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(awkward).filter(([name]) => !names.includes(name)));

void test('dotenv: every value comes through Node and dotenv as it is, or is named', () => {
  const { text, skipped } = formatVariables({ ...awkward, 'a b': 'x' }, 'dotenv');
  assert.deepEqual(namesOf(skipped), ['ALL_QUOTES', 'LONG', 'RETURN', 'a b']);
  const expected = without(namesOf(skipped));
  assert.deepEqual({ ...parseEnv(text) }, expected);
  assert.deepEqual({ ...dotenv(text) }, expected);
});

void test('dotenv: any mixture of awkward characters comes through both or is named', () => {
  const characters = [...'a \n\'"`$\\#=!\té\r-\u2028\u00A0'];
  const random = new Random(42);
  let held = 0;
  for (let round = 0; round < 5_000; round++) {
    const value = random.text(characters, 8);
    const other = random.text(characters, 4);
    const { text, skipped } = formatVariables({ BEFORE: 'x y', V: value, W: other, AFTER: 'z' }, 'dotenv');
    const all: Record<string, string> = { BEFORE: 'x y', V: value, W: other, AFTER: 'z' };
    for (const { name } of skipped) delete all[name];
    assert.deepEqual({ ...parseEnv(text) }, all, JSON.stringify({ value, other, text }));
    assert.deepEqual({ ...dotenv(text) }, all, JSON.stringify({ value, other, text }));
    held += Object.keys(all).length - 2;
  }
  assert.ok(held > 3_000);
});

/** Docker's documented rules: a line is a variable, # begins a comment, spaces before are lost, the rest is as it is. */
function readDocker(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, '').trimStart());
  const entries = lines.filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    entries.map((line) => {
      const equals = line.indexOf('=');
      assert.ok(equals > 0 && !/\s/.test(line.slice(0, equals)) && Buffer.byteLength(line) < 65_536);
      return [line.slice(0, equals), line.slice(equals + 1)];
    }),
  );
}

const forDocker = {
  ...awkward,
  'my.dotted': 'x',
  '#no': 'x',
  'a b': 'x',
  '': 'x',
  ASCII: 'x'.repeat(65_535 - 'ASCII='.length),
  FITS: 'y'.repeat(65_534 - 'FITS='.length),
};
const notForDocker = ['', '#no', 'ASCII', 'ASSIGNMENT', 'LONG', 'LONG_TEXT', 'NEWLINE', 'RETURN', 'a b'];

void test('docker: every value by the documented rules, and what a line cannot hold is named', () => {
  const { text, skipped } = formatVariables(forDocker, 'docker');
  assert.deepEqual(namesOf(skipped), notForDocker);
  const expected = { ...without(notForDocker), 'my.dotted': 'x', FITS: forDocker.FITS };
  assert.deepEqual(readDocker(text), expected);
});

const noDocker = isInstalled('docker', '--help') ? false : 'the docker command is not installed';

void test('docker: every value as the docker command sends it', { skip: noDocker }, async () => {
  const { text, skipped } = formatVariables(forDocker, 'docker');
  const created = await sentByDocker(text);
  const held = Object.entries(forDocker).filter(([name]) => !namesOf(skipped).includes(name));
  assert.deepEqual(created.toSorted(), held.map(([name, value]) => `${name}=${value}`).toSorted());
});

/** What `docker create --env-file` asks of the engine. The command reads the file itself; this is an engine's first answers. */
async function sentByDocker(text: string): Promise<string[]> {
  using file = temporaryFile(text);
  const { promise, resolve } = Promise.withResolvers<string[]>();
  const engine = createServer((request, response) => {
    void (async () => {
      if (!request.url?.includes('/containers/create')) {
        response.setHeader('Api-Version', '1.47').end('OK');
        return;
      }
      resolve(((await json(request)) as { Env: string[] }).Env);
      response.writeHead(201, { 'content-type': 'application/json' }).end('{"Id":"x","Warnings":[]}');
    })();
  });
  await once(engine.listen(0, '127.0.0.1'), 'listening');
  try {
    const { port } = engine.address() as AddressInfo;
    const args = ['--host', `tcp://127.0.0.1:${port}`, 'create', '--env-file', file.path, 'image'];
    const run = promisify(execFile)('docker', args);
    // When the command fails there is no request to wait for.
    const [sent] = await Promise.all([Promise.race([promise, run.then(() => promise)]), run]);
    return sent;
  } finally {
    engine.closeAllConnections();
    engine.close();
  }
}
