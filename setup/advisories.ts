/** What is known against the packages that are shipped, as the registry's advisories say. */
import { firstLine, npm, parse, withoutAddress, type NpmOptions, type Outcome } from './npm.ts';

interface Advisory {
  severity: string;
}

/** A known vulnerability of high or critical severity is a failure; a registry that answers no such questions is none. */
export async function knownVulnerabilities({ seconds = 8, registry }: Partial<NpmOptions> = {}): Promise<Outcome> {
  const name = 'known vulnerabilities';
  const args = ['audit', '--json', '--omit=dev', '--package-lock-only', '--fetch-retries=0'];
  const { code, output, complaint } = await npm(args, { seconds, registry });
  const told = parse(output) as { vulnerabilities?: Record<string, Advisory>; message?: string } | undefined;
  if (told?.vulnerabilities === undefined) {
    const why = code === 'timeout' ? 'no answer in time' : (told?.message ?? firstLine(complaint));
    return { name, result: 'could not be asked', detail: withoutAddress(why) };
  }
  const all = Object.entries(told.vulnerabilities);
  const grave = all.filter(([, { severity }]) => ['high', 'critical'].includes(severity));
  const listed = all.map(([each, { severity }]) => `${each} (${severity})`).join(', ');
  return { name, result: grave.length === 0 ? 'ok' : 'FAILED', detail: listed || 'none in what is shipped' };
}
