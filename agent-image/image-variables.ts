/**
 * The variables of an image in which nothing can be run: a program of this container, with the libraries and the loader
 * that it needs, is laid into a folder that a container of that image shares. There it starts without anything of the
 * image and writes down the environment that it was given.
 */
import { constants } from 'node:fs';
import { access, chmod, copyFile, mkdir, open, readFile, realpath } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';

/** What the program writes: NAME=value, each ended by NUL. */
const written = 'variables';
/** Of the kernel: the environment that a process was started with. */
const ownEnvironment = '/proc/self/environ';

/** The command to run in the other container. Throws where this container has no such program. */
export async function layOutProgram(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const program = await realpath(await findInPath('dd'));
  const lay = async (file: string, name = basename(file)): Promise<string> => {
    const target = join(folder, name);
    await copyFile(file, target);
    await chmod(target, 0o755);
    return target;
  };
  const copy = await lay(program);
  const task = [
    // busybox is many programs; which one is said by its first argument.
    ...(basename(program) === 'dd' ? [copy] : [copy, 'dd']),
    `if=${ownEnvironment}`,
    `of=${join(folder, written)}`,
  ];
  const loader = await loaderOf(program);
  if (loader === undefined) return task;
  for (const library of await loadedLibraries()) await lay(library);
  return [await lay(await realpath(loader), 'loader'), '--library-path', folder, ...task];
}

/** What the program has written in the other container. */
export async function readVariables(folder: string): Promise<Record<string, string>> {
  const entries = (await readFile(join(folder, written), 'utf8')).split('\0');
  const variables: Record<string, string> = {};
  for (const entry of entries) {
    const equals = entry.indexOf('=');
    if (equals > 0) variables[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  return variables;
}

async function findInPath(name: string): Promise<string> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/bin']) {
    const path = join(folder, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && found) return path;
  }
  throw new Error(`this image has no ${name}`);
}

/** The program interpreter of an ELF file, `undefined` for a static one. https://refspecs.linuxfoundation.org/elf/elf.pdf */
async function loaderOf(program: string): Promise<string | undefined> {
  await using file = await open(program);
  const read = async (position: number, length: number): Promise<Buffer> =>
    (await file.read(Buffer.alloc(length), 0, length, position)).buffer;
  const header = await read(0, 64);
  const isElf64 = header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1;
  if (!isElf64) throw new Error(`${program} is not a program of this machine`);
  const [offset, size, count] = [Number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)];
  for (let index = 0; index < count; index++) {
    const segment = await read(offset + index * size, size);
    const isInterpreter = segment.readUInt32LE(0) === 3;
    if (!isInterpreter) continue;
    const [at, length] = [Number(segment.readBigUInt64LE(8)), Number(segment.readBigUInt64LE(32))];
    return (await read(at, length)).toString('latin1').replace(/\0.*$/s, '');
  }
  return undefined;
}

/** Those of this very process: every other program here has its C library from the same files. */
async function loadedLibraries(): Promise<string[]> {
  const maps = await readFile('/proc/self/maps', 'utf8');
  return [...new Set([...maps.matchAll(/ (\/\S+\.so(?:\.\d+)*)$/gm)].map(([, path]) => path!))];
}
