/** Runs one fault on a stage, measures it, and judges it by the goals. */
import { answeredAfter, impactOf } from './impact.ts';
import type { Fault } from './faults.ts';
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
  /** Goals that were missed, in words. */
  missed: string[];
  remark: string | undefined;
}

/** Seconds. */
const goals = { silence: 6, back: 3, noticed: 5, restored: 10 };

export async function runFault(stage: Stage, fault: Fault): Promise<Row> {
  const { dev, load } = stage;
  await fault.prepare?.(stage);
  const before = await stage.before();
  const connection = await stage.connect(...(fault.connect ?? []));
  const injected = await fault.inject(stage, connection);
  await dev.must(['disconnect', '--all']);
  await stage.answeredThere();
  const records = await load.records();
  const impact = impactOf(records, injected.began, Date.now());
  const back = injected.over === undefined ? undefined : answeredAfter(records, injected.over, stage.isHere);
  await fault.cleanUp?.(stage);
  const leftovers = await stage.leftovers(before, fault.anew);
  const { restored, noticed, unanswerable } = injected;
  const { requests, failed, cut, silence, silenceBeside } = impact;
  const measured = { requests, cut, silence, leftovers, failed: failed.length };
  const missed = [
    ...(unanswerable === undefined && failed.length > 0
      ? [`${failed.length} requests failed: ${[...new Set(failed.map(({ error }) => error))].join(', ')}`]
      : []),
    // What the untouched Service beside it waited for too is the machine's own slowness.
    ...(unanswerable === undefined && silence > goals.silence + silenceBeside ? [`no answer for ${silence} s`] : []),
    ...tooLong('the machine answered again', back, goals.back + silenceBeside),
    ...tooLong('it was noticed', noticed, goals.noticed),
    ...tooLong('it was restored', restored, goals.restored),
    ...leftovers.map((each) => `left: ${each}`),
  ];
  return { fault: fault.name, ...measured, back, noticed, restored, missed, remark: unanswerable };
}

function tooLong(what: string, seconds: number | undefined, goal: number): string[] {
  return seconds === undefined || seconds <= goal ? [] : [`${what} after ${seconds} s`];
}
