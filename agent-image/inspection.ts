/**
 * What a program sees around it: variables, files, names, identity. The same code looks in the agent's pod and on the
 * machine, so that what differs is the place and not the way of looking. Contents leave only as keyed digests.
 */
import { createHash, createHmac } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { entriesOf } from './volume-tree.ts';

export interface InspectionRequest {
  /** Hexadecimal; of one comparison, so that nobody can guess a value from its digest. */
  key: string;
  /** `path` is the pod's, `at` where it lies for this program. */
  mounts: Array<{ path: string; at: string }>;
  endpoints: Endpoint[];
  /** Folder with the service account's token and CA; absent where the pod has none. */
  account?: string | undefined;
  /** Instead of the token in that folder. */
  token?: string | undefined;
}

export interface Endpoint {
  names: string[];
  /** Where the names must lead; anywhere without it. Asked itself where none does. */
  address?: string | undefined;
  ports: Array<{
    port: number;
    /** Where it answers for this program. */
    at: number;
    /** Milliseconds that an open connection is watched: a tunnel opens it before it knows whether the other side will. */
    settle: number;
  }>;
}

export interface Inspection {
  variables: Record<string, string>;
  files: InspectedFile[];
  /** Mounts that could not be read. */
  unreadable: Array<{ path: string; why: string }>;
  endpoints: InspectedEndpoint[];
  identity: Identity | undefined;
  /** IANA name of the zone in which dates are printed. */
  timeZone: string;
  /** The system's. */
  hostName: string;
  uid: number;
}

export interface InspectedFile {
  /** Absolute, in the pod. */
  path: string;
  digest: string;
  executable: boolean;
  /** When it was written, in seconds since 1970. */
  modified: number;
}

export interface InspectedEndpoint {
  /** Those that have an address. */
  resolved: string[];
  ports: Array<{ port: number; connects: boolean; why: string }>;
}

/** As the API server sees the bearer of the token (`kubectl auth whoami`), or why it could not be asked. */
export type Identity = { user: string; uid: string; groups: string[] } | { problem: string };

const patience = 5_000;
const everything = { include: [], exclude: [], except: [] };

export async function inspect({ key, mounts, endpoints, account, token }: InspectionRequest): Promise<Inspection> {
  const unreadable: Inspection['unreadable'] = [];
  const filesOf = async (mount: InspectionRequest['mounts'][number]): Promise<InspectedFile[]> => {
    try {
      return await inspectMount(mount, key);
    } catch (error) {
      unreadable.push({ path: mount.path, why: reasonOf(error) });
      return [];
    }
  };
  const [files, seen, identity] = await Promise.all([
    Promise.all(mounts.map(filesOf)),
    Promise.all(endpoints.map(inspectEndpoint)),
    account === undefined ? undefined : whoAmI(account, token),
  ]);
  const variables = Object.entries(process.env).map(([name, value = '']) => [name, digestOf(key, value)] as const);
  return {
    variables: Object.fromEntries(variables),
    files: files.flat(),
    unreadable,
    endpoints: seen,
    identity,
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    hostName: hostname(),
    uid: process.getuid?.() ?? -1,
  };
}

export function digestOf(key: string, value: string): string {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(value).digest('hex');
}

/** Of a file: its SHA-256 in hexadecimal is what `sha256sum` says too, where only that can be asked. */
async function inspectMount({ path, at }: { path: string; at: string }, key: string): Promise<InspectedFile[]> {
  const files: InspectedFile[] = [];
  for await (const entry of entriesOf(at, everything)) {
    if (entry.kind !== 'file') continue;
    const hash = createHash('sha256');
    const read = await pipeline(createReadStream(entry.source), hash).then(
      () => true,
      (error: NodeJS.ErrnoException) => (error.code === 'EACCES' ? false : Promise.reject(error)),
    );
    if (!read) continue; // not for this user, so it does not travel either
    const single = entry.path === basename(at) && entry.source === at;
    files.push({
      path: single ? path : join(path, entry.path),
      digest: digestOf(key, hash.digest('hex')),
      executable: (entry.stats.mode & 0o100) !== 0,
      modified: Math.floor(entry.stats.mtimeMs / 1000),
    });
  }
  return files;
}

async function inspectEndpoint({ names, address: wanted, ports }: Endpoint): Promise<InspectedEndpoint> {
  const addresses = await Promise.all(
    names.map((name) =>
      lookup(name).then(
        ({ address }) => (wanted === undefined || address === wanted ? address : undefined),
        () => undefined,
      ),
    ),
  );
  const address = addresses.find((each) => each !== undefined) ?? wanted;
  return {
    resolved: names.filter((_, index) => addresses[index] !== undefined),
    ports: await Promise.all(
      ports.map(async ({ port, at, settle }) => {
        const why = address === undefined ? 'its name has no address' : await tryConnect(address, at, settle);
        return { port, connects: why === '', why };
      }),
    ),
  };
}

/** Empty when it connects, else why not. */
function tryConnect(host: string, port: number, settle: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (why: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(why);
    };
    let timer = setTimeout(() => end('no answer'), patience);
    socket.once('error', (error: NodeJS.ErrnoException) =>
      // Both say: nobody listens there. Through a tunnel it is known later.
      end(error.code === 'ECONNRESET' ? 'ECONNREFUSED' : (error.code ?? error.message)),
    );
    socket.once('connect', () => {
      if (settle === 0) return end('');
      clearTimeout(timer);
      timer = setTimeout(() => end(''), settle);
      socket.once('data', () => end(''));
      socket.once('end', () => end('')); // it was there, and has said nothing
    });
  });
}

/** As an in-cluster client does: variables of the Service, and the files of the account. */
async function whoAmI(account: string, given: string | undefined): Promise<Identity> {
  try {
    const [token, ca] = await Promise.all([
      given ?? readFile(join(account, 'token'), 'utf8'),
      readFile(join(account, 'ca.crt')),
    ]);
    const answer = await post({
      host: process.env['KUBERNETES_SERVICE_HOST'],
      port: process.env['KUBERNETES_SERVICE_PORT'],
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      ca,
      token: token.trim(),
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    });
    const { userInfo } = (JSON.parse(answer) as { status: { userInfo: { username: string } & Partial<Account> } })
      .status;
    return { user: userInfo.username, uid: userInfo.uid ?? '', groups: (userInfo.groups ?? []).toSorted() };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

interface Account {
  uid: string;
  groups: string[];
}

interface Post {
  host: string | undefined;
  port: string | undefined;
  path: string;
  ca: Buffer;
  token: string;
  body: object;
}

async function post({ token, body, ...where }: Post): Promise<string> {
  const payload = JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const outgoing = request(
    {
      ...where,
      method: 'POST',
      agent: false,
      signal: AbortSignal.timeout(patience),
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(payload),
      },
    },
    (response) => {
      text(response).then((answer) => {
        if (response.statusCode === 201) resolve(answer);
        else reject(new Error(`the API server answered ${response.statusCode}`));
      }, reject);
    },
  );
  outgoing.once('error', reject);
  outgoing.end(payload);
  return promise;
}

/** Codes of the system, never what an error quotes. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
