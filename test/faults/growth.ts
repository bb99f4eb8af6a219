/** Whether something grows from round to round, or only breathes. Pure. */

/** What was measured after a round. */
export interface Point {
  round: number;
  value: number;
}

/**
 * How much the value grows with each round: the median of the slopes between all two points (Theil and Sen), so that single
 * rounds after which more or less was under way do not decide. 0 with less than two points.
 */
export function slopeOf(points: Point[]): number {
  const slopes = points.flatMap((from, index) =>
    points
      .slice(index + 1)
      .filter(({ round }) => round !== from.round)
      .map((to) => (to.value - from.value) / (to.round - from.round)),
  );
  return median(slopes);
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = 0, high = low] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}
