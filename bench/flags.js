// The command line of the bench. A mistake in it is told in one line, and nothing is run.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rivals } from './rivals.js';

const options = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  rivals: { type: 'string' },
  rounds: { type: 'string' },
  runs: { type: 'string', default: '1' },
  cache: { type: 'string', default: fileURLToPath(new URL('../.cache/bench', import.meta.url)) },
  help: { type: 'boolean', default: false },
};

const usage = (
  rowNames,
) => `npm run bench -- [--quick] [--only ROW,…] [--rivals RIVAL,…] [--rounds N] [--runs N] [--cache DIR]

  --quick    fewer rounds and smaller loads
  --only     these rows: ${rowNames.join(', ')}
  --rivals   these rivals, and ours: ${Object.keys(rivals).join(', ')}
  --rounds   so many rounds for each row, instead of its own number
  --runs     everything so many times; the targets are counted over all runs
  --cache    where rivals and compiled programs are kept`;

class Mistake extends Error {}

/** Names that are separated by commas, each of them known. */
function listed(text, known, what) {
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return names;
  throw new Mistake(`There is no ${what} '${unknown.join("', '")}'. There are: ${known.join(', ')}.`);
}

function counted(text, flag) {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new Mistake(`--${flag} takes a number above 0, not '${text}'.`);
}

function read(rowNamesOf) {
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    // Node's own words go on to tell how to pass such an argument, which is not what was meant.
    throw new Mistake(`${error.message.split('. ')[0].replace(/\.$/, '')}. --help says which flags there are.`);
  }
  const rowNames = rowNamesOf(values.quick);
  if (values.help) {
    console.log(usage(rowNames));
    process.exit(0);
  }
  return {
    quick: values.quick,
    cache: values.cache,
    rows: values.only === undefined ? rowNames : listed(values.only, rowNames, 'row'),
    rivals:
      values.rivals === undefined
        ? Object.keys(rivals)
        : [...new Set(['vircommand', ...listed(values.rivals, Object.keys(rivals), 'rival')])],
    rounds: values.rounds === undefined ? undefined : counted(values.rounds, 'rounds'),
    runs: counted(values.runs, 'runs'),
    /** Part of a run is not what the README shows. */
    isWhole: [values.only, values.rivals, values.rounds].every((flag) => flag === undefined) && !values.quick,
  };
}

/** What was asked for. */
export function readFlags(rowNamesOf) {
  try {
    return read(rowNamesOf);
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}
