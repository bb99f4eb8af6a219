/**
 * The project's environment file: what both dialects say, in one shape. Pure data and functions; who reads the file and
 * who resolves its tokens is elsewhere. Positions count from 1; columns and lengths are UTF-16 units, as editors count.
 */

import type { Source } from './source.ts';

/** `azds-local.env` of Azure Dev Spaces, or `KubernetesLocalProcessConfig.yaml` of Bridge to Kubernetes. */
export type Dialect = 'azds' | 'bridge';

/** The name under which a dialect is looked for in the project's folder; where both are there, that is the user's to settle. */
export const fileNames: Readonly<Record<Dialect, string>> = {
  azds: 'azds-local.env',
  bridge: 'KubernetesLocalProcessConfig.yaml',
};

/** A part of the file, never across lines. */
export interface Span {
  line: number;
  column: number;
  length: number;
}

interface TokenOf<Kind extends string> {
  kind: Kind;
  /** As it is written in the file: `${volumes.secrets}`. */
  text: string;
  /** Marked with `?`: when what it names is not there, its entry is left out and nobody complains. */
  optional: boolean;
  position: Span;
}

/** Stands for the local folder (or, with a path that is no pattern, the local file) of a volume of the pod. */
export interface VolumeToken extends TokenOf<'volume'> {
  /** Name of the volume; `*` stands for any characters. */
  name: string;
  /** Only this below the volume: relative, without `..`; a pattern where it holds `*`. */
  path?: string;
  /** Where the volume shall stand on the machine; relative to the file's folder. Without it: a temporary folder. */
  localPath?: string;
}

/** Stands for the local address of a Service, never with a port. */
export interface ServiceToken extends TokenOf<'service'> {
  service: string;
  /** Absent: the workload's own. */
  namespace?: string;
  /** Written down, but of no effect: all ports of a Service answer. */
  ports?: number[];
}

/** A host outside of the cluster that is reached through it; stands for the host's name. */
export interface ExternalToken extends TokenOf<'external'> {
  host: string;
  ports: number[];
}

export type Token = VolumeToken | ServiceToken | ExternalToken;

/** One variable. An entry further down wins over one of the same name. */
export interface Entry {
  name: string;
  /** Literal text and tokens in their order; no parts is the empty value. */
  parts: Array<string | Token>;
  /** Of the name. */
  position: Span;
}

/** Of the YAML's `volumeMounts`. A token of the same name has its local path already. */
export interface VolumeMount {
  name: string;
  localPath?: string;
  position: Span;
}

/** Of the YAML's `enableFeatures`, as they are written, case and all. */
export const featureNames = ['Probes', 'LifecycleHooks', 'ManagedIdentity'] as const;
export type FeatureName = (typeof featureNames)[number];

export interface Feature {
  name: FeatureName;
  position: Span;
}

export interface EnvironmentFile {
  /** As given to the parser. */
  path: string;
  /** For later problems with it. */
  source: Source;
  dialect: Dialect;
  entries: Entry[];
  volumeMounts: VolumeMount[];
  /** Each once. */
  features: Feature[];
  warnings: Problem[];
}

/**
 * Something wrong at one place. `message`, `expected` and `nearest` hold no value of a variable, so they may be logged;
 * `sourceLine` may hold one, so it is shown to the file's owner only.
 */
export interface Problem extends Span {
  file: string;
  /** Of a long line the part round the place. */
  sourceLine: string;
  /** Of the first character of `sourceLine`; 1 where it is the whole line. */
  sourceColumn: number;
  /** What is wrong, as a sentence without its full stop. */
  message: string;
  /** What would be right there. */
  expected: string;
  /** Names near to the one that is not there, nearest first. */
  nearest?: string[];
  /** It stands for as many that are not shown, of which it is the first. */
  count?: number;
}

export interface Parsed {
  /** Holds what could be read, also when there are problems. */
  file: EnvironmentFile;
  /** In the order of the file; the last one may stand for many. The file must not be used when there is one. */
  problems: Problem[];
}
