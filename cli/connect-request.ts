/** From the options of `bowline connect` to the request of the API. Each option is checked here, next to its meaning. */
import { delimiter, resolve } from 'node:path';
import { BowlineError } from '../api/errors.ts';
import type { ConnectInput, PortRequest } from '../api/schema.ts';
import type { PrivateFilesMode } from './private-files/for-connection.ts';

export interface ConnectOptions {
  namespace?: string;
  context?: string;
  kubeconfig?: string;
  container?: string;
  port: PortRequest[];
  ifDown: 'refuse' | 'original';
  stopOriginal: boolean;
  redirect: boolean;
  names: 'auto' | 'hosts' | 'env';
  agentImage?: string;
  agentImageHasAgent: boolean;
  timeout: number;
  drain: number;
  lapse: number;
  proofEvery: number;
  takeOver: boolean;
  wait: boolean;
  waitTimeout: number;
  withoutKeeper: boolean;
  privateFiles: PrivateFilesMode;
  /** False for `--no-volumes`. */
  volumes: boolean;
  maxVolume: number;
  include: string[];
  exclude: string[];
  /** False for none at all. */
  envFile?: string | false;
}

export function connectRequest(
  target: string | undefined,
  options: ConnectOptions,
  env: NodeJS.ProcessEnv,
  environmentFile?: ConnectInput['environmentFile'],
): ConnectInput {
  if (target === undefined) {
    const needless = [
      options.port.length > 0 && '--port',
      options.container !== undefined && '--container',
      options.stopOriginal && '--stop-original',
      options.takeOver && '--take-over',
      options.wait && '--wait',
    ].find((option) => option !== false);
    if (needless) {
      throw new BowlineError(
        'BAD_ARGUMENT',
        `${needless} needs a TARGET: without one, nothing is redirected to this machine.`,
        {
          hint: `For example: bowline connect deploy/NAME ${needless === '--port' ? '--port 3000' : needless}`,
        },
      );
    }
  }
  if (!options.redirect) {
    const needless = [
      options.port.length > 0 && '--port',
      options.stopOriginal && '--stop-original',
      options.takeOver && '--take-over',
      options.wait && '--wait',
    ].find((option) => option !== false);
    if (needless) {
      throw new BowlineError('BAD_ARGUMENT', `--no-redirect and ${needless} exclude each other.`, {
        hint: 'With --no-redirect the workload keeps its traffic, whoever has it.',
      });
    }
  }
  if (options.takeOver && options.wait) {
    throw new BowlineError('BAD_ARGUMENT', '--take-over and --wait exclude each other.', {
      hint: '--wait waits until the workload is free; --take-over ends the session that has it.',
    });
  }
  return {
    ...place(options, env),
    ...(target !== undefined && { target }),
    ...(options.container !== undefined && { container: options.container }),
    ports: options.port,
    ifDown: options.ifDown,
    stopOriginal: options.stopOriginal,
    redirect: options.redirect,
    names: options.names,
    ...(options.agentImage !== undefined && { agentImage: options.agentImage }),
    agentImageHasAgent: options.agentImageHasAgent,
    ...(environmentFile && { environmentFile }),
    volumes: options.volumes,
    maxVolumeBytes: options.maxVolume,
    include: options.include,
    exclude: options.exclude,
    timeoutSeconds: options.timeout,
    drainSeconds: options.drain,
    lapseSeconds: options.lapse,
    proofSeconds: options.proofEvery,
    takeOver: options.takeOver,
    waitSeconds: options.wait ? options.waitTimeout : 0,
    withoutKeeper: options.withoutKeeper,
  };
}

export interface PlaceOptions {
  namespace?: string;
  context?: string;
  kubeconfig?: string;
}

/** Which cluster and namespace, as the caller's shell has it: the daemon runs in another folder and another environment. */
export function place(options: PlaceOptions, env: NodeJS.ProcessEnv): PlaceOptions {
  const given = options.kubeconfig ?? env['KUBECONFIG'];
  const kubeconfig = given
    ?.split(delimiter)
    .filter((file) => file !== '')
    .map((file) => resolve(file))
    .join(delimiter);
  return {
    ...(kubeconfig && { kubeconfig }),
    ...(options.context !== undefined && { context: options.context }),
    ...(options.namespace !== undefined && { namespace: options.namespace }),
  };
}

/** `LOCAL[:REMOTE]`; REMOTE is a number or the name of a port. For commander: collects. */
export function parsePort(text: string, previous: PortRequest[]): PortRequest[] {
  const [local = '', remote, ...more] = text.split(':');
  if (more.length > 0 || remote === '' || !isPort(local)) throw badPort(text);
  if (remote === undefined) return [...previous, { local: Number(local) }];
  if (/^\d+$/.test(remote)) {
    if (!isPort(remote)) throw badPort(text);
    return [...previous, { local: Number(local), remote: Number(remote) }];
  }
  if (!/^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/.test(remote)) throw badPort(text);
  return [...previous, { local: Number(local), remote }];
}

const units: Record<string, number> = {
  '': 1,
  k: 1000,
  m: 1000 ** 2,
  g: 1000 ** 3,
  ki: 1024,
  mi: 1024 ** 2,
  gi: 1024 ** 3,
};

/** Bytes, with a unit as Kubernetes has them (`100Mi`), a `B` behind it or not. For commander. */
export function parseSize(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]i?)?b?$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * units[unit.toLowerCase()]!);
  if (number !== '' && Number.isSafeInteger(bytes)) return bytes;
  throw new BowlineError('BAD_ARGUMENT', `${JSON.stringify(text)} is not a size.`, {
    hint: 'For example: 100MiB, 2G or 500000.',
  });
}

export function parseSeconds(least: number): (text: string) => number {
  return (text) => {
    const seconds = Number(text);
    if (text.trim() === '' || !(seconds >= least && seconds <= 86_400)) {
      const message = `${JSON.stringify(text)} is not a number of seconds from ${least} to 86400.`;
      throw new BowlineError('BAD_ARGUMENT', message, { hint: 'For example: 30' });
    }
    return seconds;
  };
}

/** Whole seconds: a Lease knows no other. */
export function parseLapse(text: string): number {
  const seconds = parseSeconds(5)(text);
  if (Number.isInteger(seconds)) return seconds;
  throw new BowlineError('BAD_ARGUMENT', `${JSON.stringify(text)} is not a whole number of seconds.`);
}

/** An empty value is a shell variable that was not set, hardly the wish for the default. For commander. */
export function filled(option: string): (text: string) => string {
  return (text) => {
    if (text !== '') return text;
    throw new BowlineError('BAD_ARGUMENT', `${option} is empty.`, {
      hint: 'Leave it away for the default; if it comes from a shell variable, that one is not set.',
    });
  };
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}

function badPort(text: string): BowlineError {
  return new BowlineError('BAD_ARGUMENT', `${JSON.stringify(text)} is not LOCAL or LOCAL:REMOTE.`, {
    hint: 'For example: --port 3000, --port 8080:80 or --port 8080:http (ports are 1 to 65535).',
  });
}
