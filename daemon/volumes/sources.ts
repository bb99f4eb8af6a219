/** The two ways to a volume's content: through the agent, which has it mounted, and by `tar` in an original. */
import type { Readable } from 'node:stream';
import type { AgentCalls, AgentStreams, VolumeSize } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { OutboundTunnel } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { OriginalPlace } from './mounts.ts';

/** Nobody can read it out, now or later. */
export class Unavailable extends Error {}

export interface Source {
  /** `undefined` where it is not known beforehand. */
  size(signal: AbortSignal): Promise<VolumeSize | undefined>;
  /** `checkEnd` is asked after the last byte: it rejects unless all of it came, and answers what is to be told. */
  open(signal: AbortSignal): Promise<{
    archive: Readable;
    checkEnd: (seen: { whole: boolean; empty: boolean }) => Promise<string | undefined>;
  }>;
  /** What else is to be done to the content that has come whole, before anybody sees it; answers what is to be told. */
  complete?(into: string): Promise<string | undefined>;
}

export function agentSource(tunnel: OutboundTunnel, request: AgentStreams['files']): Source {
  return {
    async size(signal) {
      const body: AgentCalls['filesSize']['request'] = { mounts: [request] };
      const { sizes } = (await tunnel.call('filesSize', body, signal)) as AgentCalls['filesSize']['answer'];
      return sizes[0];
    },
    async open(signal) {
      const archive = await tunnel.open('files', request, signal);
      archive.end();
      return {
        archive,
        async checkEnd({ whole }) {
          if (!whole) throw new Error('its end did not arrive');
          return undefined;
        },
      };
    },
  };
}

/** Milliseconds that an original may be silent. */
const patience = 30_000;

/** Exit statuses of a shell, and of the container's runtime, for a program that is not there. */
const noProgram = new Set([126, 127, 128]);

export function originalSource(
  cluster: Cluster,
  pod: { namespace: string; name: string },
  places: OriginalPlace[],
  { partly }: { partly: boolean },
): Source {
  const [first] = places;
  return {
    async size(signal) {
      // `du` knows the whole alone; of parts the size shows as they come.
      if (first === undefined || partly) return undefined;
      const { container, mountPath } = first;
      const counted = await cluster
        .exec({ ...pod, container }, ['du', '-s', '-k', mountPath], { signal })
        .catch(() => undefined);
      const kilobytes = Number.parseInt(counted?.stdout.toString('utf8') ?? '', 10);
      if (counted?.exitCode !== 0 || Number.isNaN(kilobytes)) return undefined;
      return { path: mountPath, single: false, bytes: kilobytes * 1024, files: 0, leftOut: [], leftOutCount: 0 };
    },
    async open(signal) {
      for (const { container, mountPath } of places) {
        const opened = await tarIn(cluster, { ...pod, container }, mountPath, signal);
        if (opened !== undefined) return opened;
      }
      throw new Unavailable(
        `only the original has it, and no container of pod ${pod.name} that has it mounted has \`tar\`; give it an image with tar, or put the content into a ConfigMap or a claim`,
      );
    },
  };
}

type Opened = Awaited<ReturnType<Source['open']>>;

async function tarIn(
  cluster: Cluster,
  target: { namespace: string; name: string; container: string },
  mountPath: string,
  signal: AbortSignal,
): Promise<Opened | undefined> {
  const call = { signal, timeout: patience };
  const has = await cluster.exec(target, ['tar', '--help'], call).catch((error: unknown) => {
    signal.throwIfAborted();
    const known = BowlineError.from(error);
    if (known.code === 'RIGHTS_MISSING')
      throw new Unavailable(`only the original has it, and you may not run \`tar\` there: ${known.message}`);
    if (/not found|no such file/i.test(known.message)) return undefined;
    throw error;
  });
  if (has === undefined || noProgram.has(has.exitCode)) return undefined;
  const { output, exit } = await cluster.execStream(target, ['tar', '-C', mountPath, '-cf', '-', '.'], call);
  return {
    archive: output,
    async checkEnd({ whole }) {
      const { exitCode, stderr } = await exit;
      if (exitCode === 0 && whole) return undefined;
      const said = stderr.trim().split('\n')[0]?.slice(0, 200) ?? '';
      // It goes on after a file that it may not read, or that changes under it, and says so.
      if (whole) return `tar in container ${target.container} said: ${said}`;
      throw new Error(`tar in container ${target.container} ended with status ${exitCode}: ${said}`);
    },
  };
}
