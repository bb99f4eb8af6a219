/** Completion for bash, without the bash-completion package. Works with the 3.2 of macOS. */
import type { CompletionCommand } from './model.ts';

export function bashCompletion(commands: CompletionCommand[]): string {
  const withValue = [
    ...new Set(commands.flatMap(({ options }) => options.filter(({ value }) => value).flatMap(flags))),
  ];
  return `# bash completion for bowline; load it with: source <(bowline completion bash)
_bowline() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path="" word index skip=""
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if [[ -n $skip ]]; then skip=""; continue; fi
    case "$word" in
      --) if [[ $path == " connect" ]]; then _bowline_command $((index + 1)); fi; return ;;
      ${withValue.join('|')}) skip=1 ;;
      -*) ;;
      *) case "$path $word" in
${commands
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `          " ${path.join(' ')}") path=" ${path.join(' ')}" ;;`)
  .join('\n')}
        esac ;;
    esac
  done
  case "$path $prev" in
${commands.flatMap(values).join('\n')}
  esac
  case "$path" in
${commands.map(words).join('\n')}
  esac
}
_bowline_command() {
  # Behind --, another program's command line: its name first, then files.
  if ((COMP_CWORD == $1)); then COMPREPLY=($(compgen -c -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi
}
_bowline_connections() {
  bowline completion --connections 2>/dev/null
}
complete -o default -F _bowline bowline
`;
}

function flags({ long, short }: { long: string; short: string | undefined }): string[] {
  return short === undefined ? [long] : [long, short];
}

function values({ path, options }: CompletionCommand): string[] {
  const prefix = path.length === 0 ? '' : ` ${path.join(' ')}`;
  return options
    .filter(({ value }) => value)
    .map((option) => {
      const patterns = flags(option)
        .map((flag) => `"${prefix} ${flag}"`)
        .join('|');
      if (option.choices.length > 0)
        return `    ${patterns}) COMPREPLY=($(compgen -W "${option.choices.join(' ')}" -- "$cur")); return ;;`;
      return option.file
        ? `    ${patterns}) COMPREPLY=($(compgen -f -- "$cur")); return ;;`
        : `    ${patterns}) return ;;`;
    });
}

function words({ path, options, subcommands, takesConnection, argumentChoices }: CompletionCommand): string {
  const prefix = path.length === 0 ? '""' : `" ${path.join(' ')}"`;
  const own = [...subcommands.map(({ name }) => name), ...argumentChoices].join(' ');
  const plain = takesConnection ? '$(_bowline_connections)' : own;
  return `    ${prefix}) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "${options.flatMap(flags).join(' ')}" -- "$cur")); else COMPREPLY=($(compgen -W "${plain}" -- "$cur")); fi ;;`;
}
