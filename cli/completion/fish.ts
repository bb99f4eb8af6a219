/** Completion for fish. */
import type { CompletionCommand } from './model.ts';

export function fishCompletion(commands: CompletionCommand[]): string {
  const top = commands.find(({ path }) => path.length === 0)?.subcommands.map(({ name }) => name) ?? [];
  return `# fish completion for bowline; load it with: bowline completion fish | source
function __bowline_at
    # The subcommands so far are exactly these; options and what follows -- do not count.
    set -l words (commandline -opc)
    set -e words[1]
    set -l plain
    for word in $words
        test "$word" = --; and return 1
        string match -q -- '-*' $word; or set -a plain $word
    end
    set -l wanted (string split -n ' ' -- "$argv[1]")
    if test (count $wanted) -eq 0
        not string match -qr -- '^(${top.join('|')})$' "$plain[1]"
        return
    end
    for index in (seq (count $wanted))
        test "$plain[$index]" = "$wanted[$index]"; or return 1
    end
end
complete -c bowline -f
${commands.flatMap(linesOf).join('\n')}
`;
}

function linesOf({
  path,
  options,
  subcommands,
  takesConnection,
  argumentChoices,
  takesCommand,
}: CompletionCommand): string[] {
  const when = `complete -c bowline -n "__bowline_at '${path.join(' ')}'"`;
  const lines = subcommands.map(({ name, description }) => `${when} -a ${name} -d ${quote(description)}`);
  for (const { long, short, description, value, choices, file } of options) {
    const flags = `-l ${long.replace(/^--/, '')}${short === undefined ? '' : ` -s ${short.replace(/^-/, '')}`}`;
    const argument = value
      ? file
        ? ' -r -F'
        : ` -x${choices.length > 0 ? ` -a ${quote(choices.join(' '))}` : ''}`
      : '';
    lines.push(`${when} ${flags}${argument} -d ${quote(description)}`);
  }
  if (takesConnection) lines.push(`${when} -a '(bowline completion --connections 2>/dev/null)'`);
  if (argumentChoices.length > 0) lines.push(`${when} -a ${quote(argumentChoices.join(' '))}`);
  if (takesCommand)
    lines.push(`complete -c bowline -n "contains -- -- (commandline -opc)" -F -a '(__fish_complete_subcommand)'`);
  return lines;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
