/** Whether the helper answers, and so whether services can be reached by their names. */
import type { NamesManager } from '../names/names.ts';
import type { DoctorProbe } from '../server/handlers.ts';

export function helperProbe(names: NamesManager): DoctorProbe {
  return async () => {
    const { mode, reason } = await names.mode();
    if (mode === 'hosts')
      return [{ check: 'helper', state: 'ok', message: 'The helper answers: services will have their names.' }];
    return [
      {
        check: 'helper',
        state: 'warning',
        message: `${reason ?? 'The helper does not answer.'} Services will answer at variables only.`,
        hint: '`bowline helper install` (asks for root once).',
      },
    ];
  };
}
