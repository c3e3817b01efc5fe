// Medians, and how far they are to be trusted.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** How sure it must be that the true median lies within the spread, where there are rounds enough. */
const CERTAINTY = 0.85;

/**
 * The range that holds the true median with a certainty of 85%: all rounds where they are few, and the more of the outer ones are
 * left out the more there are. It asks nothing of how times are distributed: a round is above the median or below it, as a coin falls.
 */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  let outside = 0;
  let chance = 2 * 0.5 ** count;
  let sum = chance;
  // One more may be left out at each end as long as both tails together are rare enough.
  while (outside + 1 < count / 2) {
    chance *= (count - outside) / (outside + 1);
    if (sum + chance > 1 - CERTAINTY) break;
    sum += chance;
    outside += 1;
  }
  return { low: sorted[outside], high: sorted[count - 1 - outside] };
}

/** The median and the spread of the values, or nothing of none. */
export const describe = (values) => (values.length === 0 ? undefined : { median: median(values), ...spread(values) });

/** What the one is to the other in each round: trials of one round ran one after the other, and had the same weather. */
export const ratios = (over = [], under = []) =>
  over.flatMap((value, round) => (under[round] === undefined ? [] : [value / under[round]]));
