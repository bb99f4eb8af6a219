/**
 * Which product this is and which protocol it speaks. `major` changes when an older client could not go on, `minor`
 * when something was added. Imports nothing, because `bowline --version` must not load more than this.
 */
export const productVersion = '0.1.0';
export const protocol = { major: 1, minor: 0 } as const;

/** Header of every request and answer: `1.0`. */
export const protocolHeader = 'x-bowline-protocol';
/** Header of every answer: the daemon's product version, so that a mismatch can name both sides. */
export const versionHeader = 'x-bowline-version';
/** Header by which a caller names its operation, to be able to cancel it and still see how it is undone. */
export const operationHeader = 'x-bowline-operation';

export const protocolText = `${protocol.major}.${protocol.minor}`;
