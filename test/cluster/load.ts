/**
 * Requests from a pod through a Service, at a steady rate, every answer checked, so that a test can say that none was
 * lost. The same load goes to an untouched Service beside it: what fails there is the cluster's fault, not ours.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from './wait.ts';
import type { TestNamespace } from './namespace.ts';

export interface LoadRecord {
  n: number;
  target: 'subject' | 'control';
  /** When it was sent, in milliseconds since 1970 by the pod's clock. */
  at: number;
  /** How long the answer took. */
  ms: number;
  /** Who answered: the field `by` or `servedBy` of the JSON. */
  by?: string;
  error?: string;
  /** Of one that had no answer in time: the port that it was sent from. */
  port?: number;
}

/** On a connection that was open at that moment, and was reset: a cut link or a killed machine may do that, and to no later one. */
export const wasCutOff = ({ at, error }: LoadRecord, moment: number): boolean =>
  at <= moment && /ECONNRESET|socket hang up/.test(error ?? '');

export interface LoadSummary {
  requests: number;
  failed: LoadRecord[];
  /** Answers by who gave them. */
  by: Record<string, number>;
  slowest: number;
}

export interface Load extends AsyncDisposable {
  /** All that is known until now. */
  records(): Promise<LoadRecord[]>;
  /** Until a request that is sent from now on is answered by somebody whom `accept` takes; resolves with that record. */
  answeredBy(accept: (by: string) => boolean, what: string, timeout?: number): Promise<LoadRecord>;
  /** Until every request that was sent before has ended, well or not. */
  settled(before: number): Promise<void>;
  /** Sends no more, waits for open answers, and sums up. Throws when the control had a failure. */
  stop(): Promise<{ subject: LoadSummary; control: LoadSummary }>;
}

interface Answer {
  open: number;
  /** When the oldest open one was sent; absent without one. */
  oldest?: number;
  records: LoadRecord[];
}

export interface LoadOptions {
  /** URL of the Service under test: `http://stats-api/whoami`. */
  url: string;
  /** New connections a second; default 50. */
  rate?: number;
  /** The same to the Service beside it; default `rate`. */
  controlRate?: number;
  /** Milliseconds after which an answer is a failure; default 15,000. */
  timeout?: number;
  signal?: AbortSignal;
}

