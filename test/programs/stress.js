// Puts the engine under stress in one way, and prints as JSON what came of it. Arguments: the way, and an empty directory.
import { cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Command, engineInfo } from 'vircommand';
import { quiet, settle, useTemporary } from './counters.js';

const [, , way, directory] = process.argv;
const root = fileURLToPath(new URL('../..', import.meta.url));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const status = (pid) => {
  try {
    return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 'gone';
  } catch {
    return 'gone';
  }
};

/** What may not change in this process, whatever is started. */
function own() {
  const fields = readFileSync('/proc/thread-self/status', 'latin1').match(
    /^(Umask|Sig(Blk|Ign|Cgt)|Cap\w+|NoNewPrivs|Uid|Gid|Groups):.*$/gm,
  );
  // A process that is not dumpable belongs to root in /proc, and its environment cannot be read by others.
  return { fields, cwd: process.cwd(), limits: readFileSync('/proc/self/limits', 'latin1') };
}

async function startWorker(what) {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: what });
  const message = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  return { worker, message };
}

const ways = {
  /** Every process has its own output, in both lanes, with failures between; some write more than a pipe holds. */
  async together() {
    const commands = Array.from({ length: 300 }, (_, index) => {
      if (index % 10 === 9)
        return new Command('true')
          .clearCaps()
          .workingDirectory('/nowhere')
          .run()
          .then(
            () => 'it ran',
            ({ step }) => step,
          );
      if (index % 10 === 8)
        return new Command('true')
          .workingDirectory('/nowhere')
          .run()
          .then(
            () => 'it ran',
            ({ step }) => step,
          );
      const command = new Command('sh', '-c', `cat; echo ${index} >&2; head -c ${index * 1000} /dev/zero`)
        .inputBuffer(`${index}:`)
        .outputBuffer()
        .errorBuffer();
      if (index % 2 === 1) command.clearCaps();
      return command
        .run()
        .then(({ stdout, stderr }) =>
          stdout.length === `${index}:`.length + index * 1000 &&
          stdout.startsWith(`${index}:`) &&
          stderr === `${index}\n`
            ? 'right'
            : 'wrong',
        );
    });
    const outcomes = await Promise.all(commands);
    return {
      right: outcomes.filter((outcome) => outcome === 'right').length,
      chdir: outcomes.filter((outcome) => outcome === 'chdir').length,
    };
  },

  /** Helpers that fail, and whose end is seen together with the ends of many others: each is told of. */
  async reports() {
    const commands = Array.from({ length: 90 }, () => [
      new Command('true').outputFile('/dev/null').errorFile('/dev/null').run(),
      new Command('true')
        .clearCaps()
        .workingDirectory('/nowhere')
        .run()
        .then(
          () => 'it ran',
          ({ step }) => step,
        ),
    ]).flat();
    // While the loop stands still here, all of them come to their ends.
    await setImmediate();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    const outcomes = await Promise.all(commands);
    return { chdir: outcomes.filter((outcome) => outcome === 'chdir').length };
  },

  async workers() {
    const workers = await Promise.all(Array.from({ length: 4 }, () => startWorker({ way: 'launch', times: 40 })));
    const mine = await Promise.all(Array.from({ length: 40 }, () => new Command('true').run()));
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
    return { right: sum(workers.map(({ message }) => message.right)), mine: mine.length };
  },

  /** A worker is ended while it has children: they end with it, and are reaped. */
  async 'terminated worker'() {
    const pids = [];
    for (let round = 0; round < 5; round += 1) {
      const { worker, message } = await startWorker({ way: 'keep' });
      pids.push(...message.pids);
      await worker.terminate();
    }
    return { pids: pids.length, states: [...new Set(pids.map(status))] };
  },

  /** A worker ends itself from within an event of a child. */
  async 'exiting worker'() {
    const codes = [];
    for (let round = 0; round < 5; round += 1) {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { way: 'exit' } });
      codes.push(await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject)));
    }
    return { codes };
  },

  /** A worker is ended at any moment of its launches. */
  async 'interrupted worker'() {
    for (let round = 0; round < 8; round += 1) {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { way: 'endless' } });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      for (let turn = 0; turn < round * 5; turn += 1) await setImmediate();
      await worker.terminate();
    }
    const { exitCode } = await new Command('true').run();
    return { exitCode };
  },

  async 'two copies'() {
    const make = (Kind, index) => new Kind('echo', String(index)).outputBuffer().run();
    const outputs = await Promise.all(
      Array.from({ length: 60 }, (_, index) => make(index % 2 === 0 ? Command : other.Command, index)),
    );
    return {
      engines: [engineInfo().engine, other.engineInfo().engine],
      differ: other.Command !== Command,
      right: outputs.filter(({ stdout }, index) => stdout === `${index}\n`).length,
    };
  },
};

let other;

/** Another copy of the package, with a descriptor and a watcher of its own from its first launch on. */
async function copyPackage() {
  const copy = join(directory, 'copy');
  for (const part of [
    'dist',
    'package.json',
    'src/native/build/Release/vircommand.node',
    'src/native/build/Release/vircommand-helper',
    'prebuilds',
  ]) {
    if (existsSync(join(root, part))) cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  other = await import(pathToFileURL(join(copy, 'dist/index.js')).href);
  await twoAtOnce(other);
}

/** All that is made once: some of it when a program runs beside another one. */
const twoAtOnce = (library) => Promise.all([0, 1].map(() => new library.Command('true').run()));

if (way === 'ends by itself') {
  // No watch is kept on anything after the last child; a released one keeps nothing either.
  const pid = (await new Command('sleep', '600').runAsync()).release();
  await Promise.all([new Command('true').run(), new Command('true').clearCaps().run()]);
  new Command('true').runSync();
  process.once('beforeExit', () => {
    // Told before standard output is asked for, which is one.
    const resources = process.getActiveResourcesInfo();
    process.stdout.write(JSON.stringify({ pid, resources }));
  });
} else {
  useTemporary(directory);
  await twoAtOnce({ Command });
  await new Command('true').clearCaps().run();
  await (await startWorker({ way: 'launch', times: 1 })).worker.terminate();
  if (way === 'two copies') await copyPackage();
  const before = { ...(await quiet()), own: own() };
  const outcome = await ways[way]();
  const { own: unchanged, ...counts } = before;
  const after = { ...(await settle(counts)), own: own() };
  process.stdout.write(JSON.stringify({ outcome, before: { ...counts, own: unchanged }, after }));
}
