/** The example in docs/environment.md, worked by the code: the text and the program cannot come to differ. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { NamedService } from '../../api/schema.ts';
import { belongsToMachine } from '../../env-parser/machine-variables.ts';
import { environmentOf } from './environment.ts';
import { readEnvironmentFile } from './environment-file.ts';
import { resolveEnvironmentFile } from './resolve-file.ts';

const document = readFileSync(new URL('../../docs/environment.md', import.meta.url), 'utf8');
const [, example = ''] = /^### An example\n([^]*?)^#/m.exec(document) ?? [];
const [container = '', file = ''] = [...example.matchAll(/^```\n([^]*?)^```$/gm)].map(([, text]) => text);
const cells = [...example.matchAll(/^\| `(\w+)` \| (.*?) \| (\w+)/gm)];
const rows = cells.map(([, name = '', value = '', source = '']) => ({
  name,
  value: value.replaceAll('`', ''),
  source,
}));

test('who wins, as the documentation says', async () => {
  const variables = Object.fromEntries(
    container
      .trim()
      .split('\n')
      .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  const said = (name: string): string => rows.find((row) => row.name === name)?.value ?? '';
  const catalog: NamedService = {
    namespace: 'shop',
    service: 'catalog',
    names: ['catalog'],
    address: said('CATALOG_SERVICE_HOST'),
    clusterIp: variables['CATALOG_SERVICE_HOST'],
    ports: [{ port: 80, local: 80 }],
  };
  const local = said('CONFIG').replace(/\/app\.yaml$/, '');
  const around = {
    services: [catalog],
    namespace: 'shop',
    files: { folder: '/files', mounts: [{ volume: 'config', mountPath: '/etc/config', local, state: 'ready' }] },
    placed: [],
    inPlace: false,
  };
  const given = readEnvironmentFile({ path: '/project/azds-local.env', text: file });
  const environment = await environmentOf({
    ...around,
    redirected: true,
    facts: { uid: 0, gid: 0, source: 'process', variables },
    fromAgent: async () => undefined,
    fromImage: async () => undefined,
    original: async () => undefined,
    mode: 'hosts',
    server: 'https://api.example.com',
    file: resolveEnvironmentFile(given, around),
    timeZone: 'UTC',
  });
  const named = new Set([...Object.keys(variables), ...(given?.entries ?? []).map(({ name }) => name)]);
  assert.deepEqual(rows.map(({ name }) => name).sort(), [...named].sort());
  for (const { name, value, source } of rows) {
    if (source === 'machine') {
      assert.ok(belongsToMachine(name) && environment.origins[name] !== 'file', name);
      continue;
    }
    assert.deepEqual([environment.variables[name], environment.origins[name]], [value, source], name);
  }
});
