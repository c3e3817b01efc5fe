/** A descriptor of the child, and the descriptor of this process that it comes from. */
export interface Move {
  readonly from: number;
  readonly to: number;
  /** It is one of the caller's, which others may use as well, and set to another mode: this process's streams among them. */
  readonly isShared?: boolean;
}

/** The place of `count` in an operation that lets a descriptor block: what cannot be opened anew is left, or changed for all who share it. */
const LEAVE_SHARED = 1;
const CHANGE_SHARED = 2;

/** The highest standard stream. Above it, a program may be told that a descriptor of its does not block. */
const LAST_STREAM = 2;

/**
 * What follows the placing. Every descriptor that is shared is let block, and gets an open file of its own for that where it can
 * have one; those that come from one descriptor still share one.
 */
export function lettingBlock(moves: readonly Move[]): { a: number; b: number; count: number }[] {
  const operands: { a: number; b: number; count: number }[] = [];
  const placed = new Map<number, number>();
  for (const { from, to, isShared } of moves) {
    if (isShared !== true) continue;
    const first = placed.get(from);
    if (first === undefined) placed.set(from, to);
    operands.push({
      a: first ?? to,
      b: to,
      count: first === undefined ? (to <= LAST_STREAM ? CHANGE_SHARED : LEAVE_SHARED) : 0,
    });
  }
  return operands;
}

/**
 * Orders moves so that none overwrites what a later one needs. A circle (3 to 4 and 4 to 3) is opened by putting one of its
 * descriptors aside, at a number that nobody uses. Moves of a descriptor to its own number come last: they unmark it.
 */
export function orderMoves(moves: readonly Move[]): readonly Move[] {
  // Where every source lies above every target, as it nearly always does, no move can be in another's way.
  let lowest = Infinity;
  let highest = -1;
  for (const { from, to } of moves) {
    if (from < lowest) lowest = from;
    if (to > highest) highest = to;
  }
  if (lowest > highest) return moves;
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

/** Finds the lowest number for a descriptor that is not used, above the standard streams, and marks it as used. */
export function lowestUnused(used: Set<number>): number {
  let number = 3;
  while (used.has(number)) number += 1;
  used.add(number);
  return number;
}

const LAST_FD = 0xffff_ffff;

/** The ranges of numbers between those that the child keeps. */
export function gapsBetween(keep: readonly number[]): { first: number; last: number }[] {
  const gaps: { first: number; last: number }[] = [];
  let first = 0;
  const isRising = keep.every((fd, index) => index === 0 || fd > keep[index - 1]!);
  for (const fd of isRising ? keep : [...keep].sort((a, b) => a - b)) {
    if (fd > first) gaps.push({ first, last: fd - 1 });
    first = fd + 1;
  }
  gaps.push({ first, last: LAST_FD });
  return gaps;
}
