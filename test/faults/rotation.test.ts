/**
 * A token that is due, replaced by kubelet itself, while a program on the machine lives on it. The shortest life that the
 * API server allows is 10 minutes, and kubelet replaces a token after 80 % of it, so this is no part of `npm test`:
 * `npm run test:faults -- rotation` takes about 9 minutes and writes to docs/reliability.md what it has measured.
 */
import assert from 'node:assert/strict';
import { lstatSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { suite, test } from 'node:test';
import { waitUntil } from '../cluster/wait.ts';
import { ended, startDeveloper } from '../e2e/developer.ts';
import { table, writeSection } from './report.ts';
import type { Seen } from './token-reader.ts';

const account = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Seconds; https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken */
const life = 600;
const minute = 60_000;
const isWhole = process.env['BOWLINE_FAULTS'] === '';

/** The token in a pod, without the token: times in milliseconds since 1970, `switched` by the kernel of the node. */
interface Token {
  id: string;
  issued: number;
  switched: number;
}

const lookAtToken = `
const { lstatSync, readFileSync } = require('node:fs');
const claims = JSON.parse(Buffer.from(readFileSync('${account}/token', 'utf8').split('.')[1], 'base64url'));
const { ctimeMs } = lstatSync('${account}/..data');
console.log(JSON.stringify({ id: claims.jti, issued: claims.iat * 1000, switched: ctimeMs }));
`;

void suite('a token that kubelet replaces', { timeout: 20 * minute }, () => {
  void test('is here whole, at once, and used', { timeout: 20 * minute }, async (t) => {
    await using dev = await startDeveloper({ name: 'rotation', helper: false });
    const { namespace, machine } = dev;
    await namespace.apply(objects(dev.cluster.nodeImage));
    await namespace.rollout('deploy/caller');
    const untouched = await dev.whole();

    const reader = ['node', `${machine.checkout}/test/faults/token-reader.ts`, account];
    const command = dev.start(['connect', 'deploy/caller', '-n', namespace.name, '--', ...reader]);
    const over = new AbortController();
    const words: string[] = [];
    command.stderr?.on('data', (chunk: Buffer) => words.push(chunk.toString()));
    command.once('close', (code) => over.abort(new Error(`the command ended with ${code}: ${words.join('')}`)));
    const seen: Seen[] = [];
    createInterface({ input: command.stdout! }).on('line', (line) => seen.push(JSON.parse(line) as Seen));
    const all = <Kind extends Seen['seen']>(kind: Kind): Array<Extract<Seen, { seen: Kind }>> =>
      seen.filter((each): each is Extract<Seen, { seen: Kind }> => each.seen === kind);
    const until = <T>(what: string, look: Parameters<typeof waitUntil<T>>[0]): Promise<T> =>
      waitUntil(look, { what, timeout: 2 * minute, signal: over.signal });
    const bothAnswer = ({ id }: Token): boolean =>
      ['client-node', 'kubectl'].every((by) => all('answer').some((answer) => answer.by === by && answer.id === id));

    const { agent, local } = await until('the connection with its files', async () => {
      const now = await dev.connection();
      const mount = now.files?.mounts.find(({ mountPath }) => mountPath === account);
      return mount?.state === 'ready' && now.agent !== undefined && { agent: now.agent.pod, local: mount.local };
    });
    const inAgent = async (): Promise<Token> => {
      const look = ['exec', agent, '-c', 'main', '--', 'node', '-e', lookAtToken];
      return JSON.parse(await namespace.kubectl(look)) as Token;
    };
    const former = await until('the token of the agent', inAgent);
    await until('answers to the first token', () => bothAnswer(former));
    const due = former.issued + 0.8 * life * 1000 - Date.now();
    const next = await waitUntil(
      async () => {
        const now = await inAgent();
        return now.id !== former.id && now;
      },
      // kubelet looks at the volumes of a pod every 60 to 90 s.
      { what: 'kubelet to write another token', timeout: due + 3 * minute, interval: 5_000, signal: over.signal },
    );
    await until('the next token here', () => all('token').some(({ id }) => id === next.id));
    const { ctimeMs: arrived } = lstatSync(machine.path(local));
    await until('answers to the next token', () => bothAnswer(next));
    const end = ended(command);
    command.kill('SIGTERM');
    await end;

    const [summary] = all('end');
    const failures = all('failure');
    const here = Math.round(arrived - next.switched);
    t.diagnostic(`replaced after ${seconds(next.switched - former.issued)} s, here ${here} ms later`);
    assert.deepEqual(
      all('token').map(({ id }) => id),
      [former.id, next.id],
    );
    assert.deepEqual(all('half'), [], 'never half there');
    assert.deepEqual(failures, []);
    const users = new Set(all('answer').map(({ user }) => user));
    assert.deepEqual([...users], [`system:serviceaccount:${namespace.name}:caller`]);
    assert.ok(summary !== undefined && summary.reads > 0, 'the program said how it ended');
    await untouched();
    if (isWhole) writeSection('rotation', page({ after: next.switched - former.issued, here, summary }));
  });
});

const seconds = (milliseconds: number): number => Math.round(milliseconds / 1000);

interface Measured {
  after: number;
  here: number;
  summary: { reads: number; requests: number };
}

function page({ after, here, summary }: Measured): string {
  const head = ['life', 'replaced by kubelet after', 'here after', 'times read', 'half there', 'requests', 'failed'];
  return table(head, [[`${life} s`, `${seconds(after)} s`, `${here} ms`, summary.reads, 0, summary.requests, 0]]);
}

function objects(image: string): object[] {
  const labels = { app: 'caller' };
  const meta = { name: 'caller' };
  const sources = [
    { serviceAccountToken: { path: 'token', expirationSeconds: life } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
  ];
  const spec = {
    serviceAccountName: 'caller',
    automountServiceAccountToken: false, // the one that admission adds lives for an hour
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name: 'main',
        image,
        imagePullPolicy: 'IfNotPresent',
        command: ['sleep', '100000'],
        volumeMounts: [{ name: 'account', mountPath: account, readOnly: true }],
      },
    ],
    volumes: [{ name: 'account', projected: { sources } }],
  };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: meta,
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    },
  ];
}
