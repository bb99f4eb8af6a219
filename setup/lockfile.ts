/** What the dependencies of this checkout may be: exact versions from the registry, each with its checksum. Pure functions. */

export interface Manifest {
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

export interface Lockfile {
  lockfileVersion: number;
  packages: Record<string, LockedPackage>;
}

interface LockedPackage extends Manifest {
  version?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  hasInstallScript?: boolean;
}

/** Packages that may run a program of their own while they are installed. */
const installScripts = new Set(['esbuild', 'node']);

const exact = /^\d+\.\d+\.\d+(-[\w.-]+)?$/;

/** Everything that is not as it must be, for people; empty when all is well. */
export function lockfileProblems(manifest: Manifest, lock: Lockfile): string[] {
  const problems: string[] = [];
  const root = lock.packages[''] ?? {};
  for (const kind of ['dependencies', 'devDependencies'] as const) {
    for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
      if (!exact.test(version)) problems.push(`package.json: ${name} is "${version}", not one exact version`);
      if (root[kind]?.[name] !== version) problems.push(`package-lock.json: ${name} is not locked at ${version}`);
      const locked = lock.packages[`node_modules/${name}`]?.version;
      if (locked !== version) problems.push(`package-lock.json: ${name} is locked at ${locked ?? 'nothing'}`);
    }
  }
  for (const [path, { integrity, resolved, link, version, hasInstallScript }] of Object.entries(lock.packages)) {
    if (path === '') continue;
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    if (link === true || !exact.test(version ?? '')) problems.push(`${path} is not a version of the registry`);
    if (!/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? '')) problems.push(`${path} has no SHA-512 checksum`);
    // Where it came from is left out, so that the registry of whoever installs is asked; the checksum decides.
    if (resolved !== undefined) problems.push(`${path} names where it is fetched from: ${resolved}`);
    if (hasInstallScript === true && !installScripts.has(name))
      problems.push(`${path} runs a program while it is installed; look at it, then add it to setup/lockfile.ts`);
  }
  return problems;
}
