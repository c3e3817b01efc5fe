import { Buffer } from 'node:buffer';
import { dependency, whyNotLoaded } from '../native/dependencies.js';
import { decimal } from './bytes.js';
import { Wrong } from './reading.js';

/** One conversion of a printf format: flags, width, precision, C's length modifier, and the letter. */
const CONVERSION = /%(?:%|(\d+\$)?([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d*))?(?:hh|h|ll|l|j|z|t|L|q)?(.?))/gsu;
const LETTERS = 'diouxXeEfFgGcs';
const INTEGERS = 'diouxX';
const UNSIGNED = 'ouxX';

/** The widest field. C has no such bound; a larger number is a slip that would take all memory. */
const WIDEST = 4096;

/** The most digits that JavaScript prints behind a point. */
const MOST_DIGITS = 100;

/**
 * Formats as C's printf does, or says in words what is wrong with the format or its values.
 *
 * C's length modifiers (`%lu`, `%zd`) are read and mean nothing: a JavaScript number knows its size.
 */
export function printf(template: string, values: readonly unknown[]): string | Wrong {
  let taken = 0;
  const problems: string[] = [];
  const text = template.replaceAll(
    CONVERSION,
    (whole: string, position?: string, flags = '', width?: string, precision?: string, letter = '') => {
      if (whole === '%%') return '%';
      // What a `*` stands for comes from the values, before the value itself.
      const size = (part: string | undefined): unknown =>
        part === '*' ? (values.at(taken++) ?? null) : part === undefined ? undefined : Number(part);
      const conversion: Readonly<Record<keyof Conversion, unknown>> = {
        whole,
        position,
        flags,
        width: width === undefined ? 0 : size(width),
        precision: size(precision),
        letter,
        value: values.at(taken++),
      };
      if (taken > values.length) return '';
      const problem = misfit(conversion) ?? missing();
      if (problem === undefined) return convert(conversion as Conversion);
      problems.push(problem);
      return '';
    },
  );
  const [wrong] = problems;
  if (wrong !== undefined) return new Wrong(wrong);
  if (taken !== values.length)
    return new Wrong(`the format takes ${taken} value${taken === 1 ? '' : 's'}, and ${values.length} came with it`);
  return text;
}

/** A conversion with the values that it takes. */
interface Conversion {
  readonly whole: string;
  readonly position: string | undefined;
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
  readonly letter: string;
  readonly value: string | number | bigint;
}

function misfit({
  whole,
  position,
  width,
  precision = 0,
  letter,
  value,
}: Readonly<Record<keyof Conversion, unknown>>): string | undefined {
  const kind = String(letter);
  if (position !== undefined)
    return `'${String(whole)}' names its value by position; write the values in the order of the format`;
  if (kind === '' || !LETTERS.includes(kind))
    return `'${String(whole)}' is no conversion; there are %${Array.from(LETTERS).join(', %')} and %%`;
  if (!Number.isInteger(width) || !Number.isInteger(precision))
    return `'${String(whole)}' takes a width from its values, and that must be a whole number`;
  if (Math.abs(Number(width)) > WIDEST || Number(precision) > WIDEST)
    return `'${String(whole)}' is wider than ${WIDEST} characters`;
  return misfitValue(String(whole), kind, Number(precision), value);
}

function misfitValue(whole: string, letter: string, precision: number, value: unknown): string | undefined {
  if (letter === 's')
    return ['string', 'number', 'bigint'].includes(typeof value) ? undefined : `'${whole}' takes a string or a number`;
  if (letter === 'c') return isCharacter(value) ? undefined : `'${whole}' takes one character`;
  if (typeof value !== 'number' && typeof value !== 'bigint') return `'${whole}' takes a number`;
  if (!INTEGERS.includes(letter)) {
    if (!Number.isFinite(value)) return `'${whole}' takes a number`;
    return precision > MOST_DIGITS ? `'${whole}' prints more than ${MOST_DIGITS} digits` : undefined;
  }
  if (typeof value === 'number' && !Number.isInteger(value)) return `'${whole}' takes a whole number`;
  if (!Number.isSafeInteger(Number(value)))
    return `'${whole}' is exact up to 2^53; write %s and String(value) for a larger one`;
  return UNSIGNED.includes(letter) && value < 0 ? `'${whole}' takes a number of 0 or more` : undefined;
}

function isCharacter(value: unknown): boolean {
  if (typeof value === 'string') return Array.from(value).length === 1;
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 0x80;
}

/** Why nothing can be formatted, if so. */
function missing(): string | undefined {
  try {
    dependency('printj');
    return undefined;
  } catch (cause) {
    return whyNotLoaded('printj', cause);
  }
}

function convert({ flags, width, precision, letter, value }: Conversion): string {
  const { sprintf } = dependency('printj');
  // A negative width from the values is a flag to C, and a negative precision is none.
  const [sides, columns] = [width < 0 ? `${flags}-` : flags, width === 0 ? '' : String(Math.abs(width))];
  const digits = precision === undefined || precision < 0 ? undefined : precision;
  if (letter === 'c' || letter === 's') {
    // Zeros before text mean nothing in C; and its precision counts bytes.
    const text =
      letter === 'c'
        ? typeof value === 'number'
          ? String.fromCharCode(value)
          : String(value)
        : firstBytes(typeof value === 'number' ? decimal(value) : String(value), digits);
    return sprintf(`%${sides.replaceAll('0', '')}${columns}s`, text);
  }
  // `ll`: printj would cut a number at 32 bits.
  return sprintf(
    `%${sides}${columns}${digits === undefined ? '' : `.${digits}`}${INTEGERS.includes(letter) ? 'll' : ''}${letter}`,
    Number(value),
  );
}

/** The text up to so many bytes. A character that the limit would cut in two is left out. */
function firstBytes(text: string, limit: number | undefined): string {
  if (limit === undefined) return text;
  let room = limit;
  const kept: string[] = [];
  for (const char of text) {
    room -= Buffer.byteLength(char);
    if (room < 0) break;
    kept.push(char);
  }
  return kept.join('');
}
