/** Which variables of a pod make no sense on the machine: those that say how this machine, its user and its terminal are. */

const kept = new Set([
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'SHLVL',
  'PWD',
  'OLDPWD',
  '_',
  'MAIL',
  'HOSTTYPE',
  'OSTYPE',
  'MACHTYPE',
  'TERM',
  'TERM_PROGRAM',
  'TERM_PROGRAM_VERSION',
  'TERMINFO',
  'COLORTERM',
  'COLUMNS',
  'LINES',
  'NO_COLOR',
  'FORCE_COLOR',
  'TMPDIR',
  'TMP',
  'TEMP',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'XAUTHORITY',
  'DBUS_SESSION_BUS_ADDRESS',
  'SSH_AUTH_SOCK',
  'SSH_AGENT_PID',
  'SSH_CONNECTION',
  'SSH_CLIENT',
  'SSH_TTY',
  'EDITOR',
  'VISUAL',
  'PAGER',
  // Paths to libraries and modules of another file system.
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'DYLD_LIBRARY_PATH',
  'DYLD_INSERT_LIBRARIES',
  'NODE_PATH',
  'KUBECONFIG',
  // Windows
  'PATHEXT',
  'COMSPEC',
  'SYSTEMROOT',
  'SYSTEMDRIVE',
  'WINDIR',
  'USERPROFILE',
  'USERNAME',
  'USERDOMAIN',
  'HOMEDRIVE',
  'HOMEPATH',
  'APPDATA',
  'LOCALAPPDATA',
  'PROGRAMDATA',
  'PROGRAMFILES',
  'PROGRAMFILES(X86)',
  'OS',
]);
const keptPrefixes = ['XDG_', 'LC_', 'BASH_FUNC_'];

/** True for a variable that stays as the machine has it, whatever the pod says. */
export function belongsToMachine(name: string): boolean {
  const upper = name.toUpperCase();
  return kept.has(upper) || keptPrefixes.some((prefix) => upper.startsWith(prefix));
}

/** The pod's variables that a program on the machine shall have. */
export function forMachine(pod: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(pod).filter(([name]) => !belongsToMachine(name)));
}
