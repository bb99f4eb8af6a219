import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BowlineError } from '../../api/errors.ts';
import {
  checkEnvironmentFile,
  externalsOf,
  fileWarnings,
  ownServicesOf,
  placementsOf,
  readEnvironmentFile,
} from './environment-file.ts';

const azds = (...lines: string[]) => readEnvironmentFile({ path: '/project/azds-local.env', text: lines.join('\n') })!;
const bridge = (text: string) =>
  readEnvironmentFile({ path: '/project/KubernetesLocalProcessConfig.yaml', text: `version: 0.1\n${text}` })!;

void suite('what a file asks for', () => {
  void test('an invalid one is refused with every place, and without its lines', () => {
    assert.throws(
      () => azds('A=${nothing.x}', 'PASSWORD="s3cret', 'B=${volumes.}'),
      (error: BowlineError) => {
        assert.equal(error.code, 'ENVIRONMENT_FILE_INVALID');
        assert.match(error.message, /^\/project\/azds-local\.env cannot be used: 1:\d+: .*; 3:\d+: /s);
        assert.doesNotMatch(JSON.stringify(error.toShape()), /s3cret/);
        return true;
      },
    );
  });

  void test('other namespaces, hosts of outside each once, places of its own', () => {
    const file = azds(
      'A=${services.mynamespace.myapp2}${services.myapp1}',
      'B=${services.mynamespace.other}',
      'C=${volumes.token-*|./token}',
      'D=${volumes.whitelist|/srv/w}/x',
      'E=${volumes.token-*|token}',
      'F=${volumes.token-*|~/token}',
      'G=${volumes.token-*|~token}',
    );
    assert.deepEqual(ownServicesOf(file, 'shop'), ['myapp1']);
    assert.deepEqual(
      placementsOf(file).map(({ to }) => to),
      ['/project/token', '/srv/w', join(homedir(), 'token'), '/project/~token'],
    );
    const yaml = bridge(`env:
  - name: X
    value: $(externalEndpoints:db.example.com:5432)
  - name: Y
    value: $(externalEndpoints:db.example.com:5432,80)
enableFeatures: [Probes, ManagedIdentity]`);
    assert.deepEqual(externalsOf(yaml), [
      { host: 'db.example.com', ports: [5432, 80] },
      { host: '169.254.169.254', ports: [80] },
    ]);
    assert.deepEqual(
      fileWarnings(yaml).map(({ code, message }) => [code, message.slice(0, 72)]),
      [['ENVIRONMENT_FILE', '/project/KubernetesLocalProcessConfig.yaml:7:18: Probes has no effect: t']],
    );
  });

  void test('what is not there is refused unless it is optional', () => {
    const known = { namespace: 'shop', namespaces: ['shop'], volumes: ['whitelist'], services: [] };
    checkEnvironmentFile(azds('A=${volumes.whitelist}', 'B=${services.gone?}', 'C=${volumes.gone?}'), known);
    assert.throws(
      () => checkEnvironmentFile(azds('A=${volumes.whitelst}', 'B=${services.gone}'), known),
      (error: BowlineError) => /1:\d+: .*whitelst \(did you mean whitelist\?\); 2:\d+: .*gone/.test(error.message),
    );
  });
});
