// One trial, in a process of its own: `trial.js <measure> <rival> <options as JSON>`. Prints one line of JSON.
// It runs in Node, Bun and Deno alike.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import process from 'node:process';
import { adapter } from './rivals.js';

const [measure, rival, json] = process.argv.slice(2);
const options = JSON.parse(json);
const { run, text, bytes } = await adapter(rival, load);

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

/** What keeps a parent large: bytes outside the heap, every page written to, or objects in the heap. */
function ballast({ bufferMiB = 0, heapMiB = 0 }) {
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
  return kept;
}

/** The median time from the call to the result, one command after the other. */
async function latency(call) {
  const times = [];
  for (let i = -options.warmUp; i < options.iterations; i += 1) {
    const before = us();
    await call();
    if (i >= 0) times.push(us() - before);
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
async function capture(call, expected) {
  await text(options.echo, ['warm']);
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Without this the peak of the start counts too, which is far below what follows.
  }
  const residentBefore = memory('VmRSS');
  const before = us();
  const output = await call();
  const seconds = (us() - before) / 1e6;
  if (output.length !== expected) throw new Error(`${output.length} bytes came instead of ${expected}`);
  return { seconds, bytes: output.length, peakBytes: memory('VmHWM') - residentBefore };
}

/** Runs commands with always the same number in flight. */
async function burst(call) {
  for (let i = 0; i < options.warmUp; i += 1) await call();
  let left = options.iterations;
  const before = us();
  await Promise.all(
    Array.from({ length: options.inFlight }, async () => {
      while (left > 0) {
        left -= 1;
        await call();
      }
    }),
  );
  return { perSecond: options.iterations / ((us() - before) / 1e6) };
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

async function trial() {
  if (options.engine !== undefined) {
    const { engineInfo } = await import('vircommand');
    const { engine, why } = engineInfo();
    if (engine !== options.engine) return { skip: why };
  }
  const kept = ballast(options);
  const once = () => run(options.program, options.args);
  switch (measure) {
    case 'echo':
      return latency(async () => {
        const output = await text(options.program, options.args);
        if (output.trim() !== 'hello') throw new Error(`it said ${output}`);
      });
    case 'held':
      return held(once);
    case 'capture':
      return capture(() => bytes(options.program, options.args), options.bytes);
    case 'burst':
      return burst(once);
    case 'build':
      return build();
    default:
      return { ...(await latency(once)), kept: kept.length };
  }
}

console.log(JSON.stringify(await trial()));
// Some rivals keep timers or handles; nothing is left to do.
process.exit(0);
