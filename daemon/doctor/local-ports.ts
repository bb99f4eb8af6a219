/** The ports of this machine at which the developer's program would answer: nobody's yet, his, or somebody else's. */
import { portOwner, type PortOwner } from '../../helper/owner.ts';
import type { DoctorCheck } from '../../api/schema.ts';
import { dialLocal } from '../connections/local-port.ts';
import { ok, warning } from './check.ts';

export interface PortPair {
  local: number;
  /** The container port in the pod. */
  remote: number;
}

/** `uid`: of the developer; undefined where the system has none. Does not throw. */
export function localPorts(pairs: PortPair[], uid: number | undefined): Promise<DoctorCheck[]> {
  return Promise.all(pairs.map((pair) => localPort(pair, uid)));
}

async function localPort({ local, remote }: PortPair, uid: number | undefined): Promise<DoctorCheck> {
  const what = `localhost:${local}, which answers for the pod's port ${remote}`;
  const elsewhere = `let yours listen on another port and connect with --port OTHER:${remote}`;
  const owner = portOwner(process.platform, '127.0.0.1', local);
  if (owner === undefined)
    return ok(
      'local-port',
      (await answers(local))
        ? `${what}, is in use; this system does not say by whom. Where that is not your program, ${elsewhere}.`
        : `${what}, is free: start your program there.`,
    );
  if (owner.uid === uid)
    return ok('local-port', `${what}, has a program of yours, as it should: ${describe(owner, local)}.`);
  return warning(
    'local-port',
    `${what}, is taken by somebody else's program: ${describe(owner, local)}. It would get the requests.`,
    `Stop it, or ${elsewhere}. If it is yours all the same (a port of a container), nothing is wrong.`,
  );
}

function describe({ name, pid, uid, address }: PortOwner, port: number): string {
  const program = name === undefined ? 'a program' : `${name} (pid ${pid ?? '?'})`;
  return `${program} of user ${uid ?? 'unknown'} on ${address}:${port}`;
}

/** A listener that the system's tables do not show on IPv4: of IPv6 alone, or on a system without such tables. */
async function answers(port: number): Promise<boolean> {
  const open = await dialLocal(port, AbortSignal.timeout(2_000)).catch(() => undefined);
  open?.destroy();
  return open !== undefined;
}
