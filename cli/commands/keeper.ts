/** `bowline keeper`: the keeper of the whole cluster for administrators, and who watches a namespace. */
import { Command } from 'commander';
import { exitStatus } from '../../api/errors.ts';
import { filled, place, type PlaceOptions } from '../connect-request.ts';
import { ensureDaemon } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';

export function keeperCommand(io: Io): Command {
  const keeper = new Command('keeper')
    .summary('who puts everything back when a machine vanishes')
    .description('The keeper puts back in the cluster what a vanished machine left (docs/keeper.md).');
  keeper
    .command('status')
    .description('Makes a Lease in the namespace, waits up to 5 s until a keeper marks it, and says which.')
    .option('-n, --namespace <NS>', "namespace (default: the context's)", filled('--namespace'))
    .option('--context <NAME>', 'context of the kubeconfig (default: its current one)', filled('--context'))
    .option('--kubeconfig <FILE>', 'kubeconfig (default: $KUBECONFIG, else ~/.kube/config)', filled('--kubeconfig'))
    .option('--json', 'one JSON document')
    .action(async (options: PlaceOptions) => {
      const client = await ensureDaemon(io);
      const status = await client.call('keeperStatus', { body: place(options, io.facts.env) });
      if (io.json) outJson(io, status);
      else if (status.keeper === undefined) io.out(`No keeper watches namespace ${status.namespace}.\n`);
      else
        io.out(
          `The keeper of the ${status.keeper} watches namespace ${status.namespace}; it answered after ${status.afterMs} ms.\n`,
        );
      if (status.keeper === undefined) io.status = exitStatus.cluster;
    });
  keeper
    .command('manifest')
    .description('Prints a keeper for the whole cluster: `bowline keeper manifest | kubectl apply --server-side -f -`.')
    .option('-n, --namespace <NS>', 'namespace to run it in, made with it', filled('--namespace'), 'bowline-system')
    .option(
      '--image <IMAGE>',
      'image with Node 24',
      filled('--image'),
      io.facts.env['BOWLINE_AGENT_IMAGE'] || undefined,
    )
    .action(async ({ namespace, image }: { namespace: string; image?: string }) => {
      const client = await ensureDaemon(io);
      const body = { namespace, ...(image === undefined ? {} : { image }) };
      io.out((await client.call('keeperManifest', { body })).manifest);
    });
  return keeper;
}
