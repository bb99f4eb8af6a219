/** What is measured, in the order of the table, with the goals. Owned by nobody: facts only. */

export const pathNames = ['bowline', 'kubectl', 'pod'] as const;
/** bowline: through the product; kubectl: through `kubectl port-forward`; pod: straight to the pod or its Service. */
export type PathName = (typeof pathNames)[number];

/** `ratio` is bowline against kubectl, `value` bowline itself. */
export type Goal = { of: 'ratio' | 'value'; atLeast: number } | { of: 'ratio' | 'value'; atMost: number };

export interface Metric {
  unit: string;
  /** For people. */
  what: string;
  digits: number;
  goal?: Goal;
}

const transfer = (what: string): Metric => ({ unit: 'MB/s', what, digits: 0 });
const latency = (what: string): Metric => ({ unit: 'us', what, digits: 0 });
const connections = (what: string): Metric => ({ unit: '1/s', what, digits: 0 });
const seconds = (what: string): Metric => ({ unit: 's', what, digits: 2 });
const milliseconds = (what: string): Metric => ({ unit: 'ms', what, digits: 0 });
const memory = (what: string): Metric => ({ unit: 'MB', what, digits: 1 });
const cpu = (what: string): Metric => ({ unit: 's/GB', what, digits: 2 });

export const metrics = {
  'outbound.down': { ...transfer('one stream, to the machine'), goal: { of: 'ratio', atLeast: 1.4 } },
  'outbound.up': { ...transfer('one stream, from the machine'), goal: { of: 'ratio', atLeast: 1.4 } },
  'outbound.p50': { ...latency('one byte and back, median'), goal: { of: 'ratio', atMost: 0.75 } },
  'outbound.p99': latency('one byte and back, 99th percentile'),
  'outbound.serial': { ...connections('new connections, one at a time'), goal: { of: 'ratio', atLeast: 3 } },
  'outbound.parallel50': { ...connections('new connections, 50 at once'), goal: { of: 'ratio', atLeast: 3.5 } },
  'outbound.cpu': { ...cpu('CPU time of the daemon, of kubectl'), goal: { of: 'ratio', atMost: 0.7 } },
  'inbound.down': transfer('one stream, to the caller in the cluster'),
  'inbound.up': transfer('one stream, from the caller'),
  'inbound.p50': latency('one byte and back, median'),
  'inbound.p99': latency('one byte and back, 99th percentile'),
  'inbound.serial': connections('new connections, one at a time'),
  'inbound.parallel50': connections('new connections, 50 at once'),
  'inbound.cpu': cpu('CPU time of the daemon'),
  'connect.seconds': { ...seconds('start of the command until the machine answers'), goal: { of: 'value', atMost: 3 } },
  'connect.command.seconds': seconds('start of the command until its end'),
  'disconnect.seconds': seconds('start of the command until its end'),
  'disconnect.after-drain.seconds': { ...seconds('end of the drain until the end'), goal: { of: 'value', atMost: 1 } },
  'command.version': { ...milliseconds('bowline --version'), goal: { of: 'value', atMost: 80 } },
  'command.status': { ...milliseconds('bowline status, connected'), goal: { of: 'value', atMost: 200 } },
  'memory.daemon': memory('connected and idle'),
  'memory.helper': memory('connected and idle'),
  'memory.agent': memory('connected and idle'),
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof metrics;

export function metricOf(name: MetricName): Metric {
  return metrics[name];
}
