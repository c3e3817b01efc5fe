import { performance } from 'node:perf_hooks';
import {
  clearTimeout as nodeClearTimeout,
  setImmediate as nodeSetImmediate,
  setTimeout as nodeSetTimeout,
} from 'node:timers';

/*
 * Time, as Node has it. Tests put fake timers and clocks in the place of the globals, and of the functions in `node:timers`;
 * browsers that are built on Node have timers of their own, which are numbers. None of them may stop the clock of a program
 * that really runs. So the functions are taken once, when this file is loaded, and nowhere else: eslint sees to it.
 */

export const setTimeout = nodeSetTimeout;
export const clearTimeout = nodeClearTimeout;
export const setImmediate = nodeSetImmediate;

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

/** Holds this thread for so many milliseconds, where there is no event loop to wait with. */
export function holdThread(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.max(0, ms));
}

/** A clock, and a timer that goes by it. */
export interface Clock {
  /** Milliseconds; they only go forward. */
  now(): number;
  /** Calls back after so many milliseconds; gives the way to call it off. */
  after(ms: number, callback: () => void): () => void;
}

/** Node's own. */
export const realClock: Clock = Object.freeze({
  now,
  after(ms: number, callback: () => void): () => void {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
});

/**
 * The time of a test, for what is only played: by the timers that stand in the globals at each call, which may be fake.
 *
 * Some tools replace the timers and leave the clock as it is. So a timer that has come is believed: from then on its time has come.
 */
export class TestClock implements Clock {
  #aheadMs = 0;

  now(): number {
    return globalThis.performance.now() + this.#aheadMs;
  }

  after(ms: number, callback: () => void): () => void {
    if (ms <= 0) {
      // What is due needs no timer, which nobody may set going.
      let isOff = false;
      soon(() => {
        if (!isOff) callback();
      });
      return () => {
        isOff = true;
      };
    }
    const dueAt = this.now() + ms;
    const { setTimeout: start, clearTimeout: stop } = globalThis;
    const timer = start(() => {
      this.pass(dueAt - this.now());
      callback();
    }, ms);
    return () => {
      stop(timer);
    };
  }

  /** Lets time pass where no timer can come, since the thread is held. */
  pass(ms: number): void {
    this.#aheadMs += Math.max(0, ms);
  }
}

/** Resolves after one turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** When a time is over that began then; never, where no limit was set. */
export const deadline = (startedAt: number, limitMs: number | undefined): number => startedAt + (limitMs ?? Infinity);
