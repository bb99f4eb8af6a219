/** Which pipe works for which context, kept over restarts: a fallback that was found once is not searched for again. */
import type { PipeMemory } from '../cluster/openpipe.ts';
import type { PipeKind } from '../cluster/pipe.ts';
import type { Log } from '../log.ts';

export interface PipeStore {
  load(): Promise<Record<string, PipeKind> | undefined>;
  save(value: Record<string, PipeKind>): Promise<void>;
}

export async function savedPipeMemory(store: PipeStore, log: Log): Promise<PipeMemory> {
  const known = new Map(Object.entries((await store.load()) ?? {}));
  return {
    get: (context) => known.get(context),
    set(context, kind) {
      known.set(context, kind);
      // Losing it costs one attempt the next time; no connection waits for the disk.
      store
        .save(Object.fromEntries(known))
        .catch((error: unknown) => log.warn('pipe-memory-not-saved', { reason: String(error) }));
    },
  };
}
