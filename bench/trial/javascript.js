// How long JavaScript is at work for one run, seen from outside the library: all functions of the addon are wrapped, so that the
// time in them can be taken off.
//
// A clock runs from the call of run(), and from each call of the addon into JavaScript, until nothing is left to do: until all
// microtasks have run. It is stopped while the addon is at work. What remains is the library's JavaScript, and what it calls in
// Node, the waiting code and the wrappers (some tenths of a microsecond for each call) included. It is the time of the wall, which for
// JavaScript, that never waits, is that of the processor: a run that was preempted is far above the median, and does not count.
import { readFileSync } from 'node:fs';
import process from 'node:process';

const now = () => performance.now() * 1000;
let spent = 0;
let openedAt = -1;

/** Lets the clock run until the microtasks have run, these and all that they queue. */
function open() {
  if (openedAt >= 0) return;
  openedAt = now();
  // A tick that a microtask asks for comes when no microtask is left.
  queueMicrotask(() => process.nextTick(close));
}

function close() {
  spent += now() - openedAt;
  openedAt = -1;
}

/** From the addon into JavaScript and back: the clock runs, though the addon's own was stopped. */
const entered = (callback) =>
  function (...values) {
    open();
    return callback.apply(this, values);
  };

function timed(call) {
  return function (...values) {
    for (let i = 0; i < values.length; i += 1) if (typeof values[i] === 'function') values[i] = entered(values[i]);
    const before = now();
    const result = call.apply(this, values);
    spent -= openedAt < 0 ? 0 : now() - before;
    return result instanceof Promise ? result.finally(open) : result;
  };
}

/** Wraps the functions of each addon that is loaded from now on. */
export function watchAddons() {
  const { dlopen } = process;
  process.dlopen = (addon, ...rest) => {
    dlopen(addon, ...rest);
    const wrapped = Object.entries(addon.exports).map(([name, value]) => [
      name,
      typeof value === 'function' ? timed(value) : value,
    ]);
    addon.exports = Object.fromEntries(wrapped);
  };
}

/** The time that this thread has been on a processor, in microseconds: JavaScript, the addon, Node and its system calls. */
const onProcessor = () => Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ', 1)[0]) / 1000;

/** The JavaScript of each of so many runs, and the thread's time on a processor for one, which is an upper limit to it. */
export async function javascript(call, count) {
  const samples = [];
  const before = onProcessor();
  for (let i = 0; i < count; i += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    spent = 0;
    open();
    await call();
    // The clock stops behind this line, before the next turn of the loop.
    await new Promise((resolve) => setImmediate(resolve));
    samples.push(spent);
  }
  return { samples, cpuUs: (onProcessor() - before) / count };
}
