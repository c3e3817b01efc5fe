import { fromHere, type Subject } from '../errors/command-error.js';
import { OutputError } from '../errors/output-error.js';
import type { Clock } from '../host/time.js';
import { formatDuration } from '../text/duration.js';
import { inBackticks, shown } from '../text/shown.js';
import { isBytes, printAnything } from '../text/reading.js';
import type { LinesFrom } from './line-options.js';
import type { LineSource } from './line-source.js';
import type { Line } from './line-splitter.js';
import type { Failure, LineReader } from './lines.js';

/** What a line is looked at by: a text that it holds, a pattern, or a function. */
export type LinePattern = string | RegExp | ((line: string) => boolean);

/** A line that is waited for. */
export interface AwaitedLine {
  readonly pattern: LinePattern;
  readonly from: LinesFrom;
  readonly withinMs: number | undefined;
  readonly clock: Clock;
  readonly subject: Subject;
  /** How the program has ended, as a sentence, once it has; for the message. */
  readonly end: () => Promise<string>;
}

/** Whether a value can be looked for in a line. */
export const isLinePattern = (value: unknown): value is LinePattern =>
  (typeof value === 'string' && value !== '') || value instanceof RegExp || typeof value === 'function';

/** The pattern without what it remembers of the line before. */
const statelessly = (pattern: LinePattern): ((line: string) => boolean) => {
  if (typeof pattern === 'function') return pattern;
  if (typeof pattern === 'string') return (line) => line.includes(pattern);
  const stateless = new RegExp(pattern.source, pattern.flags.replace('g', ''));
  return (line) => {
    stateless.lastIndex = 0;
    return stateless.test(line);
  };
};

/** Resolves with the first line from now on that fits. What comes after it is left to the next reader. */
export function waitForLine(sources: readonly LineSource[], awaited: AwaitedLine): Promise<string> {
  return new Promise((resolve, reject) => {
    const waiter = new LineWaiter(sources, awaited, resolve, reject);
    for (const source of sources) source.attach(waiter);
    waiter.pull();
  });
}

class LineWaiter implements LineReader {
  readonly isFull = false;
  readonly #sources: readonly LineSource[];
  readonly #awaited: AwaitedLine;
  readonly #fits: (line: string) => boolean;
  readonly #resolve: (line: string) => void;
  readonly #reject: (error: unknown) => void;
  readonly #callOff: (() => void) | undefined;
  #open: number;
  #last: string | undefined;
  #isOver = false;

  constructor(
    sources: readonly LineSource[],
    awaited: AwaitedLine,
    resolve: (line: string) => void,
    reject: (error: unknown) => void,
  ) {
    this.#sources = sources;
    this.#awaited = awaited;
    this.#fits = statelessly(awaited.pattern);
    this.#resolve = resolve;
    this.#reject = reject;
    this.#open = sources.length;
    const { withinMs, clock } = awaited;
    if (withinMs !== undefined)
      this.#callOff = clock.after(withinMs, () => {
        this.#fail(`did not write ${this.#wanted()} within ${formatDuration(withinMs)}.`);
      });
  }

  pull(): void {
    for (const source of this.#sources) if (!this.#isOver) source.pull();
  }

  accept(lines: readonly Line[]): void {
    for (const [index, line] of lines.entries()) {
      if (this.#isOver) return;
      const text = isBytes(line) ? line.toString() : line;
      this.#last = text;
      try {
        if (!this.#fits(text)) continue;
      } catch (error) {
        this.#end(lines.slice(index + 1));
        this.#reject(error);
        return;
      }
      this.#end(lines.slice(index + 1));
      this.#resolve(text);
    }
  }

  finish(failure?: Failure): void {
    if (this.#isOver) return;
    this.#open -= 1;
    if (failure !== undefined) {
      this.#end([]);
      this.#reject(failure.error);
    } else if (this.#open === 0) {
      this.#end([]);
      void this.#awaited.end().then((end) => {
        this.#fail(`ended before it wrote ${this.#wanted()}. ${end}`);
      });
    }
  }

  #end(unread: readonly Line[]): void {
    this.#isOver = true;
    this.#callOff?.();
    for (const source of this.#sources) source.detach(this, unread.length > 0 ? [unread] : []);
  }

  #wanted(): string {
    const { pattern, from } = this.#awaited;
    const which =
      typeof pattern === 'function'
        ? 'the line that was waited for'
        : typeof pattern === 'string'
          ? `a line with ${printAnything(pattern)}`
          : `a line that matches ${String(pattern)}`;
    return `${which} to ${from === 'both' ? 'stdout or stderr' : from}`;
  }

  #fail(what: string): void {
    if (!this.#isOver) this.#end([]);
    const last =
      this.#last === undefined
        ? 'It had written no line by then.'
        : `Its last line was ${inBackticks(shown(this.#last))}.`;
    const { subject, from } = this.#awaited;
    this.#reject(fromHere(new OutputError(subject, { reason: 'no-such-line', stream: from, what: `${what} ${last}` })));
  }
}
