/** What commands say about connections and plans to people: pure functions from the API's shapes to text. */
import {
  environmentFileWarning,
  type Connection,
  type DaemonStatus,
  type NamedService,
  type Plan,
  type Redirect,
} from '../api/schema.ts';
import { onOut } from './io.ts';
import { table } from './table.ts';
import { mebibytes } from './volumes-text.ts';

export const noConnection = 'There is no connection.';

export function describeList(connections: Connection[]): string {
  const rows = connections.map((each) => [
    each.name,
    coloured(each.state),
    each.context,
    each.ports.map(({ local, remote }) => (local === remote ? String(local) : `${local}:${remote}`)).join(',') || '-',
    each.agent?.pod ?? '-',
    each.namesMode ?? '-',
    ago(each.since),
  ]);
  return table([['NAME', 'STATE', 'CONTEXT', 'PORTS', 'AGENT', 'NAMES', 'SINCE'], ...rows]);
}

/** What others redirect. */
export function describeRedirects(redirects: Redirect[]): string {
  const rows = redirects.map(({ namespace, workload, user, host, since, machine, silentSeconds }) => [
    `${namespace}/${workload?.name ?? '-'}`,
    workload?.kind ?? '-',
    user,
    host,
    ago(since),
    machine === 'gone' ? onOut('red', `gone for ${silentSeconds} s`) : machine,
  ]);
  return table([['REDIRECTED', 'KIND', 'BY', 'HOST', 'SINCE', 'MACHINE'], ...rows]);
}

export function describeStatus({ daemon, helper, connections }: DaemonStatus): string {
  const head = table([
    ['daemon', `running, pid ${daemon.pid}, version ${daemon.version}, since ${ago(daemon.started)}`],
    ['helper', `${helper.installed ? 'installed' : 'not there'}${helper.detail ? `: ${helper.detail}` : ''}`],
  ]);
  if (connections.length === 0) return `${head}\n${noConnection}\n`;
  return [head, ...connections.map(describeConnection)].join('\n');
}

function describeConnection(connection: Connection): string {
  const { agent, pipe, proof, originals, traffic, error, target } = connection;
  const rows: string[][] = [
    [
      'state',
      `${coloured(connection.state)} since ${ago(connection.since)}${connection.reason ? `: ${connection.reason}` : ''}`,
    ],
    ['context', `${connection.context} (${connection.server}), namespace ${connection.namespace}`],
  ];
  if (target) rows.push(['target', `${target.kind}/${target.name}, container ${target.container}`]);
  // What follows is said of a connection that there is.
  if (isOver(connection)) return section(connection.name, [...rows, ...errorRows(error)]);
  /** Nothing comes through, in either direction. */
  const cutOff = pipe === undefined && connection.state !== 'connected';
  rows.push(...connection.ports.map((port) => portRow(port, connection.down, cutOff)));
  if (connection.passedOn.length > 0) {
    rows.push([
      'originals',
      `answer ${connection.passedOn.map(({ remote, protocol }) => `${remote}/${protocol}`).join(', ')} as before`,
    ]);
  }
  if (originals)
    rows.push([
      'workload',
      originals.stopped
        ? `stopped (${originals.replicas} to put back)`
        : `${originals.replicas} replica${originals.replicas === 1 ? '' : 's'} when it was connected`,
    ]);
  if (target) {
    const none = 'none seen: should this machine vanish, `bowline restore` has to put everything back';
    rows.push(['keeper', connection.keeper === undefined ? none : `of the ${connection.keeper}`]);
  }
  if (agent) rows.push(['agent', `${agent.pod}${agent.node ? ` on ${agent.node}` : ''}, image ${agent.image}`]);
  if (pipe)
    rows.push([
      'tunnel',
      `by ${pipe}${connection.roundTripMs === undefined ? '' : `, round trip ${connection.roundTripMs.toFixed(1)} ms`}`,
    ]);
  if (proof) rows.push(['proof', `${proof.services.join(', ')} reached this machine ${ago(proof.at)} ago`]);
  if (traffic) {
    const left = `, ${traffic.toOriginals} left to the originals because nothing listened here`;
    rows.push(['traffic', `${traffic.inbound} in, ${traffic.outbound} out${traffic.toOriginals > 0 ? left : ''}`]);
  }
  if (connection.namesMode) {
    const how = connection.namesMode === 'hosts' ? 'by their names' : 'at their variables (`bowline env`)';
    rows.push(['names', `services answer ${how}${cutOff ? ' when the tunnel is there again; now none does' : ''}`]);
  }
  if (connection.environmentFile !== undefined) rows.push(['env file', connection.environmentFile]);
  rows.push(...volumeRows(connection));
  for (const warning of connection.warnings) rows.push([onOut('yellow', 'warning'), warning.message]);
  rows.push(...errorRows(error));
  const sections = [section(connection.name, rows)];
  const carried = connection.services.filter((service) => service.problem === undefined);
  if (carried.length > 0) sections.push(indent(table(carried.flatMap(serviceRows))));
  const problems = connection.services.flatMap(problemRows);
  if (problems.length > 0) sections.push(`  not carried\n${indent(indent(table(problems)))}`);
  return sections.join('\n').replaceAll(/\n{2,}/g, '\n');
}

function section(name: string, rows: string[][]): string {
  return `${onOut('bold', name)}\n${indent(table(rows))}`;
}

