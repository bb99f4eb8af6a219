/**
 * The tokens of KubernetesLocalProcessConfig.yaml: `$(volumeMounts:NAME)`, `$(services:NAME[.NAMESPACE][:PORTS])`,
 * `$(externalEndpoints:HOST:PORTS)`. As with Bridge to Kubernetes, the first word is read without regard to case, and
 * ports of a Service are read and have no effect. The `?` before the closing parenthesis is ours.
 */
import { nearest } from '../api/nearest.ts';
import type { ExternalToken, ServiceToken, Span, Token, VolumeToken } from './environment-file.ts';
import { readPorts, wrongHost, wrongServiceName, wrongVolumeName } from './names.ts';
import type { Findings } from './source.ts';
import { optionalMark, type TokenSyntax } from './value.ts';

type Written = { text: string; position: Span; optional: boolean };

const forms = {
  volumemounts: '$(volumeMounts:NAME)',
  services: '$(services:NAME), $(services:NAME.NAMESPACE) or $(services:NAME:PORTS)',
  externalendpoints: '$(externalEndpoints:HOST:PORTS)',
};
const wrongPorts = 'Ports are numbers from 1 to 65535, parted by commas or spaces';

export const bridgeTokens: TokenSyntax = {
  open: '(',
  close: ')',
  expected: '$(volumeMounts:NAME), $(services:NAME) or $(externalEndpoints:HOST:PORTS)',
  ends: '',
  loneDollar: 'problem',
  read: (whole, token, findings) => {
    const colon = whole.indexOf(':');
    const word = colon < 0 ? whole : whole.slice(0, colon);
    const { body, optional } = optionalMark(colon < 0 ? '' : whole.slice(colon + 1));
    const written = { ...token, optional };
    const kind = word.trim().toLowerCase();
    let made: Token | string | undefined;
    if (kind === 'volumemounts') made = readVolume(body, written);
    else if (kind === 'services') made = readService(body, written);
    else if (kind === 'externalendpoints') made = readExternal(body, written);
    else return notAToken(word, token.position, findings);
    if (typeof made !== 'string') return made;
    findings.problem(token.position, made, { expected: forms[kind] });
    return undefined;
  },
};

function notAToken(word: string, position: Span, findings: Findings): undefined {
  findings.problem(position, 'This is no token', {
    expected: `${bridgeTokens.expected}; $$( for a dollar sign and a parenthesis`,
    nearest: nearest(word.slice(0, 20), ['volumeMounts', 'services', 'externalEndpoints']),
  });
}

function readVolume(name: string, written: Written): VolumeToken | string {
  if (name.includes('/')) return 'A path stands behind the token, not in it';
  return wrongVolumeName(name) ?? { kind: 'volume', ...written, name };
}

function readService(body: string, written: Written): ServiceToken | string {
  const [names = '', portsText, ...tooMany] = body.split(':', 3);
  const [service = '', namespace, ...dots] = names.split('.', 3);
  if (tooMany.length > 0) return 'There is one colon too many';
  if (dots.length > 0) return 'The name of a Service has no dots, and one dot parts the namespace from it';
  const ports = portsText === undefined ? undefined : readPorts(portsText);
  const wrong =
    wrongServiceName(service, 'Service') ??
    (namespace === undefined ? undefined : wrongServiceName(namespace, 'namespace')) ??
    (portsText !== undefined && ports === undefined ? wrongPorts : undefined);
  return (
    wrong ?? {
      kind: 'service',
      ...written,
      service,
      ...(namespace === undefined ? {} : { namespace }),
      ...(ports === undefined ? {} : { ports }),
    }
  );
}

function readExternal(body: string, written: Written): ExternalToken | string {
  const [name = '', portsText, ...tooMany] = body.split(':', 3);
  if (portsText === undefined) return 'The ports of the host are missing';
  if (tooMany.length > 0) return 'There is one colon too many';
  const ports = readPorts(portsText);
  // A final dot says that the name is whole. It is for resolvers: what looks names up in files does not know it.
  const host = name.replace(/\.$/, '');
  return wrongHost(host) ?? (ports === undefined ? wrongPorts : { kind: 'external', ...written, host, ports });
}
