/** Shells: lines to be evaluated. Quotes are those in which the shell changes nothing, or the least. */
import { shellName, type Line } from './line.ts';

const wrongName = { reason: 'a shell takes letters, digits and _ in names only' };
const nul = { reason: 'a variable cannot hold the NUL character' };

/** bash, zsh or ksh keep these to themselves: setting one is an error there, or worse, changes the user of the process. */
const ownOfShells = new Set(['BASHOPTS', 'BASH_VERSINFO', 'EGID', 'EUID', 'GID', 'PPID', 'SHELLOPTS', 'UID']);

/** POSIX shells: sh, bash, dash, zsh, ksh, busybox. */
export function shLine(name: string, value: string): Line {
  if (!shellName.test(name)) return wrongName;
  if (ownOfShells.has(name)) return { reason: 'a shell keeps this variable to itself' };
  return value.includes('\0') ? nul : { line: `export ${name}=${quoteForShell(value)}` };
}

/** Between single quotes a POSIX shell changes nothing, so only the single quote itself needs care. */
export function quoteForShell(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** https://fishshell.com/docs/current/language.html#quotes, and `electric` variables that cannot be set. */
const ownOfFish = new Set(['PWD', 'SHLVL', '_', 'history', 'hostname', 'pipestatus', 'status', 'version']);

/** fish, from 3.0 on. Between single quotes \\ and \' are the only escapes. */
export function fishLine(name: string, value: string): Line {
  if (!shellName.test(name)) return wrongName;
  if (ownOfFish.has(name) || name.startsWith('fish_kill') || name === 'fish_pid') {
    return { reason: 'fish keeps this variable to itself' };
  }
  if (value.includes('\0')) return nul;
  return { line: `set -gx ${name} '${value.replaceAll(/['\\]/g, '\\$&')}'` };
}

/**
 * PowerShell 5.1 and later, about_Quoting_Rules: between single quotes nothing is changed, and a single quote stands
 * twice; the typographic ones count as single quotes too. An empty value removes the variable (before 7.5).
 */
export function powershellLine(name: string, value: string): Line {
  if (!/^[A-Za-z_][\w.()-]*$/.test(name)) {
    return { reason: 'for PowerShell, only letters, digits, _, ., - and parentheses are written in names' };
  }
  if (value.includes('\0')) return nul;
  if (value === '') return { reason: 'PowerShell before 7.5 cannot hold an empty variable' };
  const variable = shellName.test(name) ? `$env:${name}` : `\${env:${name}}`;
  return { line: `${variable} = '${value.replaceAll(/['\u2018\u2019\u201A\u201B]/g, '$&$&')}'` };
}

/** Characters of a line that cmd.exe reads. */
const longestCmdLine = 8_191;

/**
 * Batch files of cmd.exe: `set "NAME=value"`, with % twice. Between double quotes the operators & | < > ^ are text, so a
 * value that has both a double quote and an operator is left out: it could run a program.
 */
export function cmdLine(name: string, value: string): Line {
  if (!/^[A-Za-z_][\w.()-]*$/.test(name)) {
    return { reason: 'for cmd.exe, only letters, digits, _, ., - and parentheses are written in names' };
  }
  if (value === '') return { reason: 'cmd.exe cannot hold an empty variable' };
  // oxlint-disable-next-line no-control-regex
  if (/[\0\n\r\u001A]/.test(value)) return { reason: 'a line of a batch file cannot hold line ends' };
  if (value.includes('"') && /[&|<>^]/.test(value)) {
    return { reason: 'cmd.exe would take what stands behind a double quote for a command' };
  }
  const line = `@set "${name}=${value.replaceAll('%', '%%')}"`;
  return line.length > longestCmdLine ? { reason: `cmd.exe reads ${longestCmdLine} characters of a line` } : { line };
}
