/** Which variables are shown: those of the pod that make sense on a machine, and of these the ones that were asked for. */
import type { Environment } from '../../api/schema.ts';
import { belongsToMachine } from '../../env-parser/machine-variables.ts';

export interface Choice {
  /** Also those that belong to the machine, such as PATH. */
  all: boolean;
  /** Names, `*` stands for any text. */
  only?: string[];
  except?: string[];
}

/** An entry of the environment file is the user's own word: it stays, also where it names PATH. */
export function chooseVariables(
  { variables, origins }: Pick<Environment, 'variables' | 'origins'>,
  { all, only, except }: Choice,
): {
  variables: Record<string, string>;
  /** Patterns of `only` and `except` that no variable has. */ unmatched: string[];
} {
  const wanted = only?.map(toPattern);
  const unwanted = except?.map(toPattern) ?? [];
  const shown = Object.entries(variables).filter(
    ([name]) => all || origins[name] === 'file' || !belongsToMachine(name),
  );
  const unmatched = [...(only ?? []), ...(except ?? [])].filter(
    (pattern) => !shown.some(([name]) => toPattern(pattern).test(name)),
  );
  const chosen = shown.filter(
    ([name]) =>
      (wanted === undefined || wanted.some((pattern) => pattern.test(name))) &&
      !unwanted.some((pattern) => pattern.test(name)),
  );
  return { variables: Object.fromEntries(chosen), unmatched };
}

function toPattern(text: string): RegExp {
  const parts = text.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
