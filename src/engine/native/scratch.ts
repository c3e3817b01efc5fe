import { roomFor } from '../../native/binding.js';

/**
 * The arrays in which numbers go to C and come back. Every launch of this thread uses them again, since a new array costs
 * more than the call that fills it. The rule: what stands in one of them is good until the next call that uses it, so it is
 * read out, or handed to C, before anything else runs. Nothing here may be kept, or be held across an `await`.
 */

/** The answer of `launch`. */
export const launchResult = new Int32Array(roomFor('launch'));

/** The answer of `exec`. */
export const execResult = new Int32Array(roomFor('exec'));

/** What `watch` is told. */
export const watched = new Int32Array(roomFor('watch'));

const pipeEnds = new Map<number, Int32Array>();

/** Room for the ends of so many pipes. */
export function roomForPipes(count: number): Int32Array {
  let ends = pipeEnds.get(count);
  if (ends === undefined) pipeEnds.set(count, (ends = new Int32Array(2 * count)));
  return ends;
}

const closing = new Int32Array(16);

/** Calls `closeAll` with all descriptors of the lists, as often as it takes: the room is fixed, their number is not. */
export function inRoomForClosing(
  lists: readonly (readonly number[] | undefined)[],
  closeAll: (fds: Int32Array) => void,
): void {
  let count = 0;
  for (const list of lists) {
    if (list === undefined) continue;
    for (const fd of list) {
      if (count === closing.length) {
        closeAll(closing);
        count = 0;
      }
      closing[count++] = fd;
    }
  }
  closing.fill(-1, count);
  closeAll(closing);
}
