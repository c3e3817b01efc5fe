import { Buffer, isUtf8 } from 'node:buffer';
import { describeKind, isBytes, isDetached, Wrong } from './reading.js';

/** What an argument or a value may be. Bytes are taken as they are: argv and the environment are bytes on Linux. */
export type Argument = string | number | bigint | Uint8Array;

/** Bytes in a form that JSON can hold: text where they are UTF-8, base64 where they are not. */
export type ByteText = string | { readonly base64: string };

/** The bytes behind each text that {@link holdBytes} made. */
const held = new WeakMap<object, Buffer>();

/**
 * A copy of bytes, as a text that is written in base64 only when somebody asks for it: `JSON.stringify()` or
 * `structuredClone()` does. However many they are, to hold them takes no more than to copy them.
 */
export function holdBytes(bytes: Uint8Array): ByteText {
  const text = Object.freeze(Object.defineProperty({}, 'base64', base64Getter) as { readonly base64: string });
  held.set(text, Buffer.from(bytes));
  return text;
}

const base64Getter = Object.assign(Object.create(null) as PropertyDescriptor, {
  enumerable: true,
  get(this: object): string {
    const bytes = held.get(this) ?? Buffer.alloc(0);
    try {
      return bytes.toString('base64');
    } catch {
      throw new RangeError(
        `${bytes.length} bytes are more than a string can hold in base64. Leave inputBuffer() out of what becomes JSON and ` +
          'say it again behind fromSpec(), or put the bytes into a file and say inputFile().',
      );
    }
  },
});

/** The bytes that a text stands for. Those that {@link holdBytes} took are shared: nobody may change them. */
export function toBytes(text: ByteText): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : (held.get(text) ?? Buffer.from(text.base64, 'base64'));
}

/** Bytes as text, in the shortest form that gives the same bytes back. */
export function fromBytes(bytes: Uint8Array): ByteText {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? buffer.toString() : { base64: buffer.toString('base64') };
}

/** A path in the form that Node's functions take. */
export function pathOf(path: ByteText): string | Buffer {
  return typeof path === 'string' ? path : toBytes(path);
}

/** Runs of ASCII, runs of what looks like UTF-8, and single bytes, in bytes read as Latin-1. */
const RUNS = /[\x00-\x7f]+|(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})|[\x80-\xff]/g;

/** A text for a person to read: bytes that are not UTF-8 stand as `\xff`. */
export function readable(text: ByteText): string {
  if (typeof text === 'string') return text;
  return toBytes(text)
    .toString('latin1')
    .replaceAll(RUNS, (run) => {
      const bytes = Buffer.from(run, 'latin1');
      return isUtf8(bytes) ? bytes.toString() : `\\x${bytes.toString('hex').match(/../g)?.join('\\x') ?? ''}`;
    });
}

/** Whether two texts are the same bytes. */
export const isSameText = (one: ByteText, other: ByteText): boolean =>
  typeof one === 'string' || typeof other === 'string' ? one === other : one.base64 === other.base64;

/** Two texts, one after the other. */
export function joinText(first: ByteText, ...rest: ByteText[]): ByteText {
  const parts = [first, ...rest];
  return parts.every((part) => typeof part === 'string')
    ? parts.join('')
    : fromBytes(Buffer.concat(parts.map(toBytes)));
}

const NUL = new Wrong('holds a NUL byte, which ends a string for the kernel');
const HALF = new Wrong('holds half of a surrogate pair, which has no bytes in UTF-8');
const DETACHED = new Wrong('is bytes whose memory was handed to another thread; take a copy before');

/**
 * Reads a value that a caller gave as an argument, or says in words what is wrong with it.
 * The words complete the sentence "the value …".
 */
export function readArgument(value: unknown): ByteText | Wrong {
  switch (typeof value) {
    case 'string':
      if (value.includes('\0')) return NUL;
      return value.isWellFormed() ? value : HALF;
    case 'bigint':
      return String(value);
    case 'number':
      return Number.isFinite(value) ? decimal(value) : new Wrong(`is ${value}, which no program can read`);
    case 'object':
      if (isBytes(value)) {
        if (isDetached(value)) return DETACHED;
        // A copy first: another thread may write to memory that it shares.
        const bytes = Buffer.from(value);
        return bytes.includes(0) ? NUL : fromBytes(bytes);
      }
  }
  return new Wrong(`is ${describeKind(value)}; give a string, a number, a bigint or bytes (Uint8Array)`);
}

/** Reads bytes or text of any length, to be handed on as they are. The words complete the sentence "the data …". */
export function readData(value: unknown): ByteText | Wrong {
  if (typeof value === 'string') return value;
  if (!isBytes(value)) return new Wrong(`is ${describeKind(value)}; give text or bytes`);
  return isDetached(value) ? DETACHED : holdBytes(value);
}

/** A number with all its digits, as C prints it with `%lld` and Python with `str(int(…))`; JavaScript would write `1e+21`. */
export function decimal(value: number): string {
  if (Number.isInteger(value)) return String(Math.abs(value) < 1e21 ? value : BigInt(value));
  const text = String(value);
  const [mantissa = '', exponent] = text.split('e-');
  if (exponent === undefined) return text;
  const sign = mantissa.startsWith('-') ? '-' : '';
  return `${sign}0.${'0'.repeat(Number(exponent) - 1)}${mantissa.replace(/[-.]/g, '')}`;
}
