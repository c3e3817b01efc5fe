// One trial, in a process of its own: `main.js <kind> <rival> <options as JSON>`. Prints one line of JSON.
// It runs in Node, Bun and Deno alike.
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import process from 'node:process';
import { adapter } from './adapters.js';
import { javascript, watchAddons } from './javascript.js';

const [kind, rival, json] = process.argv.slice(2);
const options = JSON.parse(json);
if (kind === 'javascript') watchAddons();
const { run, text, bytes, lines, pipe } = await adapter(rival, options, load);

/** Imports a package from the bench's cache, not from this package's own dependencies. */
function load(name) {
  const entry = createRequire(`${options.cache}/package.json`).resolve;
  try {
    return import(pathToFileURL(entry(name)).href);
  } catch {
    // Packages without a CommonJS entry are not found by require().
    const folder = `${options.cache}/node_modules/${name}`;
    const { exports, main } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
    const file =
      typeof exports === 'string' ? exports : (exports?.default ?? exports?.['.']?.default ?? exports?.['.'] ?? main);
    return import(pathToFileURL(`${folder}/${file}`).href);
  }
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const us = () => performance.now() * 1000;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** What keeps a parent large: bytes outside the heap, every page written to, objects in the heap, or open files. */
function ballast({ bufferMiB = 0, heapMiB = 0, descriptors = 0 } = {}) {
  const kept = [];
  for (let i = 0; i < bufferMiB; i += 256) kept.push(new Uint8Array(256 * 2 ** 20).fill(1));
  // An array of 4 objects of 3 small fields takes about 256 bytes.
  for (let i = 0; i < heapMiB * 4096; i += 1)
    kept.push([
      { i, a: 1, b: 2 },
      { i, a: 1, b: 2 },
      { i, a: 1, b: 2 },
      { i, a: 1, b: 2 },
    ]);
  for (let i = 0; i < descriptors; i += 1) kept.push(openSync('/dev/null', 'r'));
  return kept;
}

/** From here on a warm-up goes 8 at a time: it is there for the compiler, which counts calls. */
const MANY = 500;

async function warmUp(call) {
  if (options.warmUp >= MANY) return together(call, options.warmUp, 8);
  for (let i = 0; i < options.warmUp; i += 1) await call();
}

/** Runs commands with always the same number in flight. */
async function together(call, count, inFlight) {
  let left = count;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

/** The median time from the call to the result, one command after the other. */
async function latency(call) {
  const times = [];
  await warmUp(call);
  for (let i = 0; i < options.iterations; i += 1) {
    const before = us();
    await call();
    times.push(us() - before);
  }
  // The tenth part is told too: what a launch costs where nobody else wants the processor.
  return { us: median(times), tenthUs: times[Math.floor(times.length / 10)] };
}

/**
 * How long a launch keeps the loop from other work. An immediate is queued, then the command is started: the time from the
 * call until that immediate runs is what other work would have waited. A turn with nothing started is taken off.
 */
async function held(call) {
  const sample = async (start) => {
    await turn();
    const before = us();
    let after = 0;
    setImmediate(() => {
      after = us();
    });
    const running = start();
    while (after === 0) await turn();
    await running;
    return after - before;
  };
  const busy = [];
  const idle = [];
  for (let i = -options.warmUp; i < options.iterations; i += 1) {
    const one = await sample(call);
    const other = await sample(() => undefined);
    if (i < 0) continue;
    busy.push(one);
    idle.push(other);
  }
  return { us: median(busy) - median(idle), idleUs: median(idle) };
}

const memory = (field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;

/** Captures once. The peak is what the resident set rose to, above where it stood before. */
async function capture(call) {
  await text('/bin/echo', ['warm']);
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Without this the peak of the start counts too, which is far below what follows.
  }
  const residentBefore = memory('VmRSS');
  const before = us();
  const output = await call();
  const seconds = (us() - before) / 1e6;
  if (output.length !== options.bytes) throw new Error(`${output.length} bytes came instead of ${options.bytes}`);
  return { seconds, bytes: output.length, peakBytes: memory('VmHWM') - residentBefore };
}

async function burst(call) {
  await warmUp(call);
  const before = us();
  await together(call, options.iterations, options.inFlight);
  return { perSecond: options.iterations / ((us() - before) / 1e6) };
}

/** How many lines come in a second. */
async function linesPerSecond() {
  const before = us();
  const count = await lines(program, args);
  const perSecond = count / ((us() - before) / 1e6);
  if (count !== options.lines) throw new Error(`${count} lines came instead of ${options.lines}`);
  return { perSecond };
}

/** A pipeline, one after the other; `bytes` is how much goes through it. */
async function piped() {
  const { us: taken } = await latency(async () => {
    const output = await pipe(options.stages);
    if (output.trim() !== options.says) throw new Error(`it said ${output}`);
  });
  return { us: taken, bytes: options.bytes, seconds: taken / 1e6 };
}

/** The JavaScript of a run in a young process, and in one that has launched thousands. */
async function javascriptByAge(call) {
  await warmUp(call);
  const young = await javascript(call, options.iterations);
  await together(call, options.ages, 8);
  const old = await javascript(call, options.iterations);
  return { us: median(young.samples), cpuUs: young.cpuUs, oldUs: median(old.samples), oldCpuUs: old.cpuUs };
}

/** Builds a command of 20 arguments and its plan. The program is an absolute path, so PATH is not searched. */
async function build() {
  const { Command } = await import('vircommand');
  const command = () =>
    new Command('/usr/sbin/dnsmasq')
      .argPair('--conf-file', '/var/lib/libvirt/dnsmasq/default.conf')
      .args('--leasefile-ro', '--strict-order', '--bind-interfaces')
      .argPair('--interface', 'virbr0')
      .arg('--port')
      .arg(53)
      .args(['--dhcp-range', '192.168.122.2,192.168.122.254', '--dhcp-lease-max', 253])
      .args('--dhcp-option', 'option:router,192.168.122.1', '--domain', 'example.org', '--expand-hosts')
      .args('--listen-address', '192.168.122.1', '--pid-file', '--no-daemon')
      .outputBuffer();
  if (command().plan().argv.length !== 21) throw new Error('the command has not 20 arguments');
  const samples = [];
  for (let i = 0; i < options.warmUp + options.iterations; i += 1) {
    const before = us();
    // The vectors are made when they are asked for; they belong to the plan.
    for (let j = 0; j < 100; j += 1) {
      const { argv, envp } = command().plan();
      if (argv.length !== 21 || envp.length === 0) throw new Error('the plan is not whole');
    }
    if (i >= options.warmUp) samples.push((us() - before) / 100);
  }
  return { us: median(samples) };
}

const { program, args = [] } = options;
const once = () => run(program, args);
const hello = async () => {
  const output = await text(program, args);
  if (output.trim() !== 'hello') throw new Error(`it said ${output}`);
};
const trials = {
  latency: () => latency(once),
  echo: () => latency(hello),
  held: () => held(once),
  capture: () => capture(() => bytes(program, args)),
  burst: () => burst(once),
  lines: linesPerSecond,
  pipeline: piped,
  javascript: () => javascriptByAge(once),
  build,
};

const kept = ballast(options.parent);
console.log(JSON.stringify({ ...(await trials[kind]()), kept: kept.length }));
// Some rivals keep timers or handles; nothing is left to do.
process.exit(0);
