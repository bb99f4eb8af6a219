/**
 * What the helper accepts. Everything that crosses the socket is hostile until it has passed here: the shape of a request
 * (refused as a whole) and each name, address and port in it (refused one by one, with a reason that users see).
 *
 * A name must not shadow a host that exists without us. Allowed are bare names and names shaped like a Service's:
 * - `x.ns.svc`, and `x.ns.svc.DOMAIN` below a cluster domain: `cluster.local`, one that is not under a public top-level
 *   domain, or one that the administrator allowed when installing the helper;
 * - `x.ns` and `pod.x.ns`, unless the namespace is a public top-level domain (com, io, dev, ...) or a special-use one.
 * Some top-level domains are words that namespaces are called all the time and that few hosts matter under (shop, prod,
 * data, ...): those are allowed, as in the cluster itself, where the Service goes before the public name as well. The
 * administrator may allow more (`--allow-suffix dev`); otherwise `redis.dev` is refused and `redis.dev.svc` works.
 */
import { publicTopLevelDomains } from './tlds.ts';
import { limits } from './protocol.ts';
import type { Desired, HelperErrorCode, HelperRequest, HostEntry, LowPort } from './protocol.ts';

export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: HelperErrorCode;
  constructor(code: HelperErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export interface NamePolicy {
  /** Names that the hosts file gives outside the caller's block, in lower case. */
  foreignNames: ReadonlySet<string>;
  /** The machine's own name. */
  hostname: string;
  /** Suffixes that the administrator allowed: a cluster domain, or a namespace that is a top-level domain too. */
  allowedSuffixes: readonly string[];
  /** Addresses that the hosts file uses outside the caller's block: another user's. */
  foreignAddresses: ReadonlySet<string>;
  /** Ports from 1024 on may be redirected too. */
  anyPort: boolean;
}

export interface Refusal {
  what: string;
  reason: string;
}

type Bag = Record<string, unknown>;

export function parseRequest(line: string): HelperRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RequestError('BAD_REQUEST', 'The request is not JSON.');
  }
  const request = bag(value, 'request');
  const id = request['id'];
  if (!Number.isSafeInteger(id) || (id as number) < 0) throw new RequestError('BAD_REQUEST', 'The request has no id.');
  switch (request['op']) {
    case 'hello':
      onlyKeys(request, ['id', 'op', 'protocol']);
      return { id: id as number, op: 'hello', protocol: integer(request['protocol'], 'protocol') };
    case 'apply':
      onlyKeys(request, ['id', 'op', 'desired']);
      return { id: id as number, op: 'apply', desired: parseDesired(request['desired']) };
    case 'release':
      onlyKeys(request, ['id', 'op']);
      return { id: id as number, op: 'release' };
    default:
      throw new RequestError('BAD_REQUEST', 'Unknown operation.');
  }
}

function parseDesired(value: unknown): Desired {
  const desired = bag(value, 'desired');
  onlyKeys(desired, ['hosts', 'lowPorts']);
  const hosts = list(desired['hosts'], 'hosts', limits.names).map((item): HostEntry => {
    const entry = bag(item, 'hosts entry');
    onlyKeys(entry, ['address', 'names']);
    const names = list(entry['names'], 'names', limits.names).map((name) => text(name, 'name'));
    return { address: text(entry['address'], 'address'), names };
  });
  const count = hosts.reduce((sum, entry) => sum + entry.names.length, 0);
  if (count > limits.names) throw new RequestError('TOO_MUCH', `${count} names; at most ${limits.names} are allowed.`);
  const lowPorts = list(desired['lowPorts'], 'lowPorts', limits.lowPorts).map((item): LowPort => {
    const entry = bag(item, 'lowPorts entry');
    onlyKeys(entry, ['address', 'port', 'targetPort']);
    return {
      address: text(entry['address'], 'address'),
      port: integer(entry['port'], 'port'),
      targetPort: integer(entry['targetPort'], 'targetPort'),
    };
  });
  return { hosts, lowPorts };
}

/** Splits what is wanted into what may be done and what is refused. */
export function screen(desired: Desired, policy: NamePolicy): { accepted: Desired; refused: Refusal[] } {
  const refused: Refusal[] = [];
  const taken = new Set<string>();
  const hosts: HostEntry[] = [];
  for (const { address, names } of desired.hosts) {
    const badAddress = addressProblem(address, policy);
    const good = names.filter((name) => {
      const reason =
        badAddress ??
        nameProblem(name, policy) ??
        (taken.has(name) ? 'it is asked for twice in one request' : undefined);
      if (reason === undefined) taken.add(name);
      else refused.push({ what: printable(name), reason });
      return reason === undefined;
    });
    if (good.length > 0) hosts.push({ address, names: good });
  }
  const ports = new Set<string>();
  const lowPorts = desired.lowPorts.filter((wanted) => {
    const what = `${printable(wanted.address)}:${wanted.port}`;
    const reason =
      addressProblem(wanted.address, policy) ??
      portProblem(wanted, policy) ??
      (ports.has(what) ? 'it is asked for twice in one request' : undefined);
    if (reason === undefined) ports.add(what);
    else refused.push({ what, reason });
    return reason === undefined;
  });
  return { accepted: { hosts, lowPorts }, refused };
}

