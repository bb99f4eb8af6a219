import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { lockfileProblems, type Lockfile, type Manifest } from './lockfile.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));

void test('every dependency of this project is one exact version with its checksum', () => {
  assert.deepEqual(lockfileProblems(read('package.json') as Manifest, read('package-lock.json') as Lockfile), []);
});

void test('a range, another source, a missing checksum and a new install script are seen', () => {
  const integrity = `sha512-${'A'.repeat(86)}==`;
  const good = { version: '1.2.3', integrity };
  const problems = (version: string, locked: object, more: Lockfile['packages'] = {}): string[] =>
    lockfileProblems(
      { dependencies: { a: version } },
      { lockfileVersion: 3, packages: { '': { dependencies: { a: version } }, 'node_modules/a': locked, ...more } },
    );
  assert.deepEqual(problems('1.2.3', good), []);
  for (const version of ['^1.2.3', '~1.2.3', '*', 'latest', 'git+https://x/a.git', 'file:../a', '1.2.x'])
    assert.match(problems(version, good).join(), /not one exact version/, version);
  assert.match(problems('1.2.4', good).join(), /locked at 1\.2\.3/);
  assert.match(problems('1.2.3', { version: '1.2.3' }).join(), /no SHA-512/);
  assert.match(problems('1.2.3', { ...good, integrity: 'sha1-AAAA' }).join(), /no SHA-512/);
  assert.match(problems('1.2.3', { ...good, resolved: 'https://elsewhere.example/a.tgz' }).join(), /fetched from/);
  assert.match(problems('1.2.3', { ...good, link: true }).join(), /not a version of the registry/);
  const deep = { 'node_modules/a/node_modules/@x/b': { ...good, hasInstallScript: true } };
  assert.match(problems('1.2.3', good, deep).join(), /runs a program while it is installed/);
});
