/** The pod's variables against those of the shell that asks. Pure. */
import { belongsToMachine } from '../../env-parser/machine-variables.ts';

export interface Difference {
  /** Of the pod, not here. */
  added: Array<{ name: string; pod: string }>;
  changed: Array<{ name: string; here: string; pod: string }>;
  /** Here, not of the pod; only where they are asked for: a program gets them from its shell all the same. */
  onlyHere: Array<{ name: string; here: string }>;
  /** How many there are, shown or not; without those that belong to the machine (PWD, TERM, ...). */
  onlyHereCount: number;
}

export function compareVariables(
  pod: Readonly<Record<string, string>>,
  here: Readonly<Record<string, string | undefined>>,
  { all }: { all: boolean },
): Difference {
  const difference: Difference = { added: [], changed: [], onlyHere: [], onlyHereCount: 0 };
  for (const name of Object.keys({ ...pod, ...here }).sort()) {
    const [inPod, inShell] = [pod[name], here[name]];
    if (inPod !== undefined && inShell === undefined) difference.added.push({ name, pod: inPod });
    else if (inPod !== undefined && inShell !== undefined && inPod !== inShell)
      difference.changed.push({ name, here: inShell, pod: inPod });
    else if (inPod === undefined && inShell !== undefined && !belongsToMachine(name)) {
      difference.onlyHereCount++;
      if (all) difference.onlyHere.push({ name, here: inShell });
    }
  }
  return difference;
}

/** What stands in the place of a value: nothing of it, not even its length. */
const mask = '***';

export function masked({ added, changed, onlyHere, onlyHereCount }: Difference): Difference {
  return {
    onlyHereCount,
    added: added.map(({ name }) => ({ name, pod: mask })),
    changed: changed.map(({ name }) => ({ name, here: mask, pod: mask })),
    onlyHere: onlyHere.map(({ name }) => ({ name, here: mask })),
  };
}
