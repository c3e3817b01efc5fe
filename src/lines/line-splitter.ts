import { Buffer } from 'node:buffer';
import { StringDecoder } from 'node:string_decoder';
import { withoutReturn } from '../text/lines.js';
import type { LineFormat } from './line-options.js';

/** A line: text, or bytes where they were asked for. */
export type Line = string | Buffer;

/** Splits a stream of bytes, piece by piece, however the pieces lie. */
export interface LineSplitter {
  /** The lines that this piece completes. */
  push(piece: Buffer): readonly Line[];
  /** The last line, where nothing ended it. */
  end(): readonly Line[];
  /** The number of the line, counted from 1, that is longer than it may be. After it, there are no more. */
  readonly tooLong: number | undefined;
}

/** The splitter for what was asked. */
export const splitterFor = (format: LineFormat): LineSplitter =>
  format.encoding === 'buffer' ? new ByteSplitter(format) : new TextSplitter(format, format.encoding);

/**
 * By how much what has no end yet may be longer than a line: it may hold the beginning of a separator. Where it does not, the line is
 * measured when its end has come.
 */
const SLACK_BYTES = 64;

/** Counts lines, and finds those that are too long. */
class Measure {
  readonly #most: number;
  readonly #bytesIn: (line: Line) => number;
  #count = 0;
  #openBytes = 0;
  tooLong: number | undefined;

  constructor(most: number, bytesIn: (line: Line) => number) {
    this.#most = most;
    this.#bytesIn = bytesIn;
  }

  /** Takes the lines that a piece of that many bytes has completed, and what is open then; gives those that may be handed on. */
  take<L extends Line>(lines: L[], open: Line, pieceBytes: number): readonly L[] {
    const couldBe = this.#openBytes + pieceBytes;
    // A piece without an end makes the open line longer by just that; to measure all of it anew each time would take ever longer.
    this.#openBytes = lines.length === 0 ? couldBe : this.#bytesIn(open);
    if (couldBe > this.#most) {
      const at = lines.findIndex((line) => this.#bytesIn(line) > this.#most);
      if (at >= 0) return this.#stop(lines.slice(0, at));
      if (this.#openBytes > this.#most + SLACK_BYTES) return this.#stop(lines);
    }
    this.#count += lines.length;
    return lines;
  }

  #stop<L extends Line>(lines: L[]): readonly L[] {
    this.#count += lines.length;
    this.tooLong = this.#count + 1;
    return lines;
  }
}

class TextSplitter implements LineSplitter {
  readonly #decoder: StringDecoder;
  readonly #cut: (piece: string, isLast: boolean) => string[];
  readonly #measure: Measure;
  /** What has no end yet. */
  #open = '';

  constructor({ separator, maxLineBytes, keepNewline }: LineFormat, encoding: BufferEncoding) {
    this.#decoder = new StringDecoder(encoding);
    this.#measure = new Measure(maxLineBytes, (line) => Buffer.byteLength(line, encoding));
    if (separator === undefined) this.#cut = keepNewline ? this.#atText('\n', true) : this.#atNewlines();
    else
      this.#cut =
        typeof separator === 'string' ? this.#atText(separator, keepNewline) : this.#at(separator, keepNewline);
  }

  get tooLong(): number | undefined {
    return this.#measure.tooLong;
  }

  push(piece: Buffer): readonly Line[] {
    return this.#take(this.#decoder.write(piece), piece.length, false);
  }

  end(): readonly Line[] {
    const lines = this.#take(this.#decoder.end(), 0, true);
    if (this.tooLong !== undefined || this.#open === '') return lines;
    const last = this.#measure.take([this.#open], '', 0);
    this.#open = '';
    return lines.length === 0 ? last : [...lines, ...last];
  }

  #take(text: string, bytes: number, isLast: boolean): readonly Line[] {
    if (this.tooLong !== undefined) return [];
    return this.#measure.take(this.#cut(text, isLast), this.#open, bytes);
  }

