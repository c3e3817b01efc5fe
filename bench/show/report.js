// Summaries of trials, and how they are shown: tables on the terminal, and the report as a file.
import { all } from '../rivals.js';
import { describe, ratios } from '../statistics.js';

/** For each rival the median, the spread, and the ratios to ours and to the C floor, each taken within a round. */
export function summarize(row, raw) {
  const values = Object.fromEntries(Object.entries(raw).map(([name, list]) => [name, list.map(row.read)]));
  return Object.fromEntries(
    Object.entries(values).map(([name, trials]) => [
      name,
      {
        ...describe(trials),
        toOurs: describe(ratios(trials, values.vircommand)),
        toFloor: describe(ratios(trials, values.floor)),
        trials,
      },
    ]),
  );
}

/** Three digits, or all before the point. */
export const number = (value) =>
  value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);

/** A figure with its unit; times from a hundredth of a second on are in milliseconds. */
export const figure = (value, unit) =>
  unit === 'us' && value >= 10_000 ? `${number(value / 1000)} ms` : `${number(value)} ${unit}`;

/** Prints lines of cells: so many columns to the left, the others to the right. */
function columns(lines, toTheLeft = 1) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines) {
    const cells = line.map((cell, column) =>
      column < toTheLeft ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    console.log(`  ${cells.join('  ')}`.trimEnd());
  }
}

export function showRow({ name, title, unit }, summary) {
  console.log(`\n${title} (${name})`);
  const times = (ratio) => (ratio === undefined ? '' : `${number(ratio.median)} x`);
  columns([
    ['', 'median', 'spread', 'to ours', 'to floor'],
    ...Object.entries(summary).map(([rival, { median, low, high, toOurs, toFloor }]) => [
      all[rival].title,
      figure(median, unit),
      `${figure(low, unit)} .. ${figure(high, unit)}`,
      times(toOurs),
      times(toFloor),
    ]),
  ]);
}

/** The targets of all runs: the figure of the last, and how often each was met. */
export function showTargets(runs) {
  const last = runs.at(-1);
  if (last.length === 0) return;
  console.log('\nTargets');
  columns(
    [
      ['', '', 'figure', 'spread', 'wanted', runs.length > 1 ? 'met in' : ''],
      ...last.map(({ text, figure: found, low, high, bound, verdict }) => [
        verdict,
        text,
        number(found),
        `${number(low)} .. ${number(high)}`,
        bound,
        runs.length > 1
          ? `${runs.filter((run) => run.some((one) => one.text === text && one.verdict === 'met')).length} of ${runs.length}`
          : '',
      ]),
    ],
    2,
  );
}

/** A report as the text of a file. */
export const reportText = (report) =>
  `${JSON.stringify(report, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value), 2)}\n`;
