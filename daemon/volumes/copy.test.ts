/** How a content comes, is cut, tried anew and told: real folders, and archives that end where the test wants. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Header } from 'tar/header';
import type { VolumeSize } from '../../agent-image/contract.ts';
import { VolumeCopy } from './copy.ts';
import { SessionFolder } from './session-folder.ts';
import { Unavailable, type Source } from './sources.ts';

const never = new AbortController().signal;

function archive(files: Record<string, string>): Buffer {
  const parts = Object.entries(files).flatMap(([path, content]) => {
    const header = new Header({ path, mode: 0o644, size: content.length, type: 'File', mtime: new Date(0) });
    header.encode();
    return [header.block!, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** The nth time it is opened it answers with the nth of these; the last one stays. */
function source(...answers: Array<() => Readable>): Source & { opened: number } {
  return {
    opened: 0,
    async size(): Promise<VolumeSize> {
      return { path: '/data', single: false, bytes: 3, files: 1, leftOut: [], leftOutCount: 0 };
    },
    async open() {
      const answer = answers[Math.min(this.opened++, answers.length - 1)]!;
      return {
        archive: answer(),
        async checkEnd({ whole }) {
          if (!whole) throw new Error('its end did not arrive');
          return undefined;
        },
      };
    },
  };
}

const whole = (content: string) => (): Readable => Readable.from([archive({ file: content })]);
/** Half of it, and then the stream is reset. */
const broken = (): Readable => {
  const stream = new PassThrough();
  stream.write(archive({ file: 'x'.repeat(2000) }).subarray(0, 1536));
  setImmediate(() => stream.destroy(new Error('the tunnel ended')));
  return stream;
};

