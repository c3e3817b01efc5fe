// Runs many programs, some at once, that read, write, break off and are ended in every way, with sizes that follow from a seed, and prints as JSON
// what was lost and what is left. Arguments: the seed, how many, and an empty directory.
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, engineInfo, ExitError, OutputBuffer, pipeline } from 'vircommand';
import { quiet, settle, useTemporary } from './counters.js';

const [seed, times] = process.argv.slice(2, 4).map(Number);
const [directory] = process.argv.slice(4);
useTemporary(directory);
process.chdir(directory);
const isNative = engineInfo().engine === 'native';
const AT_ONCE = 6;
const LONGEST_MS = 20_000;

/** Numbers from 0 up to 1 that follow from a number (mulberry32). Each program has its own, so that what it does depends on nothing else. */
function randomFrom(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What one program draws. */
class Dice {
  constructor(state) {
    this.random = randomFrom(state);
  }
  upTo(most) {
    return Math.floor(this.random() * (most + 1));
  }
  oneOf(...things) {
    return things[this.upTo(things.length - 1)];
  }
  /** A size about which something happens: nothing, a byte, a page, a pipe, a read, and others, up to 2 MiB. */
  size() {
    return this.random() < 0.5
      ? this.oneOf(0, 1, 4096, 65_535, 65_536, 65_537, 1 << 20)
      : this.upTo(2 ** this.upTo(21));
  }
  bytes(size = this.size()) {
    const bytes = Buffer.allocUnsafe(size);
    const block = Buffer.from(Array.from({ length: Math.min(size, 251) }, () => this.upTo(255)));
    for (let at = 0; at < size; at += block.length) block.copy(bytes, at);
    return bytes;
  }
  *pieces(bytes) {
    for (let at = 0; at < bytes.length;) {
      const size = 1 + this.upTo(100_000);
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
  lines() {
    return Array.from({ length: this.upTo(3000) }, () => 'x'.repeat(this.upTo(this.oneOf(3, 80, 2000))));
  }
}

const sh = (script, ...args) => new Command('sh', '-c', script, 'sh', ...args);
const cat = () => new Command('cat');
const raw = { encoding: 'buffer' };

/** Throws where two are not the same. The numbers say enough: what is in them follows from the seed. */
function same(got, wanted, what) {
  if (Buffer.isBuffer(wanted) ? !wanted.equals(got) : got !== wanted)
    throw new Error(`${what}: ${got?.length ?? got} in the place of ${wanted.length ?? wanted}`);
}

/** Takes what is written, now fast and now slowly. */
function taking(dice, most = Infinity) {
  const pieces = [];
  let size = 0;
  const stream = new Writable({
    highWaterMark: 1 + dice.upTo(100_000),
    write(piece, _encoding, done) {
      pieces.push(piece);
      size += piece.length;
      const error = size > most ? new Error('taken enough') : null;
      if (dice.upTo(9) === 0) setTimeout(done, dice.upTo(3), error);
      else done(error);
    },
  });
  return { stream, all: () => Buffer.concat(pieces) };
}

/** How a command ends that is ended in some way: the reason is one of these. */
async function endsBy(reasons, run) {
  let error;
  await run.catch((reason) => (error = reason));
  if (!(error instanceof ExitError)) throw error ?? new Error('it ended well');
  if (!reasons.includes(error.reason)) throw error;
}

const kinds = {
  async capture(dice) {
    const data = dice.bytes();
    const { stdout, inputWritten } = await cat().inputBuffer(data).outputBuffer(raw).run();
    same(stdout, data, 'captured');
    same(inputWritten, data.length, 'written');
  },
  async earlyClose(dice) {
    const data = dice.bytes();
    const wanted = dice.upTo(data.length);
    const { stdout } = await new Command('head', '-c', wanted).inputBuffer(data).outputBuffer(raw).run();
    same(stdout, data.subarray(0, wanted), 'read');
  },
  async bothOutputs(dice) {
    const [out, error] = [dice.bytes(), dice.bytes()];
    const command = sh('cat <&"$1" & cat <&"$2" >&2 & wait');
    command.args(command.sendBuffer(out), command.sendBuffer(error));
    const { stdout, stderr } = await command.outputBuffer(raw).errorBuffer(raw).run();
    same(stdout, out, 'standard output');
    same(stderr, error, 'standard error');
  },
  async interleaved(dice) {
    const count = dice.upTo(400);
    const both = new OutputBuffer();
    await sh('i=0; while [ $i -lt "$1" ]; do echo $i >&$((i % 2 + 1)); i=$((i + 1)); done', count)
      .outputBuffer(both)
      .errorBuffer(both)
      .run();
    same(String(both), Array.from({ length: count }, (_, line) => `${line}\n`).join(''), 'in order');
  },
  async limit(dice) {
    const data = dice.bytes();
    const most = 1 + dice.upTo(data.length);
    const { stdout, outputBytes } = await cat().inputBuffer(data).outputBuffer(raw).outputLimit(most).run();
    same(stdout, data.subarray(0, most), 'kept');
    same(outputBytes.stdout, data.length, 'counted');
  },
  async streams(dice) {
    const data = dice.bytes();
    const { stream, all } = taking(dice);
    await cat()
      .inputStream(Readable.from(dice.pieces(data)))
      .outputTo(stream)
      .run();
    same(all(), data, 'passed on');
  },
  async brokenStream(dice) {
    const data = dice.bytes(100_000 + dice.upTo(1 << 20));
    const { stream } = taking(dice, dice.upTo(50_000));
    const broken = dice.oneOf(true, false);
    const source = async function* () {
      yield* dice.pieces(data);
      if (broken) throw new Error('no more');
    };
    const command = broken ? cat().inputStream(source) : cat().inputBuffer(data).outputTo(stream);
    await endsBy(['stream'], command.run());
  },
  async tee(dice) {
    const data = dice.bytes();
    const file = join(directory, `tee-${dice.random()}`);
    const { stdout } = await cat().inputBuffer(data).outputBuffer(raw).tee(file).run();
    same(stdout, data, 'captured');
    same(readFileSync(file), data, 'in the file');
    rmSync(file);
  },
  async pipelines(dice) {
    const data = dice.bytes();
    const wanted = dice.oneOf(data.length, dice.upTo(data.length));
    const between = Array.from({ length: dice.upTo(3) }, () =>
      isNative && dice.upTo(2) === 0 ? cat().pipeSize(4096) : cat(),
    );
    const last = new Command('head', '-c', wanted).outputBuffer(raw);
    const { stdout } = await pipeline(cat().inputBuffer(data), ...between, last).run();
    same(stdout, data.subarray(0, wanted), 'at the end');
  },
  async endedPipeline(dice) {
    const running = await pipeline(new Command('yes'), cat(), cat().outputPipe()).runAsync();
    running.stdout.once('data', () => undefined);
    await delay(dice.upTo(5));
    await dice.oneOf(
      () => running.stop({ sequence: [['SIGINT', LONGEST_MS]] }),
      () => running.abort(),
      () => running.free(),
    )();
    await running.free();
  },
  async lines(dice) {
    const lines = dice.lines();
    const got = [];
    const isSlow = dice.upTo(3) === 0;
    for await (const line of cat()
      .inputBuffer(lines.map((line) => `${line}\n`).join(''))
      .lines()) {
      got.push(line);
      if (isSlow && got.length % 500 === 0) await delay(1);
    }
    same(got.join(), lines.join(), 'lines');
  },
  async leftLines(dice) {
    let left = dice.upTo(2000);
    for await (const line of new Command('yes', 'x'.repeat(dice.upTo(300))).lines())
      if ((left -= line === '' ? 0.5 : 1) < 0) break;
  },
  async leftChildLines(dice) {
    const data = dice.bytes();
    const child = await cat().inputBuffer(data).outputPipe().runAsync();
    for await (const line of child.lines({ encoding: 'buffer', maxLineBytes: 2 ** 24 }))
      if (line.length >= 0 && dice.upTo(5) === 0) break;
    const { exitCode, inputWritten } = await child.wait();
    same(exitCode, 0, 'exit code');
    same(inputWritten, data.length, 'written');
  },
  async sendBuffers(dice) {
    const datas = Array.from({ length: 1 + dice.upTo(3) }, () => dice.bytes());
    const command = sh('for fd; do cat <&"$fd"; done');
    const { stdout } = await command
      .args(datas.map((data) => command.sendBuffer(data)))
      .outputBuffer(raw)
      .run();
    same(stdout, Buffer.concat(datas), 'sent');
  },
  async unreadSendBuffers(dice) {
    const command = sh(dice.oneOf('exit 0', 'head -c 10 <&3 >/dev/null', 'exec 3<&-'));
    command.sendBuffer(dice.bytes());
    await command.run();
  },
  async writtenAndRead(dice) {
    const data = dice.bytes();
    const child = await cat().inputPipe().outputPipe().runAsync();
    const fed = Readable.from(dice.pieces(data)).pipe(child.stdin);
    const pieces = [];
    for await (const piece of child.stdout) pieces.push(piece);
    await child.wait();
    same(Buffer.concat(pieces), data, 'read');
    same(fed.writableFinished, true, 'all written');
  },
  async brokenPipe(dice) {
    const child = await new Command('yes').outputPipe().runAsync();
    let left = dice.upTo(1_000_000);
    for await (const piece of child.stdout) if ((left -= piece.length) < 0) break;
    const { signal, exitCode } = await child.wait({ check: false });
    // The sockets of child_process give an error where a pipe gives SIGPIPE.
    if (signal !== 'SIGPIPE' && exitCode === 0) throw new Error('yes came to an end');
  },
  async ended(dice) {
    const abort = new AbortController();
    const ms = dice.upTo(30);
    const command = new Command('yes').outputBuffer(raw).outputLimit(1000);
    const way = dice.oneOf('timeout', 'abort', 'kill', 'stop', 'free');
    if (way === 'timeout') return endsBy(['timeout'], command.timeout(ms + 1).run());
    if (way === 'kill')
      return endsBy(
        ['output-limit'],
        new Command('yes')
          .outputBuffer()
          .outputLimit(1 + dice.upTo(100_000), 'kill')
          .run(),
      );
    const child = await command.abortSignal(abort.signal).runAsync();
    await delay(ms);
    if (way === 'abort') abort.abort(new Error('enough'));
    else if (way === 'stop') await child.stop();
    else await child.free();
    await endsBy(['aborted'], child.wait());
  },
  async missing() {
    const { step } = await pipeline(new Command('yes'), new Command('/nowhere/tool'))
      .run()
      .catch((error) => error);
    same(step, 'execve', 'failed step');
  },
  ...(isNative
    ? {
        async terminal(dice) {
          const data = dice.bytes();
          const command = sh('stty raw; exec cat <&3').terminal().outputBuffer(raw);
          command.sendBuffer(data);
          same((await command.run()).stdout, data, 'at the terminal');
        },
        async endedTerminal(dice) {
          const child = await new Command('yes').terminal().runAsync();
          child.terminal.once('data', () => undefined);
          child.terminal.write(dice.bytes(dice.upTo(2000)).fill('y'));
          await delay(dice.upTo(5));
          await dice.oneOf(
            () => void child.terminal.destroy(),
            () => child.stop(),
            () => child.abort(),
          )();
          await child.free();
        },
        async sync(dice) {
          const data = dice.bytes();
          same(cat().inputBuffer(data).outputBuffer(raw).runSync().stdout, data, 'captured');
        },
      }
    : {}),
};

const names = Object.keys(kinds);
const wrong = [];
async function one(number, name = names[number % names.length]) {
  try {
    await kinds[name](new Dice(seed * 1_000_003 + number));
  } catch (error) {
    wrong.push(`${number}, ${name}: ${error?.stack ?? error}`);
  }
}

/** The programs in the directory of this process, whose children and theirs are there too; they may be children of another one by now. */
function programs() {
  const isHere = (pid) => {
    try {
      return pid !== String(process.pid) && readlinkSync(`/proc/${pid}/cwd`) === directory;
    } catch {
      return false;
    }
  };
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isHere(name));
}

// One of each, and some at once, open what stays open.
for (const [number] of names.entries()) await one(number);
await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => one(number)));
const before = await quiet();
let next = names.length;
const worker = async () => {
  while (next < times) await one((next += 1) - 1);
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
while (process.listenerCount('SIGTERM') > 0) await delay(1);
const after = await settle(before);
process.stdout.write(JSON.stringify({ kinds: names, wrong, before, after, programs: programs() }));
