/** The schema in the hands of an editor, as docs/environment-files.md says to give it to one. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bridgeSchema } from './bridge-schema.ts';
import { fileNames } from './environment-file.ts';
import { completionsAt } from './testing/language-server.ts';

const text = `# yaml-language-server: $schema=schema.json
version: 0.1
env:
  - 
enableFeatures:
  - 

`;

test('an editor completes keys and features of the YAML', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'schema-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'schema.json'), JSON.stringify(bridgeSchema));
  const [entry, feature, top] = await completionsAt(join(folder, fileNames.bridge), text, [
    { line: 3, character: 4 },
    { line: 5, character: 4 },
    { line: 6, character: 0 },
  ]);
  const offers = (labels: string[] | undefined, wanted: string[]): void =>
    assert.deepEqual(
      wanted.filter((label) => !labels?.includes(label)),
      [],
      `among ${labels?.join(', ')}`,
    );
  offers(entry, ['name', 'value']);
  offers(feature, ['Probes', 'LifecycleHooks', 'ManagedIdentity']);
  offers(top, ['volumeMounts']);
  assert.ok(!top?.includes('env'), 'what is there is not offered again');
});
