/** Completion for zsh, by _arguments. */
import type { CompletionCommand, CompletionOption } from './model.ts';

export function zshCompletion(commands: CompletionCommand[]): string {
  return `#compdef bowline
# zsh completion for bowline; load it with: source <(bowline completion zsh), or put it into $fpath as _bowline
_bowline_connections() {
  local -a names
  names=(\${(f)"$(bowline completion --connections 2>/dev/null)"})
  (( \${#names} )) && compadd -a names
}
${commands.map(functionOf).join('\n')}
if [ "\${funcstack[1]}" = "_bowline" ]; then _bowline "$@"; else compdef _bowline bowline; fi
`;
}

/** Behind `--` zsh completes as for that command. */
const anotherProgram = `  local end=\${words[(i)--]}
  if (( end < CURRENT )); then
    shift $end words
    (( CURRENT -= end ))
    _normal
    return
  fi
`;

function nameOf(path: string[]): string {
  return ['_bowline', ...path].join('_');
}

function functionOf(command: CompletionCommand): string {
  const options = command.options.flatMap(optionSpecs);
  if (command.subcommands.length === 0) {
    const rest = command.takesConnection
      ? `'1:connection:_bowline_connections'`
      : command.argumentChoices.length > 0
        ? `'1:value:(${command.argumentChoices.join(' ')})'`
        : command.takesCommand
          ? `'1:target:()'`
          : '';
    return `${nameOf(command.path)}() {\n${command.takesCommand ? anotherProgram : ''}  _arguments -s ${[...options, rest].join(' \\\n    ').trimEnd().replace(/ \\$/, '')}\n}`;
  }
  const subcommands = command.subcommands.map(({ name, description }) => `    ${quote(`${name}:${description}`)}`);
  const cases = command.subcommands.map(({ name }) => `    ${name}) ${nameOf([...command.path, name])} ;;`);
  return `${nameOf(command.path)}() {
  local line state
  local -a subcommands
  subcommands=(
${subcommands.join('\n')}
  )
  _arguments -C ${[...options, `'1:command:->command'`, `'*::argument:->argument'`].join(' \\\n    ')}
  case $state in
  command) _describe command subcommands ;;
  argument)
    case $line[1] in
${cases.join('\n')}
    esac ;;
  esac
}`;
}

function optionSpecs({ long, short, description, value, choices, file, repeat }: CompletionOption): string[] {
  const label = long.replace(/^--/, '');
  const action = choices.length > 0 ? `(${choices.join(' ')})` : file ? '_files' : ' ';
  const tail = `[${description.replaceAll(/[[\]]/g, '').replaceAll(':', '\\:')}]${value ? `:${label}:${action}` : ''}`;
  return [long, ...(short === undefined ? [] : [short])].map((flag) =>
    quote(`${repeat ? '*' : ''}${flag}${value && flag === long ? '=' : ''}${tail}`),
  );
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
