/**
 * A command ends with us, also when we are killed, which nobody can pass on: its way to the cluster goes at that moment, and
 * without it the program would go on alone, with variables that lead nowhere. The kernel does it (PR_SET_PDEATHSIG in
 * prctl(2)), and `setpriv` of util-linux 2.33 asks it to. Where there is none the program stays.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const places = ['/usr/bin/setpriv', '/bin/setpriv'];
const untilParentEnds = ['--pdeathsig', 'TERM', '--'];

/** Programs with arguments to put right before a command: they become it. */
export function untilWeEnd(platform: NodeJS.Platform): string[] {
  const program = platform === 'linux' ? places.find((path) => existsSync(path)) : undefined;
  if (program === undefined) return [];
  const tried = spawnSync(program, [...untilParentEnds, 'true'], { stdio: 'ignore', timeout: 2000 });
  return tried.status === 0 ? [program, ...untilParentEnds] : [];
}
