/** Completion for PowerShell, 5.1 and later. */
import type { CompletionCommand } from './model.ts';

export function powershellCompletion(commands: CompletionCommand[]): string {
  const valued = [...new Set(commands.flatMap(({ options }) => options.filter(({ value }) => value).flatMap(flags)))];
  return `# PowerShell completion for bowline; load it with: bowline completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName bowline -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $valued = @(${valued.map(quote).join(', ')})
    $commands = @{
${commands.map(entry).join('\n')}
    }
    $path = ''
    $previous = ''
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition -and $wordToComplete -ne '') { break }
        $word = $element.ToString()
        if ($word -ceq '--') { return }
        if ($valued -ccontains $previous) { $previous = ''; continue }
        $previous = $word
        if (-not $word.StartsWith('-') -and $commands.ContainsKey("$path $word".Trim())) { $path = "$path $word".Trim() }
    }
    $command = $commands[$path]
    if ($valued -ccontains $previous) { $found = @($command.Values[$previous]) }
    elseif ($wordToComplete.StartsWith('-')) { $found = $command.Options }
    elseif ($command.Connections) { $found = @(bowline completion --connections 2>$null | ForEach-Object { ,@($_, $_) }) }
    else { $found = $command.Words }
    foreach ($item in $found) {
        if ($null -ne $item -and $item[0].StartsWith($wordToComplete, [StringComparison]::Ordinal)) {
            [System.Management.Automation.CompletionResult]::new($item[0], $item[0], 'ParameterValue', $item[1])
        }
    }
}
`;
}

function entry({ path, options, subcommands, takesConnection, argumentChoices }: CompletionCommand): string {
  const words = [
    ...subcommands.map(({ name, description }) => pair(name, description)),
    ...argumentChoices.map((choice) => pair(choice, choice)),
  ];
  const own = options.flatMap((option) => flags(option).map((flag) => pair(flag, option.description)));
  const values = options
    .filter(({ choices }) => choices.length > 0)
    .flatMap((option) =>
      flags(option).map((flag) => `${quote(flag)} = ${list(option.choices.map((choice) => pair(choice, choice)))}`),
    );
  return `        ${quote(path.join(' '))} = @{
            Options = ${list(own)}
            Words = ${list(words)}
            Values = @{ ${values.join('; ')} }
            Connections = ${takesConnection ? '$true' : '$false'}
        }`;
}

/** The leading comma keeps PowerShell from flattening the pairs. */
function list(pairs: string[]): string {
  return `@(${pairs.map((each) => `,${each}`).join('; ')})`;
}

function pair(text: string, description: string): string {
  return `@(${quote(text)}, ${quote(description || text)})`;
}

function flags({ long, short }: { long: string; short: string | undefined }): string[] {
  return short === undefined ? [long] : [long, short];
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
