/** `bowline restore`: puts back what sessions that nobody holds any more left in a namespace. */
import { Command } from 'commander';
import type { Client } from '../../api/client.ts';
import { filled, place, type PlaceOptions } from '../connect-request.ts';
import { ensureDaemon } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';
import { follow } from '../operation.ts';
import { progressOption } from '../progress.ts';
import { describePlan, describeRedirects } from '../texts.ts';

export function restoreCommand(io: Io): Command {
  return new Command('restore')
    .summary('put back what a vanished session left in the cluster')
    .description(
      'Puts selectors and replica counts of a namespace back from the records in the cluster, and deletes what sessions made.\n' +
        'Connections that this machine holds now are left alone. Does nothing where nothing is left.',
    )
    .option('-n, --namespace <NS>', "namespace (default: the context's)", filled('--namespace'))
    .option('--context <NAME>', 'context of the kubeconfig (default: its current one)', filled('--context'))
    .option('--kubeconfig <FILE>', 'kubeconfig (default: $KUBECONFIG, else ~/.kube/config)', filled('--kubeconfig'))
    .option('-a, --all', "everybody's sessions, not only yours; ask their owners first", false)
    .option('--dry-run', 'print what would be put back, and change nothing')
    .addOption(progressOption())
    .option('--json', 'NDJSON: steps, then the result (with --dry-run one JSON document)')
    .action(async (options: PlaceOptions & { all: boolean; dryRun?: boolean }) => {
      const body = { ...place(options, io.facts.env), all: options.all };
      const client = await ensureDaemon(io);
      if (options.dryRun) {
        const plan = await client.call('planRestore', { body: { ...body, dryRun: true } });
        if (io.json) outJson(io, plan);
        else io.out(describePlan(plan));
        return;
      }
      const { restored = [] } = await follow(client, 'restore', { body }, { io, cancellable: true });
      if (io.json) return;
      if (restored.length > 0) io.err(`Restored ${restored.join(', ')}.\n`);
      else io.err(options.all ? nothing : nothing + (await ofOthers(client, place(options, io.facts.env))));
    });
}

const nothing = 'Nothing to restore.\n';

/** What --all would put back too: a user's other machine is another owner. */
async function ofOthers(client: Client, body: PlaceOptions): Promise<string> {
  const { redirects } = await client.call('redirects', { body });
  const others = redirects.filter(({ connection }) => connection === undefined);
  if (others.length === 0) return '';
  return `Not of this machine, so left alone (--all restores these too; ask their owners first):\n${describeRedirects(others)}`;
}
