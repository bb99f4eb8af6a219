/**
 * `npm run supply-chain`: where the dependencies come from, the bill of materials (CycloneDX, dist/sbom.cdx.json), what is
 * known against them, and per package who vouches for it, which is written into the bill. `-- --signatures` also has npm check
 * the registry's signatures and provenance attestations, which takes a minute. A registry that does not answer such questions
 * is said to be so, here and in the bill, and is no failure: what is here is decided by checksums. A known vulnerability of
 * high or critical severity in what is shipped is one, and so is a signature that is wrong.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { knownVulnerabilities } from './advisories.ts';
import { lockfileProblems, type Lockfile, type Manifest } from './lockfile.ts';
import { firstLine, npm, parse, root, withoutAddress, type Outcome } from './npm.ts';
import { vouchedFor, type Package, type Vouched } from './provenance.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'));

function lockfile(): Outcome {
  const lock = read('package-lock.json') as Lockfile;
  const problems = lockfileProblems(read('package.json') as Manifest, lock);
  const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
  const shipped = packages.filter(([, { dev }]) => dev !== true).length;
  return {
    name: 'lockfile',
    result: problems.length === 0 ? 'ok' : 'FAILED',
    detail:
      problems.join('\n') ||
      `${packages.length} packages, ${shipped} of them shipped, each of one version and checksum`,
  };
}

interface Component {
  name: string;
  version: string;
  hashes?: unknown[];
  properties?: Array<{ name: string; value: string }>;
}

async function billOfMaterials(vouched: Promise<Vouched[]>): Promise<Outcome> {
  const name = 'bill of materials';
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only'];
  const { output, complaint } = await npm(args, { seconds: 60 });
  const known = await vouched.catch(() => []);
  try {
    const bill = JSON.parse(output) as { bomFormat: string; components: Component[] };
    const bare = bill.components.filter(({ hashes = [] }) => hashes.length === 0).length;
    if (bill.bomFormat !== 'CycloneDX' || bare > 0)
      return { name, result: 'FAILED', detail: `${bare} components without a checksum` };
    for (const component of bill.components) {
      const found = known.find((each) => each.name === component.name && each.version === component.version);
      component.properties = [...(component.properties ?? []), ...properties(found)];
    }
    mkdirSync(join(root, 'dist'), { recursive: true });
    writeFileSync(join(root, 'dist/sbom.cdx.json'), `${JSON.stringify(bill, null, 2)}\n`);
    return { name, result: 'ok', detail: `dist/sbom.cdx.json, ${bill.components.length} components with checksums` };
  } catch {
    return { name, result: 'FAILED', detail: complaint.trim() };
  }
}

const properties = (found: Vouched | undefined): NonNullable<Component['properties']> => [
  { name: 'bowline:registry-signature', value: found?.signature ?? 'could not be asked' },
  { name: 'bowline:provenance', value: found === undefined ? 'could not be asked' : (found.provenance ?? 'none') },
];

async function askRegistry(): Promise<Vouched[]> {
  const { packages } = read('package-lock.json') as Lockfile;
  const all = Object.entries(packages).flatMap(([path, { version, integrity }]): Package[] => {
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    return path === '' || version === undefined || integrity === undefined ? [] : [{ name, version, integrity }];
  });
  const { output } = await npm(['config', 'get', 'registry'], { seconds: 10 });
  return vouchedFor(all, output.trim(), AbortSignal.timeout(30_000));
}

async function provenance(vouched: Promise<Vouched[]>): Promise<Outcome> {
  const name = 'provenance';
  try {
    const all = await vouched;
    const of = (signature: Vouched['signature']): Vouched[] => all.filter((each) => each.signature === signature);
    const wrong = of('invalid').map(({ name, version }) => `${name}@${version}`);
    const built = all.filter((each) => each.provenance !== undefined).length;
    const counted = `${of('valid').length} of ${all.length} packages signed by the registry, ${built} with a provenance attestation; each in the bill of materials`;
    if (wrong.length > 0) return { name, result: 'FAILED', detail: `wrong signatures: ${wrong.join(', ')}` };
    return { name, result: 'ok', detail: counted };
  } catch (error) {
    return { name, result: 'could not be asked', detail: withoutAddress((error as Error).message) };
  }
}

async function signatures(): Promise<Outcome> {
  const name = 'signatures';
  const args = ['audit', 'signatures', '--json', '--fetch-retries=0'];
  const { code, output, complaint } = await npm(args, { seconds: 300 });
  const told = parse(output) as { invalid?: unknown[]; missing?: unknown[] } | undefined;
  if (told?.invalid === undefined || told.missing === undefined) {
    const why = code === 'timeout' ? 'no answer in time' : firstLine(complaint);
    return { name, result: 'could not be asked', detail: withoutAddress(why) };
  }
  const { invalid, missing } = told;
  const bad = invalid.length + missing.length;
  return {
    name,
    result: bad === 0 ? 'ok' : 'FAILED',
    detail: `${invalid.length} invalid, ${missing.length} missing`,
  };
}

const vouched = askRegistry();
const work = [Promise.resolve(lockfile()), billOfMaterials(vouched), provenance(vouched), knownVulnerabilities()];
if (process.argv.includes('--signatures')) work.push(signatures());
const outcomes = await Promise.all(work);
for (const { name, result, detail } of outcomes) process.stdout.write(`${result.padEnd(18)} ${name}: ${detail}\n`);
process.exitCode = outcomes.some(({ result }) => result === 'FAILED') ? 1 : 0;
