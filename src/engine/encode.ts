import { Buffer } from 'node:buffer';
import type { PlannedDescriptor } from '../plan.js';
import { type StepName, stepNames } from '../steps.js';

/** One thing for the child to do, as `struct operation` of plan.h has it. What `a` and `b` mean is told in child.c. */
export interface Operation {
  readonly code: StepName;
  /** The place of the plan's step that it belongs to. */
  readonly step: number;
  readonly a?: number | bigint | undefined;
  readonly b?: number | bigint | undefined;
  /** A text, or an array of numbers. */
  readonly text?: string | readonly number[] | undefined;
  readonly count?: number | undefined;
}

/** A program to execute, and what to do before. */
export interface Program {
  readonly file: string;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  readonly operations: readonly Operation[];
}

const MAGIC = 0x43524956;
const VERSION = 1;
const HEADER_SIZE = 28;
const OPERATION_SIZE = 32;

const codes = new Map<StepName, number>(stepNames.map((name, index) => [name, index]));

/** Writes a program as the flat buffer that decode.c reads. */
export function encode({ file, argv, envp, operations }: Program): Buffer {
  const operationsStart = (HEADER_SIZE + 4 * (argv.length + envp.length) + 7) & ~7;
  const stringsStart = operationsStart + OPERATION_SIZE * operations.length;
  // UTF-8 takes three bytes for each unit of a string at most; what is too much is not handed on.
  let room = stringsStart + 3 * file.length + 1;
  for (const word of argv) room += word.length + 1;
  for (const entry of envp) room += entry.length + 1;
  // An array starts at a multiple of four.
  for (const { text } of operations) room += text === undefined ? 0 : typeof text === 'string' ? 3 * text.length + 1 : 4 * text.length + 3;

  // Its own memory, which starts at a multiple of eight and holds zeros.
  const buffer = Buffer.from(new ArrayBuffer(room));
  const words = new Uint32Array(buffer.buffer, 0, stringsStart >> 2);
  let end = stringsStart;
  const place = (bytes: Uint8Array): number => {
    const at = end;
    buffer.set(bytes, at);
    end += bytes.length + 1;
    return at;
  };
  const placeText = (text: string): number => {
    const at = end;
    end += buffer.write(text, at) + 1;
    return at;
  };
  const placeArray = (numbers: readonly number[]): number => {
    const at = (end + 3) & ~3;
    for (const [index, number] of numbers.entries()) buffer.writeUInt32LE(number, at + 4 * index);
    end = at + 4 * numbers.length;
    return at;
  };

  let at = HEADER_SIZE >> 2;
  words[6] = placeText(file);
  for (const word of argv) words[at++] = place(word);
  for (const entry of envp) words[at++] = place(entry);
  at = operationsStart >> 2;
  for (const { code, step, a = 0, b = 0, text, count } of operations) {
    words[at] = codes.get(code) ?? 0;
    words[at + 1] = step;
    writeLong(words, at + 2, a);
    writeLong(words, at + 4, b);
    if (text !== undefined) {
      words[at + 6] = typeof text === 'string' ? placeText(text) : placeArray(text);
      words[at + 7] = typeof text === 'string' ? end - 1 - words[at + 6]! : text.length;
    }
    if (count !== undefined) words[at + 7] = count;
    at += OPERATION_SIZE >> 2;
  }
  words.set([MAGIC, VERSION, end, argv.length, envp.length, operations.length]);
  return buffer.subarray(0, end);
}

/** Writes 64 bits. Most values are small numbers, which need no big ones. */
function writeLong(words: Uint32Array, at: number, value: number | bigint): void {
  if (typeof value === 'number' && value >= 0) {
    words[at] = value;
    words[at + 1] = value / 2 ** 32;
    return;
  }
  const bits = BigInt.asUintN(64, BigInt(value));
  words[at] = Number(bits & 0xffff_ffffn);
  words[at + 1] = Number(bits >> 32n);
}

/** A descriptor of the child, and the descriptor of this process that it comes from. */
export interface Move {
  readonly from: number;
  readonly to: number;
}

/**
 * Orders moves so that none overwrites what a later one needs. A circle (3 to 4 and 4 to 3) is opened by putting one of its
 * descriptors aside, at a number that nobody uses. Moves of a descriptor to its own number come last: they unmark it.
 */
export function orderMoves(moves: readonly Move[]): readonly Move[] {
  // Where every source lies above every target, as it nearly always does, no move can be in another's way.
  if (Math.min(...moves.map(({ from }) => from)) > Math.max(...moves.map(({ to }) => to))) return moves;
  const ordered: Move[] = [];
  const waiting = new Map(moves.filter(({ from, to }) => from !== to).map(({ from, to }) => [to, from]));
  const readers = new Map<number, number>();
  for (const from of waiting.values()) readers.set(from, (readers.get(from) ?? 0) + 1);
  const used = new Set(moves.flatMap(({ from, to }) => [from, to]));
  const ready = Array.from(waiting.keys()).filter((to) => !readers.has(to));

  while (waiting.size > 0) {
    const to = ready.pop();
    if (to === undefined) {
      const [[, from] = [0, 0]] = waiting;
      const aside = lowestUnused(used);
      used.add(aside);
      ordered.push({ from, to: aside });
      for (const [target, source] of waiting) if (source === from) waiting.set(target, aside);
      readers.set(aside, readers.get(from) ?? 0);
      readers.delete(from);
      ready.push(from);
      continue;
    }
    const from = waiting.get(to);
    if (from === undefined) continue;
    ordered.push({ from, to });
    waiting.delete(to);
    const left = (readers.get(from) ?? 1) - 1;
    readers.set(from, left);
    if (left > 0) continue;
    readers.delete(from);
    if (waiting.has(from)) ready.push(from);
  }
  return [...ordered, ...moves.filter(({ from, to }) => from === to)];
}

function lowestUnused(used: ReadonlySet<number>): number {
  let number = 3;
  while (used.has(number)) number += 1;
  return number;
}

const LAST_FD = 0xffff_ffff;

/** The ranges of numbers between those that the child keeps. */
export function gapsBetween(keep: readonly number[]): { first: number; last: number }[] {
  const gaps: { first: number; last: number }[] = [];
  let first = 0;
  for (const fd of [...keep].sort((a, b) => a - b)) {
    if (fd > first) gaps.push({ first, last: fd - 1 });
    first = fd + 1;
  }
  gaps.push({ first, last: LAST_FD });
  return gaps;
}

/** The numbers that a plan's descriptors have in the child. */
export const childFds = (descriptors: readonly PlannedDescriptor[]): number[] => descriptors.map(({ childFd }) => childFd);
