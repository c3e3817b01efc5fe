// The targets, and how each is read from a summary. A ratio is the median over the rounds of the ratios within each round.

const atMost = (limit) => ({ bound: `<= ${limit} x`, good: (figure) => figure <= limit });
const atLeast = (limit) => ({ bound: `>= ${limit} x`, good: (figure) => figure >= limit });

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const NOTHING = { figure: undefined };

/** A ratio between two rivals in one measure. */
function ratio(text, measure, [over, under], { bound, good }) {
  return {
    text,
    judge: (summary) => {
      const rows = summary[measure];
      if (rows?.[over] === undefined || rows[under] === undefined) return NOTHING;
      const pairs = rows[over].trials.flatMap((value, round) =>
        rows[under].trials[round] === undefined ? [] : [value / rows[under].trials[round]],
      );
      return verdict(pairs, bound, good);
    },
  };
}

function verdict(values, bound, good) {
  if (values.length === 0) return NOTHING;
  const figure = median(values);
  return { figure, low: Math.min(...values), high: Math.max(...values), bound, met: good(figure) };
}

/** A figure of our own, not a ratio. */
function own(text, measure, bound, good) {
  return {
    text,
    judge: (summary) =>
      summary[measure]?.vircommand === undefined ? NOTHING : verdict(summary[measure].vircommand.trials, bound, good),
  };
}

export const targets = [
  ratio('/bin/true, ours to the C floor', 'true', ['vircommand', 'floor'], atMost(1.3)),
  ratio('a static program, ours to the C floor', 'noop', ['vircommand', 'floor'], atMost(1.25)),
  ratio('/bin/true, ours to Bun', 'true', ['vircommand', 'bun'], atMost(1)),
  ratio('echo captured, ours to Bun', 'echo', ['vircommand', 'bun'], { bound: '< 1 x', good: (figure) => figure < 1 }),
  ratio('/bin/true, child_process to ours', 'true', ['child_process', 'vircommand'], atLeast(2)),
  ratio('/bin/true, execa to ours', 'true', ['execa', 'vircommand'], atLeast(3.5)),
  {
    text: '/bin/true with 4 GiB of Buffers, to ours without',
    judge: ({ buffers, true: small }) =>
      buffers?.vircommand === undefined || small?.vircommand === undefined
        ? NOTHING
        : verdict(
            buffers.vircommand.trials.map((value) => value / small.vircommand.median),
            '<= 1.4 x',
            (figure) => figure <= 1.4,
          ),
  },
  ratio(
    '/bin/true with 4 GiB of Buffers, child_process to ours',
    'buffers',
    ['child_process', 'vircommand'],
    atLeast(80),
  ),
  ratio('event loop held per launch, ours to child_process', 'held', ['vircommand', 'child_process'], atMost(0.15)),
  ratio('throughput of a large capture, ours to execa', 'capture', ['vircommand', 'execa'], atLeast(2)),
  ratio('throughput of a large capture, ours to the C reader', 'capture', ['vircommand', 'floor'], atLeast(0.8)),
  own('peak memory of a large capture, to the output', 'memory', '<= 1.3 x', (figure) => figure <= 1.3),
  ratio(
    'commands per second, 8 at once, ours to child_process',
    'burst',
    ['vircommand', 'child_process'],
    atLeast(2.2),
  ),
  own('building 20 arguments and the plan, in microseconds', 'build', '<= 20 us', (figure) => figure <= 20),
];
