import { Buffer } from 'node:buffer';
import { type ByteText, toBytes } from '../text/bytes.js';
import { isBytes } from '../text/reading.js';
import { type StepName, stepNames } from '../text/step-names.js';

/** What an operation works with. What `a`, `b` and `count` mean is told in child.c, and steps.h tells which of them it takes. */
export interface Operand {
  readonly a?: number | bigint | undefined;
  readonly b?: number | bigint | undefined;
  /** A text, or an array of numbers. */
  readonly text?: ByteText | readonly number[] | undefined;
  readonly count?: number | undefined;
}

/** One thing for the child to do, as `struct operation` of plan.h has it. */
export interface Operation extends Operand {
  readonly code: StepName;
  /** The place of the plan's step that it belongs to. */
  readonly step: number;
}

/** Makes an operation with all of its fields: one shape for all, and none is looked for in `Object.prototype`. */
export const operation = (code: StepName, step: number, operand: Operand): Operation => ({
  code,
  step,
  a: Object.hasOwn(operand, 'a') ? operand.a : undefined,
  b: Object.hasOwn(operand, 'b') ? operand.b : undefined,
  text: Object.hasOwn(operand, 'text') ? operand.text : undefined,
  count: Object.hasOwn(operand, 'count') ? operand.count : undefined,
});

/** A program to execute, and what to do before. */
export interface Program {
  readonly file: ByteText;
  readonly argv: readonly (ByteText | Uint8Array)[];
  /** `'inherited'`: the variables of this process, as the C library has them when the child is made. */
  readonly envp: readonly Uint8Array[] | 'inherited';
  readonly operations: readonly Operation[];
}

const MAGIC = 0x43524956;
const VERSION = 1;
const HEADER_SIZE = 28;
const OPERATION_SIZE = 32;
/** What stands for the number of variables where they are inherited. */
const INHERITED = 0xffff_ffff;

const codes = Object.fromEntries(stepNames.map((name, index) => [name, index])) as Record<StepName, number>;

/** Programs are written here, one over the other: memory of its own for each costs as much as to write it. */
let page = Buffer.from(new ArrayBuffer(16 * 1024));
let words = new Uint32Array(page.buffer);
let end = 0;

const NONE: readonly Uint8Array[] = [];

/** Writes a program as the flat buffer that decode.c reads. */
export function encode(program: Program): Buffer {
  const operations = program.operations.map((each) => operation(each.code, each.step, each));
  return copyOfEncoded(encodeForNow({ ...program, operations }));
}

/** What {@link encodeForNow} gave, in memory of its own. */
export const copyOfEncoded = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + encodedSize(bytes)));

/** The same, in bytes that hold until the next program is written. They begin with the plan, whose header has its size. */
export function encodeForNow(program: Program): Buffer {
  const { file, argv, operations } = program;
  const envp = program.envp === 'inherited' ? NONE : program.envp;
  const operationsStart = (HEADER_SIZE + 4 * (argv.length + envp.length) + 7) & ~7;
  const stringsStart = operationsStart + OPERATION_SIZE * operations.length;
  // UTF-8 takes three bytes for each unit of a string at most; what is too much is not handed on.
  let room = stringsStart + roomOf(file);
  for (const word of argv) room += isBytes(word) ? word.length + 1 : roomOf(word);
  for (const entry of envp) room += entry.length + 1;
  // An array starts at a multiple of four.
  for (const { text } of operations)
    room += text === undefined ? 0 : isArray(text) ? 4 * text.length + 3 : roomOf(text);
  if (room > page.length) {
    page = Buffer.from(new ArrayBuffer((room + 7) & ~7));
    words = new Uint32Array(page.buffer);
  }

  end = stringsStart;
  let at = HEADER_SIZE >> 2;
  words[6] = placeText(file);
  words[(operationsStart >> 2) - 1] = 0; // It may be no vector's, but padding.
  for (const word of argv) words[at++] = isBytes(word) ? place(word) : placeText(word);
  for (const entry of envp) words[at++] = place(entry);
  at = operationsStart >> 2;
  for (const { code, step, a = 0, b = 0, text, count } of operations) {
    words[at] = codes[code];
    words[at + 1] = step;
    writeLong(at + 2, a);
    writeLong(at + 4, b);
    words[at + 6] = text === undefined ? 0 : isArray(text) ? placeArray(text) : placeText(text);
    words[at + 7] = count ?? (text === undefined ? 0 : isArray(text) ? text.length : end - 1 - words[at + 6]!);
    at += OPERATION_SIZE >> 2;
  }
  words[0] = MAGIC;
  words[1] = VERSION;
  words[2] = end;
  words[3] = argv.length;
  words[4] = program.envp === 'inherited' ? INHERITED : envp.length;
  words[5] = operations.length;
  return page;
}

/** How many of the bytes that {@link encodeForNow} gave are the program. */
export function encodedSize(bytes: Buffer): number {
  return bytes.readUInt32LE(8);
}

const isArray = (text: ByteText | readonly number[]): text is readonly number[] => Array.isArray(text);

/** The most that a text takes, with its NUL: in UTF-8, three bytes for each unit of a string. */
const roomOf = (text: ByteText): number => (typeof text === 'string' ? 3 * text.length : text.base64.length) + 1;

function place(bytes: Uint8Array): number {
  const at = end;
  page.set(bytes, at);
  end += bytes.length;
  page[end++] = 0;
  return at;
}

function placeText(text: ByteText): number {
  if (typeof text !== 'string') return place(toBytes(text));
  const at = end;
  end += page.write(text, at);
  page[end++] = 0;
  return at;
}

function placeArray(numbers: readonly number[]): number {
  const at = (end + 3) & ~3;
  page.fill(0, end, at);
  for (const [index, number] of numbers.entries()) words[(at >> 2) + index] = number;
  end = at + 4 * numbers.length;
  return at;
}

/** Writes 64 bits. Most values are small numbers, which need no big ones. */
function writeLong(at: number, value: number | bigint): void {
  if (typeof value === 'number' && value >= 0) {
    words[at] = value;
    words[at + 1] = value / 2 ** 32;
    return;
  }
  const bits = BigInt.asUintN(64, BigInt(value));
  words[at] = Number(bits & 0xffff_ffffn);
  words[at + 1] = Number(bits >> 32n);
}
