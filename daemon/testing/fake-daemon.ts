/** A whole daemon process, but for the cluster: what tests of the command and of the daemon's life start. */
import { pathsOf, platformFacts } from '../../api/paths.ts';
import { runDaemon } from '../daemon.ts';
import { openJsonFolder } from '../state/json-files.ts';
import { startFakeManager, type FakeSession } from './fake-manager.ts';

const facts = platformFacts();
await runDaemon({
  paths: pathsOf(facts),
  uid: facts.uid,
  holdGrace: Number(process.env['FAKE_HOLD_GRACE'] ?? 30_000),
  releaseBound: Number(process.env['FAKE_RELEASE_BOUND'] ?? 45_000),
  async openParts({ paths, log }) {
    const store = await openJsonFolder<FakeSession>(paths.sessionsFolder, { version: 1, log });
    return {
      manager: startFakeManager(store, JSON.parse(process.env['FAKE_VARIABLES'] ?? '{}') as Record<string, string>),
      helper: async () => ({ installed: false, detail: 'a test' }),
      probes: [async () => [{ check: 'helper', state: 'warning', message: 'The helper is not installed.' }]],
      objects: async () => ({ objects: [], unreadable: [] }),
      async [Symbol.asyncDispose]() {},
    };
  },
});
process.exit(0);
