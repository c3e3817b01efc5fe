import { describe, expect, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';
import { inParent, needsProgram, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

interface Outcome {
  readonly left: number;
  readonly name: string;
  readonly errno?: string;
  readonly message?: string;
  readonly ran: boolean;
  readonly children: number;
  readonly leaked: number;
  readonly next: string;
}

interface Asked {
  readonly slow: boolean;
  readonly kind: 'buffers' | 'no pipes' | 'daemon';
  /** For each thread, how many descriptors are left for its first launch, its second … */
  readonly threads: readonly (readonly number[])[];
  readonly file: string;
  readonly library: string;
}

/** In threads: uses up all descriptors, gives some back, launches, and tells how it went, what is left behind, and how the next launch goes. */
async function launchWithFew(_: Library, asked: Asked): Promise<Outcome[]> {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { openSync, closeSync, readdirSync, readFileSync, rmSync, existsSync } = require('node:fs');
    const { slow, kind, lefts, file, library } = workerData;
    const children = () => readdirSync('/proc').filter((pid) => {
      try { return Number(readFileSync('/proc/' + pid + '/stat', 'latin1').replace(/^.*\\) /s, '').split(' ')[1]) === process.pid; } catch { return false; }
    }).length;
    const openAll = () => { const fds = []; for (;;) try { fds.push(openSync('/dev/null', 'r')); } catch { return fds; } };
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    import(library).then(async ({ Command }) => {
      const make = () => {
        const command = new Command('sh', '-c', 'echo ran >>"$0"', file);
        if (slow) command.clearCaps();
        if (kind === 'daemon') return command.daemonize().run();
        if (kind === 'no pipes') return command.errorToOutput().runAsync().then((child) => child.wait());
        return command.inputBuffer('x').outputBuffer().run();
      };
      const before = readdirSync('/proc/self/fd').length;
      for (const left of lefts) {
      rmSync(file, { force: true });
      const fds = openAll();
      for (const fd of fds.splice(0, left)) closeSync(fd);
      const outcome = await make().then(() => ({ name: 'ran' }), ({ name, errno, message }) => ({ name, errno, message }));
      const ran = existsSync(file);
      for (const fd of fds) closeSync(fd);
      for (let i = 0; i < 20; i += 1) await turn();
      const state = { children: children(), ran: ran || existsSync(file) };
      const next = await make().then(() => 'ran', String);
      for (let i = 0; i < 20; i += 1) await turn();
      // What a thread keeps for all its launches: /dev/null, and what it watches its children with.
      const leaked = Math.max(0, readdirSync('/proc/self/fd').length - before - 3);
      parentPort.postMessage({ left, ...outcome, ...state, next, leaked });
      }
    });`;
  const outcomes: Outcome[] = [];
  for (const lefts of asked.threads) {
    const worker = new Worker(script, { eval: true, execArgv: [], workerData: { ...asked, lefts } });
    worker.on('message', (outcome: Outcome) => outcomes.push(outcome));
    await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  }
  return outcomes;
}

const library = new URL('../../dist/index.js', import.meta.url).href;

const upTo = (most: number): number[] => Array.from({ length: most + 1 }, (_, left) => left);
const inOneThread = (most: number): number[][] => [upTo(most)];
const eachInItsOwn = (most: number): number[][] => upTo(most).map((left) => [left]);

describe.for<[string, Pick<Asked, 'slow' | 'kind' | 'threads'>]>([
  ['captures, in shared memory', { slow: false, kind: 'buffers', threads: inOneThread(10) }],
  ['captures, by the helper', { slow: true, kind: 'buffers', threads: inOneThread(13) }],
  // The first launch of a thread also opens what the thread watches its children with.
  [
    'has no pipes and is the first of its thread, in shared memory',
    { slow: false, kind: 'no pipes', threads: eachInItsOwn(5) },
  ],
  [
    'has no pipes and is the first of its thread, by the helper',
    { slow: true, kind: 'no pipes', threads: eachInItsOwn(8) },
  ],
  ['makes a daemon, in shared memory', { slow: false, kind: 'daemon', threads: inOneThread(4) }],
  [
    'makes a daemon and is the first of its thread, by the helper',
    { slow: true, kind: 'daemon', threads: eachInItsOwn(7) },
  ],
])('with few descriptors left, a launch that %s', ([, { slow, kind, threads }]) => {
  test('either runs, or is a LaunchError that names the cause and has run nothing; the next one runs', async ({
    skip,
  }) => {
    needsProgram(skip, 'prlimit');
    const outcomes = await inParent(
      launchWithFew,
      { slow, kind, threads, file: path('ran'), library },
      { through: ['prlimit', '--nofile=150:150'] },
    );
    expect(outcomes.map(({ left }) => left)).toEqual(threads.flat());
    // The instrument: with none it fails, with many it runs.
    expect([outcomes[0]?.name === 'ran', outcomes.at(-1)?.name]).toEqual([false, 'ran']);
    const wrong = outcomes.filter(({ name, errno, message = '', ran, children, leaked, next }) => {
      const isWell =
        name === 'ran' ||
        (name === 'LaunchError' &&
          errno === 'EMFILE' &&
          message.includes('this process has no descriptor left') &&
          !ran);
      return !isWell || children > 0 || leaked > 0 || next !== 'ran';
    });
    expect(wrong).toEqual([]);
  });
});
