// Starts one kind of command again and again, and prints as JSON what there was before and what there is after.
// Run with --expose-gc. Arguments: the kind, how often, an empty directory.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Command, OutputBuffer, PidFile } from 'vircommand';
import { count, proof, quiet, settle, useTemporary } from './counters.js';

const [, , kind, runs, directory] = process.argv;
useTemporary(directory);
const pidFile = join(directory, 'a.pid');
const both = new OutputBuffer();
const refused = (command) =>
  command.run().then(
    () => {
      throw new Error('It started.');
    },
    () => undefined,
  );

async function piped(command) {
  const child = await command.inputPipe().outputPipe().errorPipe().runAsync();
  child.stdin.end('x');
  child.stderr.resume();
  for await (const _ of child.stdout);
  return child.wait();
}

async function aborted(command) {
  const child = await command.inputPipe().outputPipe().runAsync();
  return child[Symbol.asyncDispose]();
}

/** The daemon is nobody's child: it is gone when nobody holds the lock on its pidfile any more. */
async function daemon(command) {
  const { pid } = await command.pidFile(pidFile).daemonize().run();
  process.kill(pid, 'SIGKILL');
  while (isRunning(pid)) await setImmediate();
  await PidFile.remove(pidFile);
}

function isRunning(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

const kinds = {
  'a program': () => new Command('true').run(),
  'input and captured output': () =>
    new Command('cat').inputBuffer('x'.repeat(10_000)).outputBuffer(both).errorBuffer(both).run(),
  'output too large to copy': () =>
    new Command('head', '-c', '200000', '/dev/zero').outputBuffer({ encoding: 'buffer' }).run(),
  'pipes for the caller': () => piped(new Command('cat')),
  'an abort': () => aborted(new Command('cat')),
  'runSync()': async () => new Command('cat').inputBuffer('x').outputBuffer().runSync(),
  'a daemon': () => daemon(new Command('sleep', '600')),
  'a program that cannot be executed': () => refused(new Command('/proc/version')),
  'a directory that is not there': () => refused(new Command('true').workingDirectory('/nowhere')),
  'a limit that is refused, with pipes': () =>
    refused(new Command('true').inputBuffer('x').outputBuffer().limit('nofile', 2_000_000_000, 2_000_000_000)),
  'helper: a program': () => new Command('true').clearCaps().run(),
  'helper: input and captured output': () =>
    new Command('cat').clearCaps().inputBuffer('x'.repeat(10_000)).outputBuffer().errorBuffer().run(),
  'helper: pipes for the caller': () => piped(new Command('cat').clearCaps()),
  'helper: an abort': () => aborted(new Command('cat').clearCaps()),
  'helper: a daemon': () => daemon(new Command('sleep', '600').clearCaps()),
  'hook: a program': () =>
    new Command('cat')
      .preExecHook(() => 0, Buffer.alloc(100_000))
      .inputBuffer('x')
      .outputBuffer()
      .run(),
  'hook: one that says no': () =>
    refused(
      new Command('true')
        .preExecHook(() => 1)
        .inputBuffer('x')
        .outputBuffer(),
    ),
  'hook: one that takes too long': () =>
    refused(
      new Command('true')
        .preExecHook(() => {
          for (;;);
        })
        .timeout(1),
    ),
  'hook: a daemon': () => daemon(new Command('sleep', '600').preExecHook(() => 0)),
  'helper: a directory that is not there': () =>
    refused(new Command('true').clearCaps().workingDirectory('/nowhere').inputBuffer('x').outputBuffer()),
};

const threads = () => readdirSync('/proc/self/task').length;
const resident = () => process.memoryUsage.rss();

/** Two collections: what the first one frees may hold what the second one does. */
async function collect() {
  for (let round = 0; round < 2; round += 1) {
    globalThis.gc();
    await setImmediate();
  }
}

/** Whether the two counters that are only here can count. */
async function proveOwn() {
  const before = { threads: threads(), resident: resident() };
  const worker = new Worker('setInterval(() => undefined, 60000)', { eval: true });
  await new Promise((resolve) => worker.once('online', resolve));
  const memory = Buffer.alloc(64 * 1024 * 1024, 1);
  const proven = { threads: threads() > before.threads, resident: resident() - before.resident > memory.length / 2 };
  await worker.terminate();
  return proven;
}

const AT_ONCE = 8;

async function many(times) {
  const one = kinds[kind];
  const atOnce = kind.includes('daemon') || kind === 'runSync()' ? 1 : AT_ONCE;
  for (let done = 0; done < times; done += atOnce) await Promise.all(Array.from({ length: atOnce }, one));
}

const proven = { ...(await proof()), ...(await proveOwn()) };
// What V8 and the allocator take for work of this kind is taken before the first look.
await many(Math.max(50, Number(runs) / 4));
await collect();
const before = { ...(await quiet()), threads: threads() };
const residentBefore = resident();
await many(Number(runs));
await collect();
await settle(Object.fromEntries(Object.entries(before).filter(([name]) => name !== 'threads')));
const after = { ...count(), threads: threads() };
process.stdout.write(JSON.stringify({ proven, before, after, grown: resident() - residentBefore }));