export function addressProblem(address: string, policy?: NamePolicy): string | undefined {
  if (policy?.foreignAddresses.has(address) === true) return `the address ${printable(address)} is another user's`;
  const match = /^127\.66\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(address);
  const third = Number(match?.[1] ?? 256);
  const fourth = Number(match?.[2] ?? 256);
  const inside = third <= 255 && fourth <= 255 && !(third === 0 && fourth === 0) && !(third === 255 && fourth === 255);
  return inside ? undefined : `the address ${printable(address)} is outside 127.66.0.0/16`;
}

function portProblem({ port, targetPort }: LowPort, { anyPort }: NamePolicy): string | undefined {
  const highest = anyPort ? 65_535 : 1023;
  if (port < 1 || port > highest) return `port ${port} is not between 1 and ${highest}`;
  if (targetPort < 1024 || targetPort > 65_535) return `target port ${targetPort} is not between 1024 and 65535`;
  return undefined;
}

/** Bare names that programs ask for by themselves, or that mean this machine. */
const reservedNames = new Set([
  'localhost',
  'localdomain',
  'broadcasthost',
  'wpad',
  'isatap',
  'ip6-localhost',
  'ip6-loopback',
]);

/** RFC 6761, RFC 6762 (with its appendix G: what private networks use), RFC 7686, RFC 9476. */
const specialDomains = new Set([
  'local',
  'localhost',
  'localdomain',
  'internal',
  'intranet',
  'private',
  'corp',
  'home',
  'lan',
  'onion',
  'alt',
  'arpa',
]);

/** Top-level domains under which names are allowed all the same, see above. */
const namespaceWords = new Set(
  `accountant accountants bank bot catering chat claims codes coupons data delivery email energy events exchange finance
  flights foundation fund game games insurance loans market marketing media mobile money network news office parts pay
  photos play prod productions promo properties report reviews sale school search security services shop shopping store
  stream studio supply support systems taxi team tickets tools tours trading training video wallet work works`.split(
    /\s+/,
  ),
);

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function nameProblem(name: string, policy: NamePolicy): string | undefined {
  if (name.length > 253) return 'a name has at most 253 characters';
  const labels = name.split('.');
  if (!labels.every((part) => label.test(part))) return 'it is not a lower-case host name';
  const last = labels.at(-1) ?? '';
  // "1" or "a.0x7f": resolvers read such names as IPv4 addresses
  if (/^(\d+|0x[0-9a-f]*)$/.test(last)) return 'its last label is a number';
  if (reservedNames.has(name)) return 'it is a reserved name';
  if (name === policy.hostname.toLowerCase()) return "it is this machine's own name";
  if (policy.foreignNames.has(name)) return 'the hosts file already gives this name outside the block of Bowline';
  if (labels.length === 1) return undefined;
  if (policy.allowedSuffixes.some((suffix) => name.endsWith(`.${suffix}`))) return undefined;
  const svc = labels.lastIndexOf('svc');
  if (svc >= 1 && svc <= 3 && name.endsWith('.svc.cluster.local')) return undefined;
  if (specialDomains.has(last)) return `.${last} is reserved for other uses${insteadOf(labels)}`;
  if (publicTopLevelDomains.has(last) && !namespaceWords.has(last))
    return `.${last} is a public top-level domain, so this may be a public host${insteadOf(labels)}`;
  // Beyond NAME.SERVICE.NAMESPACE only a Service's full form is known to us.
  if (labels.length > 3 && !(svc >= 1 && svc <= 3)) return 'it is not shaped like the name of a Service';
  return undefined;
}

function insteadOf(labels: string[]): string {
  return labels.length === 2 ? `; use ${labels.join('.')}.svc` : '';
}

/** For messages and the audit: a hostile name must not write lines of its own. */
export function printable(value: string): string {
  return JSON.stringify(value.slice(0, 80)).slice(1, -1);
}

function bag(value: unknown, what: string): Bag {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RequestError('BAD_REQUEST', `${what} is not an object.`);
  return value as Bag;
}

function onlyKeys(value: Bag, keys: string[]): void {
  for (const key of Object.keys(value))
    if (!keys.includes(key)) throw new RequestError('BAD_REQUEST', `Unknown field ${printable(key)}.`);
}

function list(value: unknown, what: string, most: number): unknown[] {
  if (!Array.isArray(value)) throw new RequestError('BAD_REQUEST', `${what} is not a list.`);
  if (value.length > most)
    throw new RequestError('TOO_MUCH', `${what} has ${value.length} entries; at most ${most} are allowed.`);
  return value;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new RequestError('BAD_REQUEST', `${what} is not a string.`);
  return value;
}

function integer(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value)) throw new RequestError('BAD_REQUEST', `${what} is not a whole number.`);
  return value as number;
}
