/** Whether the helper answers, and so whether services can be reached by their names. */
import type { NamesManager } from '../names/names.ts';
import type { DoctorProbe } from '../server/handlers.ts';
import { ok, warning } from './check.ts';

export function helperProbe(names: Pick<NamesManager, 'mode'>): DoctorProbe {
  return async () => {
    const { mode, reason } = await names.mode();
    if (mode === 'hosts') return [ok('helper', 'The helper answers: services will have their names.')];
    return [
      warning(
        'helper',
        `${reason ?? 'The helper does not answer.'} Services will answer at variables only.`,
        '`bowline helper install` (asks for root once).',
      ),
    ];
  };
}
