/** What a program on the machine has, against what the one in the pod has. Pure. */
import { isIP } from 'node:net';
import { digestOf, type InspectedEndpoint, type Inspection } from '../../agent-image/inspection.ts';
import type { Connection, Environment, PodInspection } from '../../api/schema.ts';
import { belongsToMachine } from '../../env-parser/machine-variables.ts';

export type FidelityState = 'equal' | 'rewritten' | 'missing' | 'different' | 'extra' | 'newer';

export interface FidelityRow {
  kind: 'variable' | 'file' | 'name' | 'external' | 'identity' | 'time zone' | 'host name' | 'user';
  name: string;
  /** extra: here and not in the pod. newer: a file that the pod has written since it came here. Both are told and not counted. */
  state: FidelityState;
  /** Who told what the pod has: its process, an exec, the spec; its container; the agent in its place. */
  source: string;
  reason?: string;
}

export interface FidelityReport {
  connection: string;
  pod?: string | undefined;
  container: string;
  rows: FidelityRow[];
  /** Equal or rewritten on purpose. */
  kept: number;
  total: number;
  /** Rounded down: 100 is all of them. */
  percent: number;
  notes: string[];
}

export interface Sides {
  key: string;
  connection: Connection;
  pod: PodInspection;
  machine: Inspection;
  environment: Environment;
  /** Path of a mount -> where it lies for the command. */
  places: ReadonlyMap<string, string>;
  /** The command has a place of its own, in which the pod's files, names and host name are. */
  inPlace: boolean;
}

export function compareSides(sides: Sides): FidelityReport {
  const { connection, pod } = sides;
  const rows = [
    ...variableRows(sides),
    ...fileRows(sides),
    ...pod.endpoints.flatMap((endpoint, index) => endpointRows(sides, endpoint, sides.machine.endpoints[index]!)),
    ...identityRows(sides),
    ...zoneRows(sides),
    ...hostNameRows(sides),
    ...userRows(sides),
  ];
  const { pod: name, container, variables } = pod;
  return { connection: connection.name, pod: name, container, rows, ...counted(rows), notes: variables.notes };
}

export function counted(rows: readonly FidelityRow[]): Pick<FidelityReport, 'kept' | 'total' | 'percent'> {
  const all = rows.filter(({ state }) => state !== 'extra' && state !== 'newer');
  const kept = all.filter(isKept).length;
  return { kept, total: all.length, percent: all.length === 0 ? 0 : Math.floor((kept / all.length) * 100) };
}

export const isKept = ({ state }: FidelityRow): boolean => state === 'equal' || state === 'rewritten';

function variableRows({ key, pod, machine, environment }: Sides): FidelityRow[] {
  const { source, digests } = pod.variables;
  const judge = (name: string, digest: string): Pick<FidelityRow, 'state' | 'reason'> => {
    const here = machine.variables[name];
    const lost = environment.notCarried[name];
    if (lost !== undefined) return { state: 'missing', reason: `not carried: ${lost}` };
    if (here === digest) return { state: 'equal' };
    if (belongsToMachine(name) && environment.origins[name] !== 'file')
      return { state: 'rewritten', reason: 'says how this machine is' };
    if (here === undefined) return { state: 'missing', reason: 'the program here does not have it' };
    const why = environment.rewritten[name];
    const meant = environment.variables[name];
    if (why !== undefined && meant !== undefined && digestOf(key, meant) === here)
      return { state: 'rewritten', reason: why };
    return { state: 'different', reason: 'another value, for no known reason' };
  };
  const own = Object.entries(digests).map(([name, digest]): FidelityRow => ({
    kind: 'variable',
    name,
    source,
    ...judge(name, digest),
  }));
  const added = Object.keys(environment.variables)
    .filter((name) => digests[name] === undefined && machine.variables[name] !== undefined)
    .map((name): FidelityRow => {
      const from = environment.origins[name];
      const why = environment.rewritten[name];
      const row = { kind: 'variable', name, source } as const;
      // It promises a Service where the pod knows of none.
      if (from === 'service')
        return why === undefined
          ? { ...row, state: 'different', reason: 'the pod does not have it' }
          : { ...row, state: 'rewritten', reason: why };
      return { ...row, state: 'extra', ...(from && { reason: `of the ${fromText[from]}` }) };
    });
  // Not one is no finding: kubelet gives every container some.
  if (own.length === 0)
    own.push({ kind: 'variable', name: '(all)', source, state: 'missing', reason: "the pod's could not be read" });
  return [...own, ...added].sort((a, b) => a.name.localeCompare(b.name));
}