async function copyIn({
  there = false,
  place,
  onChange = () => undefined,
}: { there?: boolean; place?: string; onChange?: () => void } = {}) {
  const path = await mkdtemp(join(place ?? tmpdir(), 'bowline-copy-'));
  const folder = await SessionFolder.open(path);
  const copy = new VolumeCopy({
    planned: {
      entry: 'data',
      mountPath: '/data',
      mounts: [{ volume: 'data', kind: 'configMap', mountPath: '/data', readOnly: true, entry: 'data' }],
      from: 'agent',
      except: [],
    },
    folder,
    choice: { include: [], exclude: [], except: [] },
    maxBytes: place === undefined ? 10_000 : 1_000_000,
    there,
    onChange,
    againAfter: 1,
  });
  return {
    copy,
    state: () => copy.mounts()[0]!,
    read: () => readFile(join(folder.local('data'), 'file'), 'utf8'),
    entries: () => readdir(join(path, 'volumes')),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

test('what breaks off is brought anew, from the beginning', async () => {
  await using it = await copyIn();
  const from = source(broken, broken, whole('all'));
  await it.copy.bring(from, never);
  assert.equal(from.opened, 3);
  assert.equal(it.state().state, 'ready');
  assert.equal(await it.read(), 'all');
  assert.equal((await it.entries()).length, 2, 'nothing is left of the tries');
});

test('what ends in the middle of a file, as streams of exec do now and then, is brought anew', async () => {
  await using it = await copyIn();
  const cut = (): Readable => Readable.from([archive({ file: 'x'.repeat(2000) }).subarray(0, 1536)]);
  const from = source(cut, whole('all'));
  await it.copy.bring(from, never);
  assert.deepEqual([from.opened, it.state().state, await it.read()], [2, 'ready', 'all']);
});

test('after three tries it has failed, with the reason, and nothing stands under its name', async () => {
  await using it = await copyIn();
  const from = source(broken);
  await it.copy.bring(from, never);
  assert.equal(from.opened, 3);
  assert.equal(it.state().state, 'failed');
  assert.match(it.state().reason!, /the tunnel ended/);
  assert.deepEqual(await it.entries(), []);
});

test('a cut of the tunnel leaves it waiting for the next one', async () => {
  await using it = await copyIn();
  const cut = new AbortController();
  const stalled = (): Readable => {
    const stream = new PassThrough();
    stream.write(archive({ file: 'x'.repeat(2000) }).subarray(0, 1024));
    cut.signal.addEventListener('abort', () => stream.destroy(new Error('reset')));
    setImmediate(() => cut.abort());
    return stream;
  };
  await it.copy.bring(source(stalled), cut.signal);
  assert.equal(it.state().state, 'waiting');
  assert.deepEqual(await it.entries(), []);
  await it.copy.bring(source(whole('all')), never);
  assert.equal(it.state().state, 'ready');
  assert.equal(await it.read(), 'all');
});

test('what is here stays when a newer one cannot be had', async () => {
  await using it = await copyIn();
  await it.copy.bring(source(whole('old')), never);
  await it.copy.bring(source(broken), never);
  assert.equal(it.state().state, 'ready');
  assert.match(it.state().reason!, /not the newest: the tunnel ended/);
  assert.equal(await it.read(), 'old');
  await it.copy.bring(source(whole('new')), never);
  assert.equal(it.state().reason, undefined);
  assert.equal(await it.read(), 'new');
});

const atOnce = (work: () => Promise<void>): Promise<void> => work();

test('a newer one that could not be had is asked for again, until it comes', async () => {
  const reasons: Array<string | undefined> = [];
  await using it = await copyIn({ onChange: () => reasons.push(it.state().reason) });
  await it.copy.bring(source(whole('old')), never);
  it.copy.version = 'newer';
  const from = source(broken, broken, broken, broken, broken, broken, whole('new'));
  await it.copy.keepBringing(from, never, atOnce);
  assert.equal(from.opened, 7);
  assert.equal(reasons.filter((reason) => reason?.startsWith('not the newest: ')).length, 2);
  assert.deepEqual([it.state().state, it.state().reason, await it.read()], ['ready', undefined, 'new']);
});

test('it is not asked for again after the end of the tunnel, for a newer version, or where that is of no use', async () => {
  await using it = await copyIn();
  const tunnel = new AbortController();
  const failing = source(broken);
  /** Behind the third try of the first round. */
  const then = (act: () => void) => async (work: () => Promise<void>) => {
    await work();
    act();
  };
  it.copy.version = 'one';
  await it.copy.keepBringing(
    failing,
    tunnel.signal,
    then(() => tunnel.abort()),
  );
  assert.deepEqual([failing.opened, it.state().state, it.copy.version], [3, 'failed', undefined]);
  const older = source(broken);
  let newer: Promise<void> | undefined;
  await it.copy.keepBringing(
    older,
    never,
    then(() => {
      newer = it.copy.keepBringing(source(whole('newer')), never, atOnce);
    }),
  );
  await newer;
  assert.deepEqual([older.opened, await it.read()], [3, 'newer']);
  const hostile = source(() => Readable.from([archive({ '../evil': 'x' })]));
  await it.copy.keepBringing(hostile, never, atOnce);
  assert.equal(hostile.opened, 1);
});

test('what nobody can read, and what is hostile, is not tried again', async () => {
  await using it = await copyIn();
  const nobody = source(() => {
    throw new Unavailable('nobody has tar');
  });
  await it.copy.bring(nobody, never);
  assert.deepEqual([nobody.opened, it.state().state, it.state().reason], [1, 'unavailable', 'nobody has tar']);
  const hostile = source(() => Readable.from([archive({ '../evil': 'x' })]));
  await it.copy.bring(hostile, never);
  assert.deepEqual([hostile.opened, it.state().state], [1, 'failed']);
  assert.match(it.state().reason!, /refused.*leads out/);
});

test('more than was announced is stopped at the limit', async () => {
  await using it = await copyIn();
  await it.copy.bring(source(whole('x'.repeat(20_000))), never);
  assert.equal(it.state().state, 'skipped');
  assert.match(it.state().reason!, /--max-volume/);
  assert.deepEqual(await it.entries(), []);
});

const mayMount = process.getuid?.() === 0;
test(
  'a place without room: it is named, with what to do; nothing is half there, and what is here stays',
  { skip: mayMount ? false : 'a file system of its own size needs root' },
  async () => {
    const place = await mkdtemp(join(tmpdir(), 'bowline-full-'));
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'bowline-test', place]);
    try {
      await using it = await copyIn({ place });
      await it.copy.bring(source(whole('small')), never);
      const large = source(whole('x'.repeat(200_000)));
      // Not known beforehand, as of a volume that only the original has.
      await it.copy.bring({ ...large, size: async () => undefined }, never);
      assert.equal(it.state().state, 'ready');
      assert.match(
        it.state().reason!,
        /^not the newest: there is no room for it in .*bowline-full-.*: \d+ KiB are free/,
      );
      assert.equal(await it.read(), 'small');
      assert.equal((await it.entries()).length, 2, 'the link and its content');
      const known = async (): Promise<VolumeSize> => ({ ...(await large.size(never))!, bytes: 200_000 });
      const asked = source(whole('x'));
      await using other = await copyIn({ place });
      await other.copy.bring({ ...asked, size: known, open: () => assert.fail('nothing is asked for') }, never);
      assert.equal(other.state().state, 'failed');
      assert.match(other.state().reason!, /are free, and it has 196 KiB; make room there .* --max-volume/);
      assert.deepEqual(await other.entries(), []);
    } finally {
      await promisify(execFile)('umount', [place]);
      await rm(place, { recursive: true });
    }
  },
);
