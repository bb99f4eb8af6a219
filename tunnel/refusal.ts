/** The failure of a call as a refusal of its channel; the message crosses the tunnel. */
import { DialError } from './tunnel.ts';

export function refusalOf(error: unknown): DialError {
  return new DialError('ECONNRESET', error instanceof Error ? error.message : String(error));
}
