import assert from 'node:assert/strict';
import { test } from 'node:test';
import { belongsToMachine } from './machine-variables.ts';

void test('what belongs to the machine stays the machine’s', () => {
  const pod = {
    PATH: '/app',
    HOME: '/root',
    TERM: 'x',
    Path: 'x',
    XDG_RUNTIME_DIR: '/x',
    LC_ALL: 'C',
    HOSTNAME: 'pod-1',
    DB: 'x',
    NODE_ENV: 'production',
  };
  const others = Object.keys(pod).filter((name) => !belongsToMachine(name));
  assert.deepEqual(others, ['HOSTNAME', 'DB', 'NODE_ENV']);
});
