/**
 * `npm run supply-chain`: where the dependencies come from, the bill of materials (CycloneDX, dist/sbom.cdx.json), and what is
 * known against them. `-- --signatures` also has npm check the registry's signatures and provenance attestations, which
 * takes a minute. A registry that does not answer such questions is said to be so, and is no failure: what is here is
 * decided by checksums. A known vulnerability of high or critical severity in what is shipped is one.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockfileProblems, type Lockfile, type Manifest } from './lockfile.ts';

const root = join(import.meta.dirname, '..');
const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'));

interface Outcome {
  name: string;
  result: 'ok' | 'FAILED' | 'could not be asked';
  detail: string;
}

interface Told {
  code: number | string | null;
  output: string;
  complaint: string;
}

/** npm fails also when it has found something, so what it printed is looked at and not only its exit status. */
function npm(args: string[], seconds: number): Promise<Told> {
  const options = { cwd: root, timeout: seconds * 1000, killSignal: 'SIGKILL' as const, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve) =>
    execFile('npm', args, options, (error, output, complaint) => {
      const code = error === null ? 0 : error.killed === true ? 'timeout' : (error.code ?? null);
      resolve({ code, output, complaint });
    }),
  );
}

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

async function billOfMaterials(): Promise<Outcome> {
  const name = 'bill of materials';
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only'];
  const { output, complaint } = await npm(args, 60);
  try {
    const bill = JSON.parse(output) as { bomFormat: string; components: Array<{ hashes?: unknown[] }> };
    const bare = bill.components.filter(({ hashes = [] }) => hashes.length === 0).length;
    if (bill.bomFormat !== 'CycloneDX' || bare > 0)
      return { name, result: 'FAILED', detail: `${bare} components without a checksum` };
    mkdirSync(join(root, 'dist'), { recursive: true });
    writeFileSync(join(root, 'dist/sbom.cdx.json'), output);
    return { name, result: 'ok', detail: `dist/sbom.cdx.json, ${bill.components.length} components with checksums` };
  } catch {
    return { name, result: 'FAILED', detail: complaint.trim() };
  }
}

interface Advisory {
  severity: string;
  fixAvailable: unknown;
}

async function knownVulnerabilities(): Promise<Outcome> {
  const name = 'known vulnerabilities';
  const { code, output, complaint } = await npm(['audit', '--json', '--omit=dev', '--fetch-retries=0'], 8);
  const told = parse(output) as { vulnerabilities?: Record<string, Advisory>; message?: string } | undefined;
  if (told?.vulnerabilities === undefined) {
    const why = code === 'timeout' ? 'no answer in time' : (told?.message ?? firstLine(complaint));
    return { name, result: 'could not be asked', detail: withoutAddress(why) };
  }
  const all = Object.entries(told.vulnerabilities);
  const grave = all.filter(([, { severity }]) => ['high', 'critical'].includes(severity));
  const listed = all.map(([each, { severity }]) => `${each} (${severity})`).join(', ');
  return { name, result: grave.length === 0 ? 'ok' : 'FAILED', detail: listed || 'none in what is shipped' };
}

async function signatures(): Promise<Outcome> {
  const name = 'signatures';
  const { code, output, complaint } = await npm(['audit', 'signatures', '--json', '--fetch-retries=0'], 300);
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const firstLine = (text: string): string =>
  text.split('\n').find((line) => line.startsWith('npm error') || line.startsWith('npm warn audit')) ??
  'no reason given';

/** The registry's address belongs to the machine that asks. */
const withoutAddress = (text: string): string => text.replaceAll(/https?:\/\/\S+/g, 'the registry');

const work = [Promise.resolve(lockfile()), billOfMaterials(), knownVulnerabilities()];
if (process.argv.includes('--signatures')) work.push(signatures());
const outcomes = await Promise.all(work);
for (const { name, result, detail } of outcomes) process.stdout.write(`${result.padEnd(18)} ${name}: ${detail}\n`);
process.exitCode = outcomes.some(({ result }) => result === 'FAILED') ? 1 : 0;
