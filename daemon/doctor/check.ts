/** The three things a check can say. */
import { BowlineError } from '../../api/errors.ts';
import type { DoctorCheck } from '../../api/schema.ts';

export const ok = (check: string, message: string): DoctorCheck => ({ check, state: 'ok', message });

export const warning = (check: string, message: string, hint: string): DoctorCheck => ({
  check,
  state: 'warning',
  message,
  hint,
});

export function failure(check: string, thrown: unknown): DoctorCheck {
  const { message, hint } = BowlineError.from(thrown);
  return { check, state: 'failure', message, ...(hint === undefined ? {} : { hint }) };
}
