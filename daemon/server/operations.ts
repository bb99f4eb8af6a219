/** The running operations by the names their callers gave them, so that a caller can cancel one and watch it being undone. */
import { BowlineError } from '../../api/errors.ts';

export interface Operations {
  /** Signal for an operation; it is forgotten when `done` is called. */
  begin(id: string | undefined, controller: AbortController): Disposable;
  cancel(id: string): boolean;
}

export function createOperations(): Operations {
  const running = new Map<string, AbortController>();
  return {
    begin(id, controller) {
      if (id === undefined) return { [Symbol.dispose]() {} };
      if (!/^[\w-]{8,64}$/.test(id))
        throw new BowlineError('BAD_REQUEST', 'The name of the operation is not 8 to 64 letters.');
      if (running.has(id)) throw new BowlineError('BAD_REQUEST', 'An operation of this name runs already.');
      running.set(id, controller);
      return { [Symbol.dispose]: () => void running.delete(id) };
    },
    cancel(id) {
      const controller = running.get(id);
      controller?.abort(new BowlineError('CANCELLED', 'Cancelled; everything was put back.'));
      return controller !== undefined;
    },
  };
}
