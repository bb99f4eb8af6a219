/** What each platform's file here answers: how the helper is known to the system's service manager. Text only. */
export interface ServiceOptions {
  uid: number;
  gid: number;
  /** The installed Node, in a folder that only root may write. */
  node: string;
  /** The installed helper program, the same. */
  program: string;
  allowSuffixes: readonly string[];
}

export interface ServiceDefinition {
  name: string;
  /** Where the definition lies, and its content. */
  path: string;
  content: string;
  /** Commands, as argument lists, never through a shell. */
  start: string[][];
  stop: string[][];
  status: string[];
}

export type DefineService = (options: ServiceOptions) => ServiceDefinition;

export function helperArguments({ uid, gid, program, allowSuffixes }: ServiceOptions): string[] {
  const suffixes = allowSuffixes.flatMap((suffix) => ['--allow-suffix', suffix]);
  return [program, '--user', String(uid), '--gid', String(gid), ...suffixes];
}
