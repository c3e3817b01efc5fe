import type { Subject } from '../errors/command-error.js';
import { lineTooLong } from '../errors/output-error.js';
import { type Mistake, UsageError } from '../errors/usage-error.js';
import type { Capture } from '../io/capture.js';
import { type LineFormat, type LinesFrom } from './line-options.js';
import { type Line, type LineSplitter, splitterFor } from './line-splitter.js';
import type { Failure } from './lines.js';
import { streamsOf } from './child-lines.js';

/** Is called with each line of a program that runs. */
export type OnLine = (line: string, stream: 'stdout' | 'stderr') => void;

/** What `onLine()` has said. */
export interface LineListener {
  readonly callback: OnLine;
  readonly format: LineFormat;
  readonly from: LinesFrom;
}

/** Calls back with each line of what is captured, while the program runs. Where that throws, the program is to be stopped. */
export class LineWatch {
  readonly #listener: LineListener;
  readonly #subject: Subject;
  readonly #splitters = new Map<'stdout' | 'stderr', LineSplitter>();
  #failure: Failure | undefined;
  #onFailure: (() => void) | undefined;

  /** @throws {UsageError} where a stream does not come by here. */
  constructor(listener: LineListener, captures: ReadonlyMap<1 | 2, Capture>, subject: Subject) {
    this.#listener = listener;
    this.#subject = subject;
    const mistakes: Mistake[] = [];
    for (const name of streamsOf(listener.from)) {
      const capture = captures.get(name === 'stdout' ? 1 : 2);
      if (capture === undefined) mistakes.push({ call: 'onLine(…)', problem: unseen[name] });
      else this.#watch(name, capture);
    }
    if (mistakes.length > 0) throw new UsageError(subject, mistakes);
  }

  /** What the callback threw, or the line that was too long. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  /** Calls back once, when the program is to be stopped. */
  whenFailed(callback: () => void): void {
    this.#onFailure = callback;
    if (this.#failure !== undefined) callback();
  }

  /** The output has come to its end: a last line needs no newline. */
  end(): void {
    for (const [name, splitter] of this.#splitters) this.#tell(splitter.end(), name, splitter);
    this.#splitters.clear();
  }

  #watch(name: 'stdout' | 'stderr', capture: Capture): void {
    const splitter = splitterFor(this.#listener.format);
    this.#splitters.set(name, splitter);
    capture.onPiece((piece) => {
      if (this.#failure === undefined) this.#tell(splitter.push(piece), name, splitter);
    });
  }

  #tell(lines: readonly Line[], name: 'stdout' | 'stderr', { tooLong }: LineSplitter): void {
    if (this.#failure !== undefined) return;
    try {
      for (const line of lines) this.#listener.callback(line as string, name);
      if (tooLong !== undefined) throw lineTooLong(this.#subject, name, tooLong, this.#listener.format.maxLineBytes);
    } catch (error) {
      this.#failure = { error };
      this.#onFailure?.();
    }
  }
}

const unseen = {
  stdout: 'standard output is not read here; say outputBuffer() too, or leave the call out',
  stderr:
    'standard error is not read here by itself; say errorBuffer() with a buffer of its own, or leave the call out',
} as const;
