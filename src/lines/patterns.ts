import { define } from '../spec/bare.js';
import { isArray, printAnything, reasonOf, Wrong } from '../text/reading.js';

/** Patterns that a line has to match: one, or several, or their sources. */
export type Patterns = string | RegExp | readonly (string | RegExp)[];

/** The groups of all patterns that a line matched, in their order; `undefined` for a group that took no part. */
export type LineMatch<Groups extends object = Readonly<Record<string, string | undefined>>> = readonly (
  string | undefined
)[] & {
  /** The named groups. */
  readonly groups: Groups;
  /** The line, without the prefix. */
  readonly line: string;
};

/** Reads patterns, or says what is wrong with them. */
export function readPatterns(patterns: unknown): readonly RegExp[] | Wrong {
  const list = isArray(patterns) ? patterns : [patterns];
  if (list.length === 0) return new Wrong('there is no pattern; give one, or an array of them');
  const read: RegExp[] = [];
  for (const pattern of list) {
    if (typeof pattern !== 'string' && !(pattern instanceof RegExp))
      return new Wrong(`a pattern is a RegExp or its source, and no ${printAnything(pattern)}`);
    try {
      // Without the flag that has a pattern begin where it ended in the line before.
      read.push(
        typeof pattern === 'string' ? new RegExp(pattern) : new RegExp(pattern.source, pattern.flags.replace('g', '')),
      );
    } catch (error) {
      return new Wrong(`the pattern ${printAnything(pattern)} cannot be read (${reasonOf(error)})`);
    }
  }
  return read;
}

/** Matches a line against all patterns, as `virCommandRunRegex` does: one that does not match has the line passed over. */
export function matchLine<Groups extends object>(
  patterns: readonly RegExp[],
  line: string,
  prefix: string,
): LineMatch<Groups> | undefined {
  const text = prefix !== '' && line.startsWith(prefix) ? line.slice(prefix.length) : line;
  const found: (string | undefined)[] = [];
  const groups = Object.create(null) as Record<string, string | undefined>;
  for (const pattern of patterns) {
    pattern.lastIndex = 0;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    for (const group of match.slice(1) as (string | undefined)[]) found.push(group);
    if (match.groups !== undefined) Object.assign(groups, match.groups);
  }
  // As in a match of JavaScript's own, but not among what is listed.
  define(found, 'groups', groups);
  define(found, 'line', text);
  return found as unknown as LineMatch<Groups>;
}

/** How many tokens a row has, or the names of its columns. */
export type Columns = number | readonly string[];

/** A row: its tokens, or an object of them where the columns have names. */
export type RowOf<C> = C extends readonly (infer Name extends string)[]
  ? Readonly<Partial<Record<Name, string>>>
  : readonly string[];

/** Reads columns, or says what is wrong with them. */
export function readColumns(columns: unknown): Columns | Wrong {
  if (typeof columns === 'number' && Number.isSafeInteger(columns) && columns > 0) return columns;
  const words = 'columns are their number, from 1 on, or an array of their names';
  if (!isArray(columns) || columns.length === 0 || !columns.every((name) => typeof name === 'string' && name !== ''))
    return new Wrong(words);
  return new Set(columns).size === columns.length
    ? (Array.from(columns) as string[])
    : new Wrong('two columns have the same name; give each its own');
}

/** Puts tokens together to rows. */
export class Rows<Row> {
  readonly #columns: Columns;
  readonly #length: number;
  #tokens: string[] = [];

  constructor(columns: Columns) {
    this.#columns = columns;
    this.#length = typeof columns === 'number' ? columns : columns.length;
  }

  /** Takes a token; gives the row that it completes. */
  push(token: string): Row | undefined {
    this.#tokens.push(token);
    return this.#tokens.length < this.#length ? undefined : this.#row();
  }

  /** The last row, which may be shorter than the others. */
  end(): Row | undefined {
    return this.#tokens.length === 0 ? undefined : this.#row();
  }

  #row(): Row {
    const tokens = this.#tokens;
    this.#tokens = [];
    if (typeof this.#columns === 'number') return Object.freeze(tokens) as Row;
    const row = Object.create(null) as Record<string, string>;
    for (const [index, token] of tokens.entries()) row[this.#columns[index]!] = token;
    return Object.freeze(row) as Row;
  }
}
