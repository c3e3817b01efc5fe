/*
 * Runs commands in a process whose time is not Node's, and prints what became of them: foreign-time.js TIME WHEN FIFO
 *
 * TIME is `numbers`, timers that are numbers and a clock that runs, as jsdom has them; or `still`, timers that never come and a
 * clock that stands still, as fake timers have them. WHEN is `before` or `after` the library is loaded; after it, the functions
 * of `node:timers` are replaced as well, which fake timers do.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const [, , time, when, fifo] = process.argv;
const require = createRequire(import.meta.url);
const real = { setTimeout, clearTimeout, setImmediate, performance };

function replaceTime() {
  let number = 0;
  const timers = new Map();
  const later =
    (schedule) =>
    (callback, ms, ...values) => {
      number += 1;
      if (time === 'numbers') timers.set(number, schedule(callback, ms, ...values));
      return number;
    };
  const fake = {
    setTimeout: later(real.setTimeout),
    setInterval: later(real.setTimeout),
    setImmediate: later((callback, ...values) => real.setImmediate(callback, ...values)),
    clearTimeout: (id) => real.clearTimeout(timers.get(id)),
    clearInterval: (id) => real.clearTimeout(timers.get(id)),
    clearImmediate: () => undefined,
  };
  Object.assign(globalThis, fake);
  if (when === 'after') {
    Object.assign(require('node:timers'), fake);
    Object.assign(require('node:timers/promises'), {
      setTimeout: () => new Promise(() => undefined),
      setImmediate: () => new Promise(() => undefined),
    });
    syncBuiltinESMExports();
  }
  delete globalThis.structuredClone;
  if (time !== 'still') return;
  globalThis.queueMicrotask = () => undefined;
  Object.defineProperty(globalThis, 'performance', { value: { now: () => 0 }, configurable: true, writable: true });
  globalThis.Date = class extends Date {
    static now() {
      return 0;
    }
  };
  process.hrtime = Object.assign(() => [0, 0], { bigint: () => 0n });
}

if (when === 'before') replaceTime();
const { Command, engineInfo, killPainfully } = await import('../../dist/index.js');
if (when === 'after') replaceTime();

const ends = {};
async function note(name, work) {
  const startedAt = real.performance.now();
  const { reason, step, hook, result, message } = await Promise.resolve()
    .then(work)
    .then(
      (value) => ({ result: value, message: 'resolved' }),
      (error) => error,
    );
  const tookMs = real.performance.now() - startedAt;
  const durationMs = result?.durationMs;
  ends[name] = {
    what: reason ?? step ?? message,
    // The time that passed, and whether the library has measured about the same.
    tookMs,
    isMeasured: durationMs === undefined || (durationMs > 0 && durationMs <= tookMs),
  };
}

const sleep = () => new Command('sleep', '600');
await note('end', () => new Command('true').run());
await note('timeout', () => sleep().timeout(100).run());
await note('sequence', () =>
  new Command('sh', '-c', "trap '' TERM; exec sleep 600")
    .timeout(300)
    .stopSequence([['SIGTERM', 50]])
    .run(),
);
await note('abort', async () => {
  const child = await sleep().runAsync();
  await child.abort();
  return child.wait();
});
await note('abort signal', () => {
  const controller = new AbortController();
  real.setTimeout(() => controller.abort(), 100);
  return sleep().abortSignal(controller.signal).run();
});
await note('output', () => new Command('echo', 'hello').outputBuffer().run());
await note('kill', async () => {
  const stranger = spawn('sleep', ['600']);
  await once(stranger, 'spawn');
  await killPainfully(stranger.pid);
});
await note('fifo', () => new Command('true').inputFile(fifo).timeout(100).run());
// The thread that still waits to open it would keep this process from its exit.
closeSync(openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK));
if (engineInfo().engine === 'native') {
  await note('sync', () => sleep().timeout(100).runSync());
  await note('hook', () =>
    sleep()
      .preExecHook(() => new Promise(() => setInterval(() => undefined, 1000)))
      .timeout(1000)
      .run(),
  );
}
process.stdout.write(JSON.stringify(ends), () => process.exit());
