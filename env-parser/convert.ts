/** An environment file in the other dialect. What that cannot say is named, never dropped in silence. */
import { stringify } from 'yaml';
import { readAzdsFile } from './azds-file.ts';
import { longest } from './bridge-file.ts';
import type { Dialect, Entry, EnvironmentFile, Problem, Token, VolumeToken } from './environment-file.ts';
import { ProblemList, Source } from './source.ts';

export interface Converted {
  text: string;
  /** What is lost or changed, each at its place in the original. */
  warnings: Problem[];
}

/** `file` is one without problems. Comments are not carried over. */
export function convertEnvironmentFile(file: EnvironmentFile, to: Dialect): Converted {
  return to === 'azds' ? toAzds(file) : toBridge(file);
}

function toAzds(file: EnvironmentFile): Converted {
  const warnings = new ProblemList(file.source);
  const lines: string[] = [];
  for (const entry of file.entries) {
    const lost = azdsLoss(entry);
    if (lost?.token) warnings.add(lost.token.position, lost.message, { expected: lost.expected });
    const line = lost?.fatal ? undefined : azdsLine(entry);
    if (line !== undefined) lines.push(`${line}\n`);
    else if (!lost?.fatal) {
      const message = `azds-local.env cannot hold ${entry.name} as it is, so it is left out`;
      warnings.add(entry.position, message, {
        expected: 'a name of letters, digits, _, . and -, and a value that some quotes can hold',
      });
    }
  }
  for (const { name, position } of file.features) {
    const message = `azds-local.env has no features, so ${name} is left out`;
    warnings.add(position, message, { expected: 'no features' });
  }
  return { text: lines.join(''), warnings: warnings.all() };
}

/** What of an entry azds-local.env has no words for. */
function azdsLoss({
  name,
  parts,
}: Entry): { token: Token; message: string; expected: string; fatal: boolean } | undefined {
  for (const part of parts) {
    if (typeof part === 'string') continue;
    if (part.kind === 'external') {
      const message = `azds-local.env has no hosts outside of the cluster, so ${name} is left out`;
      return { token: part, message, expected: 'the name or address of the host as text', fatal: true };
    }
    if (part.kind === 'service' && part.ports !== undefined) {
      const message = 'azds-local.env has no ports; they had no effect';
      return { token: part, message, expected: 'the token without ports', fatal: false };
    }
    if (part.kind === 'volume' && /[}\n\r]/.test(part.localPath ?? '')) {
      const message = `azds-local.env cannot hold this local path, so ${name} is left out`;
      return { token: part, message, expected: 'a path without } and line ends', fatal: true };
    }
  }
  return undefined;
}

/** The plainest of the forms that is read back as the same entry; the parser itself decides. */
function azdsLine(entry: Entry): string | undefined {
  const body = entry.parts.map((part) => (typeof part === 'string' ? escaped(part) : azdsToken(part)));
  const text = body.join('');
  const plain = entry.parts.every((part) => typeof part === 'string') ? entry.parts.join('') : undefined;
  const forms = [text, `"${text}"`, ...(plain === undefined ? [] : [`'${plain}'`]), `\`${text}\``];
  forms.push(`"${text.replaceAll('\r', '\\r')}"`);
  return forms.map((form) => `${entry.name}=${form}`).find((line) => holds(line, entry));
}

function holds(line: string, entry: Entry): boolean {
  // What follows in the file must not change how this one is read.
  const { entries, findings } = readAzdsFile(new Source('', `${line}\nNEXT='"\`'\n`));
  const [only, next, ...more] = entries;
  return (
    findings.problems.isEmpty &&
    findings.warnings.isEmpty &&
    more.length === 0 &&
    next?.name === 'NEXT' &&
    next.parts[0] === '"`' &&
    only?.name === entry.name &&
    JSON.stringify(meaning(only)) === JSON.stringify(meaning(entry))
  );
}