  /** At `\n`, and at `\r\n`. */
  #atNewlines(): (piece: string) => string[] {
    const cut = this.#atText('\n', false);
    return (piece) => {
      const hasReturns = piece.includes('\r') || this.#open.endsWith('\r');
      const lines = cut(piece);
      return hasReturns ? lines.map(withoutReturn) : lines;
    };
  }

  #atText(separator: string, keeps: boolean): (piece: string) => string[] {
    // The separator may lie across two pieces.
    const overlap = separator.length - 1;
    return (piece) => {
      const known = this.#open.length - Math.min(overlap, this.#open.length);
      const lines = overlap === 0 ? piece.split(separator) : (this.#open.slice(known) + piece).split(separator);
      lines[0] = (overlap === 0 ? this.#open : this.#open.slice(0, known)) + lines[0]!;
      this.#open = lines.pop()!;
      return keeps ? lines.map((line) => line + separator) : lines;
    };
  }

  #at(pattern: RegExp, keeps: boolean): (piece: string, isLast: boolean) => string[] {
    const separator = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, '')}g`);
    const mayGrow = !isOneCharacter.test(pattern.source);
    return (piece, isLast) => {
      const text = this.#open + piece;
      const lines: string[] = [];
      let from = 0;
      separator.lastIndex = 0;
      for (let found = separator.exec(text); found !== null; found = separator.exec(text)) {
        const end = found.index + found[0].length;
        // What comes next may belong to it: the `\n` of a `\r\n`.
        if (mayGrow && !isLast && end === text.length) break;
        if (found[0] === '') separator.lastIndex += 1;
        else {
          lines.push(text.slice(from, keeps ? end : found.index));
          from = end;
        }
      }
      this.#open = text.slice(from);
      return lines;
    };
  }
}

/** The patterns that match one character each time, so that nothing which follows makes the match longer. */
const isOneCharacter = /^(?:\[(?:\\.|[^\\\]])*\]|\\[nrtvf0]|[^\\^$.*+?()[\]{}|])$/s;

const NEWLINE = Buffer.from('\n');
const RETURN = 0x0d;

class ByteSplitter implements LineSplitter {
  readonly #separator: Buffer;
  /** How much of each line's end is kept. */
  readonly #kept: number;
  readonly #dropsReturns: boolean;
  readonly #measure: Measure;
  #open: Buffer[] = [];

  constructor({ separator, maxLineBytes, keepNewline }: LineFormat) {
    this.#separator = typeof separator === 'string' ? Buffer.from(separator) : NEWLINE;
    this.#kept = keepNewline ? this.#separator.length : 0;
    this.#dropsReturns = separator === undefined && !keepNewline;
    this.#measure = new Measure(maxLineBytes, (line) => line.length);
  }

  get tooLong(): number | undefined {
    return this.#measure.tooLong;
  }

  push(piece: Buffer): readonly Line[] {
    if (this.tooLong !== undefined) return [];
    const lines: Buffer[] = [];
    // A separator of several bytes may lie across two pieces.
    const bytes = this.#separator.length > 1 ? this.#closed(piece) : piece;
    let from = 0;
    for (let at = bytes.indexOf(this.#separator); at >= 0; at = bytes.indexOf(this.#separator, from)) {
      const line = this.#closed(bytes.subarray(from, at + this.#kept));
      lines.push(this.#dropsReturns && line.at(-1) === RETURN ? line.subarray(0, -1) : line);
      from = at + this.#separator.length;
    }
    if (from < bytes.length) this.#open.push(bytes.subarray(from));
    const open = lines.length === 0 ? NEWLINE : bytes.subarray(from);
    return this.#measure.take(lines, open, piece.length);
  }

  end(): readonly Line[] {
    if (this.tooLong !== undefined) return [];
    const last = this.#closed(NOTHING);
    return last.length === 0 ? [] : this.#measure.take([last], NOTHING, 0);
  }

  /** What was open, with its end. */
  #closed(end: Buffer): Buffer {
    if (this.#open.length === 0) return end;
    const line = Buffer.concat([...this.#open, end]);
    this.#open = [];
    return line;
  }
}

const NOTHING = Buffer.alloc(0);
