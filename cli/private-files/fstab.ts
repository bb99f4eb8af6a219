/** Lines for `mount --fstab FILE --all`: many mounts in one process. The format is that of fstab(5). */

export function fstabLine(source: string, target: string, options: readonly string[]): string {
  return `${escaped(source)} ${escaped(target)} none ${options.join(',')} 0 0\n`;
}

/** Octal, as the manual has it for blanks; paths come from the cluster too. */
function escaped(path: string): string {
  return path.replaceAll(/[\s\\#]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join(''),
  );
}

/** What a mount of the file system at `path` (absolute, links resolved) may not drop, by the text of /proc/self/mountinfo, see proc(5). */
export function lockedFlags(path: string, mountinfo: string): string[] {
  let best = { point: '', options: '' };
  for (const line of mountinfo.split('\n')) {
    const [, , , , text = '', options = ''] = line.split(' ');
    const point = text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = point === '/' || path === point || path.startsWith(`${point}/`);
    // The last one wins: it hides an earlier one at the same place.
    if (text !== '' && holds && point.length >= best.point.length) best = { point, options };
  }
  return best.options.split(',').filter((option) => ['nosuid', 'nodev', 'noexec'].includes(option));
}
