/** What a command is told of volumes that it does not get at their real paths. Pure. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MountedVolume } from '../../api/schema.ts';
import { lateFiles } from './for-connection.ts';

test('a volume that has not come is at its copy alone: nothing is mounted for a command that runs', () => {
  const mount = (name: string, state: MountedVolume['state']): MountedVolume => ({
    volume: name,
    kind: 'persistentVolumeClaim',
    mountPath: `/data/${name}`,
    readOnly: false,
    local: `/run/x/volumes/${name}`,
    state,
  });
  const mounts = [
    mount('large', 'downloading'),
    mount('next', 'waiting'),
    mount('here', 'ready'),
    mount('no', 'skipped'),
  ];
  const late = lateFiles({ files: { folder: '/run/x', backing: 'memory', mounts } });
  assert.deepEqual(
    late.map(({ target }) => target),
    ['/data/large', '/data/next'],
  );
  assert.match(late[0]!.why, /not come yet.*\/run\/x\/volumes\/large/);
  assert.deepEqual(lateFiles({}), []);
});