/** `$` of text as both dialects write it. */
function escaped(text: string): string {
  return text.replaceAll('$', '$$$$');
}

/** An entry without how and where it is written. */
function meaning({ parts }: Entry): unknown[] {
  return parts.map((part) => {
    if (typeof part === 'string') return part;
    if (part.kind === 'external') return [part.host];
    if (part.kind === 'service') return [part.optional, part.service, part.namespace];
    return [part.optional, part.name, part.path, part.localPath];
  });
}

function azdsToken(token: Token): string {
  const mark = token.optional ? '?' : '';
  if (token.kind === 'external') return '';
  if (token.kind === 'service') {
    return `\${services.${token.namespace === undefined ? '' : `${token.namespace}.`}${token.service}${mark}}`;
  }
  const path = token.path === undefined ? '' : `/${token.path}`;
  const local = token.localPath === undefined ? '' : `|${token.localPath}`;
  return `\${volumes.${token.name}${path}${local}${mark}}`;
}

function toBridge(file: EnvironmentFile): Converted {
  const warnings = new ProblemList(file.source);
  const localPaths = new Map<string, string | undefined>();
  const env = file.entries.flatMap(({ name, parts, position }) => {
    if (name.length > longest) {
      warnings.add(position, `A name has at most ${longest} characters in this dialect; left out`, {
        expected: 'a shorter name',
      });
      return [];
    }
    const values = parts.map((part) => {
      if (typeof part === 'string') return escaped(part);
      if (part.kind === 'volume') return volumeInBridge(part, localPaths, warnings);
      return bridgeToken(part);
    });
    return [{ name, value: values.join('') }];
  });
  const volumeMounts = [...localPaths].flatMap(([name, localPath]) =>
    localPath === undefined ? [] : [{ name, localPath }],
  );
  const enableFeatures = file.features.map(({ name }) => name);
  const document = {
    version: 0.1,
    ...(volumeMounts.length === 0 ? {} : { volumeMounts }),
    ...(env.length === 0 ? {} : { env }),
    ...(enableFeatures.length === 0 ? {} : { enableFeatures }),
  };
  return { text: stringify(document, { lineWidth: 0 }), warnings: warnings.all() };
}

/** One name of a volume has one local path there, and a volume comes as a whole. */
function volumeInBridge(
  token: VolumeToken,
  localPaths: Map<string, string | undefined>,
  warnings: ProblemList,
): string {
  const before = localPaths.get(token.name);
  if (localPaths.has(token.name) && before !== token.localPath) {
    const message = `A volume has one local path in this dialect: ${token.name} goes to ${before ?? 'a temporary folder'}`;
    warnings.add(token.position, message, { expected: 'the same local path at each token of the volume' });
  } else if ((token.localPath ?? '').length > longest) {
    const message = `A local path has at most ${longest} characters in this dialect; it is left out`;
    warnings.add(token.position, message, { expected: 'a shorter path' });
  } else localPaths.set(token.name, token.localPath);
  if (token.path === undefined) return bridgeToken(token);
  const pattern = token.path.includes('*');
  const message = pattern
    ? 'The whole volume is downloaded in this dialect, not what fits the pattern'
    : 'The whole volume is downloaded in this dialect, not this path alone';
  warnings.add(token.position, message, { expected: 'the volume as a whole' });
  return pattern ? bridgeToken(token) : `${bridgeToken(token)}/${escaped(token.path)}`;
}

function bridgeToken(token: Token): string {
  const mark = token.optional ? '?' : '';
  if (token.kind === 'volume') return `$(volumeMounts:${token.name}${mark})`;
  if (token.kind === 'external') return `$(externalEndpoints:${token.host}:${token.ports.join(',')}${mark})`;
  const namespace = token.namespace === undefined ? '' : `.${token.namespace}`;
  const ports = token.ports === undefined ? '' : `:${token.ports.join(',')}`;
  return `$(services:${token.service}${namespace}${ports}${mark})`;
}
