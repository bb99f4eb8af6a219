/** A request's JSON body: bounded, of the right type, and of the shape that the route wants. */
import type { IncomingMessage } from 'node:http';
import type * as z from 'zod/mini';
import { BowlineError } from '../../api/errors.ts';

export const bodyLimit = 1024 * 1024;

export class BodyTooLarge extends BowlineError {
  constructor() {
    super('BAD_REQUEST', `The body is larger than ${bodyLimit} bytes.`);
  }
}

export async function readJson(request: IncomingMessage): Promise<unknown> {
  const type = request.headers['content-type']?.split(';')[0]?.trim();
  if (type !== 'application/json') throw new BowlineError('BAD_REQUEST', 'The body must be application/json.');
  const chunks: Buffer[] = [];
  let size = 0;
  // `destroyOnReturn: false`: the refusal must still get out.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= bodyLimit) chunks.push(chunk);
    else chunks.length = 0;
    // Somewhat more is read and thrown away, because a caller who still writes would not see the refusal.
    if (size > 8 * bodyLimit) break;
  }
  if (size > bodyLimit) throw new BodyTooLarge();
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new BowlineError('BAD_REQUEST', 'The body is not JSON.');
  }
}

export function checked(schema: z.ZodMiniType, value: unknown, where: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => ({
    path: issue.path.map(String).join('.'),
    problem: issue.message || issue.code,
  }));
  const shown = problems.map(({ path, problem }) => (path === '' ? problem : `${path}: ${problem}`)).join('; ');
  throw new BowlineError('BAD_REQUEST', `The ${where} is not as the API wants it: ${shown}.`, {
    details: { problems },
  });
}
