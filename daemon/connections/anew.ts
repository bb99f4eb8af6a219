/** After a lapse everything is connected anew, unless somebody else has the workload by now, or it is not there any more. */
import type { BowlineError, ErrorCode } from '../../api/errors.ts';

/** What no other try changes by itself. */
const final = new Set<ErrorCode>([
  'NAMESPACE_NOT_FOUND',
  'WORKLOAD_NOT_FOUND',
  'WORKLOAD_UNSUPPORTED',
  'CONTAINER_NOT_FOUND',
  'PORT_NOT_FOUND',
  'VOLUME_NOT_FOUND',
  'KEEPER_MISSING',
  'CERTIFICATE_UNKNOWN',
  'TAKEN_OVER',
  'ALREADY_CONNECTED',
]);
/** What a network, an API server that starts, or a former session that is still being put back says for a moment. */
const passing = new Set<ErrorCode>([
  'API_UNREACHABLE',
  'API_ERROR',
  'CREDENTIALS_FAILED',
  'CREDENTIALS_EXPIRED',
  'PIPE_FAILED',
  'SESSION_LAPSED',
  'CHANGED_MEANWHILE',
  'ALREADY_REDIRECTED',
]);

/** The longest pause before the next try, in milliseconds; `undefined` where there is to be none. Each try may start a pod. */
export function pauseBeforeAnew({ code, category, details }: BowlineError): number | undefined {
  if (final.has(code) || category === 'usage' || category === 'machine' || category === 'interrupted') return undefined;
  if (code === 'ALREADY_REDIRECTED' && machineOf(details) !== 'being restored') return undefined;
  return passing.has(code) ? 5000 : 60_000;
}

const machineOf = (details: BowlineError['details']): string | undefined =>
  (details?.['holder'] as { machine?: string } | undefined)?.machine;
