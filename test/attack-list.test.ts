/**
 * The list of attacks in docs/security.md is the list of the tests that make them. `BOWLINE_WRITE_DOCS=1` writes it, without
 * that it is compared.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const page = join(root, 'docs/security.md');
const places = {
  'the helper': 'helper/attacks.test.ts',
  'the local API': 'daemon/server/attacks.test.ts',
  'the agent, on a real cluster': 'test/attacks/agent.test.ts',
  'the keeper, on a real cluster': 'test/attacks/keeper.test.ts',
};

function attacksIn(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^\s*void test\(\s*(['"])(.+)\1,/gm)].map((match) => match[2] ?? '');
}

void test('docs/security.md lists every attack that is a test', () => {
  const sections = Object.entries(places).map(([what, file]) => {
    const attacks = attacksIn(file);
    assert.ok(attacks.length >= 5, file);
    return [`On ${what} (\`${file}\`):`, '', ...attacks.map((attack) => `- ${attack}`), ''].join('\n');
  });
  const [begin, end] = ['<!-- attacks -->\n', '<!-- end of attacks -->\n'];
  const written = readFileSync(page, 'utf8');
  const before = written.slice(0, written.indexOf(begin) + begin.length);
  const next = `${before}\n${sections.join('\n')}\n${end}`;
  if (process.env['BOWLINE_WRITE_DOCS'] === '1') writeFileSync(page, next);
  else assert.equal(written, next, 'run it again with BOWLINE_WRITE_DOCS=1');
});
