/**
 * The daemon: the composition root. Nothing else constructs its parts. Ends with status 0 when another daemon of this
 * user runs already, so that two starts at once are one.
 */
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { BowlineError, exitStatus } from '../api/errors.ts';
import { pathsOf, platformFacts } from '../api/paths.ts';
import { bundleAgent } from '../agent-image/bundle.ts';
import { bundleKeeper } from '../keeper/bundle.ts';
import { connectHelper } from '../helper/client.ts';
import { openCluster } from './cluster/open.ts';
import type { PipeKind } from './cluster/pipe.ts';
import { savedPipeMemory } from './state/pipe-memory.ts';
import { createPluginCache } from './cluster/config/plugincache.ts';
import { Session } from './connections/session.ts';
import { startConnections, type ConnectionsOptions } from './connections/start.ts';
import { crashPointsOf } from './crash-points/watched.ts';
import { runDaemon, type DaemonOptions } from './daemon.ts';
import { clusterProbe } from './doctor/cluster.ts';
import { helperProbe } from './doctor/helper.ts';
import { hostsFileProbe } from './doctor/hosts-file.ts';
import { objectLister } from './doctor/objects.ts';
import { startNames } from './names/manager.ts';
import { openJsonFile, openJsonFolder } from './state/json-files.ts';
import { findPlace, leavePlace } from './volumes/place.ts';
import { VolumeRegistry, type Made } from './volumes/registry.ts';

/** What the agent runs on unless a connection says otherwise: any image with Node 24 does. */
const defaultImage = 'docker.io/library/node:24-slim';

const facts = platformFacts();
const hostsFile =
  facts.platform === 'win32' ? `${facts.env['SystemRoot']}\\System32\\drivers\\etc\\hosts` : '/etc/hosts';
const identity = { user: userInfo().username, host: hostname() };
const levels = ['debug', 'info', 'warn', 'error'] as const;
/** Of a test that kills daemons; docs/decisions/0011-crash-points.md. */
const points = crashPointsOf(facts.env['BOWLINE_CRASH_POINTS']);
const logLevel = levels.find((level) => level === facts.env['BOWLINE_LOG_LEVEL']);

const openParts: DaemonOptions['openParts'] = async ({ paths, log, signal }) => {
  await using undo = new AsyncDisposableStack();
  const { env, home, uid, platform } = facts;
  const allocations = await openJsonFile<Record<string, string>>(join(paths.stateFolder, 'addresses.json'), {
    version: 1,
    log,
  });
  const names = undo.use(
    await startNames(
      {
        connectHelper: points.helper((signal) => connectHelper({ uid }, signal)),
        allocationStore: {
          load: async () => (await allocations.load()) ?? {},
          save: (value) => allocations.save(value),
        },
        log,
        platform,
        uid,
      },
      signal,
    ),
  );
  const pipes = await savedPipeMemory(
    await openJsonFile<Record<string, PipeKind>>(join(paths.stateFolder, 'pipes.json'), { version: 1, log }),
    log,
  );
  const shared = { env, home, log, plugins: createPluginCache(), pipes };
  const open: ConnectionsOptions['openCluster'] = async (choice, signal) =>
    points.cluster(await openCluster({ ...choice, ...shared }, signal));
  const store = await openJsonFolder<Session>(paths.sessionsFolder, {
    version: 1,
    parse: (value) => Session.parse(value),
    log,
  });
  const place = await findPlace(paths, uid);
  undo.defer(() => leavePlace(place));
  const volumes = await VolumeRegistry.open(
    place,
    points.files(await openJsonFile<Made>(join(paths.stateFolder, 'files.json'), { version: 1, log })),
    log,
  );
  const manager = await startConnections(
    {
      openCluster: open,
      store: points.sessions(store),
      names,
      volumes,
      code: once(bundleAgent),
      keeperCode: once(bundleKeeper),
      defaultImage,
      identity,
      log,
    },
    signal,
  );
  const kept = undo.move();
  return {
    manager,
    async helper() {
      const { mode, reason } = await names.mode();
      return { installed: mode === 'hosts', ...(reason === undefined ? {} : { detail: reason }) };
    },
    probes: [
      helperProbe(names),
      hostsFileProbe(manager, hostsFile, uid),
      clusterProbe({ openCluster: open, manager, env, home, uid }),
    ],
    objects: objectLister({ openCluster: open, manager }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
};

/** Makes it at the first call and keeps it; a failure is tried again. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make().catch((error: unknown) => ((made = undefined), Promise.reject(error))));
}

process.umask(0o077);
process.chdir('/');
// For this process only; it would reach credential plugins.
delete process.env['NODE_COMPILE_CACHE'];
try {
  await runDaemon({ paths: pathsOf(facts), uid: facts.uid, ...(logLevel && { logLevel }), openParts });
  process.exit(0);
} catch (thrown) {
  const error = BowlineError.from(thrown);
  const trace = error.category === 'bug' && thrown instanceof Error ? `${thrown.stack}\n` : '';
  process.stderr.write(`error[${error.code}]: ${error.message}\n${trace}`);
  process.exit(exitStatus[error.category]);
}
