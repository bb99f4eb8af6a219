/** Kubeconfig files with everything inside, so that they can be copied anywhere. */
import { writeFileSync } from 'node:fs';
import type { Authority, Identity } from './pki.ts';

export interface KubeconfigOptions {
  name: string;
  server: string;
  authority: Authority;
  user: Identity;
}

export function writeKubeconfig(file: string, options: KubeconfigOptions): void {
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: options.name,
        cluster: { server: options.server, 'certificate-authority-data': base64(options.authority.certificate) },
      },
    ],
    users: [
      {
        name: options.name,
        user: {
          'client-certificate-data': base64(options.user.certificate),
          'client-key-data': base64(options.user.key),
        },
      },
    ],
    contexts: [{ name: options.name, context: { cluster: options.name, user: options.name } }],
    'current-context': options.name,
  };
  // JSON is YAML too.
  writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`, { mode: 0o600 });
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
