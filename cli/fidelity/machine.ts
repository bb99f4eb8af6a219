/** The machine's side of a fidelity report: what a program really gets that is started as the user's command is. */
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Inspection, InspectionRequest } from '../../agent-image/inspection.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, PodInspection } from '../../api/schema.ts';
import type { CommandPlace } from '../command-place.ts';

const probe = fileURLToPath(new URL('probe.ts', import.meta.url));

/** Milliseconds that a connection through the tunnel is watched, where it stood in the pod and where it did not. */
const settle = { connected: 300, refused: 5_000 };

/** Where each mount that is here lies for the command. */
export function placesOf(connection: Connection, place: Pick<CommandPlace, 'files'>): Map<string, string> {
  const kept = new Set(place.files?.refused.map(({ target }) => target));
  const ready = (connection.files?.mounts ?? []).filter(({ state }) => state === 'ready');
  const inPlace = (path: string): boolean => place.files !== undefined && !kept.has(path);
  return new Map(ready.map(({ mountPath, local }) => [mountPath, inPlace(mountPath) ? mountPath : local]));
}

export async function inspectMachine(
  connection: Connection,
  place: CommandPlace,
  { pod, key }: { pod: PodInspection; key: string },
): Promise<Inspection> {
  const places = placesOf(connection, place);
  const request: InspectionRequest = {
    key,
    mounts: [...places].map(([path, at]) => ({ path, at })),
    endpoints: pod.endpoints.map(({ service, namespace, names, ports }) => {
      const here = connection.services.find((each) => each.service === service && each.namespace === namespace);
      return {
        names,
        address: here?.address,
        ports: ports.map(({ port, connects }) => ({
          port,
          at: here?.ports.find((each) => each.port === port)?.local ?? port,
          settle: connects ? settle.connected : settle.refused,
        })),
      };
    }),
    account: pod.account === undefined ? undefined : (places.get(pod.account) ?? pod.account),
  };
  let answer: Promise<string> = Promise.resolve('');
  const status = await place.run([process.execPath, ...process.execArgv, probe], {
    stdio: ['pipe', 'pipe', 'inherit'],
    onStart({ stdin, stdout }) {
      stdin?.on('error', () => undefined); // it has ended: its status tells
      stdin?.end(JSON.stringify(request));
      if (stdout) answer = text(stdout);
    },
  });
  const said = await answer;
  if (status === 0) return JSON.parse(said) as Inspection;
  throw new BowlineError(
    'COMMAND_NOT_STARTED',
    `The program that looks around on this machine ended with status ${status}.`,
    {
      hint: 'It runs on Node with the variables of the pod: a NODE_OPTIONS among them that needs files of the image stops it.',
    },
  );
}
