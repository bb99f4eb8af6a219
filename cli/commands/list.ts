/** `bowline list`: the connections of this machine, and what others redirect in the same namespaces. */
import { Command } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { filled, place, type PlaceOptions } from '../connect-request.ts';
import { daemonIfAnything, ensureDaemon } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';
import { describeList, describeRedirects, noConnection } from '../texts.ts';

export function listCommand(io: Io): Command {
  return new Command('list')
    .summary("the connections of this machine, and everybody's redirects")
    .description(
      'Lists the connections of this machine, one a line; `bowline status` shows more of each.\n' +
        "Then who else redirects what, as the cluster says: in the namespace of -n, else in the context's and in those that are connected.",
    )
    .option('-n, --namespace <NS>', "namespace to look at for everybody's redirects", filled('--namespace'))
    .option('-A, --all-namespaces', 'all namespaces; needs the right to list Leases in all', false)
    .option('--context <NAME>', 'context of the kubeconfig (default: its current one)', filled('--context'))
    .option('--kubeconfig <FILE>', 'kubeconfig (default: $KUBECONFIG, else ~/.kube/config)', filled('--kubeconfig'))
    .option('--json', 'one JSON document')
    .action(async (options: PlaceOptions & { allNamespaces: boolean }) => {
      const client = (await daemonIfAnything(io)) ?? (await ensureDaemon(io));
      const { connections } = await client.call('listConnections', {});
      const body = { ...place(options, io.facts.env), allNamespaces: options.allNamespaces };
      const asked = options.namespace !== undefined || options.allNamespaces || options.context !== undefined;
      // Without a cluster at hand the own connections are listed all the same, unless it is what was asked for.
      const answer = await client.call('redirects', { body }).catch((error: unknown) => {
        if (asked) throw error;
        return { redirects: [], unknown: BowlineError.from(error).toShape() };
      });
      if (io.json) {
        outJson(io, { connections, ...answer });
        return;
      }
      const others = answer.redirects.filter(({ connection }) => connection === undefined);
      if (connections.length > 0) io.out(describeList(connections));
      if (others.length > 0) io.out(`${connections.length > 0 ? '\n' : ''}${describeRedirects(others)}`);
      if (connections.length + others.length === 0) io.err(`${noConnection}\n`);
      if ('unknown' in answer) io.err(`note: who else redirects is not known. ${answer.unknown.message}\n`);
    });
}
