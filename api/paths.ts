/**
 * Where daemon and clients meet. Platform facts enter as data, so that every system's answer is tested on any system.
 * The runtime folder is short-lived and private (socket, endpoint file, lock), the state folder stays (sessions, log).
 */
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { posix, win32 } from 'node:path';

export interface PlatformFacts {
  platform: NodeJS.Platform;
  env: Readonly<Record<string, string | undefined>>;
  /** -1 where the system has no numbers for users. */
  uid: number;
  home: string;
  tmpdir: string;
}

export interface Paths {
  runtimeFolder: string;
  /** The Unix socket; absent on Windows, where the daemon draws a random pipe name and writes it to `endpoint`. */
  socket: string | undefined;
  /** A file only the user can read: where the daemon listens and the token to show. */
  endpoint: string;
  stateFolder: string;
  sessionsFolder: string;
  logFile: string;
  /** What the daemon prints before its log is open, and when it dies. */
  outputFile: string;
  cacheFolder: string;
}

/** The shortest `sun_path` of the systems we run on is 104 bytes (macOS), with the closing NUL. */
const socketPathLimit = 103;

export function platformFacts(): PlatformFacts {
  return {
    platform: process.platform,
    env: process.env,
    uid: process.getuid?.() ?? -1,
    home: process.env['HOME'] ?? homedir(),
    tmpdir: tmpdir(),
  };
}

export function pathsOf(facts: PlatformFacts): Paths {
  const path = facts.platform === 'win32' ? win32 : posix;
  const runtimeFolder = runtimeFolderOf(facts);
  const stateFolder = stateFolderOf(facts);
  return {
    runtimeFolder,
    socket: facts.platform === 'win32' ? undefined : path.join(runtimeFolder, 'daemon.sock'),
    endpoint: path.join(runtimeFolder, 'endpoint.json'),
    stateFolder,
    sessionsFolder: path.join(stateFolder, 'sessions'),
    logFile: path.join(stateFolder, 'daemon.log'),
    outputFile: path.join(stateFolder, 'daemon.out'),
    cacheFolder: cacheFolderOf(facts),
  };
}

function runtimeFolderOf({ platform, env, uid, home }: PlatformFacts): string {
  if (platform === 'win32') return win32.join(localAppData(env, home), 'bowline', 'run');
  const given = absolute(env['XDG_RUNTIME_DIR']);
  if (given === undefined) return `/tmp/bowline-${uid}`;
  const folder = posix.join(given, 'bowline');
  if (Buffer.byteLength(posix.join(folder, 'daemon.sock')) <= socketPathLimit) return folder;
  // Too long for a socket; the hash keeps users of different runtime folders apart.
  return `/tmp/bowline-${uid}-${createHash('sha256').update(given).digest('hex').slice(0, 8)}`;
}

function stateFolderOf({ platform, env, home }: PlatformFacts): string {
  if (platform === 'win32') return win32.join(localAppData(env, home), 'bowline', 'state');
  const given = absolute(env['XDG_STATE_HOME']);
  if (given !== undefined) return posix.join(given, 'bowline');
  if (platform === 'darwin') return posix.join(home, 'Library', 'Application Support', 'bowline');
  return posix.join(home, '.local', 'state', 'bowline');
}

function cacheFolderOf({ platform, env, home }: PlatformFacts): string {
  if (platform === 'win32') return win32.join(localAppData(env, home), 'bowline', 'cache');
  const given = absolute(env['XDG_CACHE_HOME']);
  if (given !== undefined) return posix.join(given, 'bowline');
  if (platform === 'darwin') return posix.join(home, 'Library', 'Caches', 'bowline');
  return posix.join(home, '.cache', 'bowline');
}

function localAppData(env: PlatformFacts['env'], home: string): string {
  return env['LOCALAPPDATA'] ?? win32.join(home, 'AppData', 'Local');
}

/** The XDG specification has relative values ignored. */
function absolute(folder: string | undefined): string | undefined {
  return folder?.startsWith('/') ? folder : undefined;
}
