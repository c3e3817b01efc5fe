import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gapsBetween, type Move, orderMoves } from '../../src/wire/moves.js';

const MAPS = 5000;

/** A table of descriptors: what each open number leads to, and whether exec leaves it open. */
type Table = Map<number, { readonly file: number; readonly staysOpen: boolean }>;

/** Does what the child does for each move: `dup3` onto another number, `F_SETFD` on the same one. */
function apply(moves: readonly Move[], before: Table): Table {
  const table = new Map(before);
  for (const { from, to } of moves) {
    const source = table.get(from);
    if (source === undefined) throw new Error(`EBADF: ${from} is not open, and was to be placed at ${to}`);
    table.set(to, { file: source.file, staysOpen: true });
  }
  return table;
}

/** A table in which each number leads to a file of its own, and none survives an exec. */
const tableOf = (numbers: Iterable<number>): Table =>
  new Map(Array.from(numbers, (fd) => [fd, { file: fd, staysOpen: false }]));

const numbers = fc.oneof(fc.nat(6), fc.nat(40), fc.integer({ min: 0, max: 1_048_575 }));
const maps = fc.uniqueArray(fc.record({ from: numbers, to: numbers }), { maxLength: 14, selector: ({ to }) => to });

const wanted = (moves: readonly Move[]) =>
  Object.fromEntries(moves.map(({ from, to }) => [to, { file: from, staysOpen: true }]));
const reached = (moves: readonly Move[], table: Table) =>
  Object.fromEntries(moves.map(({ to }) => [to, table.get(to)]));

describe('orderMoves', () => {
  test('whatever the map is, each number ends up with its source, open after an exec', () => {
    fc.assert(
      fc.property(maps, (moves) => {
        const table = apply(orderMoves(moves), tableOf(moves.map(({ from }) => from)));
        expect(reached(moves, table)).toEqual(wanted(moves));
      }),
      { numRuns: MAPS },
    );
  });

  test('what it puts aside stands at a number that is neither a source nor a target', () => {
    fc.assert(
      fc.property(maps, (moves) => {
        const named = new Set(moves.flatMap(({ from, to }) => [from, to]));
        const targets = new Set(moves.map(({ to }) => to));
        for (const { to } of orderMoves(moves)) expect(targets.has(to) || !named.has(to)).toBe(true);
      }),
      { numRuns: MAPS },
    );
  });

  test('it takes one move for each number, and one more for each circle', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 3, max: 200 }), { minLength: 2, maxLength: 20 }),
        fc.nat(5),
        (circle, loose) => {
          const turned = circle.map((from, index) => ({ from, to: circle[(index + 1) % circle.length] ?? from }));
          const others = Array.from({ length: loose }, (_, index) => ({ from: circle[0] ?? 0, to: 300 + index }));
          expect(orderMoves([...turned, ...others])).toHaveLength(circle.length + others.length + 1);
        },
      ),
    );
  });

  test.for<[string, [number, number][]]>([
    ['nothing', []],
    ['a number to itself', [[5, 5]]],
    [
      'a swap',
      [
        [3, 4],
        [4, 3],
      ],
    ],
    [
      'two swaps',
      [
        [3, 4],
        [4, 3],
        [5, 6],
        [6, 5],
      ],
    ],
    [
      'a rotation',
      [
        [3, 4],
        [4, 5],
        [5, 3],
      ],
    ],
    [
      'a swap that others read',
      [
        [3, 4],
        [4, 3],
        [3, 10],
        [4, 11],
        [3, 12],
      ],
    ],
    [
      'one source for all',
      [
        [7, 0],
        [7, 1],
        [7, 2],
        [7, 3],
      ],
    ],
    [
      'a chain that ends in itself',
      [
        [3, 3],
        [3, 4],
        [4, 5],
      ],
    ],
    [
      'standard streams turned',
      [
        [0, 1],
        [1, 2],
        [2, 0],
      ],
    ],
  ])('%s', ([, pairs]) => {
    const moves = pairs.map(([from, to]) => ({ from, to }));
    expect(reached(moves, apply(orderMoves(moves), tableOf(moves.map(({ from }) => from))))).toEqual(wanted(moves));
  });

  test('the model notices a wrong order', () => {
    const swap = [
      { from: 3, to: 4 },
      { from: 4, to: 3 },
    ];
    expect(reached(swap, apply(swap, tableOf([3, 4])))).not.toEqual(wanted(swap));
  });
});

describe('gapsBetween', () => {
  test('the gaps and the numbers that are kept are all numbers, each once', () => {
    fc.assert(
      fc.property(fc.uniqueArray(numbers, { maxLength: 20 }), (keep) => {
        const pieces = [...gapsBetween(keep), ...keep.map((fd) => ({ first: fd, last: fd }))].sort(
          (a, b) => a.first - b.first,
        );
        let next = 0;
        for (const { first, last } of pieces) {
          expect(first).toBe(next);
          expect(last).toBeGreaterThanOrEqual(first);
          next = last + 1;
        }
        expect(next).toBe(2 ** 32);
      }),
    );
  });
});
