/** The mistakes that commander finds in a command line, said in one sentence of ours each. */
import type { CommanderError } from 'commander';
import { BowlineError } from '../api/errors.ts';

/** `command`: what was typed, where it is one. */
export function usageError({ code, message }: CommanderError, command: string | undefined): BowlineError {
  const generalHint = `\`bowline ${command === undefined ? '' : `${command} `}--help\` shows what there is.`;
  const [said = '', ...rest] = message.replace(/^error: /, '').split('\n');
  const suggestion = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  if (code === 'commander.excessArguments') return tooMany(said, generalHint);
  if (code === 'commander.invalidArgument') return notAChoice(said);
  const [, flags] = /^option '(.*)' argument missing$/.exec(said) ?? [];
  if (flags) return new BowlineError('BAD_ARGUMENT', `${flags} needs its value.`, { hint: generalHint });
  const sentence = `${said.charAt(0).toUpperCase()}${said.slice(1).replace(/\.+$/, '')}.`;
  return new BowlineError('BAD_ARGUMENT', sentence, {
    hint: suggestion || generalHint,
  });
}

/** `too many arguments for 'connect'. Expected 1 argument but got 3: web, npm, start.` */
function tooMany(said: string, generalHint: string): BowlineError {
  const [, command = '', expected = '0', given = ''] =
    /^too many arguments(?: for '(.*?)')?\. Expected (\d+) .*? but got \d+: (.*)\.$/.exec(said) ?? [];
  const needless = given.split(', ').slice(Number(expected)).join(' ');
  return new BowlineError('BAD_ARGUMENT', `Too many arguments for \`${command || 'bowline'}\`: ${needless}.`, {
    hint:
      command === 'connect'
        ? `Put -- before a command that shall run: bowline connect TARGET -- ${needless}`
        : generalHint,
  });
}

/** `option '--names <HOW>' argument 'x' is invalid. Allowed choices are a, b.` or `command-argument value 'x' is ...`. */
function notAChoice(said: string): BowlineError {
  const [, flags = ''] = /^option '(.*?)(?: <.*?>)?' /.exec(said) ?? [];
  const [, value = ''] = / (?:argument|value) '(.*?)'.* is invalid/s.exec(said) ?? [];
  const [, choices = ''] = / choices are (.*?)\.*$/.exec(said) ?? [];
  const what = flags === '' ? 'not among the choices' : `not a choice of ${flags}`;
  return new BowlineError('BAD_ARGUMENT', `${JSON.stringify(value)} is ${what}.`, { hint: `One of ${choices}.` });
}
