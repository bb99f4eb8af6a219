/** The signals by which a user or a system asks a command to end, taken over for as long as the answer is disposed of. */

export const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export function onInterrupt(handler: (signal: NodeJS.Signals) => void): Disposable {
  for (const name of endingSignals) process.on(name, handler);
  return {
    [Symbol.dispose]() {
      for (const name of endingSignals) process.removeListener(name, handler);
    },
  };
}
