/**
 * Which way a pipe takes. `pods/proxy` first, port-forward where it does not work; the way that worked is remembered
 * per context and taken first the next time. Port-forward is the slower one, so the other is tried again now and then.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { upgradeName } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import { podProxy } from './podproxy.ts';
import { portForward } from './portforward.ts';
import { abortReason, startDeadline } from './transport/deadline.ts';
import { sendUpgrade } from './transport/upgrade.ts';
import type { Duplex } from 'node:stream';
import type { Log } from '../log.ts';
import type { CallOptions } from './cluster.ts';
import type { Pipe, PipeKind } from './pipe.ts';
import type { PodPort } from './portforward.ts';
import type { Transport } from './transport/transport.ts';

/** Where the way that works is kept; the daemon saves it to its state folder. The key names context and server. */
export interface PipeMemory {
  get(context: string): PipeKind | undefined;
  set(context: string, kind: PipeKind): void;
}

export function createPipeMemory(): PipeMemory {
  return new Map<string, PipeKind>();
}

export interface PipeOpener {
  open(pod: PodPort, path: string, options?: CallOptions): Promise<Pipe>;
}

/** Where the API server cannot reach the pod it may say so only after half a minute. */
const proxyTimeout = 5_000;
const pipeTimeout = 15_000;
/**
 * A program that has just started refuses for a moment. Only a refusal that lasts is a reason for the other way: else the
 * slower one would be taken, and remembered, for a matter of milliseconds.
 */
const refusedPatience = 1_000;
const refusedPause = 50;
const defaultRetryAfter = 30 * 60_000;

interface PipeOpenerOptions {
  transport: Transport;
  /** Key in the memory. */
  key: string;
  memory: PipeMemory;
  log: Log;
  /** Milliseconds after which a context that needed port-forward is asked for `pods/proxy` again. */
  retryAfter?: number;
  now?: () => number;
}

export function createPipeOpener(options: PipeOpenerOptions): PipeOpener {
  const { transport, key, memory, log, retryAfter = defaultRetryAfter, now = Date.now } = options;
  // When the memory came from a former run its age is unknown; it is trusted from now on for one period.
  let proxyTried = now();

  const ways: Record<PipeKind, (pod: PodPort, path: string, signal: AbortSignal) => Promise<Duplex>> = {
    'pods/proxy': async (pod, path, signal) => {
      proxyTried = now();
      for (let patience = refusedPatience; ; patience -= refusedPause) {
        try {
          return await podProxy(transport, pod, path, upgradeName, { signal, timeout: proxyTimeout });
        } catch (error) {
          if (signal.aborted) throw error;
          // A gateway in between may know no upgrade but the one to WebSocket.
          if (answeredByOthers(error))
            return await podProxy(transport, pod, path, 'websocket', { signal, timeout: proxyTimeout });
          if (!refusedByPod(error) || patience <= 0) throw error;
          await delay(refusedPause, undefined, { signal });
        }
      }
    },
    'port-forward': async (pod, path, signal) => {
      const stream = await portForward(transport, pod, { signal, timeout: pipeTimeout });
      // What befalls the stream while the upgrade is under way is the reason of its failure.
      const broken = new Promise<never>((_resolve, reject) => stream.once('error', reject));
      broken.catch(() => {});
      const headers = { host: `${pod.name}:${pod.port}`, 'user-agent': 'bowline' };
      return await Promise.race([
        sendUpgrade(stream, { path: `/${path.replace(/^\//, '')}`, headers, protocol: upgradeName }, signal),
        broken,
      ]);
    },
  };

  return {
    async open(pod, path, { signal, timeout = pipeTimeout } = {}) {
      using deadline = startDeadline(timeout, [signal], () =>
        Object.assign(new Error(`no answer within ${timeout / 1000} s`), { code: 'ETIMEDOUT' }),
      );
      const forwardFirst = memory.get(key) === 'port-forward' && now() - proxyTried < retryAfter;
      const order: PipeKind[] = forwardFirst ? ['port-forward', 'pods/proxy'] : ['pods/proxy', 'port-forward'];
      const reasons: Array<{ kind: PipeKind; error: unknown }> = [];
      for (const kind of order) {
        try {
          const stream = await ways[kind](pod, path, deadline.signal);
          if (memory.get(key) !== kind) memory.set(key, kind);
          return { kind, stream };
        } catch (error) {
          if (signal?.aborted) throw abortReason(signal);
          if (concernsAll(error)) throw error;
          reasons.push({ kind, error });
          log.debug('pipe.failed', { kind, reason: messageOf(error) });
          if (deadline.signal.aborted) break;
        }
      }
      throw pipeFailed(pod, reasons);
    },
  };
}

/** No other way to the same API server would do better. */
function concernsAll(error: unknown): boolean {
  return (
    error instanceof BowlineError &&
    ['CREDENTIALS_EXPIRED', 'CREDENTIALS_FAILED', 'CERTIFICATE_UNKNOWN'].includes(error.code)
  );
}

/** The API server reached the pod, whose port is closed. */
function refusedByPod(error: unknown): boolean {
  return error instanceof BowlineError && error.message.includes('connection refused');
}

function answeredByOthers(error: unknown): boolean {
  return error instanceof BowlineError && error.details?.['fromKubernetes'] === false;
}

function pipeFailed(pod: PodPort, reasons: Array<{ kind: PipeKind; error: unknown }>): BowlineError {
  const errors = reasons.map(({ error }) => error);
  const rights = errors.filter((error) => error instanceof BowlineError && error.code === 'RIGHTS_MISSING');
  const unreachable = errors.find(
    (error) =>
      error instanceof BowlineError && error.code === 'API_UNREACHABLE' && error.details?.['errno'] !== 'ETIMEDOUT',
  );
  if (unreachable instanceof BowlineError) return unreachable;
  const why = reasons.map(({ kind, error }) => `${kind}: ${messageOf(error)}`).join(' ');
  return new BowlineError(
    'PIPE_FAILED',
    `No way to port ${pod.port} of pod "${pod.name}" in namespace "${pod.namespace}". ${why}`,
    {
      hint:
        rights.length > 0
          ? 'Either right is enough: get on pods/proxy (better), or get and create on pods/portforward.'
          : 'Is the pod running, and does it listen on the port?',
      details: {
        pod: pod.name,
        namespace: pod.namespace,
        port: pod.port,
        tried: reasons.map(({ kind, error }) => ({ kind, reason: messageOf(error) })),
      },
      cause: errors[0],
    },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
