/**
 * The parts of a kubeconfig file that are used, and its reader. Scalars stay the text that stands in the file (a token
 * may look like a number), except in extensions, which go to plugins typed. No error ever quotes the file: it holds secrets.
 */
import { LineCounter, isPair, isScalar, parseDocument, visit } from 'yaml';
import * as z from 'zod/mini';
import { BowlineError } from '../../../api/errors.ts';

const text = z.optional(z.nullable(z.string()));
const texts = z.optional(z.nullable(z.array(z.string())));
const named = <T extends z.ZodMiniType>(key: string, schema: T) =>
  z.optional(z.nullable(z.array(z.looseObject({ name: z.string(), [key]: z.optional(z.nullable(schema)) }))));
const extensions = z.optional(z.nullable(z.array(z.looseObject({ name: z.string(), extension: z.unknown() }))));

const FileCluster = z.looseObject({
  server: text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'tls-server-name': text,
  'insecure-skip-tls-verify': text,
  'proxy-url': text,
  extensions,
});
const FileUser = z.looseObject({
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  as: text,
  'as-uid': text,
  'as-groups': texts,
  'as-user-extra': z.optional(z.nullable(z.record(z.string(), z.array(z.string())))),
  'auth-provider': z.optional(
    z.nullable(z.looseObject({ name: z.string(), config: z.optional(z.nullable(z.record(z.string(), z.string()))) })),
  ),
  exec: z.optional(
    z.nullable(
      z.looseObject({
        apiVersion: text,
        command: z.string(),
        args: texts,
        env: z.optional(z.nullable(z.array(z.object({ name: z.string(), value: z.string() })))),
        installHint: text,
        provideClusterInfo: text,
        interactiveMode: text,
      }),
    ),
  ),
});
const FileContext = z.looseObject({ cluster: text, user: text, namespace: text });
const File = z.looseObject({
  'current-context': text,
  clusters: named('cluster', FileCluster),
  users: named('user', FileUser),
  contexts: named('context', FileContext),
});

export type FileCluster = z.infer<typeof FileCluster>;
export type FileUser = z.infer<typeof FileUser>;
export type FileContext = z.infer<typeof FileContext>;

/** The entries of one file, in its order. */
export interface KubeconfigFile {
  currentContext: string | undefined;
  clusters: Array<[string, FileCluster]>;
  users: Array<[string, FileUser]>;
  contexts: Array<[string, FileContext]>;
}

export function parseKubeconfig(content: string, path: string): KubeconfigFile {
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw invalid(path, `line ${line}, column ${col} is not YAML (${problem.code})`, problem.code);
  }
  visit(document, {
    Scalar(_key, node, ancestors) {
      const typed = typeof node.value === 'number' || typeof node.value === 'boolean' || typeof node.value === 'bigint';
      const inExtension = ancestors.some(
        (part) => isPair(part) && isScalar(part.key) && part.key.value === 'extensions',
      );
      if (typed && !inExtension) node.value = node.source ?? String(node.value);
    },
  });
  const parsed = z.safeParse(File, document.toJS() ?? {});
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(path, `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'not as expected'}`, issue?.code);
  }
  const file = parsed.data;
  return {
    currentContext: file['current-context'] ?? undefined,
    clusters: entries<FileCluster>(file.clusters, 'cluster'),
    users: entries<FileUser>(file.users, 'user'),
    contexts: entries<FileContext>(file.contexts, 'context'),
  };
}

/** The computed key is lost to the type checker; the schema has checked it. */
function entries<T>(list: unknown, key: string): Array<[string, T]> {
  const checked = (list ?? []) as Array<{ name: string } & Record<string, unknown>>;
  return checked.map((entry) => [entry.name, (entry[key] ?? {}) as T]);
}

function invalid(path: string, why: string, reason: string | undefined): BowlineError {
  return new BowlineError('KUBECONFIG_INVALID', `${path} is not a valid kubeconfig: ${why}.`, {
    hint: `Compare with \`kubectl config view --kubeconfig ${path}\`.`,
    details: { path, reason },
  });
}
