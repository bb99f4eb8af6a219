/**
 * KubernetesLocalProcessConfig.yaml of Bridge to Kubernetes, version 0.1. The tree of the YAML is walked by hand instead
 * of being turned into values, because every problem needs its place in the file.
 */
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  type Document,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';
import { nearest } from '../api/nearest.ts';
import { bridgeTokens } from './bridge-tokens.ts';
import {
  featureNames,
  type Entry,
  type Feature,
  type FeatureName,
  type Span,
  type VolumeMount,
} from './environment-file.ts';
import { wrongVolumeName } from './names.ts';
import { Findings, type Source } from './source.ts';
import { readValue } from './value.ts';

/** Features that do nothing here, because what they were for is not needed. */
const withoutEffect: Partial<Record<FeatureName, string>> = {
  Probes: 'Probes has no effect: the original pods run on with their probes, and your program gets none',
  LifecycleHooks: 'LifecycleHooks has no effect: the original pods keep their hooks, and your program runs without',
};

/** As Bridge to Kubernetes had it, for names of variables and local paths. */
export const longest = 255;

/**
 * Characters of keys and scalars that are read, those behind an alias once for each. No file without aliases has as many,
 * and with them a small one could stand for any number.
 */
const mostText = 4 * 1024 * 1024;

export interface BridgeFile {
  entries: Entry[];
  volumeMounts: VolumeMount[];
  features: Feature[];
  findings: Findings;
}

export function readBridgeFile(source: Source): BridgeFile {
  const reader = new Reader(source);
  reader.read();
  const { entries, volumeMounts, features, findings } = reader;
  return { entries, volumeMounts, features, findings };
}

class Reader {
  readonly entries: Entry[] = [];
  readonly volumeMounts: VolumeMount[] = [];
  readonly features: Feature[] = [];
  readonly findings: Findings;
  readonly #source: Source;
  #aliased: ReadonlyMap<unknown, Node> = new Map();
  #textRead = 0;

  constructor(source: Source) {
    this.#source = source;
    this.findings = new Findings(source);
  }

