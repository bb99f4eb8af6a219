/**
 * A connection manager without a cluster, for tests of what stands before it: API, command, daemon. It keeps what it
 * "did" in a file, so that tests see from outside what is left, also after a kill.
 * Targets steer it: `slow` never connects until cancelled, `broken` fails, everything else connects.
 */
import { setTimeout } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectRequest } from '../../api/schema.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import { fileWarnings, readEnvironmentFile } from '../environment/environment-file.ts';
import type { JsonFolder } from '../state/json-files.ts';

export interface FakeSession {
  connection: Connection;
  /** Milliseconds that a release takes. */
  drain: number;
}

export function startFakeManager(store: JsonFolder<FakeSession>, variables: Record<string, string>): ConnectionManager {
  const sessions = new Map<string, FakeSession>();
  const releasing = new Map<string, Promise<Connection>>();
  const listeners = new Set<Parameters<ConnectionManager['onChange']>[0]>();
  const announce = (change: { event: string; connection?: Connection; removed?: string }): void => {
    for (const listener of listeners) listener(change);
  };
  const find = (name: string): FakeSession => {
    const session = sessions.get(name);
    if (session) return session;
    throw new BowlineError('CONNECTION_NOT_FOUND', `There is no connection "${name}".`);
  };
  const set = (session: FakeSession, state: Connection['state']): void => {
    session.connection = { ...session.connection, state };
    announce({ event: state, connection: session.connection });
  };

  return {
    list: () => [...sessions.values()].map(({ connection }) => connection),
    async look() {},
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async plan() {
      const actions = [{ verb: 'create' as const, object: 'leases/bowline-x', why: 'the record of the session' }];
      return { actions, warnings: [] };
    },
    async connect(request, onProgress, signal) {
      const file = readEnvironmentFile(request.environmentFile);
      for (const warning of file === undefined ? [] : fileWarnings(file)) onProgress({ type: 'warning', ...warning });
      onProgress({ type: 'step', step: 'agent', message: 'starting the agent', seconds: 0 });
      const connection = newConnection(request);
      if (sessions.has(connection.name)) {
        throw new BowlineError('ALREADY_CONNECTED', `${connection.name} is connected already.`);
      }
      if (request.target === 'broken')
        throw new BowlineError('WORKLOAD_NOT_FOUND', 'There is no broken.', { hint: 'Mend it.' });
      const session = { connection, drain: request.drainSeconds * 1000 };
      sessions.set(connection.name, session);
      await store.save(connection.id, session);
      announce({ event: 'connecting', connection });
      if (request.target === 'slow') {
        await setTimeout(60_000, undefined, { signal }).catch(() => undefined);
        onProgress({ type: 'step', step: 'undo', message: 'putting everything back', seconds: 1 });
        sessions.delete(connection.name);
        await store.remove(connection.id);
        announce({ event: 'failed', removed: connection.name });
        throw new BowlineError('CANCELLED', 'Cancelled; everything was put back.');
      }
      set(session, 'connected');
      await store.save(connection.id, session);
      return session.connection;
    },
    async disconnect(name, onProgress) {
      const session = find(name);
      const release = async (): Promise<Connection> => {
        onProgress({ type: 'step', step: 'drain', message: 'waiting for open requests', seconds: 0 });
        set(session, 'disconnecting');
        await setTimeout(session.drain);
        await store.remove(session.connection.id);
        sessions.delete(name);
        session.connection = { ...session.connection, state: 'disconnected' };
        announce({ event: 'disconnected', connection: session.connection, removed: name });
        return session.connection;
      };
      const running = releasing.get(name) ?? release().finally(() => releasing.delete(name));
      releasing.set(name, running);
      return running;
    },
    async environment(name) {
      find(name);
      const warnings = ['a warning of the environment'];
      const notes = ['one note', 'another'];
      const origins = Object.fromEntries(Object.keys(variables).map((name) => [name, 'container' as const]));
      return { variables, origins, rewritten: {}, notCarried: {}, source: 'process', warnings, notes };
    },
    async known(name, namespaces) {
      const { connection } = find(name);
      const [barred, absent] = ['barred', 'absent'].map((each) => namespaces.filter((one) => one === each));
      const unchecked = barred!.map((namespace) => ({ namespace, why: `You may not list services in ${namespace}.` }));
      const services = [{ namespace: 'billing', name: 'invoices' }];
      const seen = [connection.namespace, ...namespaces].filter((each) => each !== 'barred' && each !== 'absent');
      return {
        connection: connection.name,
        namespace: connection.namespace,
        services: services.filter(({ namespace }) => seen.includes(namespace)),
        namespaces: seen,
        absent: absent!,
        unchecked,
      };
    },
    async inspect(name) {
      const { target } = find(name).connection;
      const variables = { source: 'none' as const, digests: {}, notes: [] };
      return {
        container: target?.container ?? '',
        variables,
        filesFrom: 'agent',
        files: [],
        unreadable: [],
        endpoints: [],
      };
    },
    async redirects() {
      return [];
    },
    async keeperStatus() {
      return { namespace: 'default' };
    },
    async keeperManifest() {
      return 'kind: Namespace\n';
    },
    async planRestore() {
      return { actions: [], warnings: [] };
    },
    async restore() {
      return [];
    },
    async resume() {
      for (const session of (await store.load()).values()) {
        sessions.set(session.connection.name, session);
        set(session, 'connected');
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}

function newConnection(request: ConnectRequest): Connection {
  const namespace = request.namespace ?? 'default';
  const workload = request.target?.split('/').at(-1);
  const name = workload === undefined ? namespace : `${namespace}/${workload}`;
  return {
    id: name.replace('/', '-'),
    name,
    context: request.context ?? 'test',
    server: 'https://127.0.0.1:6443',
    namespace,
    state: 'connecting',
    since: new Date().toISOString(),
    ...(workload === undefined ? {} : { target: { kind: 'Deployment', name: workload, container: 'app' } }),
    ports: request.ports.map(({ local, remote }) => ({
      local,
      remote: Number(remote ?? local),
      services: [`${workload}:80`],
    })),
    passedOn: [],
    namesMode: 'env',
    services: [],
    warnings: [],
  };
}
