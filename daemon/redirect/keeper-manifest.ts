/** `bowline keeper manifest`: what an administrator applies for a keeper of the whole cluster. */
import { stringify } from 'yaml';
import { keeperAccount, keeperObjects, type KeeperOptions } from './keeper-objects.ts';
import { managedBy } from './objects.ts';

export function keeperManifest(options: KeeperOptions): string {
  const { namespace } = options;
  const { access, code, deployment } = keeperObjects(options);
  const labels = { ...managedBy, 'pod-security.kubernetes.io/enforce': 'restricted' };
  const home = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };
  return [home, keeperAccount(namespace), ...access, code, deployment]
    .map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}