const fromText = {
  file: 'environment file',
  container: 'container',
  machine: 'connection',
};

function fileRows({ connection, pod, machine, places }: Sides): FidelityRow[] {
  const here = new Map(machine.files.map((file) => [file.path, file]));
  const mounts = connection.files?.mounts ?? [];
  const mountOf = (path: string) =>
    mounts
      .filter(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`))
      .sort((a, b) => b.mountPath.length - a.mountPath.length)[0];
  const judge = (file: PodInspection['files'][number]): Pick<FidelityRow, 'state' | 'reason'> => {
    const mount = mountOf(file.path);
    const found = here.get(file.path);
    const came = mount?.updated === undefined ? Infinity : Date.parse(mount.updated) / 1000;
    if (found === undefined && file.modified !== undefined && file.modified > came)
      return { state: 'newer', reason: 'the pod has made it since the volume came here' };
    if (found === undefined)
      return {
        state: 'missing',
        reason:
          mount === undefined ? 'its volume is not brought here' : (mount.reason ?? `the volume is ${mount.state}`),
      };
    const own = file.perPod !== undefined && found.digest === file.perPod.digest;
    if (found.digest !== file.digest && !own && file.modified !== undefined && file.modified > found.modified)
      return { state: 'newer', reason: 'the pod has written it since it came here' };
    if (found.digest !== file.digest && !own) return { state: 'different', reason: 'another content' };
    if (found.executable !== file.executable)
      return { state: 'different', reason: `executable ${file.executable ? 'in the pod' : 'here'} only` };
    const at = mount && places.get(mount.mountPath);
    const moved = mount !== undefined && at !== undefined && at !== mount.mountPath ? `it lies below ${at}` : undefined;
    const reasons = [found.digest === file.digest ? undefined : file.perPod?.what, moved].filter(
      (each) => each !== undefined,
    );
    return reasons.length === 0 ? { state: 'equal' } : { state: 'rewritten', reason: reasons.join('; ') };
  };
  const known = new Set(pod.files.map(({ path }) => path));
  const source = pod.filesFrom;
  const row = (name: string, judged: Pick<FidelityRow, 'state' | 'reason'>): FidelityRow => ({
    kind: 'file',
    name,
    source,
    ...judged,
  });
  return [
    ...pod.files.map((file) => row(file.path, judge(file))),
    ...pod.unreadable.map(({ path, why }) => row(path, { state: 'missing', reason: why })),
    ...machine.unreadable.map(({ path, why }) =>
      row(path, { state: 'missing', reason: `cannot be read here: ${why}` }),
    ),
    ...machine.files
      .filter(({ path }) => !known.has(path) && !pod.unreadable.some((each) => path.startsWith(each.path)))
      .map(({ path }) => {
        // What both may write is theirs from then on.
        if (mountOf(path)?.readOnly === false)
          return row(path, { state: 'extra', reason: 'made here, or removed in the pod since it came' });
        return row(path, { state: 'different', reason: 'not in the pod' });
      }),
  ].sort((a, b) => a.name.localeCompare(b.name));
}

function endpointRows(
  { connection }: Sides,
  pod: PodInspection['endpoints'][number],
  seen: InspectedEndpoint,
): FidelityRow[] {
  const { service, namespace, external } = pod;
  const carried = connection.services.find((each) => each.service === service && each.namespace === namespace);
  const kind = external ? 'external' : 'name';
  const shown = external || namespace === connection.namespace ? service : `${service}.${namespace}`;
  const lost = pod.resolved.filter((name) => !seen.resolved.includes(name));
  const row = (name: string, state: FidelityState, reason?: string): FidelityRow => ({
    kind,
    name,
    state,
    source: 'agent',
    ...(reason !== undefined && { reason }),
  });
  const judge = (name: string, port?: PodInspection['endpoints'][number]['ports'][number]): FidelityRow => {
    const here = carried?.ports.find((each) => each.port === port?.port);
    const problem = carried === undefined ? 'it is not carried' : (carried.problem ?? here?.problem);
    if (problem !== undefined && pod.resolved.length > 0) return row(name, 'missing', problem);
    const found = seen.ports.find((each) => each.port === port?.port);
    if (port !== undefined && found?.connects !== port.connects)
      return row(
        name,
        'different',
        port.connects
          ? `it connects in the pod, here not: ${found?.why}`
          : `it connects here, in the pod not: ${port.why}`,
      );
    const reasons: string[] = [];
    if (lost.length > 0) {
      // Where no name leads there, its address in the variables does.
      if (seen.resolved.length > 0 || carried?.address === undefined)
        return row(name, 'missing', `${lost.join(', ')} ${lost.length === 1 ? 'does' : 'do'} not lead there here`);
      const why =
        isIP(service) === 0
          ? 'its names need the helper or private files'
          : 'what is named by an address has no name to lead there';
      reasons.push(`at ${carried.address} of the variables: ${why}`);
    }
    if (here?.local !== undefined && here.local !== here.port)
      reasons.push(`at port ${here.local}: one below 1024 needs the helper`);
    return reasons.length === 0 ? row(name, 'equal') : row(name, 'rewritten', reasons.join('; '));
  };
  return pod.ports.length === 0 ? [judge(shown)] : pod.ports.map((port) => judge(`${shown}:${port.port}`, port));
}

function identityRows({ pod, machine }: Sides): FidelityRow[] {
  const source = pod.identityFrom ?? 'agent';
  const identityRow = (name: string, state: FidelityState, reason?: string): FidelityRow => ({
    kind: 'identity',
    name,
    state,
    source,
    ...(reason !== undefined && { reason }),
  });
  const { identity: there } = pod;
  const { identity: here } = machine;
  if (pod.account === undefined || there === undefined) return [];
  if ('problem' in there)
    return [identityRow('service account', 'missing', `the pod's could not be asked for: ${there.problem}`)];
  if (here === undefined || 'problem' in here)
    return [
      identityRow(there.user, 'missing', `the API server cannot be asked from here: ${here?.problem ?? 'no token'}`),
    ];
  const same = here.user === there.user && here.uid === there.uid && here.groups.join() === there.groups.join();
  if (!same) return [identityRow(there.user, 'different', `here ${here.user}`)];
  const remark = source === 'agent' ? "asked with the agent's token: the pod's cannot be read" : undefined;
  return [identityRow(there.user, 'equal', remark)];
}

function zoneRows({ key, pod, machine }: Sides): FidelityRow[] {
  const { timeZone } = pod;
  if (timeZone === undefined) return [];
  const same =
    canonical(timeZone) === canonical(machine.timeZone) || machine.variables['TZ'] === digestOf(key, timeZone);
  const row: FidelityRow = {
    kind: 'time zone',
    name: timeZone,
    state: same ? 'equal' : 'different',
    source: 'original',
  };
  return [same ? row : { ...row, reason: `here ${machine.timeZone}` }];
}

/** `Etc/UTC` and `UTC` are one. A rule is only like itself. */
function canonical(zone: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    return zone;
  }
}

function hostNameRows({ pod: { hostName: name }, machine, inPlace }: Sides): FidelityRow[] {
  if (name === undefined) return [];
  const row: FidelityRow = { kind: 'host name', name, state: 'equal', source: 'spec' };
  if (machine.hostName === name) return [row];
  const here = `programs here have the machine's, ${machine.hostName}`;
  if (inPlace) return [{ ...row, state: 'different', reason: here }];
  return [{ ...row, state: 'rewritten', reason: `${here}: another one needs private files` }];
}

function userRows({ pod, machine }: Sides): FidelityRow[] {
  if (pod.uid === undefined) return [];
  const row: FidelityRow = { kind: 'user', name: `uid ${pod.uid}`, state: 'equal', source: 'original' };
  if (machine.uid === pod.uid) return [row];
  return [{ ...row, state: 'rewritten', reason: `programs here run as you, uid ${machine.uid}` }];
}
