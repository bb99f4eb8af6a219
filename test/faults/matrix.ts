/** Runs one fault on a stage, measures it, and judges it by the goals. */
import type { LoadRecord } from '../cluster/load.ts';
import { answeredAfter, impactOf, lostOf } from './impact.ts';
import type { Fault, Injected } from './faults.ts';
import type { Impact } from './impact.ts';
import type { Stage } from './stage.ts';

export interface Row {
  fault: string;
  requests: number;
  failed: number;
  /** Were under way on what was cut. */
  cut: number;
  /** Seconds, as all below: the longest time without an answer. */
  silence: number;
  /** From the end of the cause until the machine answered again. */
  back: number | undefined;
  noticed: number | undefined;
  restored: number | undefined;
  leftovers: string[];
  /** Goals that were missed, in words: what was lost or left. */
  missed: string[];
  /** The same of time, which says something only where nothing else keeps the machine busy. */
  late: string[];
  remark: string | undefined;
}

/** Seconds. `unknown`: until callers are led away from what has died without a word. */
const goals = { silence: 6, unknown: 8, back: 3, noticed: 5, restored: 10 };

export async function runFault(stage: Stage, fault: Fault): Promise<Row> {
  const { dev, load } = stage;
  const before = await stage.before();
  await fault.prepare?.(stage);
  const connection = await stage.connect(...(fault.connect ?? []));
  const injected = await fault.inject(stage, connection);
  await dev.must(['disconnect', '--all']);
  await stage.answeredThere();
  const until = Date.now();
  await load.settled(until);
  const records = await load.records();
  const impact = impactOf(records, injected.began, until);
  const back = injected.over === undefined ? undefined : answeredAfter(records, injected.over, stage.isHere);
  await fault.cleanUp?.(stage);
  const leftovers = await stage.leftovers(before, fault.anew);
  return judge(fault, injected, { impact, back, leftovers });
}

export interface Measured {
  impact: Impact;
  back: number | undefined;
  leftovers: string[];
}

/** Which goals were missed. Pure, so that a test can show that each one can be. */
export function judge(fault: Pick<Fault, 'name' | 'cuts'>, injected: Injected, measured: Measured): Row {
  const { back, leftovers } = measured;
  const { requests, failed, cut, silence, silenceBeside } = measured.impact;
  const { began, restored, noticed, unanswerable, knownAt = began } = injected;
  const lost = unanswerable === undefined ? lostOf(failed, knownAt) : [];
  const unknown = (knownAt - began) / 1000;
  const missed = [
    ...(lost.length > 0 ? [lostInWords(lost, began)] : []),
    ...(cut.length > 0 && fault.cuts !== true ? [lostInWords(cut, began)] : []),
    ...leftovers.map((each) => `left: ${each}`),
  ];
  const late = [
    // What the untouched Service beside it waited for too is the machine's own slowness.
    ...(unknown === 0
      ? tooLong('an answer came', unanswerable === undefined ? silence : undefined, goals.silence + silenceBeside)
      : tooLong('an original answered', unknown, goals.unknown + silenceBeside)),
    ...tooLong('the machine answered again', back, goals.back + silenceBeside),
    ...tooLong('it was noticed', noticed, goals.noticed),
    ...tooLong('it was restored', restored, goals.restored),
  ];
  const early = unanswerable === undefined && lost.length < failed.length;
  const dead = early
    ? `sent in the first ${unknown.toFixed(1)} s, before it could be known, or from the ports of such`
    : undefined;
  const remark = [unanswerable, dead, injected.remark].filter((each) => each !== undefined).join('; ') || undefined;
  return {
    fault: fault.name,
    requests,
    failed: failed.length,
    cut: cut.length,
    silence,
    back,
    noticed,
    restored,
    leftovers,
    missed,
    late,
    remark,
  };
}

function lostInWords(failed: LoadRecord[], began: number): string {
  const sent = failed.map(({ at }) => ((at - began) / 1000).toFixed(1));
  const errors = [...new Set(failed.map(({ error }) => error))].join(', ');
  return `${failed.length} requests failed (${errors}), sent from ${sent[0]} to ${sent.at(-1)} s`;
}

function tooLong(what: string, seconds: number | undefined, goal: number): string[] {
  return seconds === undefined || seconds <= goal ? [] : [`${what} after ${seconds} s`];
}
