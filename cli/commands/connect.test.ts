import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectRequest } from '../../api/schema.ts';
import { standardIo } from '../io.ts';
import { connectCommand } from './connect.ts';

void test('what is not said to the command is what the API takes it for', () => {
  const api = ConnectRequest.parse({});
  const said = connectCommand(standardIo([], undefined)).opts<Record<string, unknown>>();
  const { maxVolumeBytes, timeoutSeconds, drainSeconds, lapseSeconds, proofSeconds, ifDown, names } = api;
  const { maxVolume, timeout, drain, lapse, proofEvery } = said;
  assert.deepEqual(
    { maxVolume, timeout, drain, lapse, proofEvery, ifDown: said['ifDown'], names: said['names'] },
    {
      maxVolume: maxVolumeBytes,
      timeout: timeoutSeconds,
      drain: drainSeconds,
      lapse: lapseSeconds,
      proofEvery: proofSeconds,
      ifDown,
      names,
    },
  );
  assert.equal(maxVolumeBytes, 100 * 1024 * 1024);
});
