/** A bound on one wait: a signal that aborts after some time, or with the caller's, and leaves no timer or listener behind. */
import { BowlineError } from '../../../api/errors.ts';

export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}

export function startDeadline(
  milliseconds: number,
  parents: Array<AbortSignal | undefined>,
  onTime: () => Error,
): Deadline {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(onTime()), milliseconds);
  const removals: Array<() => void> = [];
  for (const parent of parents) {
    if (parent === undefined) continue;
    const onAbort = (): void => controller.abort(abortReason(parent));
    if (parent.aborted) onAbort();
    parent.addEventListener('abort', onAbort, { once: true });
    removals.push(() => parent.removeEventListener('abort', onAbort));
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const remove of removals) remove();
    },
  };
}

/** Why a signal was aborted, always as an Error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new BowlineError('CANCELLED', 'Cancelled.');
}

/** Resolves after some time; rejects with the signal's reason when that comes first. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortReason(signal));
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(abortReason(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
