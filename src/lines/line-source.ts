import type { Readable } from 'node:stream';
import { lineTooLong, OutputError } from '../errors/output-error.js';
import { fromHere, type Subject } from '../errors/command-error.js';
import { nextTurn, setImmediate } from '../host/time.js';
import type { LineFormat } from './line-options.js';
import { type Line, splitterFor } from './line-splitter.js';
import type { Failure, LineReader } from './lines.js';

/** How much is split at once, in bytes. After the end of a program there may be megabytes. */
const PIECE = 256 * 1024;

/** Turns of the event loop without news after which an output pipe is empty. The first may have begun before the program's end. */
const QUIET_TURNS = 3;

/**
 * The lines of one stream of a child, for all who read them at the same time. A piece is read when each of them has taken all lines of the
 * one before. Where nobody reads any more, what comes is thrown away, so that the program is not held, and does not die of SIGPIPE.
 */
export class LineSource {
  readonly format: LineFormat;
  readonly #stream: Readable;
  readonly #name: 'stdout' | 'stderr';
  readonly #subject: Subject;
  readonly #splitter;
  readonly #readers = new Set<LineReader>();
  /** Lines that the last reader has left, for one that comes at once. */
  #left: readonly (readonly Line[])[] = [];
  /** Nobody reads, and nobody has read since this turn of the event loop began. */
  #isDraining = false;
  #isOver = false;
  #hasProgramEnded = false;
  #isAwaitingQuiet = false;
  #pieces = 0;
  #failure: Failure | undefined;

  constructor(stream: Readable, name: 'stdout' | 'stderr', format: LineFormat, subject: Subject) {
    this.format = format;
    this.#stream = stream;
    this.#name = name;
    this.#subject = subject;
    this.#splitter = splitterFor(format);
    if (stream.readableEnded || stream.destroyed) {
      this.#isOver = true;
      return;
    }
    stream.on('readable', this.#read);
    stream.once('end', () => {
      this.#finish(this.#splitter.end());
    });
    stream.once('error', (error) => {
      this.#fail(error);
    });
    stream.once('close', () => {
      this.#finish([]);
    });
  }

  attach(reader: LineReader): void {
    const left = this.#left;
    this.#left = [];
    this.#isDraining = false;
    this.#readers.add(reader);
    for (const [index, lines] of left.entries()) {
      reader.accept(lines, this.#name);
      // It has found what it was looking for, and the rest is the next one's.
      if (!this.#readers.has(reader)) {
        this.#left = [...this.#left, ...left.slice(index + 1)];
        return;
      }
    }
    if (!this.#isOver) return;
    this.#readers.delete(reader);
    reader.finish(this.#failure);
  }

  /** The reader takes no more. What it has not read, the next one may, if it comes in this turn of the event loop. */
  detach(reader: LineReader, unread: readonly (readonly Line[])[] = []): void {
    if (!this.#readers.delete(reader) && !this.#isOver) return;
    if (this.#readers.size > 0) return;
    this.#left = unread;
    setImmediate(() => {
      if (this.#readers.size > 0) return;
      this.#left = [];
      this.#isDraining = true;
      this.#read();
    });
  }

  /** Has lines come, as long as nobody is behind. */
  pull(): void {
    this.#read();
  }

  /** The program has ended: what it wrote is all that is waited for, also where another process holds the pipe. */
  programEnded(): void {
    this.#hasProgramEnded = true;
    this.#read();
  }

  readonly #read = (): void => {
    while (!this.#isOver && !this.#isHeld()) {
      const piece = this.#stream.read(Math.min(this.#stream.readableLength, PIECE) || undefined) as Buffer | null;
      if (piece === null) {
        if (this.#hasProgramEnded) void this.#awaitQuiet();
        return;
      }
      this.#pieces += 1;
      this.#give(this.#splitter.push(piece));
      const { tooLong } = this.#splitter;
      if (tooLong !== undefined && this.#failure === undefined)
        this.#fail(fromHere(lineTooLong(this.#subject, this.#name, tooLong, this.format.maxLineBytes)));
    }
  };

  #isHeld(): boolean {
    if (this.#readers.size === 0) return !this.#isDraining;
    for (const reader of this.#readers) if (reader.isFull) return true;
    return false;
  }

  #give(lines: readonly Line[]): void {
    for (const reader of this.#readers) reader.accept(lines, this.#name);
  }

  async #awaitQuiet(): Promise<void> {
    if (this.#isAwaitingQuiet) return;
    this.#isAwaitingQuiet = true;
    const known = this.#pieces;
    for (let turn = 0; turn < QUIET_TURNS; turn += 1) await nextTurn();
    this.#isAwaitingQuiet = false;
    if (this.#isOver) return;
    if (this.#stream.readableLength > 0 || this.#pieces > known) this.#read();
    else this.#finish(this.#splitter.end());
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    if (!(error instanceof OutputError)) {
      this.#finish([]);
      return;
    }
    // The program goes on, and is not held.
    for (const reader of this.#readers) reader.finish(this.#failure);
    this.#readers.clear();
    this.#isOver = true;
    this.#stream.off('readable', this.#read);
    this.#stream.resume();
  }

  #finish(last: readonly Line[]): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream.off('readable', this.#read);
    this.#give(last);
    for (const reader of this.#readers) reader.finish(this.#failure);
    this.#readers.clear();
  }
}
