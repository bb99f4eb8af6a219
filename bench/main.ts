/**
 * `npm run bench -- --json FILE [--quick]` measures; `npm run bench -- --table FILE [--to PAGE]` writes the page of the
 * documentation from such a file.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startBed } from './bed.ts';
import { findProcesses, measureCommands, measureConnect, measureDisconnect, measureMemory } from './cycle.ts';
import { describeMachine } from './machine-facts.ts';
import { inboundPaths, outboundPaths, startPortForward } from './paths.ts';
import { Samples, type BenchmarkFile } from './results.ts';
import { markdownPage, terminalTable } from './table.ts';
import { measureTraffic, type Amounts } from './traffic.ts';

const full: Amounts = { down: 256e6, up: 256e6, latency: 5000, serial: 1500, parallel50: 5000 };
const quick: Amounts = { down: 32e6, up: 32e6, latency: 300, serial: 50, parallel50: 250 };
const rounds = { full: { cycles: 5, traffic: 5 }, quick: { cycles: 2, traffic: 2 } };
const page = join(import.meta.dirname, '../docs/benchmark.md');

const report = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

async function measure(isQuick: boolean, signal: AbortSignal): Promise<BenchmarkFile> {
  const samples = new Samples();
  const amounts = isQuick ? quick : full;
  const { cycles, traffic } = isQuick ? rounds.quick : rounds.full;
  await using bed = await startBed(report, signal);
  const machine = await describeMachine(bed.cluster, isQuick);

  report('warming up: a first connection, which starts the daemon');
  await measureConnect(bed, undefined, signal);
  await measureDisconnect(bed, undefined, signal);
  // The first start ever compiles the sources; what is measured is each one after it.
  await bed.bowline('daemon', 'stop');
  await bed.bowline('daemon', 'start');
  for (let cycle = 1; cycle <= cycles; cycle += 1) {
    report(`connect and disconnect, ${cycle} of ${cycles}`);
    await measureConnect(bed, samples, signal);
    await measureMemory(bed, samples, signal);
    await measureCommands(bed, samples);
    await measureDisconnect(bed, samples, signal);
  }

  await measureConnect(bed, undefined, signal);
  const { daemon } = await findProcesses(bed);
  const round = async (into: Samples, how: Amounts): Promise<void> => {
    await using forwarded = await startPortForward(bed);
    await measureTraffic('outbound', await outboundPaths(bed, daemon, forwarded, signal), how, into);
    await measureTraffic('inbound', inboundPaths(bed, daemon, signal), how, into);
  };
  report('warming up: a small round that does not count');
  await round(new Samples(), quick);
  for (let turn = 1; turn <= traffic; turn += 1) {
    report(`traffic, round ${turn} of ${traffic}`);
    await round(samples, amounts);
  }
  await measureDisconnect(bed, undefined, signal);
  return { machine, results: samples.results() };
}

function usage(): never {
  process.stderr.write(
    'usage: npm run bench -- [--json FILE] [--quick]\n       npm run bench -- --table FILE [--to PAGE]\n',
  );
  process.exit(2);
}

const { values } = ((): { values: { json?: string; quick?: boolean; table?: string; to?: string } } => {
  try {
    return parseArgs({
      options: {
        json: { type: 'string' },
        quick: { type: 'boolean' },
        table: { type: 'string' },
        to: { type: 'string' },
      },
    });
  } catch {
    return usage();
  }
})();

if (values.table !== undefined) {
  const file = JSON.parse(readFileSync(values.table, 'utf8')) as BenchmarkFile;
  writeFileSync(values.to ?? page, markdownPage(file));
  report(`wrote ${values.to ?? page}`);
} else {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)));
  }
  try {
    const file = await measure(values.quick === true, interrupted.signal);
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(file, undefined, 2)}\n`);
    process.stdout.write(`${terminalTable(file.results)}\n`);
  } catch (error) {
    const reason: unknown = interrupted.signal.aborted ? interrupted.signal.reason : error;
    report(reason instanceof Error ? reason.message : String(reason));
    process.exitCode = 1;
  }
}
