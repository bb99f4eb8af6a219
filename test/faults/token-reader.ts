/**
 * A program in the pod's place, for as long as a token lives: reads the files of the service account again and again, asks
 * the API server as in-cluster clients do, and tells as lines of JSON what it has seen. Tokens are named by their `jti` and
 * never shown.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { AuthenticationV1Api, KubeConfig } from '@kubernetes/client-node';

type Client = 'client-node' | 'kubectl';

export type Seen =
  | { seen: 'token'; id: string }
  /** Neither the former content nor the next one. */
  | { seen: 'half'; why: string }
  /** Whom the API server took the caller for, and by which token. Told when it is another one. */
  | { seen: 'answer'; by: Client; user: string; id: string }
  | { seen: 'failure'; by: Client; why: string }
  | { seen: 'end'; reads: number; requests: number };

interface Review {
  status?: { userInfo?: { username?: string; extra?: Record<string, string[]> } };
}

/** Milliseconds. */
const between = { reads: 20, requests: 2_000 };
const [account = ''] = process.argv.slice(2);
/** Of each token that was read: `jti` -> digest of the whole text. */
const known = new Map<string, string>();
const count = { reads: 0, requests: 0 };

const tell = (seen: Seen): void => void process.stdout.write(`${JSON.stringify(seen)}\n`);

process.once('SIGTERM', () => {
  tell({ seen: 'end', ...count });
  process.exit(0);
});
await Promise.all([read(), ask()]);

async function read(): Promise<never> {
  for (;;) {
    try {
      const [token = '', ...others] = await Promise.all(
        ['token', 'ca.crt', 'namespace'].map((name) => readFile(join(account, name), 'utf8')),
      );
      if (others.includes('')) throw new Error('an empty file');
      note(token);
    } catch (error) {
      tell({ seen: 'half', why: reasonOf(error) });
    }
    count.reads += 1;
    await setTimeout(between.reads);
  }
}

function note(token: string): void {
  const [, claims = ''] = token.split('.');
  const { jti: id } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { jti: string };
  const digest = createHash('sha256').update(token).digest('hex');
  const former = known.get(id);
  if (former === digest) return;
  if (former !== undefined) throw new Error('the text of a token has changed');
  known.set(id, digest);
  tell({ seen: 'token', id });
  void askKubectl();
}

/** As a program that runs on: the library reads the token's file again every minute. */
async function ask(): Promise<never> {
  const config = new KubeConfig();
  config.loadFromCluster();
  const api = config.makeApiClient(AuthenticationV1Api);
  let last = '';
  for (;;) {
    count.requests += 1;
    try {
      const answer = answerOf('client-node', await api.createSelfSubjectReview({ body: {} }));
      if (answer.id !== last) tell(answer);
      last = answer.id;
    } catch (error) {
      tell({ seen: 'failure', by: 'client-node', why: reasonOf(error) });
    }
    await setTimeout(between.requests);
  }
}

/** As a program that is started now. In a home without a kubeconfig it looks for the cluster that it is in. */
async function askKubectl(): Promise<void> {
  try {
    const env = { ...process.env, HOME: account, KUBECONFIG: '' };
    const { stdout } = await promisify(execFile)('kubectl', ['auth', 'whoami', '--output', 'json'], { env });
    tell(answerOf('kubectl', JSON.parse(stdout) as Review));
  } catch (error) {
    tell({ seen: 'failure', by: 'kubectl', why: reasonOf(error) });
  }
}

function answerOf(by: Client, { status }: Review): Extract<Seen, { seen: 'answer' }> {
  const { username: user = '', extra = {} } = status?.userInfo ?? {};
  const [credential = ''] = extra['authentication.kubernetes.io/credential-id'] ?? [];
  return { seen: 'answer', by, user, id: credential.replace(/^JTI=/, '') };
}

/** Codes and first lines: what an error quotes may be the token. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return String(code ?? message.split('\n')[0]);
}
