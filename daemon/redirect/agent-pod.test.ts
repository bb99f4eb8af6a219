/** Each hazard of cloning a pod is a case. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1Container, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { agentCommand } from '../../agent-image/contract.ts';
import { cloneWithAgent, gatewayPod, type AgentPodOptions } from './agent-pod.ts';
import { workloadOf, type WorkloadOptions } from './testbed.ts';
import type { Workload } from './workload.ts';

const defaults: AgentPodOptions = {
  session: 's1',
  image: { name: 'node:24', hasAgent: false },
  codeHash: 'cafe',
  takeHostname: false,
  claims: {},
};

function clone(workload: WorkloadOptions, options: Partial<AgentPodOptions> = {}) {
  const from = workloadOf(workload);
  const template = cloneWithAgent(from, from.template.spec!.containers[0]!, { ...defaults, ...options });
  const spec: V1PodSpec = template.spec!;
  return { template, spec, agent: spec.containers[0]! };
}

const withMain = (main: Partial<V1Container>, spec: Partial<V1PodSpec> = {}): WorkloadOptions => ({
  containers: [{ name: 'main', ...main }],
  spec,
});

void suite('the clone of a pod', () => {
  void test('labels of identity stay, those of one controller or ordinal go, ours is added; GitOps labels stay on the pod', () => {
    const labels = {
      app: 'web',
      'app.kubernetes.io/instance': 'gitops',
      'pod-template-hash': '1',
      'controller-revision-hash': '2',
      'pod-template-generation': '3',
      'statefulset.kubernetes.io/pod-name': 'web-0',
      'apps.kubernetes.io/pod-index': '0',
    };
    const annotations = { scrape: 'true', 'kubectl.kubernetes.io/last-applied-configuration': '{}' };
    const { metadata } = clone({ labels, annotations }).template;
    assert.deepEqual(metadata?.labels, {
      app: 'web',
      'app.kubernetes.io/instance': 'gitops',
      'bowline.dev/session': 's1',
    });
    assert.deepEqual(metadata.annotations, { scrape: 'true' });
  });

  void test('the folder that is shared with a container of the image is there only where it is needed', () => {
    const shared = clone(withMain({}), { shareImageFolder: true });
    assert.deepEqual(shared.agent.volumeMounts?.at(-1), { name: 'bowline-image', mountPath: '/bowline/image' });
    assert.equal(shared.spec.volumes?.at(-1)?.emptyDir?.medium, 'Memory');
    assert.doesNotMatch(JSON.stringify(clone(withMain({})).spec), /bowline-image/);
  });

  void test('a subPathExpr is the one of the original, so that no folder is made for the clone', () => {
    const fieldRef = { fieldPath: 'metadata.name' };
    const env = [
      { name: 'POD_NAME', valueFrom: { fieldRef } },
      { name: 'PRICE', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['price']" } } },
      { name: 'FOLDER', value: 'logs/$(POD_NAME)' },
      { name: 'LEVEL', value: 'debug' },
    ];
    const subPaths = ['$(POD_NAME)', '$(FOLDER)/x', '$(LEVEL)/$(POD_NAME)/$$(LEVEL)', '$(PRICE)$$', ''];
    const volumeMounts = subPaths.map((subPathExpr) => ({ name: 'data', mountPath: '/data', subPathExpr }));
    const main = { name: 'main', env, volumeMounts };
    const ofClone = (from: Workload): Array<[string | undefined, string | undefined]> => {
      const { spec } = cloneWithAgent(from, main, defaults);
      const mounts = (spec?.containers[0]?.volumeMounts ?? []).filter(({ name }) => name === 'data');
      return mounts.map(({ subPath, subPathExpr }) => [subPath, subPathExpr]);
    };
    const pod = (name: string): V1Pod => ({ metadata: { name, annotations: { price: '5$' } } });
    const from = workloadOf({ containers: [main] });
    assert.deepEqual(ofClone({ ...from, pods: [pod('web-7f-x'), pod('web-7f-y')] }), [
      ['web-7f-x', undefined],
      ['logs/web-7f-x/x', undefined],
      [undefined, '$(LEVEL)/web-7f-x/$$(LEVEL)'],
      ['5$$', undefined],
      [undefined, ''],
    ]);
    const ordinals = workloadOf({ containers: [main], kind: 'StatefulSet' });
    assert.equal(ofClone({ ...ordinals, pods: [pod('web-1'), pod('web-0')] })[0]?.[0], 'web-0', 'whose claims it has');
    assert.deepEqual(ofClone(from), [[undefined, '']], 'nobody has a folder');
  });

  void test('it is never Ready, so that no Service takes it by its labels', () => {
    assert.deepEqual(clone({}).spec.readinessGates, [{ conditionType: 'bowline.dev/never-ready' }]);
    assert.deepEqual(gatewayPod(defaults).spec?.readinessGates, [{ conditionType: 'bowline.dev/never-ready' }]);
  });

  void test('the swapped container: agent, image, no probes, hooks, args or requests of the original; mounts, env and ports stay', () => {
    const { agent } = clone(
      withMain({
        image: 'web:1',
        command: ['web'],
        args: ['--serve'],
        workingDir: '/app',
        livenessProbe: { httpGet: { port: 80 } },
        readinessProbe: { httpGet: { port: 80 } },
        startupProbe: { httpGet: { port: 80 } },
        lifecycle: { preStop: { exec: { command: ['x'] } } },
        resources: { requests: { cpu: '8', memory: '64Gi' } },
        env: [{ name: 'A', value: '1' }],
        envFrom: [{ secretRef: { name: 's' } }],
        ports: [{ containerPort: 80, hostPort: 80, hostIP: '0.0.0.0', name: 'http' }],
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      }),
    );
    assert.equal(agent.image, 'node:24');
    assert.deepEqual(agent.command, agentCommand);
    for (const field of ['args', 'workingDir', 'livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle'] as const)
      assert.equal(agent[field], undefined, field);
    assert.deepEqual(agent.resources?.requests, { cpu: '10m', memory: '64Mi' });
    assert.deepEqual(agent.ports, [{ containerPort: 80, name: 'http' }], 'no port of the node');
    assert.deepEqual(agent.envFrom, [{ secretRef: { name: 's' } }]);
    assert.deepEqual(agent.env?.[0], { name: 'A', value: '1' });
    assert.deepEqual(
      agent.volumeMounts?.map(({ name }) => name),
      ['data', 'bowline-session', 'bowline-agent'],
    );
  });

  void test("variables that would change the agent's own Node are kept under another name", () => {
    const { agent } = clone(withMain({ env: [{ name: 'NODE_OPTIONS', value: '--inspect' }] }));
    assert.deepEqual(
      agent.env?.filter(({ name }) => name.endsWith('NODE_OPTIONS')),
      [
        { name: 'BOWLINE_ORIGINAL_NODE_OPTIONS', value: '--inspect' },
        { name: 'NODE_OPTIONS', value: '' },
      ],
    );
  });

  void test('init containers that end have done their work; sidecars come along, without hooks and ports of the node', () => {
    const hook = { lifecycle: { postStart: { exec: { command: ['register'] } } } };
    const { spec } = clone({
      containers: [{ name: 'main' }, { name: 'side', ports: [{ containerPort: 1, hostPort: 1 }], ...hook }],
      spec: { initContainers: [{ name: 'migrate' }, { name: 'mesh', restartPolicy: 'Always', ...hook }] },
    });
    assert.deepEqual(spec.initContainers, [{ name: 'mesh', restartPolicy: 'Always' }]);
    assert.deepEqual(spec.containers[1], { name: 'side', ports: [{ containerPort: 1 }] });
    assert.equal('initContainers' in clone({ spec: { initContainers: [{ name: 'migrate' }] } }).spec, false);
  });

  void test("what would take the node's own or keep the clone from being scheduled is left out", () => {
    const { spec } = clone({
      spec: {
        hostNetwork: true,
        hostPID: true,
        hostIPC: true,
        nodeName: 'n1',
        priority: 7,
        priorityClassName: 'high',
        activeDeadlineSeconds: 9,
        resources: { requests: { cpu: '8' } },
        topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' }],
        affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [] }, podAffinity: {} },
        nodeSelector: { disk: 'fast' },
        serviceAccountName: 'web',
        imagePullSecrets: [{ name: 'registry' }],
        terminationGracePeriodSeconds: 600,
      },
    });
    for (const field of [
      'hostNetwork',
      'hostPID',
      'hostIPC',
      'nodeName',
      'priority',
      'activeDeadlineSeconds',
      'resources',
      'topologySpreadConstraints',
    ] as const)
      assert.equal(spec[field], undefined, field);
    assert.deepEqual(spec.affinity, { podAffinity: {} });
    assert.deepEqual(
      [spec.nodeSelector, spec.serviceAccountName, spec.priorityClassName],
      [{ disk: 'fast' }, 'web', 'high'],
    );
    assert.deepEqual(spec.imagePullSecrets, [{ name: 'registry' }]);
    assert.equal(spec.terminationGracePeriodSeconds, 12);
  });

  void test('the node of an original: preferred; required, in each alternative, where a volume is only there', () => {
    const nodeAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }, {}],
      },
    };
    const here = { key: 'metadata.name', operator: 'In', values: ['n1'] };
    const preferred = clone({ spec: { affinity: { nodeAffinity } } }, { node: { name: 'n1', required: false } }).spec;
    assert.deepEqual(preferred.affinity?.nodeAffinity, {
      ...nodeAffinity,
      preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference: { matchFields: [here] } }],
    });
    const required = clone({ spec: { affinity: { nodeAffinity } } }, { node: { name: 'n1', required: true } }).spec;
    assert.deepEqual(
      required.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms,
      [{ matchExpressions: [{ key: 'a', operator: 'Exists' }], matchFields: [here] }, { matchFields: [here] }],
    );
  });

  void test("it leaves a node that is lost in seconds, whatever the workload's own pods tolerate", () => {
    const own = { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' };
    const leave = ['not-ready', 'unreachable'].map((state) => ({
      ...own,
      key: `node.kubernetes.io/${state}`,
      tolerationSeconds: 10,
    }));
    assert.deepEqual(clone({ spec: { tolerations: [own] } }).spec.tolerations, [own, ...leave]);
    assert.deepEqual(gatewayPod(defaults).spec?.tolerations, leave);
  });

  void test("user and group are the original's; everything else is dropped; low ports need the safe sysctl", () => {
    const original = {
      privileged: true,
      capabilities: { add: ['NET_ADMIN'] },
      runAsUser: 7,
      runAsGroup: 8,
      procMount: 'Unmasked',
    };
    const sysctls = [
      { name: 'net.ipv4.ip_unprivileged_port_start', value: '1024' },
      { name: 'kernel.shm_rmid_forced', value: '1' },
    ];
    const { agent, spec } = clone(
      withMain({ securityContext: original }, { securityContext: { fsGroup: 9, sysctls } }),
    );
    assert.deepEqual(agent.securityContext, {
      runAsUser: 7,
      runAsGroup: 8,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    assert.deepEqual(spec.securityContext, {
      fsGroup: 9,
      sysctls: [
        { name: 'kernel.shm_rmid_forced', value: '1' },
        { name: 'net.ipv4.ip_unprivileged_port_start', value: '0' },
      ],
    });
  });

  void test('where the template names no user: the one that the process has, or some number where root is not admitted', () => {
    const userOf = (workload: WorkloadOptions, user?: { uid: number; gid: number }) => {
      const { runAsUser, runAsGroup } = clone(workload, user === undefined ? {} : { user }).agent.securityContext!;
      return [runAsUser, runAsGroup];
    };
    const nonRoot = withMain({}, { securityContext: { runAsNonRoot: true } });
    assert.deepEqual(userOf(withMain({})), [undefined, undefined]);
    assert.deepEqual(userOf(withMain({}), { uid: 1000, gid: 1001 }), [1000, 1001]);
    assert.deepEqual(userOf(nonRoot), [65532, 65532]);
    assert.deepEqual(userOf(nonRoot, { uid: 1000, gid: 1001 }), [1000, 1001]);
    assert.deepEqual(
      userOf(withMain({}, { securityContext: { runAsUser: 5 } }), { uid: 1000, gid: 1 }),
      [undefined, undefined],
      'the pod says it',
    );
  });

  void test('volumes: claims of the first ordinal; no new disk; of a bare pod not the token that admission adds', () => {
    const volumes = [
      { name: 'scratch', ephemeral: { volumeClaimTemplate: { spec: {} } } },
      { name: 'kube-api-access-abcde', projected: {} },
    ];
    const mounts = { volumeMounts: [{ name: 'kube-api-access-abcde', mountPath: '/var/run/secrets' }] };
    const { spec, agent } = clone(
      { kind: 'Pod', containers: [{ name: 'main', ...mounts }], spec: { volumes } },
      { claims: { data: 'data-web-0' } },
    );
    assert.deepEqual(spec.volumes?.slice(0, 2), [
      { name: 'scratch', emptyDir: {} },
      { name: 'data', persistentVolumeClaim: { claimName: 'data-web-0' } },
    ]);
    assert.deepEqual(
      agent.volumeMounts?.map(({ name }) => name),
      ['bowline-session', 'bowline-agent'],
    );
  });

  void test('an image that carries the agent needs no code from the cluster', () => {
    const { spec, agent } = clone({}, { image: { name: 'agent:1', hasAgent: true } });
    assert.deepEqual(
      spec.volumes?.map(({ name }) => name),
      ['bowline-session'],
    );
    assert.deepEqual(
      agent.volumeMounts?.map(({ name }) => name),
      ['bowline-session'],
    );
  });

  void test('the name of an ordinal: only where no other pod has it', () => {
    const set = (replicas: number, takeHostname: boolean) =>
      clone({ kind: 'StatefulSet', replicas, serviceName: 'pods' }, { takeHostname }).spec;
    assert.equal(set(2, false).hostname, undefined);
    for (const spec of [set(1, false), set(2, true)])
      assert.deepEqual([spec.hostname, spec.subdomain], ['web-0', 'pods']);
    assert.equal(clone({ spec: { hostname: 'own' } }).spec.hostname, 'own');
  });
});
