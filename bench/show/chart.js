// Draws a run as SVG: a panel for each measure, a bar for each rival, and a scale of its own in each panel. Colors follow the
// reader's light or dark mode; a bar's number stands beside it, so nothing rests on color.

const WIDTH = 860;
const COLUMNS = 2;
const GAP = 36;
const PANEL = (WIDTH - GAP) / COLUMNS;
const NAME = 132;
const VALUE = 74;
const BAR = 15;
const ROW = 20;
const HEAD = 42;
/** Where the longest bar is this many times the shortest, lengths are logarithmic; else the short ones could not be seen. */
const LOGARITHMIC_FROM = 20;

const shown = ['start', 'true', 'echo', 'held', 'burst', 'buffers', 'capture'];

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

function label(value, unit) {
  if (unit === 'us')
    return value >= 1000 ? `${(value / 1000).toFixed(value >= 10_000 ? 0 : 2)} ms` : `${Math.round(value)} µs`;
  return `${Math.round(value).toLocaleString('en-US')} ${unit}`;
}

function panel({ title, unit, rows }, titles, x, y) {
  const upward = unit !== 'us';
  const entries = Object.entries(rows)
    .filter(([name]) => name !== 'plain')
    .sort(([, a], [, b]) => (upward ? b.median - a.median : a.median - b.median));
  const values = entries.map(([, { median }]) => median);
  const largest = Math.max(...values);
  const smallest = Math.min(...values);
  const logarithmic = largest / smallest >= LOGARITHMIC_FROM;
  const room = PANEL - NAME - VALUE;
  const base = smallest / 2;
  const length = (value) => room * (logarithmic ? Math.log(value / base) / Math.log(largest / base) : value / largest);
  const direction = upward ? 'more is better' : 'less is better';
  const lines = [
    `<text class="title" x="${x}" y="${y + 14}">${escape(title)}</text>`,
    `<text class="note" x="${x}" y="${y + 30}">${direction}${logarithmic ? ', logarithmic' : ''}</text>`,
  ];
  for (const [index, [name, { median }]] of entries.entries()) {
    const top = y + HEAD + index * ROW;
    const width = Math.max(2, length(median)).toFixed(1);
    const kind = name === 'vircommand' ? 'ours' : name === 'floor' ? 'floor' : 'other';
    lines.push(
      `<text class="name ${kind}-text" x="${x + NAME - 8}" y="${top + 11.5}">${escape(titles[name] ?? name)}</text>`,
      `<rect class="${kind}" x="${x + NAME}" y="${top}" width="${width}" height="${BAR}" rx="2"/>`,
      `<text class="value ${kind}-text" x="${(x + NAME + Number(width) + 6).toFixed(1)}" y="${top + 11.5}">${label(median, unit)}</text>`,
    );
  }
  return { lines, height: HEAD + entries.length * ROW + 22 };
}

const style = `
  text { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", sans-serif; fill: #3d444d; }
  .title { font-weight: 600; font-size: 13.5px; fill: #1f2328; }
  .note { font-size: 11px; fill: #59636e; }
  .name { text-anchor: end; }
  .ours-text { font-weight: 600; fill: #1f2328; }
  .ours { fill: #0969da; }
  .other { fill: #afb8c1; }
  .floor { fill: none; stroke: #8c959f; stroke-dasharray: 3 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #b1bac4; }
    .title, .ours-text { fill: #f0f6fc; }
    .note { fill: #9198a1; }
    .ours { fill: #4493f8; }
    .other { fill: #565f69; }
    .floor { stroke: #818b98; }
  }`;

/** The chart of a report, as the text of an SVG file. */
export function chart({ measures, machine }, titles) {
  const panels = shown.filter((key) => Object.keys(measures[key]?.rows ?? {}).length > 1);
  const lines = [];
  let y = 8;
  for (let i = 0; i < panels.length; i += COLUMNS) {
    const drawn = panels
      .slice(i, i + COLUMNS)
      .map((key, column) => panel(measures[key], titles, column * (PANEL + GAP), y));
    lines.push(...drawn.flatMap((one) => one.lines));
    y += Math.max(...drawn.map(({ height }) => height));
  }
  lines.push(
    `<text class="note" x="0" y="${y + 8}">${escape(`Medians, each trial in a fresh process. ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel.split('-')[0]}, Node ${machine.node}.`)}</text>`,
  );
  const height = y + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="How long vircommand and its rivals take to start programs">
<style>${style}
</style>
${lines.join('\n')}
</svg>
`;
}
