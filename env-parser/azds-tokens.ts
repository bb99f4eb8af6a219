/** The tokens of azds-local.env: `${volumes.NAME[/PATH][|LOCALPATH][?]}` and `${services.[NAMESPACE.]NAME[?]}`. */
import { nearest } from '../api/nearest.ts';
import type { ServiceToken, Span, VolumeToken } from './environment-file.ts';
import { wrongServiceName, wrongSubPath, wrongVolumeName } from './names.ts';
import type { Findings } from './source.ts';
import { optionalMark, type TokenSyntax } from './value.ts';

const volumeForm = '${volumes.NAME}, ${volumes.NAME/PATH} or ${volumes.NAME|LOCALPATH}';
const serviceForm = '${services.NAME} or ${services.NAMESPACE.NAME}';

type Written = { text: string; position: Span };

export const azdsTokens: TokenSyntax = {
  open: '{',
  close: '}',
  expected: '${volumes.NAME} or ${services.NAME}',
  ends: '; quotes around a value with a #, which begins a comment',
  loneDollar: 'literal',
  read: (whole, token, findings) => {
    const dot = whole.indexOf('.');
    const word = dot < 0 ? whole : whole.slice(0, dot);
    const { body, optional } = optionalMark(dot < 0 ? '' : whole.slice(dot + 1));
    if (word === 'volumes') return readVolume(body, { ...token, optional }, findings);
    if (word === 'services') return readService(body, { ...token, optional }, findings);
    findings.problem(token.position, 'This is no token', {
      expected: '${volumes.NAME} or ${services.NAME}; $${ for a dollar sign and a brace',
      nearest: asHere(whole) ?? nearest(word.slice(0, 20), ['volumes', 'services']),
    });
    return undefined;
  },
};

/** What the other dialect writes with a colon, `services:NAME`. */
function asHere(whole: string): string[] | undefined {
  const [, word = '', name] = /^(services|volumes|volumeMounts):([-\w*]+)$/i.exec(whole) ?? [];
  if (name === undefined) return undefined;
  return [`\${${word.toLowerCase() === 'services' ? 'services' : 'volumes'}.${name}}`];
}

function readVolume(
  body: string,
  written: Written & { optional: boolean },
  findings: Findings,
): VolumeToken | undefined {
  const bar = body.indexOf('|');
  const what = bar < 0 ? body : body.slice(0, bar);
  const localPath = bar < 0 ? undefined : body.slice(bar + 1);
  const slash = what.indexOf('/');
  const name = slash < 0 ? what : what.slice(0, slash);
  const path = slash < 0 ? undefined : what.slice(slash + 1);
  const wrong =
    wrongVolumeName(name) ??
    (path === undefined ? undefined : wrongSubPath(path)) ??
    (localPath === '' || localPath?.includes('\0') ? 'The local path behind | is missing' : undefined);
  if (wrong !== undefined) {
    findings.problem(written.position, wrong, { expected: volumeForm });
    return undefined;
  }
  return {
    kind: 'volume',
    ...written,
    name,
    ...(path === undefined ? {} : { path }),
    ...(localPath === undefined ? {} : { localPath }),
  };
}

function readService(
  body: string,
  written: Written & { optional: boolean },
  findings: Findings,
): ServiceToken | undefined {
  const parts = body.split('.', 3);
  // The namespace comes first here, and last in the other dialect.
  const [namespace, service] = parts.length === 1 ? [undefined, body] : [parts[0], parts[1]!];
  const wrong =
    (parts.length > 2 ? 'The name of a Service has no dots, and one dot parts the namespace from it' : undefined) ??
    (namespace === undefined ? undefined : wrongServiceName(namespace, 'namespace')) ??
    wrongServiceName(service, 'Service');
  if (wrong !== undefined) {
    findings.problem(written.position, wrong, { expected: serviceForm });
    return undefined;
  }
  return { kind: 'service', ...written, service, ...(namespace === undefined ? {} : { namespace }) };
}
