/**
 * Names near to a mistyped one, nearest first, for the hint of a "not found". Near: a third of the letters may differ, those of
 * a kind before it (`deploy/`) not counted.
 */
export function nearest(full: string, candidates: Iterable<string>, count = 3): string[] {
  const kind = full.slice(0, full.lastIndexOf('/') + 1);
  const name = full.slice(kind.length);
  return [...new Set(candidates)]
    .map((candidate) => {
      const other = candidate.startsWith(kind) ? candidate.slice(kind.length) : candidate;
      return {
        candidate,
        distance: distanceBetween(name, other),
        most: Math.ceil(Math.min(name.length, other.length) / 3),
      };
    })
    .filter(({ distance, most }) => distance <= most)
    .sort((a, b) => a.distance - b.distance || a.candidate.localeCompare(b.candidate))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** Enough of a name for the whole to be meant; a letter or two are in many. */
const telling = 3;

function distanceBetween(name: string, candidate: string): number {
  const [short, long] = name.length < candidate.length ? [name, candidate] : [candidate, name];
  return short.length >= telling && long.includes(short) ? 1 : editDistance(name, candidate);
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** `Did you mean a, b?`, or what there is when nothing is near. */
export function didYouMean(name: string, candidates: string[], what: string): string {
  const near = nearest(name, candidates);
  if (near.length > 0) return `Did you mean ${near.join(', ')}?`;
  if (candidates.length === 0) return `There are no ${what}.`;
  const shown = [...candidates].sort().slice(0, 10);
  return `There are these ${what}: ${shown.join(', ')}${candidates.length > shown.length ? ', ...' : ''}.`;
}
