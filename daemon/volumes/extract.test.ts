/** Archives made by hand, byte by byte: what an honest `tar` says, and what only somebody says who means harm. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { extract, Refused, TooLarge, type ExtractOptions } from './extract.ts';

interface Raw {
  name: string;
  type?: string;
  link?: string;
  content?: string | Buffer;
  /** What the header claims, where it lies. */
  size?: number;
  mode?: number;
}

/** One header of POSIX ustar and its content: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html */
function entry({ name, type = '0', link = '', content = '', size, mode = 0o644 }: Raw): Buffer {
  const body = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write('0000000\0'.repeat(2), 108);
  header.write(`${(size ?? body.length).toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157, 100);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

function pax(records: Record<string, string>): Buffer {
  const line = (key: string, value: string): string => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest);
    while (String(length).length + Buffer.byteLength(rest) !== length)
      length = String(length).length + Buffer.byteLength(rest);
    return `${length}${rest}`;
  };
  const content = Object.entries(records)
    .map(([key, value]) => line(key, value))
    .join('');
  return entry({ name: 'pax', type: 'x', content });
}

const archive = (...parts: Array<Raw | Buffer>): Buffer =>
  Buffer.concat([...parts.map((part) => (Buffer.isBuffer(part) ? part : entry(part))), Buffer.alloc(1024)]);

/** In pieces whose ends lie anywhere. */
function pieces(bytes: Buffer, size = 700): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })(),
  );
}

async function unpack(bytes: Buffer, options: Partial<ExtractOptions> = {}) {
  const outside = await mkdtemp(join(tmpdir(), 'bowline-extract-'));
  const into = join(outside, 'volume');
  await mkdir(into);
  const removed = { [Symbol.asyncDispose]: () => rm(outside, { recursive: true }) };
  try {
    const result = await extract(pieces(bytes), {
      into,
      choice: { include: [], exclude: [], except: [] },
      maxBytes: 1_000_000,
      mountPath: '/data',
      caseSensitive: true,
      onProgress: () => undefined,
      ...options,
    });
    return { into, result, ...removed };
  } catch (error) {
    assert.deepEqual(await readdir(outside), ['volume'], 'nothing was made outside');
    await removed[Symbol.asyncDispose]();
    throw error;
  }
}

async function tree(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const each of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(each.parentPath, each.name);
    assert.ok(each.isFile() || each.isDirectory(), `${path} is a plain file or folder`);
    found[path.slice(folder.length + 1)] = each.isFile() ? await readFile(path, 'utf8') : '/';
  }
  return found;
}

test('folders and files arrive, for the user alone, and programs stay programs', async () => {
  await using made = await unpack(
    archive(
      { name: './', type: '5', mode: 0o777 },
      { name: './sub/', type: '5', mode: 0o777 },
      { name: './sub/text', content: 'one', mode: 0o664 },
      { name: './deep/er/run', content: 'two', mode: 0o755 },
    ),
  );
  assert.deepEqual(await tree(made.into), {
    sub: '/',
    'sub/text': 'one',
    deep: '/',
    'deep/er': '/',
    'deep/er/run': 'two',
  });
  const mode = async (path: string): Promise<number> => (await stat(join(made.into, path))).mode & 0o777;
  assert.deepEqual(
    await Promise.all(['sub', 'deep/er', 'sub/text', 'deep/er/run'].map(mode)),
    [0o700, 0o700, 0o600, 0o700],
  );
  assert.deepEqual(made.result, { bytes: 6, files: 2, leftOut: [], whole: true, empty: false });
});

test('long names, and letters that lie across two pieces', async () => {
  const path = `${'ä'.repeat(60)}/${'漢'.repeat(80)}.txt`;
  for (const size of [511, 512, 513, 700, 1300]) {
    const bytes = archive(pax({ path }), { name: 'short', content: 'x' });
    const into = await mkdtemp(join(tmpdir(), 'bowline-extract-'));
    const choice = { include: [], exclude: [], except: [] };
    const base = { into, choice, maxBytes: 10, mountPath: '/data', caseSensitive: true, onProgress: () => undefined };
    await extract(pieces(bytes, size), base);
    assert.deepEqual(Object.keys(await tree(into)), [path.split('/')[0], path]);
    await rm(into, { recursive: true });
  }
});

const hostile: Array<[what: string, bytes: Buffer, message: RegExp]> = [
  ['a name that climbs out', archive({ name: '../evil', content: 'x' }), /leads out/],
  ['a name that climbs out later', archive({ name: 'a/../../evil', content: 'x' }), /leads out/],
  ['an absolute name', archive({ name: '/evil', content: 'x' }), /absolute/],
  ['an absolute name of Windows', archive({ name: 'C:\\evil', content: 'x' }), /absolute/],
  [
    'a long name that climbs out',
    archive(pax({ path: `${'a/'.repeat(40)}${'../'.repeat(41)}evil` }), { name: 'x' }),
    /leads out/,
  ],
  ['a hard link that leads out', archive({ name: 'x', type: '1', link: '../../etc/passwd' }), /leads out/],
  ['a hard link to an absolute name', archive({ name: 'x', type: '1', link: '/etc/passwd' }), /absolute/],
  ['the same file twice', archive({ name: 'x', content: '1' }, { name: './x', content: '2' }), /twice/],
  ['a file that is a folder too', archive({ name: 'x', content: '1' }, { name: 'x/y', content: '2' }), /twice/],
  [
    'folders without end',
    archive({ name: `${'d/'.repeat(45)}x` }, pax({ path: `${'d/'.repeat(500)}x` }), { name: 'x' }),
    /deeper/,
  ],
  ['a wrong checksum', Buffer.from(archive({ name: 'x', content: '1' })).fill(7, 0, 4), /checksum/],
  [
    'a description without end',
    archive(entry({ name: 'pax', type: 'x', content: Buffer.alloc(200_000, 'a') }), { name: 'x' }),
    /describes/,
  ],
  ['something compressed', Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(2000, 1)]), /not tar/],
  ['no archive at all', Buffer.alloc(4096, 'secret'), /not tar/],
];

for (const [what, bytes, message] of hostile) {
  test(`refused as a whole: ${what}`, async () => {
    await assert.rejects(unpack(bytes), (error) => error instanceof Refused && message.test(error.message));
  });
}

test('an archive that ends within a file is not hostile: it may be whole the next time', async () => {
  const whole = archive({ name: 'x', content: Buffer.alloc(5000, 'a') });
  await assert.rejects(unpack(whole.subarray(0, 2048)), (error: Error) => {
    return !(error instanceof Refused) && error.message === 'its end did not arrive';
  });
});

test('an archive that ends between two files does not say that it is whole', async () => {
  const whole = archive({ name: 'x', content: '1' }, { name: 'y', content: '2' });
  await using made = await unpack(whole.subarray(0, 1024));
  assert.equal(made.result.whole, false);
});

test('more than the limit is not even begun', async () => {
  const bomb = archive({ name: 'x', content: '1' }, entry({ name: 'big', size: 8 * 1024 ** 3 - 1 }));
  await assert.rejects(unpack(bomb), TooLarge);
});

test('more entries than any volume has are refused', async () => {
  const many = Buffer.concat(
    Array.from({ length: 50_001 }, (_, index) => entry({ name: `f${index}`, type: '2', link: '/etc' })),
  );
  await assert.rejects(unpack(Buffer.concat([many, Buffer.alloc(1024)])), /more than 50000/);
});

test('what is neither file nor folder is left out and told', async () => {
  await using made = await unpack(
    archive(
      { name: 'disk', type: '4' },
      { name: 'tty', type: '3' },
      { name: 'pipe', type: '6' },
      { name: 'line\nbreak', content: 'x' },
      pax({ path: 'kept\0../../evil' }),
      { name: 'cut', content: 'x' },
    ),
  );
  assert.deepEqual(await tree(made.into), { kept: 'x' });
  assert.deepEqual(made.result.leftOut, [
    'disk (neither a file nor a folder)',
    'tty (neither a file nor a folder)',
    'pipe (neither a file nor a folder)',
    'line?break (a name that is no text)',
  ]);
});

test('links inside the volume become what they lead to', async () => {
  await using made = await unpack(
    archive(
      { name: 'before', type: '2', link: 'sub/file' },
      { name: 'sub/', type: '5' },
      { name: 'sub/file', content: 'one' },
      { name: 'sub/up', type: '2', link: '../other' },
      { name: 'other', content: 'two' },
      { name: 'folder', type: '2', link: '/data/sub' },
      { name: 'chain', type: '2', link: 'folder/up' },
      { name: 'hard', type: '1', link: './sub/file' },
    ),
  );
  assert.deepEqual(await tree(made.into), {
    before: 'one',
    sub: '/',
    'sub/file': 'one',
    'sub/up': 'two',
    other: 'two',
    folder: '/',
    'folder/file': 'one',
    'folder/up': 'two',
    chain: 'two',
    hard: 'one',
  });
  assert.deepEqual(made.result.leftOut, []);
});

test('links that lead out, nowhere or in a circle are left out, and nothing is written through them', async () => {
  await using made = await unpack(
    archive(
      { name: 'out', type: '2', link: '/tmp' },
      { name: 'out/evil', content: 'x' },
      { name: 'up', type: '2', link: '../../up' },
      { name: 'nowhere', type: '2', link: 'missing' },
      { name: 'self', type: '2', link: 'self' },
      { name: 'a', type: '2', link: 'b' },
      { name: 'b', type: '2', link: 'a' },
      { name: 'root', type: '2', link: '.' },
      { name: 'in/loop', type: '2', link: '../in' },
      { name: 'in/x', content: 'x' },
    ),
  );
  assert.deepEqual(await tree(made.into), { out: '/', 'out/evil': 'x', in: '/', 'in/x': 'x' });
  assert.deepEqual(made.result.leftOut.map((each) => each.split(' ')[0] ?? '').sort(), [
    'a',
    'b',
    'in/loop',
    'nowhere',
    'out',
    'root',
    'self',
    'up',
  ]);
});

test('links that multiply what they lead to are refused at the limits', async () => {
  const levels = Array.from({ length: 20 }, (_, level) => [
    { name: `l${level + 1}/`, type: '5' },
    ...['a', 'b', 'c'].map((name) => ({ name: `l${level + 1}/${name}`, type: '2', link: `../l${level}` })),
  ]).flat();
  const bomb = archive({ name: 'l0/', type: '5' }, ...levels);
  await assert.rejects(unpack(bomb), Refused);
});

test('where the machine does not tell upper from lower case, the second of two names is left out', async () => {
  const bytes = archive({ name: 'key', content: '1' }, { name: 'KEY', content: '2' });
  await using apart = await unpack(bytes);
  assert.deepEqual(await tree(apart.into), { key: '1', KEY: '2' });
  await using same = await unpack(bytes, { caseSensitive: false });
  assert.deepEqual(await tree(same.into), { key: '1' });
  assert.deepEqual(same.result.leftOut, ['KEY (differs from key by case only)']);
});

test('only what is chosen is written', async () => {
  const bytes = archive(
    { name: 'a.json', content: '1' },
    { name: 'logs/a.json', content: '2' },
    { name: 'sub/b.json', content: '3' },
    { name: 'sub/c.txt', content: '4' },
    { name: 'mounted/d.json', content: '5' },
  );
  const choice = { include: ['*.json'], exclude: ['logs'], except: ['mounted'] };
  await using made = await unpack(bytes, { choice });
  assert.deepEqual(await tree(made.into), { 'a.json': '1', sub: '/', 'sub/b.json': '3' });
});
