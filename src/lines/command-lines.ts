import type { Check } from '../builder/wait-options.js';
import { fromHere, type Subject } from '../errors/command-error.js';
import { ExitError } from '../errors/exit-error.js';
import { notJson } from '../errors/output-error.js';
import type { RunResult } from '../result/run-result.js';
import type { Child } from '../running/child.js';
import type { LineFormat, LinesFrom } from './line-options.js';
import { textLines } from './line-options.js';
import type { LineSource } from './line-source.js';
import { Lines } from './lines.js';
import { type Columns, type LineMatch, matchLine, Rows } from './patterns.js';

/** A command whose lines are to be read. */
export interface LinedCommand {
  readonly subject: Subject;
  readonly start: () => Promise<Child>;
}

/** How a command's tokens are split that come with a zero byte behind each. */
const tokens: LineFormat = Object.freeze({ ...textLines, separator: '\0' });

/**
 * The lines of a command. It is started when the first is asked for, and ends with them, as `wait()` says. A loop that is left early stops it,
 * by its stop sequence.
 */
export function commandLines<T = string>(command: LinedCommand, format: LineFormat, from: LinesFrom): Lines<T> {
  let started: Promise<Child | undefined> | undefined;
  let sources: readonly LineSource[] = [];
  let isLeft = false;
  const begin = async (): Promise<Child | undefined> => {
    try {
      const child = await command.start();
      if (isLeft) return child;
      sources = child.lineSources(format, from);
      for (const source of sources) source.attach(lines);
      for (const source of sources) source.pull();
      return child;
    } catch (error) {
      lines.finish({ error });
      return undefined;
    }
  };
  const lines: Lines<T> = new Lines<T>(
    {
      pull: () => {
        started ??= begin();
        for (const source of sources) source.pull();
      },
      ended: async () => {
        await (await started)?.wait();
      },
      left: async () => {
        isLeft = true;
        // What comes while it is being stopped is thrown away.
        for (const source of sources) source.detach(lines);
        await (await started)?.stop();
      },
    },
    from === 'both',
  );
  return lines;
}

/** The values that a command writes as JSON, one in each line. A line of spaces has none. */
export async function* jsonLines<T>(
  command: LinedCommand,
  format: LineFormat,
): AsyncGenerator<T, undefined, undefined> {
  let number = 0;
  for await (const line of commandLines(command, format, 'stdout')) {
    number += 1;
    if (line.trim() === '') continue;
    let value: T;
    try {
      value = JSON.parse(line) as T;
    } catch (cause) {
      throw fromHere(notJson(command.subject, line, cause, number));
    }
    yield value;
  }
  return undefined;
}

/** The lines of a command that match all patterns, as their groups. */
export async function* matches<Groups extends object>(
  command: LinedCommand,
  patterns: readonly RegExp[],
  prefix: string,
): AsyncGenerator<LineMatch<Groups>, undefined, undefined> {
  for await (const line of commandLines(command, textLines, 'stdout')) {
    const match = matchLine<Groups>(patterns, line, prefix);
    if (match !== undefined) yield match;
  }
  return undefined;
}

/** The rows of a command that writes tokens, with a zero byte behind each. */
export async function* rows<Row>(command: LinedCommand, columns: Columns): AsyncGenerator<Row, undefined, undefined> {
  const open = new Rows<Row>(columns);
  for await (const token of commandLines(command, tokens, 'stdout')) {
    const row = open.push(token);
    if (row !== undefined) yield row;
  }
  const last = open.end();
  if (last !== undefined) yield last;
  return undefined;
}

/** Is called with each match or row. `false` stops the command, and that is no error. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a function that gives nothing is one.
export type OnItem<T> = (item: T) => boolean | void | Promise<boolean | void>;

/**
 * Runs a command and calls back with what it writes, until it has ended, or the callback says `false`. What the callback throws stops the
 * command, and is thrown.
 */
export async function runEach<T>(
  command: LinedCommand,
  items: (command: LinedCommand) => AsyncIterable<T>,
  onItem: OnItem<T>,
  check: Check | undefined,
): Promise<RunResult> {
  let child: Child | undefined;
  let isStopped = false;
  const start = async (): Promise<Child> => {
    child = await command.start();
    return child;
  };
  try {
    for await (const item of items({ subject: command.subject, start })) {
      isStopped = (await onItem(item)) === false;
      if (isStopped) break;
    }
  } catch (error) {
    // How the program ended is judged below, by what this call accepts.
    const hasEnded = error instanceof ExitError && error.result.pid === child?.pid;
    if (!hasEnded || child === undefined) throw error;
  }
  return isStopped ? await child!.stop() : await child!.wait({ check });
}
