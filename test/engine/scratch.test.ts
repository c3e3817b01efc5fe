import { expect, test } from 'vitest';
import { inRoomForClosing, roomForPipes } from '../../src/engine/native/scratch.js';

const numbers = (count: number, first = 100): number[] => Array.from({ length: count }, (_, index) => first + index);

/** What reaches C, which closes what is 0 or above. */
function closed(...lists: readonly (readonly number[] | undefined)[]): number[] {
  const fds: number[] = [];
  inRoomForClosing(lists, (room) => fds.push(...Array.from(room).filter((fd) => fd >= 0)));
  return fds;
}

test.each([0, 1, 15, 16, 17, 32, 33, 100])('of %d descriptors, every one is closed, and once', (count) => {
  expect(closed(numbers(count))).toEqual(numbers(count));
});

test('lists of any length are closed together; what is missing in them is left out', () => {
  expect(closed(numbers(10), undefined, [-1, 7, -1], numbers(10, 200))).toEqual([
    ...numbers(10),
    7,
    ...numbers(10, 200),
  ]);
});

test('descriptors of an earlier call are not closed again', () => {
  closed(numbers(16));
  expect(closed([5])).toEqual([5]);
});

test.each([0, 1, 3, 4, 50])('there is room for the ends of %d pipes', (count) => {
  expect(roomForPipes(count)).toHaveLength(2 * count);
});
