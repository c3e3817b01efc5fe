// Launches a command while somebody makes a system call fail, prints as JSON how that ended and what it has left behind,
// and begins again. Arguments: the kind of command, an empty directory, and `warm` (there was a launch before) or `cold`.
//
// It says `ready` and waits for a byte; for an `s`, it sacrifices one launch and one write, whatever comes of them, to the
// fault. It launches, prints how that ended, waits for another byte, and counts.
import { openSync, readdirSync, readlinkSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'vircommand';
import { quiet, settle, useTemporary } from './counters.js';

const [, , kind, directory, temperature] = process.argv;
useTemporary(directory);
const pidFile = join(directory, 'a.pid');

// A daemon is nobody's child: the descriptor of a file of its own makes each process of its launch known.
const mark = join(directory, 'mark');
const markFd = openSync(mark, 'w');
const plainDaemon = () =>
  new Command('sleep', '600').preserveFd(markFd).nice(1).limit('core', 0, 0).noNewPrivileges().daemonize();
const daemon = () => plainDaemon().pidFile(pidFile);
// What runs beside the command, so that a thread launches that: see docs/internals.md, "Beside this thread".
let sleeper;
async function putBeside() {
  if (kind !== 'beside') return;
  await sleeper?.abort();
  sleeper = await new Command('sleep', '600').dieWithParent().runAsync();
}

const kinds = {
  beside: () => new Command('cat').inputBuffer('hello').outputBuffer().run(),
  plain: () => new Command('true').run(),
  captured: () => new Command('cat').inputBuffer('hello').outputBuffer().errorBuffer().run(),
  piped: async () => {
    const child = await new Command('cat').inputPipe().outputPipe().errorPipe().runAsync();
    child.stdin.end();
    child.stdout.resume();
    child.stderr.resume();
    return child.wait();
  },
  steps: () =>
    new Command('true')
      .newSession()
      .umask(0)
      .nice(1)
      .limit('core', 0, 0)
      .workingDirectory('/')
      .noNewPrivileges()
      .dieWithParent()
      .run(),
  terminal: () => new Command('true').terminal().run(),
  group: () => new Command('true').processGroup().oomScoreAdjust(500).run(),
  helper: () => new Command('cat').clearCaps().inputBuffer('hello').outputBuffer().run(),
  'helper-piped': async () => {
    const child = await new Command('cat').clearCaps().inputPipe().outputPipe().errorPipe().runAsync();
    child.stdin.end();
    child.stdout.resume();
    child.stderr.resume();
    return child.wait();
  },
  ids: () => new Command('true').uid(65534).gid(65534).allowCap('CAP_NET_RAW').run(),
  handshake: async () => {
    const child = await new Command('true').requireHandshake().runAsync();
    try {
      await child.handshakeWait();
      await child.handshakeNotify();
      return await child.wait();
    } finally {
      await child[Symbol.asyncDispose]();
    }
  },
  sync: async () => new Command('cat').inputBuffer('hello').outputBuffer().runSync(),
  'sync-helper': async () => new Command('cat').clearCaps().inputBuffer('hello').outputBuffer().runSync(),
  'plain-daemon': async () => stop(await plainDaemon().run()),
  daemon: async () => stop(await daemon().run()),
  'daemon-helper': async () => stop(await daemon().clearCaps().run()),
  'daemon-ids': async () => stop(await daemon().uid(65534).gid(65534).allowCap('CAP_NET_RAW').run()),
  'daemon-handshake': async () => {
    const started = await daemon().requireHandshake().run();
    await started.handshakeNotify();
    return stop(started);
  },
};

// That it has gone is seen where nobody holds its mark.
async function stop({ pid }) {
  process.kill(pid, 'SIGKILL');
  rmSync(pidFile, { force: true });
  while (daemons().length > 0) await pause(1);
  return { pid };
}

function daemons() {
  const holds = (pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === mark);
    } catch {
      return false; // It is gone, or has closed one meanwhile.
    }
  };
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid) && holds(pid));
}

/** What is left of daemons: pidfiles, and processes that do not end of themselves. */
async function leftovers() {
  const deadline = performance.now() + 10_000;
  while (daemons().length > 0 && performance.now() < deadline) await pause(1);
  return [
    ...readdirSync(directory).filter((name) => name.endsWith('.pid')),
    ...daemons().map((pid) => `process ${pid}`),
  ];
}

const launch = () =>
  kinds[kind]().then(
    () => ({ name: 'none' }),
    ({ name, code, step, errno, syscall, message, heldBy }) => ({ name, code, step, errno, syscall, message, heldBy }),
  );

/** Waits for a byte while the event loop stands still, and gives it. Standard input may be set not to block. */
function wait() {
  const byte = Buffer.alloc(1);
  for (;;) {
    try {
      if (readSync(0, byte) === 0) process.exit();
      return String(byte);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

const say = (value) => writeSync(1, `${JSON.stringify(value)}\n`);

const nothing = openSync('/dev/null', 'w');
const isCold = temperature === 'cold';
await putBeside();
if (!isCold) {
  await launch();
  await putBeside();
}
// What runs beside has the handlers stay.
const before = await (kind === 'beside' ? settle() : quiet());
for (;;) {
  say('ready');
  if (wait() === 's') {
    await launch();
    try {
      writeSync(nothing, 'x');
    } catch {
      // That was the first write of this thread; the child's is another.
    }
  }
  say(await launch());
  wait();
  await putBeside();
  // What a watcher needs is made at the first launch, and stays: with a fault before it, the first that goes well makes it.
  const after = await settle(before);
  const left = await leftovers();
  const again = await launch();
  await putBeside();
  const end = isCold ? before : await settle(before);
  say({ before, after, left, again: again.name === 'none' ? 'ran' : again, end });
}
