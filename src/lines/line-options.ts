import type { Buffer } from 'node:buffer';
import { printAnything, type ReadOptions, readOptions, readSwitch, Wrong } from '../text/reading.js';

/** The encodings in which output has lines; `'buffer'` gives bytes. */
export type LineEncoding = 'utf8' | 'utf-8' | 'latin1' | 'ascii' | 'utf16le' | 'utf-16le' | 'ucs2' | 'buffer';

/** The streams that lines are read from. */
export type LinesFrom = 'stdout' | 'stderr' | 'both';

/** How output is split into lines. */
export interface LineOptions<From extends LinesFrom = LinesFrom, Encoding extends LineEncoding = LineEncoding> {
  /** What ends a line: a text, or a pattern, as `/[\r\n]/` for progress. Default: `\n`, or `\r\n`. */
  readonly separator?: string | RegExp | undefined;
  /** The stream. `'both'` gives `{ stream, line }`, in the order in which they come. Default: `'stdout'`. */
  readonly from?: From | undefined;
  /** The encoding of the text; `'buffer'` gives bytes. Default: `'utf8'`, where wrong bytes become U+FFFD. */
  readonly encoding?: Encoding | undefined;
  /** The longest line that is taken, in bytes; a longer one is an {@link OutputError}. `Infinity`: any. Default: 1 MiB. */
  readonly maxLineBytes?: number | undefined;
  /** Whether each line keeps what ended it. Default: false. */
  readonly keepNewline?: boolean | undefined;
}

/** A line with the stream that it came from. */
export interface StreamLine<Text = string> {
  readonly stream: 'stdout' | 'stderr';
  readonly line: Text;
}

type TextOf<O> = O extends { readonly encoding: 'buffer' } ? Buffer : string;
/** What the lines are for such options. */
export type LineOf<O> = O extends { readonly from: 'both' } ? StreamLine<TextOf<O>> : TextOf<O>;

/** How output is split, as it was read. */
export interface LineFormat {
  /** `undefined`: `\n` or `\r\n`. */
  readonly separator: string | RegExp | undefined;
  readonly encoding: LineEncoding;
  readonly maxLineBytes: number;
  readonly keepNewline: boolean;
}

/** A MiB: a program that writes no newline cannot fill this process's memory. */
const MOST_LINE_BYTES = 1024 * 1024;

const encodings: readonly string[] = [
  'utf8',
  'utf-8',
  'latin1',
  'ascii',
  'utf16le',
  'utf-16le',
  'ucs2',
  'buffer',
] satisfies LineEncoding[];

export const lineOptionNames = ['separator', 'from', 'encoding', 'maxLineBytes', 'keepNewline'] as const;

/** Lines of text, as they are where nothing is said. */
export const textLines: LineFormat = Object.freeze({
  separator: undefined,
  encoding: 'utf8',
  maxLineBytes: MOST_LINE_BYTES,
  keepNewline: false,
});

/** What was said of the lines to read, and what other options the call takes. */
export interface ReadLineOptions<Other extends string = never> {
  readonly format: LineFormat;
  readonly from: LinesFrom;
  readonly others: Readonly<Partial<Record<Other, unknown>>>;
}

/** Reads the options of a call about lines. `others` are options of that call beside them. */
export function readLineOptions<Other extends string = never>(
  given: unknown,
  others: readonly Other[] = [],
  names: readonly (keyof LineOptions)[] = lineOptionNames,
): ReadLineOptions<Other> | Wrong {
  const read: ReadOptions<string> | Wrong = readOptions(given, [...names, ...others]);
  if (read instanceof Wrong) return read;
  const {
    separator,
    from = 'stdout',
    encoding = 'utf8',
    maxLineBytes = MOST_LINE_BYTES,
  } = read as ReadOptions<keyof LineOptions>;
  const keepNewline = readSwitch(read['keepNewline'], 'keepNewline');
  if (keepNewline instanceof Wrong) return keepNewline;
  if (from !== 'stdout' && from !== 'stderr' && from !== 'both')
    return new Wrong(`from is 'stdout', 'stderr' or 'both', and no ${printAnything(from)}`);
  if (typeof encoding !== 'string' || !encodings.includes(encoding))
    return new Wrong(`lines have the encodings ${encodings.join(', ')}, and no ${printAnything(encoding)}`);
  if (maxLineBytes !== Infinity && !(Number.isSafeInteger(maxLineBytes) && (maxLineBytes as number) > 0))
    return new Wrong('maxLineBytes is a whole number of bytes above 0, or Infinity');
  const wrong = wrongSeparator(separator, encoding);
  if (wrong !== undefined) return new Wrong(wrong);
  return {
    format: {
      separator: separator as string | RegExp | undefined,
      encoding: encoding as LineEncoding,
      maxLineBytes: maxLineBytes as number,
      keepNewline,
    },
    from,
    others: read,
  };
}

function wrongSeparator(separator: unknown, encoding: string): string | undefined {
  if (separator === undefined) return undefined;
  if (separator instanceof RegExp) {
    if (encoding === 'buffer') return 'bytes are split at a text, not at a pattern; give the separator as a string';
    return new RegExp(separator.source, separator.flags.replace(/[gy]/g, '')).test('')
      ? 'the separator matches where there is nothing; give a pattern of one character or more'
      : undefined;
  }
  return typeof separator === 'string' && separator !== ''
    ? undefined
    : 'the separator is a string of one character or more, or a RegExp';
}

/** Whether two calls ask for the same lines. */
export const isSameFormat = (one: LineFormat, other: LineFormat): boolean =>
  String(one.separator) === String(other.separator) &&
  one.encoding === other.encoding &&
  one.maxLineBytes === other.maxLineBytes &&
  one.keepNewline === other.keepNewline;
