import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  linkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HostsFile } from './hosts.ts';
import type { HostEntry } from './protocol.ts';

const folder = mkdtempSync(join(tmpdir(), 'bowline-hosts-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const root = process.getuid?.() === 0 ? false : 'needs root';

let count = 0;
function hosts(
  content: string | Buffer,
  user = 1000,
): { path: string; copy: string; file: HostsFile; read: () => string } {
  count += 1;
  const path = join(folder, `hosts-${count}`);
  const copy = join(folder, `copy-${count}`);
  writeFileSync(path, content);
  return { path, copy, file: new HostsFile({ path, user, copy }), read: () => readFileSync(path, 'latin1') };
}

const two: HostEntry[] = [
  { address: '127.66.0.1', names: ['redis', 'redis.shop'] },
  { address: '127.66.0.2', names: ['db'] },
];

/** Deterministic numbers, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const strange = [
  '127.0.0.1 localhost',
  '',
  '# comment',
  '::1\tip6-localhost',
  '\xff\xfe\x00',
  '# END bowline (user 1000)x',
  '127.66.9.9 mine',
  '   ',
  '# BEGIN bowline (user 1001): another user',
  '\r',
  'a b  c # d',
];

void test('random files come back byte for byte, whatever is applied between', () => {
  for (let seed = 1; seed <= 1000; seed += 1) {
    const next = random(seed);
    const newline = next() < 0.3 ? '\r\n' : '\n';
    const lines = Array.from(
      { length: Math.floor(next() * 9) },
      () => strange[Math.floor(next() * strange.length)] ?? '',
    );
    const original = lines.join(newline) + (next() < 0.5 ? newline : '');
    const { file, read } = hosts(Buffer.from(original, 'latin1'));
    const before = file.apply([]).outside;
    for (let round = 0; round < 3; round += 1) {
      const change = file.apply(two.slice(0, 1 + Math.floor(next() * 2)));
      assert.equal(change.outside, before, `seed ${seed}`);
    }
    file.apply([]);
    assert.equal(read(), original, `seed ${seed}`);
  }
});

void test('the same state is not written twice', () => {
  const { file, path } = hosts('127.0.0.1 localhost\n');
  assert.equal(file.apply(two).changed, true);
  const { ino, mtimeMs } = statSync(path);
  assert.equal(file.apply(two).changed, false);
  assert.deepEqual([statSync(path).ino, statSync(path).mtimeMs], [ino, mtimeMs]);
});

void test('mode and owner stay', { skip: root }, () => {
  const { file, path } = hosts('127.0.0.1 localhost\n');
  chmodSync(path, 0o640);
  chownSync(path, 12, 34);
  file.apply(two);
  const { mode, uid, gid } = statSync(path);
  assert.deepEqual([mode & 0o777, uid, gid], [0o640, 12, 34]);
  assert.match(readFileSync(path, 'latin1'), /127\.66\.0\.1 redis redis\.shop\n127\.66\.0\.2 db\n/);
});

void test('lines that somebody adds after or inside the block stay', () => {
  const { file, path, read } = hosts('127.0.0.1 localhost');
  file.apply(two);
  writeFileSync(
    path,
    read().replace('127.66.0.2 db\n', '10.0.0.9 inside\n127.66.0.2 db\n') + '10.0.0.1 later\n',
    'latin1',
  );
  file.apply(two.slice(1));
  file.apply([]);
  assert.equal(read(), '127.0.0.1 localhost\n10.0.0.9 inside\n10.0.0.1 later\n');
});

void test('stray and doubled markers', () => {
  const marker = '# BEGIN bowline (user 1000): written while connected, removed afterwards\n';
  const end = '# END bowline (user 1000)\n';
  for (const [content, outside] of [
    [`a\n${marker}127.66.0.1 x\nb\n`, 'a\nb\n'],
    [`a\n${end}b\n`, 'a\nb\n'],
    [`a\n${marker}127.66.0.1 x\n${end}b\n${marker}127.66.0.1 x\n${end}c\n`, 'a\nb\nc\n'],
    [`a\n${marker}${marker}127.66.0.1 x\n${end}c\n`, 'a\nc\n'],
    [`${marker}127.66.0.1 x`, ''],
    [marker, ''],
  ] as const) {
    const { file, read } = hosts(content);
    file.apply(two);
    assert.equal(read().match(/BEGIN/g)?.length, 1, content);
    file.apply([]);
    assert.equal(read(), outside, content);
  }
});

void test('the blocks of two users do not touch each other', () => {
  const { file, path, copy, read } = hosts('127.0.0.1 localhost\n', 1000);
  const other = new HostsFile({ path, copy, user: 1001 });
  file.apply(two);
  const mine = read();
  other.apply([{ address: '127.66.0.3', names: ['other'] }]);
  assert.ok(file.foreign().names.has('other'));
  assert.ok(!file.foreign().names.has('redis'));
  other.apply([]);
  assert.equal(read(), mine);
});

void test('no line is longer than what small resolvers read', () => {
  const { file, read } = hosts('');
  const names = Array.from(
    { length: 60 },
    (_, index) => `service-${'x'.repeat(40)}-${index}.namespace.svc.cluster.local`,
  );
  file.apply([{ address: '127.66.0.1', names }]);
  assert.ok(
    read()
      .split('\n')
      .every((line) => line.length < 512),
  );
  assert.ok(names.every((name) => read().includes(` ${name}`)));
});

void test('a symbolic link is refused and its target untouched', () => {
  const { path } = hosts('secret\n');
  const link = join(folder, 'link');
  symlinkSync(path, link);
  const file = new HostsFile({ path: link, user: 1, copy: join(folder, 'copy-link') });
  assert.throws(() => file.apply(two), /symbolic link/);
  assert.equal(readFileSync(path, 'latin1'), 'secret\n');
});

void test('a second hard link sees the change', () => {
  const { file, path } = hosts('127.0.0.1 localhost\n');
  const second = `${path}-second`;
  linkSync(path, second);
  file.apply(two);
  assert.match(readFileSync(second, 'latin1'), /redis/);
});

void test('a bind-mounted file is written in place', { skip: root }, () => {
  const { path, copy, read } = hosts('127.0.0.1 localhost');
  const inode = statSync(path).ino;
  const source = join(folder, 'mount-source');
  writeFileSync(source, '127.0.0.1 mounted');
  const script = `
    import { HostsFile } from ${JSON.stringify(join(import.meta.dirname, 'hosts.ts'))};
    import { readFileSync } from 'node:fs';
    const file = new HostsFile(${JSON.stringify({ path, copy, user: 1000 })});
    file.apply(${JSON.stringify(two)});
    if (!readFileSync(${JSON.stringify(path)}, 'latin1').includes('redis')) throw new Error('no block');
    if (process.argv[1] === 'undo') file.apply([]);
  `;
  const run = (argument: string): string =>
    execFileSync(
      'unshare',
      [
        '--mount',
        'sh',
        '-c',
        'mount --bind "$1" "$2" && exec "$3" --input-type=module -e "$4" "$5"',
        'sh',
        source,
        path,
        process.execPath,
        script,
        argument,
      ],
      { encoding: 'utf8' },
    );
  run('keep');
  assert.match(readFileSync(source, 'latin1'), /redis/);
  run('undo');
  assert.equal(readFileSync(source, 'latin1'), '127.0.0.1 mounted');
  assert.equal(read(), '127.0.0.1 localhost');
  assert.equal(statSync(path).ino, inode);
});

void test('a write in place that was cut off is finished at the next start', () => {
  const text = '127.0.0.1 localhost\n10.0.0.1 long-line-of-somebody-else\n';
  const { file, path, copy, read } = hosts(text);
  file.apply(two);
  const next = read();
  for (const cut of [1, 30, 60, 100, next.length - 1]) {
    writeFileSync(path, next.slice(0, cut) + text.slice(cut), 'latin1');
    writeFileSync(copy, JSON.stringify({ text, next }));
    file.recover();
    assert.equal(read(), text, `cut at ${cut}`);
  }
  // removal, cut off before the file was shortened
  writeFileSync(path, text + next.slice(text.length), 'latin1');
  writeFileSync(copy, JSON.stringify({ text: next, next: text }));
  file.recover();
  assert.equal(read(), text);
  // somebody else has written since
  writeFileSync(path, 'new content\n');
  writeFileSync(copy, JSON.stringify({ text, next }));
  file.recover();
  assert.equal(read(), 'new content\n');
});

void test('killed at any moment, the file is whole and the next start cleans it', async () => {
  const original = '127.0.0.1 localhost\n10.1.1.1 other';
  const { file, path, copy, read } = hosts(original);
  for (let round = 0; round < 5; round += 1) {
    const script = `
      import { HostsFile } from ${JSON.stringify(join(import.meta.dirname, 'hosts.ts'))};
      const file = new HostsFile(${JSON.stringify({ path, copy, user: 1000 })});
      console.log('go');
      for (;;) { file.apply(${JSON.stringify(two)}); file.apply([]); }
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    for (let changes = 0; changes < 3 + round; changes += 1)
      if (!read().startsWith(original)) assert.fail('half a file was seen');
    child.kill('SIGKILL');
    await once(child, 'exit');
    file.recover();
    assert.equal(read(), original);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('.hosts')),
      [],
    );
  }
});
