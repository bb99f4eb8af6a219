import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BowlineError, type ErrorCode } from '../../api/errors.ts';
import { pauseBeforeAnew } from './anew.ts';

const pauseAfter = (code: ErrorCode, details = {}): number | undefined =>
  pauseBeforeAnew(new BowlineError(code, 'why', { details }));

test('what a network or an API server that starts says is tried again soon', () => {
  for (const code of [
    'API_UNREACHABLE',
    'API_ERROR',
    'CREDENTIALS_EXPIRED',
    'PIPE_FAILED',
    'CHANGED_MEANWHILE',
  ] as const)
    assert.equal(pauseAfter(code), 5000, code);
});

test('what takes others a while is tried again, more seldom', () => {
  for (const code of ['RIGHTS_MISSING', 'AGENT_TIMEOUT', 'AGENT_IMAGE_PULL', 'NOT_ADMITTED', 'PROOF_FAILED'] as const)
    assert.equal(pauseAfter(code), 60_000, code);
  assert.equal(pauseBeforeAnew(BowlineError.from(new Error('the operation was aborted due to timeout'))), 60_000);
});

test('somebody else has it, or it is not there any more: not again', () => {
  for (const code of ['TAKEN_OVER', 'WORKLOAD_NOT_FOUND', 'NAMESPACE_NOT_FOUND', 'BAD_TARGET', 'CANCELLED'] as const)
    assert.equal(pauseAfter(code), undefined, code);
  assert.equal(pauseAfter('ALREADY_REDIRECTED', { holder: { machine: 'there' } }), undefined);
  assert.equal(pauseAfter('ALREADY_REDIRECTED', { holder: { machine: 'being restored' } }), 5000);
});
