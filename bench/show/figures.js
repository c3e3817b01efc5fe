// Writes what is shown of results/latest.json: its chart, the README's table, and the targets of bench/README.md. `npm run bench` does
// it after a whole run; `node bench/show/figures.js` does it alone. `--check` changes nothing, and fails where a file says something else.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chart } from './chart.js';
import { figure, number } from './report.js';
import { titles } from '../rivals.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const RESULTS = 'bench/results/latest.json';
const BEGIN = '<!-- Written by bench/show/figures.js from results/latest.json: -->';
const END = '<!-- end of what it wrote -->';

/** The README's rows, and the rivals that are its columns. */
const shown = [
  ['start', 'a whole Node process that captures one `echo`'],
  ['import', 'its import alone'],
  ['true', 'launch `/bin/true` and wait'],
  ['echo', 'capture `echo`'],
  ['held', 'event loop held per launch'],
  ['burst', '2,000 commands, 8 at once'],
  ['buffers', 'launch from a parent with 4 GiB of Buffers'],
  ['descriptors', 'launch from a parent with 1,000 open descriptors'],
  ['capture', 'capture 400 MiB'],
  ['lines', 'read 400 MiB line by line'],
  ['pipeline', 'a pipeline of three (`sh -c` by child_process)'],
  ['pipeline-bytes', '1,000 MiB through a pipeline of three'],
];
const columns = ['child_process', 'execa', 'tinyexec', 'nano-spawn', 'bun', 'deno', 'floor'];

/** Without a pipeline of its own, `child_process` is measured with a shell. */
const STANDS_FOR = { child_process: 'sh' };

/** What a launch costs more than a plain one. */
const besidePlain = [
  ['ids', 'as another user without capabilities'],
  ['cgroup', 'into a control group'],
  ['buffers', 'with 4 GiB of Buffers here'],
  ['descriptors', 'with 1,000 open descriptors here'],
];

const line = (cells) => `| ${cells.join(' | ')} |`;
const times = (ratio) => (ratio >= 9.95 ? ratio.toFixed(0) : ratio >= 0.995 ? ratio.toFixed(1) : ratio.toFixed(2));

/** How many times as long as ours a rival takes: of what is counted by the second, that is the other way round. */
function timesOurs({ unit, rows }, rival) {
  const ratio = (rows[rival] ?? rows[STANDS_FOR[rival]])?.toOurs?.median;
  return ratio === undefined ? '' : times(unit.endsWith('/s') ? 1 / ratio : ratio);
}

function readmeTable({ measures }) {
  const rows = shown
    .filter(([name]) => measures[name]?.rows.vircommand !== undefined)
    .map(([name, text]) => {
      const { unit, rows: found } = measures[name];
      return line([
        text,
        figure(found.vircommand.median, unit),
        ...columns.map((rival) => timesOurs(measures[name], rival)),
      ]);
    });
  const plain = besidePlain.flatMap(([name, text]) => {
    const ratio = measures[name]?.rows.plain?.toOurs?.median;
    return ratio === undefined ? [] : [`${text} ${(1 / ratio).toFixed(2)}`];
  });
  return [
    line(['', 'here', ...columns.map((rival) => titles[rival])]),
    line(['---', ...Array.from({ length: columns.length + 1 }, () => '--:')]),
    ...rows,
    ...(plain.length === 0 ? [] : ['', `Times a plain launch of this library: ${plain.join(', ')}.`]),
  ];
}

const targetTable = ({ targets }) => [
  line(['target', 'wanted', 'figure', 'spread', 'verdict']),
  line(['---', '---', '--:', '--:', '---']),
  ...targets.map(({ text, bound, figure: found, low, high, verdict }) =>
    line([text, bound, number(found), `${number(low)} .. ${number(high)}`, verdict]),
  ),
];

const machineLine = ({ machine: { cpu, cores, kernel, node }, versions }) =>
  `${cpu}, ${cores} cores, Linux ${kernel.split('-')[0]}, Node ${node.slice(1)}, execa ${versions.execa}, tinyexec ${versions.tinyexec}, nano-spawn ${versions['nano-spawn']}, Bun ${versions.bun}, Deno ${versions.deno}.`;

/** The text with other lines between the two marks. */
function replaced(text, lines, file) {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error(`${file} has no '${BEGIN}' and '${END}'`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${lines.join('\n')}\n\n${text.slice(end)}`;
}

/** Each file that shows figures, and what makes its text of the report and of the text that it has. */
const files = {
  'bench/results/latest.svg': (report) => chart(report, titles),
  'README.md': (report, text) => replaced(text, [...readmeTable(report), '', machineLine(report)], 'README.md'),
  'bench/README.md': (report, text) => replaced(text, targetTable(report), 'bench/README.md'),
};

/** Writes the files below a directory, or only looks at them. Returns those whose text was another one. */
export function writeFigures({ directory = root, check = false } = {}) {
  const report = JSON.parse(readFileSync(`${directory}/${RESULTS}`, 'utf8'));
  return Object.entries(files).flatMap(([file, make]) => {
    const before = readFileSync(`${directory}/${file}`, 'utf8');
    const after = make(report, before);
    if (after === before) return [];
    if (!check) writeFileSync(`${directory}/${file}`, after);
    return [file];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes('--check');
  const directory = process.argv.slice(2).find((word) => !word.startsWith('--'));
  const other = writeFigures({ directory, check });
  for (const file of other)
    console.log(check ? `${file} does not show ${RESULTS}: run \`node bench/show/figures.js\`` : `wrote ${file}`);
  if (check && other.length > 0) process.exitCode = 1;
}