  read(): void {
    // The package compares each key of a map with each: quadratic. Of the maps that count it is done here.
    const options = { prettyErrors: false, logLevel: 'silent', merge: false, uniqueKeys: false } as const;
    const document = parseDocument(this.#source.text, options);
    for (const { pos, message } of document.errors) {
      this.findings.problem(this.#source.span(pos[0], pos[1] - pos[0]), `This is not YAML: ${firstLine(message)}`, {
        expected: 'YAML 1.2, the lines of a list below each other and with -',
      });
    }
    if (document.errors.length > 0) return;
    this.#aliased = targetsOfAliases(document);
    this.#readRoot(document.contents);
    if (this.#textRead > mostText) {
      this.findings.problem(this.#source.span(0, 1), `The aliases stand for more than ${mostText} characters`, {
        expected: 'the text itself in place of some of them',
      });
    }
  }

  #readRoot(root: unknown): void {
    if (!isMap(root)) {
      this.findings.problem(this.#spanOf(root), 'There is no version', {
        expected: 'version: 0.1, and env, volumeMounts, enableFeatures as needed',
      });
      return;
    }
    const keys = this.#keysOf(root, ['version', 'env', 'volumeMounts', 'enableFeatures'], 'file');
    this.#readVersion(root, keys.get('version'));
    this.#eachOf(keys.get('volumeMounts'), 'volumeMounts', (item) => this.#readVolumeMount(item));
    this.#eachOf(keys.get('env'), 'env', (item) => this.#readEntry(item));
    this.#eachOf(keys.get('enableFeatures'), 'enableFeatures', (item) => this.#readFeature(item));
    this.#giveLocalPaths();
    this.#warnOfRepeats();
  }

  #readVersion(root: YAMLMap, pair: Pair | undefined): void {
    const expected = 'version: 0.1';
    if (pair === undefined) return this.findings.problem(this.#spanOf(root), 'There is no version', { expected });
    const text = this.#textOf(pair.value) ?? '';
    const place = this.#spanOf(pair.value ?? pair.key);
    if (!/^\d{1,9}(\.\d{1,9}){1,3}$/.test(text))
      return this.findings.problem(place, 'This is no version', { expected });
    const [major = 0, minor = 0, ...rest] = text.split('.').map(Number);
    if (major > 0 || minor > 1 || (minor === 1 && rest.some((part) => part > 0))) {
      this.findings.problem(place, 'This version is not known', { expected });
    }
  }

  #readEntry(item: unknown): void {
    const made = this.#readNamed(item, 'value', 'env');
    if (made === undefined) return;
    const { name, place, other } = made;
    if (name.length > longest || /[=\0]/.test(name)) {
      this.findings.problem(place, `The name of a variable has at most ${longest} characters and no =`, {
        expected: 'a name such as LOG_LEVEL',
      });
    }
    const value = other === undefined ? '' : this.#textOf(other);
    if (value === undefined) {
      this.findings.problem(this.#spanOf(other), 'The value is not text', { expected: 'value: text' });
      return;
    }
    if (value.includes('\0')) {
      this.findings.problem(this.#spanOf(other), 'A variable cannot hold the NUL character', {
        expected: 'text without it',
      });
    }
    const parts = readValue(value, bridgeTokens, this.#placesIn(other, value), this.findings);
    this.entries.push({ name, parts, position: place });
  }

  #readVolumeMount(item: unknown): void {
    const made = this.#readNamed(item, 'localPath', 'volumeMounts');
    if (made === undefined) return;
    const { name, place, other } = made;
    const wrong = wrongVolumeName(name);
    if (wrong !== undefined) return this.findings.problem(place, wrong, { expected: '- name: NAME of a volume' });
    const localPath = other === undefined ? '' : this.#textOf(other);
    if (localPath === undefined || localPath.length > longest || localPath.includes('\0')) {
      return this.findings.problem(this.#spanOf(other), `A local path is text of at most ${longest} characters`, {
        expected: 'localPath: PATH',
      });
    }
    this.volumeMounts.push({ name, ...(localPath === '' ? {} : { localPath }), position: place });
  }

  /** `name` and one more key, as both lists have it. */
  #readNamed(
    item: unknown,
    otherKey: 'value' | 'localPath',
    list: string,
  ): { name: string; place: Span; other: unknown } | undefined {
    const node = this.#resolve(item);
    const expected = `- name: ..., and below it ${otherKey}: ...`;
    if (!isMap(node)) {
      this.findings.problem(this.#spanOf(item), `An item of ${list} is a name with its ${otherKey}`, { expected });
      return undefined;
    }
    const keys = this.#keysOf(node, ['name', otherKey], `item of ${list}`);
    if (this.#isTooMuch) return undefined;
    const name = this.#textOf(keys.get('name')?.value);
    if (name === undefined || name === '') {
      this.findings.problem(this.#spanOf(keys.get('name')?.key ?? node), `An item of ${list} without a name`, {
        expected,
      });
      return undefined;
    }
    return { name, place: this.#spanOf(keys.get('name')!.value), other: keys.get(otherKey)?.value ?? undefined };
  }

  #readFeature(item: unknown): void {
    const text = this.#textOf(item);
    const position = this.#spanOf(item);
    const name = featureNames.find((known) => known === text);
    if (name === undefined) {
      this.findings.warning(position, 'This feature is not known and has no effect', {
        expected: featureNames.join(', '),
        nearest: text === undefined ? [] : nearest(text.slice(0, 40), featureNames),
      });
      return;
    }
    if (this.features.some((feature) => feature.name === name)) return;
    this.features.push({ name, position });
    const reason = withoutEffect[name];
    if (reason !== undefined) this.findings.warning(position, reason, { expected: 'nothing; it can be left out' });
  }

  /** The keys that are known, by name; the others have no effect, and that is said. */
  #keysOf(map: YAMLMap, known: string[], where: string): Map<string, Pair> {
    const found = new Map<string, Pair>();
    for (const pair of map.items) {
      const key = this.#textOf(pair.key) ?? '';
      if (known.includes(key)) {
        if (found.has(key)) {
          this.findings.problem(this.#spanOf(pair.key), `The key ${key} stands twice in the ${where}`, {
            expected: 'each key once',
          });
        }
        found.set(key, pair);
      } else {
        this.findings.warning(this.#spanOf(pair.key), `This key of the ${where} is not known and has no effect`, {
          expected: known.join(', '),
          nearest: nearest(key.slice(0, 40), known),
        });
      }
      if (this.#isTooMuch) break;
    }
    return found;
  }

  #eachOf(pair: Pair | undefined, name: string, read: (item: unknown) => void): void {
    if (pair === undefined) return;
    const node = this.#resolve(pair.value);
    if (node === null || node === undefined || (isScalar(node) && node.value === null)) return;
    if (!isSeq(node)) {
      this.findings.problem(this.#spanOf(pair.value), `The key ${name} is a list`, {
        expected: `${name}: and below it items with -`,
      });
      return;
    }
    for (const item of node.items) {
      if (this.#isTooMuch) return;
      read(item);
    }
  }

  get #isTooMuch(): boolean {
    return this.#textRead > mostText;
  }

  /** The entry of volumeMounts that has literally the name of the token says where the volume goes. */
  #giveLocalPaths(): void {
    const mounts = new Map(this.volumeMounts.map((mount) => [mount.name, mount]));
    const used = new Set<string>();
    for (const { parts } of this.entries) {
      for (const part of parts) {
        if (typeof part === 'string' || part.kind !== 'volume') continue;
        used.add(part.name);
        const localPath = mounts.get(part.name)?.localPath;
        if (localPath !== undefined) part.localPath = localPath;
      }
    }
    for (const { name, position } of this.volumeMounts) {
      if (used.has(name)) continue;
      this.findings.warning(position, `No variable of env names the volume ${name}, so it is not downloaded`, {
        expected: `$(volumeMounts:${name}) in a value of env`,
      });
    }
  }

  #warnOfRepeats(): void {
    for (const list of [this.entries, this.volumeMounts]) {
      const lines = new Map<string, number>();
      for (const { name, position } of list) {
        const line = lines.get(name);
        if (line !== undefined)
          this.findings.warning(position, `The name ${name} stands in line ${line} too; the last one counts`, {
            expected: 'each name once',
          });
        lines.set(name, position.line);
      }
    }
  }

  /**
   * Where a part of a scalar's value stands. Where the value stands in the file as it is, that is plain; where escapes or
   * folded lines are between, the whole scalar is meant.
   */
  #placesIn(node: unknown, value: string): (offset: number, length: number) => Span {
    const resolved = this.#resolve(node);
    const [start, end] = rangeOf(resolved) ?? [0, 0];
    const header = /^[|>][^\n]*\n\s*/.exec(this.#source.text.slice(start, end))?.[0].length ?? 0;
    // Plain, between quotes, or in a block. Not searched for: that takes more than linear time for some texts.
    const from = [0, 1, header].map((each) => start + each).find((each) => this.#source.text.startsWith(value, each));
    if (from === undefined || value === '') return () => this.#spanOf(resolved);
    return (offset, length) => this.#source.span(from + offset, length);
  }

  #spanOf(node: unknown): Span {
    const [start, end] = rangeOf(node) ?? [0, 1];
    return this.#source.span(start, Math.max(1, end - start));
  }

  /** The text of a scalar as it is written (`0.10` stays so); empty for null; undefined for what is no scalar. */
  #textOf(value: unknown): string | undefined {
    const node = this.#resolve(value);
    if (node === null) return '';
    if (!isScalar(node)) return undefined;
    const text = typeof node.value === 'string' ? node.value : node.value === null ? '' : node.source;
    this.#textRead += 1 + (text?.length ?? 0);
    return text;
  }

  #resolve(node: unknown): unknown {
    return this.#aliased.get(node) ?? node;
  }
}

/** Each alias with what it stands for: the last node with its anchor before it. */
function targetsOfAliases(document: Document): Map<unknown, Node> {
  const anchored = new Map<string, Node>();
  const targets = new Map<unknown, Node>();
  // In the order of the file, and not by recursion: how deep a file nests is not for it to say.
  const next: unknown[] = [document.contents];
  while (next.length > 0) {
    const node = next.pop();
    if (isPair(node)) next.push(node.value, node.key);
    else if (isAlias(node)) {
      const target = anchored.get(node.source);
      if (target !== undefined) targets.set(node, target);
    } else if (isNode(node)) {
      if (node.anchor !== undefined) anchored.set(node.anchor, node);
      if (isCollection(node)) for (const item of node.items.toReversed()) next.push(item);
    }
  }
  return targets;
}

function rangeOf(node: unknown): [number, number] | undefined {
  const range = (node as Node | null | undefined)?.range;
  return range ? [range[0], range[1]] : undefined;
}

function firstLine(message: string): string {
  // The package goes down with the nesting, and reports its own end as an error of the file.
  if (message.includes('call stack')) return 'it is nested too deep';
  return message.split('\n', 1)[0]!.slice(0, 200);
}