/** Resolves when both Services have answered, and counts from then on. */
export async function startLoad(namespace: TestNamespace, options: LoadOptions): Promise<Load> {
  const name = 'load';
  await deployEcho(namespace, { name: `${name}-control` });
  const { rate = 50, controlRate = rate } = options;
  const targets = {
    subject: { url: options.url, rate },
    control: { url: `http://${name}-control/`, rate: controlRate },
  };
  await namespace.apply([
    program(name, 'load.mjs'),
    pod(namespace.cluster.nodeImage, name, {
      TARGETS: JSON.stringify(targets),
      TIMEOUT: String(options.timeout ?? 15_000),
    }),
  ]);
  await namespace.kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s'], { timeout: 65_000 });
  const proxy = `/api/v1/namespaces/${namespace.name}/pods/${name}:8080/proxy`;
  const known: LoadRecord[] = [];
  const ask = async (path: string): Promise<{ open: number; oldest: number | undefined }> => {
    const { open, oldest, records } = await namespace.cluster.api.call<Answer>(
      'GET',
      `${proxy}${path}?since=${known.length}`,
    );
    known.push(...records.slice(known.length - (records[0]?.n ?? known.length)));
    return { open, oldest };
  };
  // A fresh Service has no rule in the kernel yet: what is sent before its first answer says nothing about anything.
  await waitUntil(
    async () => {
      await ask('/records');
      return (['subject', 'control'] as const).every(
        (target) =>
          known
            .slice(-20)
            .filter((record) => record.target === target)
            .every((record) => record.error === undefined) && known.length >= 20,
      );
    },
    { what: `first answers of ${options.url}`, signal: options.signal, interval: 200 },
  );
  const first = known.length;
  const records = async (): Promise<LoadRecord[]> => {
    await ask('/records');
    return known.slice(first);
  };
  return {
    records,
    async answeredBy(accept, what, timeout = 30_000) {
      const from = (await records()).reduce((latest, record) => Math.max(latest, record.at), 0);
      const look = async (): Promise<LoadRecord | undefined> =>
        (await records()).find(
          (record) => record.target === 'subject' && record.at > from && record.by !== undefined && accept(record.by),
        );
      return await waitUntil(look, { what: `an answer by ${what}`, timeout, interval: 100, signal: options.signal });
    },
    settled: (before) =>
      waitUntil(async () => ((await ask('/records')).oldest ?? Infinity) > before, {
        what: 'end of the open requests',
        signal: options.signal,
      }).then(() => undefined),
    async stop() {
      await waitUntil(async () => (await ask('/stop')).open === 0, {
        what: 'end of the open requests',
        signal: options.signal,
      });
      const all = known.slice(first);
      const control = summarize(all.filter((record) => record.target === 'control'));
      if (control.failed.length > 0)
        throw new Error(
          `the cluster itself lost requests, so this run proves nothing: ${JSON.stringify(control.failed.slice(0, 3))}`,
        );
      return { subject: summarize(all.filter((record) => record.target === 'subject')), control };
    },
    async [Symbol.asyncDispose]() {
      await namespace.kubectl(['delete', `pod/${name}`, `configmap/${name}`, '--ignore-not-found', '--grace-period=1']);
      await removeEcho(namespace, `${name}-control`);
    },
  };
}

/** A Deployment and a Service (port 80) that answers who it is: `{"by": POD, "label": LABEL}`. */
export async function deployEcho(
  namespace: TestNamespace,
  options: { name: string; replicas?: number; label?: string },
): Promise<void> {
  const { name } = options;
  const { spec } = pod(namespace.cluster.nodeImage, name, { LABEL: options.label ?? name });
  const labels = { app: name };
  await namespace.apply([
    program(name, 'echo.mjs'),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: {
        replicas: options.replicas ?? 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { ...spec, restartPolicy: 'Always' } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { selector: labels, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    },
  ]);
  await namespace.rollout(`deploy/${name}`);
}

async function removeEcho(namespace: TestNamespace, name: string): Promise<void> {
  await namespace.kubectl([
    'delete',
    `deployment/${name}`,
    `service/${name}`,
    `configmap/${name}`,
    '--ignore-not-found',
    '--cascade=foreground',
  ]);
}

/** The program travels in a ConfigMap: no image to build, and it is admitted wherever a pod is. */
function program(name: string, file: string): object {
  const text = readFileSync(join(import.meta.dirname, 'programs', file), 'utf8');
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { 'program.mjs': text } };
}

function pod(image: string, name: string, env: Record<string, string>): { spec: object } {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name,
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['node', '/program/program.mjs'],
          env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
          ports: [{ name: 'http', containerPort: 8080 }],
          // A pod that asks for nothing gets next to nothing while everybody is busy, and then measures itself.
          resources: { requests: { cpu: '100m' } },
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            readOnlyRootFilesystem: true,
          },
          volumeMounts: [{ name: 'program', mountPath: '/program', readOnly: true }],
        },
      ],
      volumes: [{ name: 'program', configMap: { name } }],
    },
  } as { spec: object };
}

function summarize(records: LoadRecord[]): LoadSummary {
  const by: Record<string, number> = {};
  for (const record of records) if (record.by !== undefined) by[record.by] = (by[record.by] ?? 0) + 1;
  return {
    requests: records.length,
    failed: records.filter((record) => record.error !== undefined),
    by,
    slowest: records.reduce((slowest, record) => Math.max(slowest, record.ms), 0),
  };
}
