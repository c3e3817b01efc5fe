import { performance } from 'node:perf_hooks';
import * as timers from 'node:timers';

/*
 * Time, as Node has it. Tests put fake timers and clocks in the place of the globals, and of the functions in `node:timers`;
 * browsers that are built on Node have timers of their own, which are numbers. None of them may stop the clock of a program
 * that really runs. So the functions are taken once, when this file is loaded, and nowhere else: eslint sees to it.
 */

export const { setTimeout, clearTimeout, setImmediate } = timers;

/** The longest time that a timer of Node can take, in milliseconds. */
export const LONGEST_TIMER = 0x7fff_ffff;

/** Milliseconds of a clock that only goes forward. */
export const now = performance.now.bind(performance);

/** Milliseconds since 1970, to compare with the times of files. */
export const wallTime: () => number = Date.now.bind(Date);

/** Calls back after the code that runs now, and before any timer. */
export const soon: (callback: () => void) => void = process.nextTick.bind(process);

/** Resolves after so many milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Resolves after one turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** When a time is over that began then; never, where no limit was set. */
export const deadline = (startedAt: number, limitMs: number | undefined): number => startedAt + (limitMs ?? Infinity);
