// The targets, and how each is read from a summary. A ratio is the median over the rounds of the ratios within each round. What the
// spread of the rounds leaves open is not decided by that run.
import { describe, ratios } from './statistics.js';

const atMost = (limit, unit = 'x') => ({ bound: `<= ${limit} ${unit}`, good: (figure) => figure <= limit });
const atLeast = (limit) => ({ bound: `>= ${limit} x`, good: (figure) => figure >= limit });
const below = (limit) => ({ bound: `< ${limit} x`, good: (figure) => figure < limit });

/** What stands for a rival's name in a target: ours, in the row's quickest form. */
const QUICKEST = ['prepared', 'again', 'vircommand'];

/** What a rival's trials gave, by round. */
const values = (summary, row, rival) => summary[row]?.[rival]?.trials;

/** A ratio between two rivals in one row. */
const ratio = (text, row, [over, under], limit) => ({
  text,
  ...limit,
  figures: (summary) => ratios(values(summary, row, over), values(summary, row, under)),
});

/** A figure of our own, not a ratio. */
const own = (text, row, limit, names = ['vircommand']) => ({
  text,
  ...limit,
  figures: (summary) => names.map((name) => values(summary, row, name)).find((list) => list !== undefined) ?? [],
});

export const targets = [
  ratio('a process that captures one echo, to child_process', 'start', ['vircommand', 'child_process'], atMost(1.25)),
  ratio('a process that captures one echo, to execa', 'start', ['vircommand', 'execa'], atMost(0.65)),
  ratio('import, to execa', 'import', ['vircommand', 'execa'], atMost(0.25)),
  ratio('/bin/true, to Bun', 'true', ['vircommand', 'bun'], atMost(1)),
  ratio('/bin/true after 2,000 launches, to the C floor', 'steady', ['vircommand', 'floor'], atMost(1)),
  ratio('a static program after 2,000 launches, to the C floor', 'steady-noop', ['vircommand', 'floor'], atMost(1)),
  ratio('echo captured, to Bun', 'echo', ['vircommand', 'bun'], below(1)),
  ratio('event loop held per launch, to child_process', 'held', ['vircommand', 'child_process'], atMost(0.05)),
  ratio('event loop held per launch, to Bun', 'held', ['vircommand', 'bun'], atMost(0.6)),
  ratio('commands per second, 8 at once, to child_process', 'burst', ['vircommand', 'child_process'], atLeast(3)),
  ratio('commands per second, 8 at once, to Bun', 'burst', ['vircommand', 'bun'], atLeast(1)),
  ratio('as another user without capabilities, to plain', 'ids', ['vircommand', 'plain'], atMost(1.15)),
  ratio('with 4 GiB of Buffers, to plain', 'buffers', ['vircommand', 'plain'], atMost(1.2)),
  ratio('with 1,000 open descriptors, to plain', 'descriptors', ['vircommand', 'plain'], atMost(1.1)),
  ratio('throughput of a large capture, to the C reader', 'capture', ['vircommand', 'floor'], atLeast(1)),
  own('peak memory of a large capture, to the output', 'memory', atMost(1.05)),
  ratio('lines per second, to readline over child_process', 'lines', ['vircommand', 'child_process'], atLeast(4)),
  ratio('a pipeline of three, sh -c to ours', 'pipeline', ['sh', 'vircommand'], atLeast(1)),
  ratio('throughput of a pipeline of three, to sh -c', 'pipeline-bytes', ['vircommand', 'sh'], atLeast(1)),
  own('JavaScript of a repeated run, after 100 launches', 'javascript', atMost(40, 'us'), QUICKEST),
  own('JavaScript of a repeated run, after thousands', 'javascript-old', atMost(20, 'us'), QUICKEST),
  // These are older, and stay.
  ratio('/bin/true, to the C floor', 'true', ['vircommand', 'floor'], atMost(1.3)),
  ratio('a static program, to the C floor', 'noop', ['vircommand', 'floor'], atMost(1.25)),
  ratio('/bin/true, child_process to ours', 'true', ['child_process', 'vircommand'], atLeast(2)),
  ratio('/bin/true, execa to ours', 'true', ['execa', 'vircommand'], atLeast(3.5)),
  ratio('with 4 GiB of Buffers, child_process to ours', 'buffers', ['child_process', 'vircommand'], atLeast(80)),
  ratio('throughput of a large capture, to execa', 'capture', ['vircommand', 'execa'], atLeast(2)),
  own('building 20 arguments and the plan', 'build', atMost(20, 'us')),
];

/** The targets that this summary has figures for: `met`, `missed`, or `undecided` where the spread lies across the bound. */
export function judge(summary) {
  return targets.flatMap(({ text, bound, good, figures }) => {
    const found = describe(figures(summary));
    if (found === undefined) return [];
    const { median: figure, low, high } = found;
    const verdict = good(low) === good(high) ? (good(low) ? 'met' : 'missed') : 'undecided';
    return [{ text, figure, low, high, bound, verdict }];
  });
}
