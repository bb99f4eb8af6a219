import assert from 'node:assert/strict';
import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { BowlineError } from '../../api/errors.ts';
import { chooseVariables } from './choose-variables.ts';
import { compareVariables, masked } from './compare-variables.ts';
import { keepFile } from './kept-file.ts';

void suite('which variables are shown', () => {
  const environment = {
    variables: { PATH: '/pod', HOME: '/root', DB_HOST: 'db', DB_PORT: '1', 'a.b': 'x', aXb: 'y' },
    origins: {
      PATH: 'container',
      HOME: 'file',
      DB_HOST: 'service',
      DB_PORT: 'service',
      'a.b': 'container',
      aXb: 'container',
    },
  } as const;
  const names = (choice: Partial<Parameters<typeof chooseVariables>[1]>): string[] =>
    Object.keys(chooseVariables(environment, { all: false, ...choice }).variables);

  void test('none that belong to the machine, but those that the environment file sets', () => {
    assert.deepEqual(names({}), ['HOME', 'DB_HOST', 'DB_PORT', 'a.b', 'aXb']);
    assert.deepEqual(names({ all: true })[0], 'PATH');
  });

  void test('by name and pattern, where only * is special', () => {
    assert.deepEqual(names({ only: ['DB_*', 'a.b'] }), ['DB_HOST', 'DB_PORT', 'a.b']);
    assert.deepEqual(names({ only: ['DB_*'], except: ['*PORT'] }), ['DB_HOST']);
    const { unmatched } = chooseVariables(environment, {
      all: false,
      only: ['DB', 'DB_*', 'PATH'],
      except: ['[A-Z]*'],
    });
    assert.deepEqual(unmatched, ['DB', 'PATH', '[A-Z]*']);
  });
});

void test('a difference tells names without values', () => {
  const difference = compareVariables(
    { NEW: 's3cret', SAME: '1', OTHER: 's3cret' },
    { SAME: '1', OTHER: '2', MINE: 's3cret', PATH: '/bin', PWD: '/', SHLVL: '1', GONE: undefined },
    { all: true },
  );
  assert.deepEqual(difference, {
    added: [{ name: 'NEW', pod: 's3cret' }],
    changed: [{ name: 'OTHER', here: '2', pod: 's3cret' }],
    onlyHere: [{ name: 'MINE', here: 's3cret' }],
    onlyHereCount: 1,
  });
  assert.doesNotMatch(JSON.stringify(masked(difference)), /s3cret|2/);
  const short = compareVariables({ A: '1' }, { A: '1', MINE: 's3cret' }, { all: false });
  assert.deepEqual(short, { added: [], changed: [], onlyHere: [], onlyHereCount: 1 });
});

void suite('a file that is kept', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kept-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  void test('is replaced whole, and gone at the end with nothing beside it', async () => {
    const path = join(folder, 'a.env');
    {
      await using file = keepFile(path);
      await file.write('one');
      const first = await lstat(path);
      assert.equal(first.mode & 0o777, 0o600);
      await file.write('two');
      assert.notEqual((await lstat(path)).ino, first.ino, 'a reader of the first still has it whole');
      assert.equal(await readFile(path, 'utf8'), 'two');
    }
    assert.deepEqual(await readdir(folder), []);
  });

  void test('does not replace what is there, and removes only its own', async () => {
    const path = join(folder, 'b.env');
    await writeFile(path, 'mine');
    {
      await using file = keepFile(path);
      await assert.rejects(file.write('one'), (error: BowlineError) => /is there already/.test(error.message));
    }
    assert.equal(await readFile(path, 'utf8'), 'mine');
    await rm(path);
    {
      await using file = keepFile(path);
      await file.write('one');
      await rm(path);
      await writeFile(path, 'of another program');
    }
    assert.equal(await readFile(path, 'utf8'), 'of another program');
    assert.deepEqual(await readdir(folder), ['b.env']);
    await rm(path);
  });

  void test('says where it cannot be', async () => {
    const nowhere = join(folder, 'none', 'c.env');
    await assert.rejects(keepFile(nowhere).write('x'), (error: BowlineError) => error.message.includes(nowhere));
  });
});
