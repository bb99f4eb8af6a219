/**
 * Who may speak to the API, before anything of a request is believed. The socket's folder already keeps other users out;
 * the token does so where a folder cannot (Windows pipes), and Host and Origin keep out pages in the user's browser.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { versionMismatch } from '../../api/client.ts';
import { BowlineError } from '../../api/errors.ts';
import { productVersion, protocol, protocolHeader, protocolText } from '../../api/version.ts';

const hosts = new Set(['bowline', 'localhost']);

export function checkCaller(request: IncomingMessage, token: string): void {
  if (!hosts.has(request.headers.host ?? '')) throw refused('it came with a foreign Host');
  if (request.headers.origin !== undefined) throw refused('it came from a web page (Origin is set)');
  const shown = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (shown === undefined) throw refused('it showed no token');
  if (!timingSafeEqual(digest(shown), digest(token))) throw refused('it showed a wrong token');
  checkProtocol(request);
}

/** A caller that names no version, as curl does, is taken at its word. */
function checkProtocol(request: IncomingMessage): void {
  const spoken = request.headers[protocolHeader];
  if (spoken === undefined || String(spoken).split('.')[0] === String(protocol.major)) return;
  throw versionMismatch(
    { version: 'of unknown version', protocol: String(spoken).slice(0, 20) },
    { version: productVersion, protocol: protocolText },
  );
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refused(why: string): BowlineError {
  return new BowlineError('API_FORBIDDEN', `The daemon refused the request: ${why}.`, {
    hint: 'Use the `bowline` command, or send the token of the endpoint file and `Host: localhost`.',
  });
}
