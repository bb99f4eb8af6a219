/** Entry of the command. `--version` is answered before anything else is loaded; each command loads only its own parts. */
import { enableCompileCache } from 'node:module';
import { productVersion } from '../api/version.ts';

// Set by the launcher for this process only: the user's command must not find it in its environment.
if (process.env['BOWLINE_COMPILE_CACHE'] !== undefined) {
  delete process.env['BOWLINE_COMPILE_CACHE'];
  delete process.env['NODE_COMPILE_CACHE'];
}

const args = process.argv.slice(2);
if (args[0] === '--version' || args[0] === '-V') {
  process.stdout.write(`${productVersion}\n`);
} else {
  const { standardIo } = await import('./io.ts');
  // What follows `--` is another program's command line; nothing of it is ours to read.
  const end = args.indexOf('--');
  const own = end < 0 ? args : args.slice(0, end);
  const io = standardIo(own, end < 0 ? undefined : args.slice(end + 1));
  enableCompileCache(io.paths.cacheFolder);
  const { run } = await import('./program.ts');
  process.exitCode = await run(own, io);
}
