/**
 * Follows an operation of the daemon to its end on behalf of a user who may press Ctrl-C. The first one cancels what can
 * be cancelled and waits until it is undone; further ones say what is waited for, because leaving would only hide it.
 */
import type { Client } from '../api/client.ts';
import { BowlineError } from '../api/errors.ts';
import type { CallInput, RouteOf } from '../api/routes.ts';
import type { Progress } from '../api/schema.ts';
import { onInterrupt } from './interrupts.ts';
import type { Io } from './io.ts';
import { createProgressView, type ProgressView } from './progress.ts';

type Result = Extract<Progress, { type: 'result' }>;

export interface OperationOptions {
  io: Io;
  /** False for a release: it is finished whatever happens here. */
  cancellable: boolean;
  /** Where the lines go with --json. */
  jsonTo?: (text: string) => void;
}

export async function follow<N extends Exclude<RouteOf<'progress'>, 'connect'>>(
  client: Client,
  name: N,
  input: CallInput<N>,
  options: OperationOptions,
): Promise<Result> {
  const view = createProgressView(options.io, options.jsonTo);
  const cancel = new AbortController();
  using _ = cancelOnInterrupt(view, cancel, options);
  try {
    for await (const line of client.stream(name, input, cancel.signal)) {
      const progress: Progress = line;
      view.line(progress);
      if (progress.type === 'result') {
        view.end('done');
        return progress;
      }
    }
  } catch (error) {
    view.end('failed');
    throw error;
  }
  throw withoutResult();
}

export function cancelOnInterrupt(
  view: ProgressView,
  cancel: AbortController,
  { io, cancellable }: OperationOptions,
): Disposable {
  return onInterrupt(() => {
    if (cancellable && !cancel.signal.aborted) {
      view.say('Cancelling; everything is being put back ...');
      cancel.abort();
    } else if (!io.json) {
      view.say(`Still waiting for: ${view.current}. The daemon finishes this also when this command is gone.`);
    }
  });
}

export function withoutResult(): BowlineError {
  return new BowlineError('DAEMON_UNREACHABLE', 'The daemon ended before the operation did.', {
    hint: 'Look at `bowline logs`; the next command starts a daemon that goes on with it or undoes it.',
  });
}
