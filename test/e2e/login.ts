/** Users of a namespace who have exactly the rules of a Role, and their kubeconfigs. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { TestNamespace } from '../cluster/namespace.ts';

export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

export const rbacGroup = 'rbac.authorization.k8s.io';

/** The rules of a file of docs/rights/. */
export async function rulesOf(file: string): Promise<Rule[]> {
  const text = await readFile(join(import.meta.dirname, '../../docs/rights', file), 'utf8');
  return (parse(text) as { rules: Rule[] }).rules;
}

/** A ServiceAccount with these rights in the namespace and no other; answers a kubeconfig in the folder, with its token. */
export async function login(
  namespace: TestNamespace,
  { user, rules, folder }: { user: string; rules: Rule[]; folder: string },
): Promise<string> {
  await namespace.apply([
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: user } },
    { apiVersion: `${rbacGroup}/v1`, kind: 'Role', metadata: { name: user }, rules },
    {
      apiVersion: `${rbacGroup}/v1`,
      kind: 'RoleBinding',
      metadata: { name: user },
      roleRef: { apiGroup: rbacGroup, kind: 'Role', name: user },
      subjects: [{ kind: 'ServiceAccount', name: user, namespace: namespace.name }],
    },
  ]);
  const token = (await namespace.kubectl(['create', 'token', user])).trim();
  return writeKubeconfig(namespace, { folder, name: user, user: { token } });
}

/** The cluster's kubeconfig with another user, or with the administrator's and `more` of it. */
export async function writeKubeconfig(
  namespace: TestNamespace,
  options: { folder: string; name: string; user?: object; more?: object; cluster?: object },
): Promise<string> {
  const config = JSON.parse(
    await namespace.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']),
  ) as { users: Array<{ user: object }>; clusters: Array<{ cluster: object }> };
  config.users[0]!.user = options.user ?? { ...config.users[0]!.user, ...options.more };
  Object.assign(config.clusters[0]!.cluster, options.cluster);
  const path = join(options.folder, `${namespace.name}-${options.name}`);
  await writeFile(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}
