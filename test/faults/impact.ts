/** What a fault did to the callers of a Service, from the records of the load. Pure. */
import type { LoadRecord } from '../cluster/load.ts';

export interface Impact {
  /** Requests sent since the fault began. */
  requests: number;
  /** Those of them without a good answer. */
  failed: LoadRecord[];
  /** Requests that were under way when it began, and were cut off. */
  cut: LoadRecord[];
  /** The longest time, in seconds, in which no request was answered. */
  silence: number;
  /** The same of the untouched Service beside it: what the machine itself was too slow for. */
  silenceBeside: number;
}

/** `began` and `until` in milliseconds since 1970. */
export function impactOf(records: LoadRecord[], began: number, until: number): Impact {
  const subject = records.filter((record) => record.target === 'subject' && record.at <= until);
  const beside = records.filter((record) => record.target === 'control' && record.at <= until);
  const sent = subject.filter(({ at }) => at >= began);
  return {
    requests: sent.length,
    failed: sent.filter(({ error }) => error !== undefined),
    cut: subject.filter(({ at, ms, error }) => at < began && at + ms >= began && error !== undefined),
    silence: silenceOf(subject, began),
    silenceBeside: silenceOf(beside, began),
  };
}

/**
 * The failed requests without those that nothing could have saved: sent before `knownAt`, when the dead endpoint was not yet
 * known to be dead; or later from the same port as one of them, because the node's connection tracking leads such a
 * connection where the former one went, for two minutes (nf_conntrack_tcp_timeout_syn_sent).
 */
export function lostOf(failed: LoadRecord[], knownAt: number): LoadRecord[] {
  const early = failed.filter(({ at }) => at < knownAt);
  const ports = new Set(early.flatMap(({ port }) => (port === undefined ? [] : [port])));
  return failed.filter(({ at, port }) => at >= knownAt && (port === undefined || !ports.has(port)));
}

/** Seconds from `since` until the first good answer by such a one to a request that was sent later. */
export function answeredAfter(
  records: LoadRecord[],
  since: number,
  accept: (by: string) => boolean,
): number | undefined {
  const answers = records
    .filter(({ target, at, by }) => target === 'subject' && at >= since && by !== undefined && accept(by))
    .map(({ at, ms }) => at + ms);
  return answers.length === 0 ? undefined : seconds(Math.min(...answers) - since);
}

function silenceOf(records: LoadRecord[], began: number): number {
  const answers = records
    .filter(({ error }) => error === undefined)
    .map(({ at, ms }) => at + ms)
    .filter((answered) => answered >= began)
    .sort((a, b) => a - b);
  let last = began;
  let longest = 0;
  for (const answered of answers) {
    longest = Math.max(longest, answered - last);
    last = answered;
  }
  return seconds(longest);
}

const seconds = (milliseconds: number): number => Math.round(milliseconds / 10) / 100;
