import { bare } from '../spec/bare.js';

/** A function of the library that a caller can call, or a class that can be made. */
export type Entry = Parameters<typeof Error.captureStackTrace>[1];

/** How many frames are looked at to find one with a file: a call may come back through functions that are built in. */
const MOST_FRAMES = 10;

/** The function of the library that the caller called, while it calls others of the public ones. */
let outermost: Entry | undefined;

/** Runs the work of a function of the library that calls other public ones: what goes wrong in them was said where this one was called. */
export function saidBy<T>(entry: Entry, work: () => T): T {
  if (outermost !== undefined) return work();
  outermost = entry;
  try {
    return work();
  } finally {
    outermost = undefined;
  }
}

/**
 * The place in the caller's code where a function of the library was called, as file, line and column; `undefined` where the
 * stack does not tell.
 *
 * V8 cuts the frames of the library off, from that function on. By their files they could not be told: in a bundle, they
 * are those of the program.
 */
export function callSite(called: Entry): string | undefined {
  const entry = outermost ?? called;
  for (const stack of [stackBelow(entry), stackOfV8(entry)]) {
    const place = typeof stack === 'string' ? placeIn(stack) : undefined;
    if (place !== undefined) return place;
  }
  return undefined;
}

function placeIn(stack: string): string | undefined {
  for (const line of stack.split('\n')) {
    const frame = /^\s*at (?:async )?(.+)$/.exec(line)?.[1] ?? '';
    const where = frame.endsWith(')') ? frame.slice(frame.indexOf(' (') + 2, -1) : frame;
    // Code that was evaluated has no file. The code that evaluated it has.
    const place = /^eval at .* \((.+:\d+:\d+)\), /.exec(where)?.[1] ?? where;
    if (/.:\d+:\d+$/.test(place) && !place.startsWith('node:')) return place;
  }
  return undefined;
}

/** The stack below a function, in the form that the program wants stacks to have: often mapped to its sources, sometimes no text. */
function stackBelow(entry: Entry): unknown {
  const holder: { stack?: unknown } = {};
  try {
    return withFrames(() => {
      Error.captureStackTrace(holder, entry);
      return holder.stack;
    });
  } catch {
    // An `Error.prepareStackTrace` of the program threw. V8's own form is asked for next.
    return undefined;
  }
}

/** The same in V8's own form, whatever the program has made of `Error.prepareStackTrace`. */
function stackOfV8(entry: Entry): unknown {
  const prepare = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  if (prepare === undefined || !Reflect.deleteProperty(Error, 'prepareStackTrace')) return undefined;
  try {
    return stackBelow(entry);
  } finally {
    Object.defineProperty(Error, 'prepareStackTrace', bare(prepare));
  }
}

/** Does something while stacks have frames, which a program may have switched off. */
function withFrames<T>(work: () => T): T {
  const { stackTraceLimit } = Error;
  if (typeof stackTraceLimit === 'number' && stackTraceLimit >= MOST_FRAMES) return work();
  // Where `Error` is frozen, this fails, and there are the frames that there are.
  Reflect.set(Error, 'stackTraceLimit', MOST_FRAMES);
  try {
    return work();
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}
