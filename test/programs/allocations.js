// Does one thing again and again, and each time another allocation of the addon fails: the first, the second, until none is left. Prints a
// line of JSON for each. Arguments: the library, the kind of thing, an empty directory, and, where one process can do the thing only
// once, which allocation fails.
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { quiet, settle, useTemporary } from './counters.js';

const [, , libraryPath, kind, directory, only] = process.argv;
const { Command, PidFile, killTree } = await import(libraryPath);
useTemporary(directory);
const file = join(directory, 'a.pid');
const LONG = 'x'.repeat(200_000);
const printed = (command) =>
  command
    .outputBuffer()
    .run()
    .then(({ stdout }) => stdout.length);

async function daemon() {
  const { pid } = await new Command('sleep', '600').daemonize().pidFile(file).run();
  process.kill(pid, 'SIGKILL');
  rmSync(file, { force: true });
}

// What runs beside a command, so that a thread launches that.
let sleeper;
async function twoAtOnce() {
  sleeper = await new Command('sleep', '600').runAsync();
  return printed(new Command('cat').inputBuffer(LONG));
}

const kinds = {
  'two at once': () =>
    twoAtOnce().finally(async () => {
      await sleeper?.abort();
      sleeper = undefined;
    }),
  run: () => new Command('true').run(),
  'captured output': () => printed(new Command('cat').inputBuffer(LONG)),
  'a failed step': () =>
    new Command('true')
      .workingDirectory('/nowhere')
      .run()
      .catch((error) => {
        if (error.step === 'chdir') return 'as it should';
        throw error;
      }),
  runAsync: async () => {
    const child = await new Command('sleep', '0.01').runAsync();
    return child.wait();
  },
  runSync: () =>
    Promise.resolve().then(() => new Command('cat').inputBuffer(LONG).outputBuffer().runSync().stdout.length),
  'the helper': () => printed(new Command('cat').clearCaps().inputBuffer(LONG)),
  'a hook': () => printed(new Command('cat').preExecHook(() => 0).inputBuffer(LONG)),
  'a user': () => printed(new Command('id').user('nobody')),
  'a daemon': () => daemon(),
  'a pidfile that is held': async () => {
    const held = await PidFile.acquire(file);
    await PidFile.release(held);
    rmSync(file, { force: true });
  },
  'a tree that is ended': async () => {
    const child = await new Command('sh', '-c', 'sleep 600 & wait').processGroup().runAsync();
    try {
      await killTree(child);
    } finally {
      // What was not ended for a lack of memory, with its leader or without it.
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
      await child.free();
    }
  },
  exec: () => Promise.resolve().then(() => new Command('true').exec()),
};

const say = (value) => console.log(JSON.stringify(value));
const variable = 'VIRCOMMAND_FAIL_ALLOCATION';

async function failing(number) {
  process.env[variable] = `${kind}:${number}`;
  const outcome = await kinds[kind]().then(
    (value) => ({ name: 'none', value: typeof value === 'object' ? undefined : value }),
    ({ name, code, step, errno, reason, message }) => ({ name, code, step, errno, reason, message }),
  );
  const hasFailed = process.env[variable] === '';
  process.env[variable] = '';
  return { number, hasFailed, outcome };
}

if (only !== undefined) {
  say(await failing(Number(only)));
  process.exit(0);
}
// What Node opens once counts from the beginning: its own standard streams, and what libuv needs for the first stream.
process.stdout.write('\n');
process.stderr.write('');
const first = await new Command('true').outputPipe().runAsync();
await Promise.all([once(first.stdout.resume(), 'close'), first.wait()]);
await kinds[kind]();
const before = await quiet();
for (let number = 1, isLast = false; !isLast && number < 100; number += 1) {
  const { hasFailed, outcome } = await failing(number);
  rmSync(file, { force: true });
  const after = await settle(before);
  const again = await kinds[kind]().then(
    () => 'well',
    ({ message }) => message,
  );
  say({ number, hasFailed, outcome, before, after: await settle(after), again });
  isLast = !hasFailed && outcome.name === 'none';
}
