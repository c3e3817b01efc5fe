// Terminates workers at random moments while they launch in one way, and prints as JSON what they have left behind.
// Arguments: the way, and how many workers.
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Command, killTree } from 'vircommand';
import { proof, quiet, settle, useTemporary } from './counters.js';

/** A file that nothing else opens here. Node itself loses a file that it opens at the moment of the end: see `lostByNode()`. */
const OPENED = '/dev/zero';

/** What a worker does again and again. A child that sleeps is one that would be seen afterwards. */
const ways = {
  'shared memory': () => new Command('sleep', '600').inputBuffer('x').outputBuffer().errorBuffer().runAsync(),
  'shared memory, with pipes for the caller': () =>
    new Command('sleep', '600').inputPipe().outputPipe().errorPipe().runAsync(),
  'shared memory, with files': () => new Command('sleep', '600').inputFile(OPENED).outputFile(OPENED).runAsync(),
  helper: () => new Command('sleep', '600').clearCaps().inputPipe().outputBuffer().runAsync(),
  'helper, with a handshake': async () => {
    const child = await new Command('sleep', '600').requireHandshake().outputPipe().runAsync();
    await child.handshakeWait();
    await child.handshakeNotify();
  },
  hook: () =>
    new Command('sleep', '600')
      .preExecHook(() => 0)
      .outputPipe()
      .runAsync(),
  daemon: () => new Command('true').clearCaps().daemonize().run(),
  'daemon, with a handshake': async () => {
    const daemon = await new Command('true').daemonize().requireHandshake().run();
    await daemon.handshakeWait();
    await daemon.handshakeNotify();
  },
  terminal: async () => {
    const child = await new Command('cat').terminal().runAsync();
    child.terminal.resume().write('typed');
  },
  'terminal, captured': () => new Command('sh', '-c', 'yes | head -n 1000').terminal().outputBuffer().run(),
  runSync: () => new Command('cat').inputBuffer('x').outputBuffer().errorFile('/dev/null').runSync(),
  'runSync in the helper': () => new Command('cat').clearCaps().inputBuffer('x').outputBuffer().runSync(),
  'a launch that fails': () =>
    new Command('true')
      .workingDirectory('/nowhere')
      .inputPipe()
      .outputPipe()
      .runAsync()
      .catch(() => undefined),
  killTree: async () => {
    const child = await new Command('sleep', '600').outputPipe().runAsync();
    await killTree(child, { patienceMs: 1000 });
  },
};

/** Descriptors of files that `fs.promises.open()` had opened, and could not tell of any more: a plain worker loses them as well. */
function lostByNode() {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === OPENED;
    } catch {
      // The descriptor of the directory itself, which is closed by now.
      return false;
    }
  }).length;
}

async function terminateOne(way, longestMs) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { way }, stderr: true });
  let errors = '';
  worker.stderr.on('data', (chunk) => (errors += chunk));
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  // At any moment from the first launch on; most of them lie within one.
  await delay(Math.random() * longestMs);
  await worker.terminate();
  return errors;
}

if (isMainThread) {
  const [, , way, times] = process.argv;
  const directory = mkdtempSync(join(tmpdir(), 'vircommand-terminate-'));
  useTemporary(directory);
  const counts = await proof();
  const slow = way === 'hook' ? 200 : 30;
  // What the process opens once, and the first worker with it.
  await new Command('true').clearCaps().inputBuffer('').outputBuffer().run();
  await terminateOne(way, slow);
  const before = await quiet();
  before.descriptors -= lostByNode();
  let errors = '';
  for (let round = 0; round < Number(times); round += 1) errors += await terminateOne(way, slow);
  const expected = () => ({ ...before, descriptors: before.descriptors + lostByNode() });
  const after = await settle(expected());
  after.descriptors -= lostByNode();
  rmSync(directory, { recursive: true });
  process.stdout.write(JSON.stringify({ counts, before, after, errors }));
} else {
  const launch = ways[workerData.way];
  let isFirst = true;
  for (let launches = 0; ; launches += 1) {
    // A worker that goes on would fill the process table: after so many it waits for its end.
    if (launches === 40) await new Promise(() => setInterval(() => undefined, 1000));
    const launched = launch();
    if (isFirst) parentPort.postMessage('launching');
    isFirst = false;
    await launched;
  }
}
