/** What the daemon, which puts a keeper into a cluster, and the keeper agree on. Plain values: both load it. */

/** Where the ConfigMap with the bundled keeper is mounted; the file is keeper.mjs. */
export const keeperFolder = '/bowline/keeper';
/** How the container starts it on a stock Node image: what it holds is small, and it mostly waits. */
export const keeperCommand = [
  'node',
  '--max-semi-space-size=1',
  '--max-old-space-size=96',
  `${keeperFolder}/keeper.mjs`,
];