function errorRows(error: Connection['error']): string[][] {
  if (error === undefined) return [];
  return [[onOut('red', 'error'), `${error.code}: ${error.message}${error.hint ? ` ${error.hint}` : ''}`]];
}

/** Where a caller of the pod's port gets to, or why he does not. */
function portRow(
  { local, remote, services }: Connection['ports'][number],
  down: Connection['down'],
  cutOff: boolean,
): string[] {
  const port = `port ${remote} of the pod${services.length > 0 ? ` (${services.join(', ')})` : ''}`;
  const nobody = down?.find((each) => each.local === local);
  if (nobody !== undefined) {
    const since = new Date(nobody.since).toTimeString().slice(0, 8);
    const instead = nobody.callers === 'reset' ? `callers of ${port} are reset` : `the originals answer ${port}`;
    return [onOut('yellow', 'port'), `nothing listens on localhost:${local} since ${since}: ${instead}`];
  }
  return ['port', `localhost:${local} answers ${port}${cutOff ? ' when there is a tunnel; now nothing arrives' : ''}`];
}

/** Where the files are, and each mount that is not there or not whole. */
function volumeRows({ files }: Connection): string[][] {
  if (files === undefined) return [];
  const { folder, backing, mounts, parts = [] } = files;
  const all = [
    ...mounts.map((mount) => ({ ...mount, name: mount.mountPath })),
    ...parts.map((part) => ({ ...part, name: `${part.volume}/${part.path}` })),
  ];
  if (all.length === 0) return [];
  const ready = mounts.filter(({ state }) => state === 'ready').length;
  const where = backing === 'memory' ? 'in memory' : 'on disk';
  const rest = all.filter(({ state, reason }) => state !== 'ready' || reason !== undefined);
  return [
    ['files', `${ready} of ${mounts.length} volumes at ${folder}/root (${where})`],
    ...rest.map(({ name, state, received, bytes, reason }) => {
      const size = bytes === undefined || state === 'ready' ? '' : `, ${mebibytes(bytes)}`;
      const come = state === 'downloading' ? `, ${mebibytes(received ?? 0)} of ${mebibytes(bytes ?? 0)}` : size;
      return ['', `${name}: ${state}${come}${reason === undefined ? '' : `: ${reason}`}`];
    }),
  ];
}

function serviceRows(service: NamedService): string[][] {
  const ports = service.ports.filter(({ problem }) => problem === undefined);
  if (ports.length === 0) return [];
  const shown = ports.map(({ port, local }) =>
    local === undefined || local === port ? String(port) : `${port} at ${local}`,
  );
  return [[nameOf(service), service.address ?? '-', shown.join(', ')]];
}

/** The shortest that answers here, else what the cluster calls it. */
function nameOf({ names, service, namespace, external }: NamedService): string {
  return names[0] ?? (external === true ? service : `${service}.${namespace}`);
}

function problemRows(service: NamedService): string[][] {
  const name = nameOf(service);
  if (service.problem !== undefined) return [[name, service.problem]];
  return service.ports.flatMap(({ port, problem }) => (problem === undefined ? [] : [[`${name}:${port}`, problem]]));
}

/** One line: it is also the last of a log. */
export function describeConnected({ name, namespace, ports, target, namesMode }: Connection): string {
  const here = ports.map(({ local, remote, services }) =>
    services.length === 0
      ? `nothing leads to port ${remote} (localhost:${local})`
      : `${services.join(', ')} -> localhost:${local}`,
  );
  if (target && ports.length === 0) here.push('no port of it comes here');
  const answer = namesMode === 'hosts' ? 'by their names' : 'at the variables of `bowline env`';
  return `Connected ${name}: ${[...here, `the services of namespace ${namespace} answer ${answer}`].join('; ')}.\n`;
}

/** It has ended, and nothing of it is in use here. */
export function isOver({ state }: Connection): boolean {
  return state === 'failed' || state === 'disconnected';
}

export function describeForgotten({ name, reason, error }: Connection): string {
  const why = error?.message ?? reason;
  const hint = error?.hint === undefined ? '' : ` ${error.hint}`;
  return `${name} had failed and is no longer listed${why === undefined ? '.' : `: ${why}${hint}`}\n`;
}

export function describeUntied(name: string): string {
  return `Untied ${name}: cluster and machine are as before.\n`;
}

/** A short name means the living one. */
export function describeAlsoMeant({ name }: Connection): string {
  return `${name}, which has failed, is still listed; \`bowline disconnect ${name}\` takes it off the list.\n`;
}

export function describePlan({ actions, warnings }: Plan): string {
  if (actions.length === 0) return 'Nothing would be changed.\n';
  const steps = actions.map(({ verb, object, why, body }) => {
    const shown = body === undefined ? '' : `\n${indent(indent(JSON.stringify(body, null, 2)))}`;
    return `${onOut('bold', verb)} ${object}  # ${why}${shown}\n`;
  });
  const unseen = warnings.filter(({ code }) => code !== environmentFileWarning);
  return [...steps, ...unseen.map(({ message }) => `warning: ${message}\n`)].join('');
}

function coloured(state: Connection['state']): string {
  if (state === 'connected') return onOut('green', state);
  return onOut(state === 'failed' ? 'red' : 'yellow', state);
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}

/** `42 s`, `5 min`, `3 h`, `2 d`. */
export function ago(since: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(since)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
