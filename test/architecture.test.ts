/**
 * The boundaries of the layout, as a list of who may import whom and why. A new import that crosses one fails here with
 * the reason, so that it is decided and not drifted into.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');

interface Rule {
  /** Folders of the project (longest match wins) that may be imported besides the folder itself. */
  folders: string[];
  /** Packages; `node:` always may. */
  packages: string[];
  why: string;
}

const rules: Record<string, Rule> = {
  api: {
    folders: [],
    packages: ['zod'],
    why: 'the contract: every client loads it, so it depends on nothing but the schemas',
  },
  'env-parser': {
    folders: ['api/nearest'],
    packages: ['yaml'],
    why: 'pure functions, used by daemon and command alike',
  },
  tunnel: { folders: [], packages: [], why: 'shared by daemon and agent; the agent is one small bundle' },
  'agent-image': {
    folders: ['tunnel'],
    packages: ['esbuild', 'tar'],
    why: 'runs in the cluster from one file; esbuild only makes that file',
  },
  keeper: {
    folders: ['api/errors', 'agent-image/bundle', 'daemon/cluster', 'daemon/log', 'daemon/redirect'],
    packages: ['@kubernetes/client-node'],
    why: 'restores in the cluster what the daemon would: with the same code, and with nothing of connections, names or machine',
  },
  helper: {
    folders: ['api/errors'],
    packages: ['esbuild'],
    why: 'the privileged part: small enough to read whole, and it knows no Kubernetes; error codes only for its installation',
  },
  cli: {
    folders: ['api', 'env-parser', 'helper', 'agent-image/inspection'],
    packages: ['commander', '@vscode/sudo-prompt'],
    why: 'a client like any other: everything of the cluster goes through the local API; it looks around a program with the code by which the agent does',
  },
  'helper/client': {
    folders: ['api', 'helper'],
    packages: [],
    why: "the daemon's end of the helper's socket; runs unprivileged",
  },
  'daemon/cluster': {
    folders: ['api', 'daemon/log', 'agent-image/contract'],
    packages: ['@kubernetes/client-node', 'ws', 'yaml', 'zod'],
    why: 'the only place that talks to an API server',
  },
  'daemon/names': {
    folders: ['api', 'daemon', 'helper', 'tunnel'],
    packages: ['@kubernetes/client-node'],
    why: 'object types only',
  },
  daemon: {
    folders: ['api', 'tunnel', 'helper', 'agent-image', 'env-parser', 'keeper/bundle', 'keeper/contract'],
    packages: ['zod', 'pino', 'yaml', '@peculiar/x509', 'reflect-metadata', 'tar', '@kubernetes/client-node'],
    why: 'owner of all connections; client-node for object types only',
  },
};

/** Only here may client-node be imported as more than types; nowhere at all, in fact, see docs/decisions/. */
const typesOnly = new Set(['@kubernetes/client-node']);

const product = ['api', 'agent-image', 'cli', 'daemon', 'env-parser', 'helper', 'keeper', 'tunnel'];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(
      (entry) =>
        entry.isFile() &&
        entry.name.endsWith('.ts') &&
        !entry.name.endsWith('.test.ts') &&
        !/testbed|testing\/|test-|fixture/.test(join(entry.parentPath, entry.name)),
    )
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Array<{ from: string; typeOnly: boolean }> {
  const text = readFileSync(join(root, file), 'utf8').replaceAll(/^\s*(\/\/|\*).*$/gm, '');
  const statics = [...text.matchAll(/^\s*(?:import|export)\s+(type\s+)?[^'";]*?from\s+'([^']+)'/gm)].map((match) => ({
    from: match[2]!,
    typeOnly: match[1] !== undefined,
  }));
  const bare = [...text.matchAll(/^\s*import\s+'([^']+)'/gm)].map((match) => ({ from: match[1]!, typeOnly: false }));
  const dynamic = [...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)].map((match) => ({
    from: match[1]!,
    typeOnly: false,
  }));
  return [...statics, ...bare, ...dynamic];
}

const ruleOf = (file: string): [folder: string, rule: Rule] => {
  const folder = Object.keys(rules)
    .filter((each) => file.startsWith(`${each}/`) || file === `${each}.ts`)
    .sort((a, b) => b.length - a.length)[0];
  assert.ok(folder !== undefined, `${file} lies in no folder that has a rule`);
  return [folder, rules[folder]!];
};

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

for (const folder of product) {
  test(`${folder}/ imports only what it may`, () => {
    for (const file of sources(folder)) {
      const [own, rule] = ruleOf(file);
      for (const { from, typeOnly } of importsOf(file)) {
        if (from.startsWith('node:')) continue;
        if (from.startsWith('.')) {
          const target = relative(root, resolve(root, dirname(file), from));
          const allowed =
            target.startsWith(`${own}/`) ||
            rule.folders.some((each) => target.startsWith(`${each}/`) || target.startsWith(`${each}.ts`));
          assert.ok(
            allowed,
            `${file} imports ${target}, but ${own}/ may import only ${rule.folders.join(', ') || 'itself'}: ${rule.why}`,
          );
          continue;
        }
        const name = packageOf(from);
        assert.ok(
          rule.packages.includes(name),
          `${file} imports the package ${name}, but ${own}/ may use only ${rule.packages.join(', ') || 'node:'}: ${rule.why}`,
        );
        assert.ok(
          typeOnly || !typesOnly.has(name),
          `${file} imports ${name} at run time: it costs 130 MB and 400 ms, use its types only`,
        );
      }
    }
  });
}

test('no default exports, no drawers', () => {
  for (const folder of product) {
    for (const file of sources(folder)) {
      assert.doesNotMatch(readFileSync(join(root, file), 'utf8'), /^export default /m, `${file}: export by name`);
      assert.doesNotMatch(
        file,
        /(^|\/)(utils?|helpers|common|misc)(\/|\.ts$)/,
        `${file}: name the folder after what it does`,
      );
    }
  }
});

test('only the command prints', () => {
  for (const folder of product.filter((each) => each !== 'cli')) {
    for (const file of sources(folder)) {
      assert.doesNotMatch(
        readFileSync(join(root, file), 'utf8'),
        /\bconsole\./,
        `${file}: log, or return what the command shall print`,
      );
    }
  }
});
