/** What any pod of the cluster may try on an agent, and what the agent's own pod gives away, on the real cluster. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import type { AgentSession } from '../../agent-image/contract.ts';
import type { Connection } from '../../api/schema.ts';
import { hostileVariables } from '../../daemon/redirect/hostile-variables.ts';
import { makeIdentities } from '../../tunnel/testbed.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import {
  ask,
  callerPod,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  startProgram,
  testCluster,
  workload,
  type MachineProgram,
  type TestDaemon,
} from '../e2e/redirect-testbed.ts';
import { crowdProgram, strangerProgram, type Attempt } from './stranger.ts';

void suite('an agent, attacked', { timeout: 240_000 }, () => {
  let daemon: TestDaemon;
  let program: MachineProgram;
  let namespace: TestNamespace;
  let elsewhere: TestNamespace;
  let connection: Connection;
  let agent: V1Pod;
  let original: V1Pod;
  let session: AgentSession;

  before(async () => {
    daemon = await startDaemon(await testCluster());
    program = await startProgram();
    const env = [{ name: 'OF_THE_WORKLOAD', value: 'yes' }];
    namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test, { env })])),
        service('web', 'web', [{ port: 80, targetPort: 'http' }]),
      ],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    elsewhere = await createNamespace(daemon.test, { prefix: 'stranger' });
    await elsewhere.apply([callerPod(daemon.test)]);
    await elsewhere.kubectl(['wait', '--for=condition=Ready', 'pod/caller', '--timeout=60s']);
    connection = await daemon.connect({
      namespace: namespace.name,
      target: 'deploy/web',
      ports: [{ local: program.port, remote: 8080 }],
    });
    const { items } = await namespace.get<{ items: V1Pod[] }>('pods', '-l', 'bowline.dev/session');
    agent = items[0]!;
    original = (await namespace.get<{ items: V1Pod[] }>('pods', '-l', 'app=web,!bowline.dev/session')).items[0]!;
    const id = agent.metadata?.labels?.['bowline.dev/session'] ?? '';
    const { data } = await namespace.get<{ data: Record<string, string> }>('secret', `bowline-${id}`);
    session = JSON.parse(Buffer.from(data['session.json'] ?? '', 'base64').toString()) as AgentSession;
  });
  after(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await program?.[Symbol.asyncDispose]();
    await namespace?.[Symbol.asyncDispose]();
    await elsewhere?.[Symbol.asyncDispose]();
  });

  async function inPod(where: TestNamespace, pod: string, script: string): Promise<string> {
    const name = { namespace: where.name, name: pod, container: pod === 'caller' ? 'caller' : 'main' };
    const { exitCode, stdout, stderr } = await daemon.cluster.exec(name, ['node', '-e', script]);
    assert.equal(exitCode, 0, stderr);
    return stdout.toString();
  }

  void test('a pod of another namespace learns that it is alive, and is told nothing else, in no pipe', async () => {
    const { daemon: stranger } = await makeIdentities();
    const aim = { host: agent.status?.podIP ?? '', port: session.controlPort };
    const script = strangerProgram({ ...aim, key: stranger.key, cert: stranger.cert });
    const attempts = JSON.parse(await inPod(elsewhere, 'caller', script)) as Attempt[];
    assert.equal(attempts.length, 34);
    for (const { name, status, bytes } of attempts) {
      assert.equal(bytes, 0, `${name}: ${bytes} bytes`);
      if (/ by /.test(name)) assert.equal(status, 101, name);
      else assert.equal(status, name === 'GET /healthz' ? 200 : 404, name);
    }
  });

  void test('a crowd of silent pipes is thrown out, and neither the tunnel nor a caller of the workload notices', async () => {
    const aim = { host: agent.status?.podIP ?? '', port: session.controlPort };
    const now = (): Array<string | undefined> => {
      const { state, since } = daemon.manager.list()[0] ?? {};
      return [state, since];
    };
    const was = now();
    assert.equal(was[0], 'connected');
    assert.match(await inPod(elsewhere, 'caller', crowdProgram(aim)), /closed/);
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    assert.deepEqual(now(), was, 'the tunnel was never lost');
  });

  void test("its environment has the workload's variables and no secret of the session", async () => {
    const say = 'console.log(JSON.stringify(process.env))';
    const of = async (pod: V1Pod): Promise<Record<string, string>> =>
      JSON.parse(await inPod(namespace, pod.metadata?.name ?? '', say)) as Record<string, string>;
    const [ours, theirs] = [await of(agent), await of(original)];
    assert.equal(ours['OF_THE_WORKLOAD'], 'yes');
    const known = new Set([...Object.keys(theirs), ...hostileVariables]);
    // A Service that came after the original (the way to it) is in the kubelet's variables of a later pod.
    const more = Object.keys(ours).filter((name) => !known.has(name) && !/^BOWLINE_\w+_(SERVICE|PORT)(_|$)/.test(name));
    assert.deepEqual(more, []);
    assert.doesNotMatch(JSON.stringify(ours), /PRIVATE KEY|CERTIFICATE|Bearer/);
  });

  void test('it has limits, no capability, no way to more rights, and its key is mounted in its container alone', () => {
    const main = agent.spec?.containers.find(({ name }) => name === 'main');
    assert.ok(main?.resources?.limits?.['memory']);
    assert.deepEqual(
      [
        main.securityContext?.allowPrivilegeEscalation,
        main.securityContext?.readOnlyRootFilesystem,
        main.securityContext?.capabilities,
        main.securityContext?.seccompProfile,
        main.securityContext?.privileged,
      ],
      [false, true, { drop: ['ALL'] }, { type: 'RuntimeDefault' }, undefined],
    );
    const { hostNetwork, hostPID, hostIPC, volumes = [] } = agent.spec ?? {};
    assert.deepEqual([hostNetwork, hostPID, hostIPC], [undefined, undefined, undefined]);
    assert.ok(volumes.every(({ hostPath }) => hostPath === undefined));
    for (const { name, volumeMounts = [] } of [
      ...(agent.spec?.containers ?? []),
      ...(agent.spec?.initContainers ?? []),
    ])
      if (name !== 'main')
        assert.ok(
          volumeMounts.every((mount) => mount.name !== 'bowline-session'),
          name,
        );
  });

  void test('the example of a network policy is one, and names the agents and their port', async () => {
    const file = new URL('../../docs/network-policy.yaml', import.meta.url);
    const made = JSON.parse(
      await namespace.kubectl(['apply', '--dry-run=server', '--output=json', '--filename', '-'], {
        input: await readFile(file, 'utf8'),
      }),
    ) as { spec: { podSelector: unknown; ingress: Array<{ ports: Array<{ port: number }> }> } };
    assert.deepEqual(made.spec.podSelector, {
      matchExpressions: [{ key: 'bowline.dev/session', operator: 'Exists' }],
    });
    assert.equal(made.spec.ingress[0]?.ports[0]?.port, session.controlPort);
    assert.ok(agent.metadata?.labels?.['bowline.dev/session']);
    assert.equal(connection.state, 'connected');
  });
});
