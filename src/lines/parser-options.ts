import { type Accepted, readCheck } from '../builder/wait-options.js';
import { readOptions, Wrong } from '../text/reading.js';
import { type Columns, readColumns, readPatterns } from './patterns.js';

/** What was said to `runRegex()` or `matches()`. */
export interface Matching {
  readonly regexes: readonly RegExp[];
  readonly prefix: string;
  readonly check: Accepted | undefined;
}

/** What was said to `runNul()` or `rows()`. */
export interface Rowing {
  readonly shape: Columns;
  readonly check: Accepted | undefined;
}

const noFunction = (callback: unknown): Wrong | undefined =>
  typeof callback === 'function' ? undefined : new Wrong('give a function, which is called with each of them');

/** Reads patterns, with the options of the call; the last value is its callback, where it takes one. */
export function readMatching(
  patterns: unknown,
  options: unknown,
  names: readonly ('prefix' | 'check')[],
  ...callbacks: readonly unknown[]
): Matching | Wrong {
  const regexes = readPatterns(patterns);
  if (regexes instanceof Wrong) return regexes;
  const read = readOptions(options, names);
  if (read instanceof Wrong) return read;
  const { prefix = '' } = read;
  if (typeof prefix !== 'string') return new Wrong('the prefix is a string');
  const check = readCheck(read.check);
  if (check instanceof Wrong) return check;
  return callbacks.map(noFunction).find((wrong) => wrong !== undefined) ?? { regexes, prefix, check };
}

/** The same for columns. */
export function readRowing(
  columns: unknown,
  options?: unknown,
  names: readonly 'check'[] = [],
  ...callbacks: readonly unknown[]
): Rowing | Wrong {
  const shape = readColumns(columns);
  if (shape instanceof Wrong) return shape;
  const read = readOptions(options, names);
  if (read instanceof Wrong) return read;
  const check = readCheck(read.check);
  if (check instanceof Wrong) return check;
  return callbacks.map(noFunction).find((wrong) => wrong !== undefined) ?? { shape, check };
}
