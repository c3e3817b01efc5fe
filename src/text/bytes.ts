import { Buffer, isUtf8 } from 'node:buffer';

/** What an argument or a value may be. Bytes are taken as they are: argv and the environment are bytes on Linux. */
export type Argument = string | number | bigint | Uint8Array;

/** Bytes in a form that JSON can hold: text where they are UTF-8, base64 where they are not. */
export type ByteText = string | { readonly base64: string };

/** The bytes that a text stands for. */
export function toBytes(text: ByteText): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.base64, 'base64');
}

/** Bytes as text, in the shortest form that gives the same bytes back. */
export function fromBytes(bytes: Uint8Array): ByteText {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? buffer.toString() : { base64: buffer.toString('base64') };
}

/** Two texts, one after the other. */
export function joinText(first: ByteText, ...rest: ByteText[]): ByteText {
  const parts = [first, ...rest];
  return parts.every((part) => typeof part === 'string')
    ? parts.join('')
    : fromBytes(Buffer.concat(parts.map(toBytes)));
}

/**
 * Reads a value that a caller gave as an argument, or says in words what is wrong with it.
 * The words complete the sentence "the value …".
 */
export function readArgument(value: unknown): { text: ByteText } | { wrong: string } {
  switch (typeof value) {
    case 'string':
      if (value.includes('\0')) return { wrong: 'holds a NUL byte, which ends a string for the kernel' };
      if (!value.isWellFormed()) return { wrong: 'holds half of a surrogate pair, which has no bytes in UTF-8' };
      return { text: value };
    case 'bigint':
      return { text: String(value) };
    case 'number':
      return Number.isFinite(value) ? { text: String(value) } : { wrong: `is ${value}, which no program can read` };
    case 'object':
      if (value instanceof Uint8Array) {
        if (value.includes(0)) return { wrong: 'holds a NUL byte, which ends a string for the kernel' };
        return { text: fromBytes(value) };
      }
  }
  return { wrong: `is ${describeKind(value)}; give a string, a number, a bigint or bytes (Uint8Array)` };
}

/** What a value is, for a message: `null`, `an array`, `a function` … */
export function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}
