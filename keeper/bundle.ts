/** Makes the keeper one file, as the agent is: what is put into the cluster is what this machine has. */
import { bundle, type Bundled } from '../agent-image/bundle.ts';

/** Packages made for `require` find it, although the file is a module. */
const requireForPackages = "import{createRequire}from'node:module';const require=createRequire(import.meta.url);";

export const bundleKeeper = (): Promise<Bundled> => bundle(new URL('main.ts', import.meta.url), requireForPackages);
