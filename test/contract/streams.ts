import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { PassThrough, Readable, Transform, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline as nodePipeline } from 'node:stream/promises';
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web';
import { Command, type CommandSpec, ExitError, LaunchError, pipeline, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, FOREVER, rejection, sh, useDirectory } from '../helpers/tools.js';

const cat = () => new Command('cat');

/** More than a pipe and the streams hold together. */
const MUCH = 8_000_000;
const CHUNK = 64 * 1024;
const SHORT_MS = 100;

/** A stream that keeps what it is given. */
function keeper(): Writable & { text: () => string; bytes: () => number } {
  const pieces: Buffer[] = [];
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece);
      setImmediate(done);
    },
  });
  return Object.assign(stream, {
    text: () => Buffer.concat(pieces).toString(),
    bytes: () => pieces.reduce((sum, piece) => sum + piece.length, 0),
  });
}

/** A stream that takes the first piece and never says that it has. */
const stuck = () => new Writable({ write: () => undefined });

/** Fails at its first piece. */
const failing = (message: string) =>
  new Writable({
    write(_piece, _encoding, done) {
      done(new Error(message));
    },
  });

/** How many listeners a stream has, of each event. */
const listeners = (stream: NodeJS.EventEmitter) =>
  Object.fromEntries(stream.eventNames().map((name) => [name, stream.listenerCount(name)]));

const webOf = (...pieces: readonly string[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(Buffer.from(piece));
      controller.close();
    },
  });

/** What goes on for as long as it is read. */
function endless(): Readable & { given: () => number } {
  let given = 0;
  const stream = new Readable({
    read() {
      given += CHUNK;
      this.push(Buffer.alloc(CHUNK, 'y'));
    },
  });
  return Object.assign(stream, { given: () => given });
}

/** Streams of Node and of the web at the ends of a program; `stream.pipeline()` of Node is the measure of who ends what, and Python's `communicate()` of a program that does not read. */
export function streamContract(): void {
  describe('streams', () => {
    const path = useDirectory();

    describe('as input', () => {
      test.each([
        ['a Readable', () => Readable.from(['b\n', Buffer.from('a\n')])],
        ['a stream that an object mode transform ends', () => Readable.from(['b\na\n']).pipe(new PassThrough())],
        ['a stream of the web', () => webOf('b\n', 'a\n')],
        ['the body of a Response', () => new Response('b\na\n').body as unknown as ReadableStream],
        [
          'an async iterable',
          () => ({
            async *[Symbol.asyncIterator]() {
              yield 'b\n';
              yield await Promise.resolve(new Uint8Array(Buffer.from('a\n')));
            },
          }),
        ],
        [
          'a function that gives one',
          () =>
            async function* () {
              yield await Promise.resolve('b\na\n');
            },
        ],
      ])('are read to their end: %s', async (_what, source) => {
        const { stdout, inputWritten } = await new Command('sort').inputStream(source()).outputBuffer().run();
        expect([stdout, inputWritten]).toEqual(['a\nb\n', 4]);
      });

      test('of nothing are an empty input', async () => {
        const { stdout, inputWritten } = await cat().inputStream(Readable.from([])).outputBuffer().run();
        expect([stdout, inputWritten]).toEqual(['', 0]);
      });

      test('are read no faster than the program reads', async () => {
        const source = endless();
        await using child = await sh('sleep 0.2; exec head -c 1000000 >/dev/null').inputStream(source).runAsync();
        await eventually('the source is read', () => source.given() > CHUNK);
        await new Promise((resolve) => setTimeout(resolve, SHORT_MS));
        expect(source.given()).toBeLessThan(10 * CHUNK);
        const { inputWritten } = await child.wait();
        expect(inputWritten).toBeGreaterThanOrEqual(1_000_000 - CHUNK);
        expect(source.destroyed).toBe(true);
      });

      test('that the program does not read are no error, and a generator is told to return', async () => {
        let hasReturned = false;
        async function* lines(): AsyncGenerator<string> {
          try {
            for (;;) {
              await new Promise(setImmediate);
              yield 'y'.repeat(CHUNK);
            }
          } finally {
            hasReturned = true;
          }
        }
        const { inputWritten, exitCode } = await new Command('true').inputStream(lines()).run();
        await eventually('the generator returns', () => hasReturned);
        expect(exitCode).toBe(0);
        expect(inputWritten).toBeLessThan(10 * CHUNK);
      });

      test('that fail stop the program by its sequence, before it takes what came for all', async () => {
        async function* half(): AsyncGenerator<string> {
          yield await Promise.resolve('half');
          throw new Error('the disk is gone');
        }
        const run = sh('trap "exit 7" INT; cat > "$1"; while :; do sleep 0.01; done', path('half'))
          .inputStream(half())
          .stopSequence([['SIGINT', 5000]])
          .run();
        const error = await rejection(ExitError, run);
        expect([error.reason, error.cause, error.result.signal]).toEqual([
          'stream',
          new Error('the disk is gone'),
          error.result.signal,
        ]);
        expect(error.message).toMatch(/^The input stream of `sh .*` failed after .*: the disk is gone\. It /s);
      });

      test('that are closed before their end fail as those of stream.pipeline() do', async () => {
        const source = new PassThrough();
        const run = cat().inputStream(source).run();
        source.write('half');
        setTimeout(() => source.destroy(), 20);
        const error = await rejection(ExitError, run);
        expect([error.reason, (error.cause as NodeJS.ErrnoException).code]).toEqual([
          'stream',
          'ERR_STREAM_PREMATURE_CLOSE',
        ]);
      });

      test('that give something else than text and bytes fail with a TypeError', async () => {
        const error = await rejection(
          ExitError,
          cat()
            .inputStream(Readable.from([{}]))
            .run(),
        );
        expect(error.cause).toEqual(
          new TypeError('A piece for a program is a string, a Buffer or a Uint8Array, and not an object.'),
        );
      });

      test.each([
        ['a Readable', () => Readable.from(['a'])],
        ['a stream of the web', () => webOf('a')],
        ['a generator', () => Readable.from(['a'])[Symbol.asyncIterator]()],
      ])('can be read once: %s', async (_what, source) => {
        const command = cat().inputStream(source()).outputBuffer();
        expect((await command.run()).stdout).toBe('a');
        const error = await rejection(UsageError, command.run());
        expect(error.message).toMatch(/inputStream\(…\): .*; give a function that makes a new one for each run\.$/);
      });

      test('of a function are new for each run, also at the same time', async () => {
        const command = cat()
          .inputStream(() => Readable.from(['a']))
          .outputBuffer();
        const all = await Promise.all([command.run(), command.run(), command.run()]);
        expect(all.map(({ stdout }) => stdout)).toEqual(['a', 'a', 'a']);
      });
    });

    describe('as output', () => {
      test.each([
        ['a fast program and a slow stream', () => new Command('head', '-c', MUCH, '/dev/zero')],
        [
          'a program of two outputs',
          () => sh('head -c 4000000 /dev/zero; head -c 4000000 /dev/zero >&2').errorToOutput(),
        ],
      ])('get all of it, and hold the program: %s', async (_what, command) => {
        let most = 0;
        let bytes = 0;
        const slow = new Writable({
          write(piece: Buffer, _encoding, done) {
            bytes += piece.length;
            most = Math.max(most, slow.writableLength);
            setImmediate(done);
          },
        });
        await command().outputTo(slow).run();
        expect([bytes, slow.writableFinished]).toEqual([MUCH, true]);
        expect(most).toBeLessThan(8 * CHUNK);
      });

      test('are ended with it, and are not with { end: false }, nor by the first of two', async () => {
        const ended = keeper();
        await sh('echo a; echo b >&2').outputTo(ended).errorTo(ended).run();
        expect(ended.text().split('\n').sort()).toEqual(['', 'a', 'b']);
        expect(ended.writableFinished).toBe(true);
        const open = keeper();
        const command = new Command('echo', 'a').outputTo(open, { end: false });
        await command.run();
        await command.run();
        expect([open.text(), open.writableEnded]).toEqual(['a\na\n', false]);
      });

      test('are of the web, too', async () => {
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
        const all = text(readable as never);
        await sh('echo a; sleep 0.05; echo b').outputTo(writable).run();
        expect(await all).toBe('a\nb\n');
        const error = await rejection(UsageError, cat().outputTo(writable).run());
        expect(error.message).toContain(
          'outputTo(…): an earlier run has closed it; give a new one, or { end: false }.',
        );
      });

      test('of the web hold the program, are shared, and stay open with { end: false }', async () => {
        let bytes = 0;
        let isClosed = false;
        const slow = new WritableStream<Uint8Array>({
          write(piece) {
            bytes += piece.length;
            return new Promise((resolve) => setImmediate(resolve));
          },
          close() {
            isClosed = true;
          },
        });
        const command = sh('head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2');
        await command.outputTo(slow, { end: false }).errorTo(slow, { end: false }).run();
        expect([bytes, isClosed, slow.locked]).toEqual([2_000_000, false, false]);
      });

      test('that fail stop the program, and the run rejects with the error', async () => {
        const error = await rejection(ExitError, new Command('yes').outputTo(failing('the disk is full')).run());
        expect([error.reason, error.cause]).toEqual(['stream', new Error('the disk is full')]);
        expect(error.message).toMatch(
          /^The output stream of `yes` failed after .*: the disk is full\. It was ended by SIGTERM\.$/,
        );
        const web = new WritableStream({
          write() {
            throw new Error('no more');
          },
        });
        const ofWeb = await rejection(ExitError, new Command('yes').outputTo(web).run());
        expect([ofWeb.reason, ofWeb.cause]).toEqual(['stream', new Error('no more')]);
        const ofErrors = await rejection(ExitError, sh('echo x >&2').errorTo(failing('the log is full')).run());
        expect(ofErrors.message).toMatch(/^The error stream of `sh .*` failed after .*: the log is full\. It /);
      });

      test('that are closed before the program has ended stop it', async () => {
        const destination = keeper();
        const run = new Command('sleep', FOREVER).outputTo(destination).run();
        setTimeout(() => destination.destroy(), 20);
        const error = await rejection(ExitError, run);
        expect([(error.cause as NodeJS.ErrnoException).code, error.result.signal]).toEqual([
          'ERR_STREAM_PREMATURE_CLOSE',
          'SIGTERM',
        ]);
      });

      test('that fail at their end are told, though the program has ended well', async () => {
        const destination = new Writable({
          write(_piece, _encoding, done) {
            done();
          },
          final(done) {
            done(new Error('not closed'));
          },
        });
        const error = await rejection(ExitError, new Command('echo').outputTo(destination).run({ check: false }));
        expect([error.reason, error.result.exitCode]).toEqual(['stream', 0]);
        expect(error.message).toMatch(
          /^The output stream of `echo` failed after .*: not closed\. It exited with code 0\.$/,
        );
      });

      test.each([
        ['a program that is held', () => new Command('yes')],
        ['one that has ended', () => new Command('echo', 'x')],
      ])('that take nothing any more do not hold a run whose time is over: %s', async (_what, command) => {
        const destination = stuck();
        const error = await rejection(ExitError, command().outputTo(destination).timeout(SHORT_MS).run());
        expect([error.reason, destination.destroyed]).toEqual(['timeout', true]);
      });

      test('that take nothing any more do not hold a run that is aborted', async () => {
        const controller = new AbortController();
        const run = new Command('yes').outputTo(stuck()).abortSignal(controller.signal).run();
        setTimeout(() => {
          controller.abort(new Error('closing'));
        }, 20);
        const error = await rejection(ExitError, run);
        expect([error.reason, error.cause]).toEqual(['aborted', new Error('closing')]);
      });

      test('do not wait for what a program leaves behind, unless that is asked', async () => {
        const left = keeper();
        const result = await sh('sleep "$1" & echo $!', FOREVER).outputTo(left).run();
        process.kill(Number(left.text()), 'SIGKILL');
        expect([result.outputHeldOpen, left.writableFinished]).toEqual([true, true]);
        const waited = keeper();
        const all = await sh('(sleep 0.1; echo late) & echo early').outputTo(waited).waitForOutputEnd().run();
        expect([waited.text(), all.outputHeldOpen]).toEqual(['early\nlate\n', false]);
      });

      test('get what a program wrote that has failed', async () => {
        const destination = keeper();
        const error = await rejection(ExitError, sh('echo a; exit 3').outputTo(destination).run());
        expect([error.reason, destination.text(), destination.writableFinished]).toEqual(['exit-code', 'a\n', true]);
      });
    });

    test('between files, and through a transform, give the same bytes', async () => {
      const data = Buffer.from(Array.from({ length: MUCH / 8 }, (_, index) => `${index % 1_000_000}\n`).join(''));
      writeFileSync(path('in'), data);
      const upper = new Transform({
        transform(piece: Buffer, _encoding, done) {
          done(null, piece);
        },
      });
      const written = nodePipeline(upper, createWriteStream(path('out')));
      const { inputWritten } = await cat()
        .inputStream(createReadStream(path('in')))
        .outputTo(upper)
        .run();
      await written;
      expect(inputWritten).toBe(data.length);
      expect(readFileSync(path('out')).equals(data)).toBe(true);
    });

    test('have no listener more afterwards, however it ended', async () => {
      const open = { end: false };
      const destination = new PassThrough().resume();
      const before = listeners(destination);
      for (const command of [
        new Command('echo', 'a'),
        sh('exit 3'),
        new Command('sleep', FOREVER).timeout(SHORT_MS),
        cat().inputStream(endless()).timeout(SHORT_MS),
      ])
        await command
          .outputTo(destination, open)
          .errorTo(destination, open)
          .run()
          .catch((error: unknown) => expect(error).toBeInstanceOf(ExitError));
      expect(listeners(destination)).toEqual(before);
      for (const make of [() => Readable.from(['a']), endless, () => new PassThrough().end('x')]) {
        const source = make();
        const had = listeners(source);
        await new Command('head', '-c', 1).inputStream(source).run();
        await eventually('the source is closed', () => source.closed);
        await new Promise(setImmediate);
        expect(listeners(source)).toEqual(had);
      }
    });

    describe('and a file beside them', () => {
      test.each([
        ['a buffer', (c: Command) => c.outputBuffer()],
        ['a stream', (c: Command) => c.outputTo(keeper())],
      ])('get the same: %s', async (_what, taken) => {
        writeFileSync(path('log'), 'before\n');
        const command = () => taken(sh('echo a; echo b'));
        await command().tee(path('log'), { append: true }).run();
        expect(readFileSync(path('log'), 'utf8')).toBe('before\na\nb\n');
        await command().tee(path('log')).run();
        expect(readFileSync(path('log'), 'utf8')).toBe('a\nb\n');
      });

      test('take each output of its own, and all of it, whatever the buffer keeps', async () => {
        const { stdout, stderr } = await sh('seq 100000; echo why >&2')
          .outputBuffer()
          .errorBuffer()
          .outputLimit(10)
          .tee(path('out'))
          .tee(path('err'), { from: 'stderr' })
          .run();
        expect([stdout, stderr]).toEqual(['1\n2\n3\n4\n5\n', 'why\n']);
        expect(readFileSync(path('out'), 'utf8').trimEnd().split('\n')).toHaveLength(100_000);
        expect(readFileSync(path('err'), 'utf8')).toBe('why\n');
      });

      test('that cannot be opened keep the program from being launched', async () => {
        const run = sh('echo > "$1"', path('ran')).outputBuffer().tee(path('nowhere/log')).run();
        const error = await rejection(LaunchError, run);
        expect([error.step, error.errno]).toEqual(['open', 'ENOENT']);
        expect(() => readFileSync(path('ran'))).toThrow('ENOENT');
      });

      test('that are full stop the program', async () => {
        const error = await rejection(ExitError, new Command('yes').outputBuffer().tee('/dev/full').run());
        expect([error.reason, (error.cause as NodeJS.ErrnoException).code]).toEqual(['stream', 'ENOSPC']);
        expect(error.message).toMatch(
          /^The file of tee\(\) of `yes` failed after .*ENOSPC.* It was ended by SIGTERM\.$/,
        );
      });

      test('still stop a program that writes more than the limit', async () => {
        const run = new Command('yes').outputBuffer().outputLimit(1000, 'kill').tee(path('log')).run();
        const error = await rejection(ExitError, run);
        expect([error.reason, (error.result.stdout as string).length]).toEqual(['output-limit', 1000]);
      });
    });

    describe('of a pipeline', () => {
      test('stand at its ends', async () => {
        const destination = keeper();
        await pipeline(
          cat().inputStream(Readable.from(['b\n', 'a\n'])),
          new Command('sort'),
          new Command('tr', 'a-z', 'A-Z').outputTo(destination),
        ).run();
        expect(destination.text()).toBe('A\nB\n');
      });

      test('that fail are told with the stage', async () => {
        const run = pipeline(new Command('yes'), cat().outputTo(failing('full'))).run();
        const error = await rejection(ExitError, run);
        expect([error.reason, error.stage, error.cause]).toEqual(['stream', 1, new Error('full')]);
      });

      test('are mistakes in between', async () => {
        const run = pipeline(cat().outputTo(keeper()), cat().inputStream(Readable.from([]))).run();
        const { mistakes } = await rejection(UsageError, run);
        expect(mistakes.map(({ call, stage }) => [call, stage])).toEqual([
          ['outputTo(…)', 0],
          ['inputStream(…)', 1],
        ]);
      });
    });

    describe('of a child', () => {
      // What stream.pipeline() of Node does with two streams of its own.
      test.each([
        ['the child ends first', () => new Command('head', '-c', 10)],
        ['the source ends first', () => cat()],
        ['the child is killed', () => sh('read x; kill -9 $$')],
      ])('settle in stream.pipeline(), from and to it: %s', async (_how, command) => {
        await using child = await command().inputPipe().outputPipe().runAsync();
        const source = Readable.from([Buffer.alloc(MUCH, 'abc\n')]);
        const destination = keeper();
        const [to, from] = await Promise.allSettled([
          nodePipeline(source, child.stdin),
          nodePipeline(child.stdout, destination),
        ]);
        expect(from.status).toBe('fulfilled');
        if (to.status === 'rejected')
          expect((to.reason as NodeJS.ErrnoException).code).toMatch(/EPIPE|ECONNRESET|ERR_STREAM_PREMATURE_CLOSE/);
        await child.wait({ check: false });
        expect([child.stdin.destroyed, child.stdout.destroyed, destination.writableFinished]).toEqual([
          true,
          true,
          true,
        ]);
      });

      test('settle in stream.pipeline() where the other end is destroyed or fails', async () => {
        for (const destination of [failing('full'), keeper()]) {
          await using child = await new Command('yes').outputPipe().runAsync();
          const done = nodePipeline(child.stdout, destination);
          if (!('text' in destination)) await expect(done).rejects.toThrow('full');
          else {
            destination.destroy();
            await expect(done).rejects.toThrow('Premature close');
          }
          const { signal, exitCode } = await child.wait({ check: false });
          // What child_process makes are sockets, which fail by ECONNRESET where something lies unread in them.
          expect(['SIGPIPE', 1]).toContain(signal ?? exitCode);
        }
        await using child = await cat().inputPipe().runAsync();
        const source = new PassThrough();
        const fed = nodePipeline(source, child.stdin);
        source.destroy(new Error('gone'));
        await expect(fed).rejects.toThrow('gone');
        await child.wait();
      });

      test('become those of the web by Readable.toWeb() and Writable.toWeb()', async () => {
        await using child = await cat().inputPipe().outputPipe().runAsync();
        const input = Writable.toWeb(child.stdin);
        const output = Readable.toWeb(child.stdout);
        const all = text(output as never);
        const writer = input.getWriter();
        await writer.write(Buffer.from('hello'));
        await writer.close();
        expect(await all).toBe('hello');
        await child.wait();
      });
    });

    test.each([
      ['a string', 'text', /it takes a stream; inputBuffer\(\) takes text and bytes/],
      ['bytes', Buffer.from('x'), /it takes a stream; inputBuffer\(\) takes text and bytes/],
      [
        'an array',
        ['a'],
        /it takes a Readable, a ReadableStream, an async iterable, or a function that gives one, and not an array/,
      ],
      ['null', null, /it takes a Readable, .* and not null/],
    ])('are said so where they are none: %s', async (_what, source, problem) => {
      const error = await rejection(
        UsageError,
        cat()
          .inputStream(source as never)
          .run(),
      );
      expect(error.message).toMatch(problem);
      const output = await rejection(
        UsageError,
        cat()
          .outputTo(source as never)
          .run(),
      );
      expect(output.message).toMatch(/outputTo\(.*\): it takes a Writable or a WritableStream, and not /s);
    });

    test('are mistakes where nobody passes anything on, and where another call says the same', async () => {
      const told = async (run: () => unknown): Promise<string[]> => {
        const { mistakes } = await rejection(UsageError, Promise.resolve().then(run));
        return mistakes.map(({ call, problem }) => `${call}: ${problem}`);
      };
      const both = () =>
        cat()
          .inputStream(() => Readable.from(['a']))
          .outputTo(process.stdout);
      expect(await told(() => both().runSync())).toEqual(
        ['inputStream(…)', 'outputTo(…)'].map(
          (call) => `${call}: the event loop passes it on, and runSync() holds that; use run(), or a buffer, or a file`,
        ),
      );
      expect(await told(() => pipeline(cat(), cat().outputTo(process.stdout)).runSync())).toEqual([
        'outputTo(…): the event loop passes it on, and runSync() holds that; use run(), or a buffer, or a file',
      ]);
      expect(await told(() => both().exec())).toEqual(
        ['inputStream(…)', 'outputTo(…)'].map(
          (call) => `${call}: exec() leaves nobody here to do that; leave the call out, or use run()`,
        ),
      );
      expect(await told(() => both().daemonize().run())).toEqual([
        'inputStream(…), outputTo(…): a daemon outlives the streams of this process; give it files, with inputFile(), outputFile() and errorFile(), or pipes',
      ]);
      expect(await told(() => (cat().outputBuffer() as Command).outputTo(process.stdout).run())).toEqual([
        'outputTo(WriteStream): outputBuffer() has set this already; say it once'.replace(
          'WriteStream',
          process.stdout.constructor.name,
        ),
      ]);
      expect(await told(() => cat().tee('log').tee('log', { from: 'stderr' }).run())).toEqual([
        "tee('log'): the file takes what passes through this process; say outputBuffer() or outputTo() too, or outputFile() in its place",
        "tee('log'): the file takes what passes through this process; say errorBuffer() or errorTo() too, or errorFile() in its place",
      ]);
      expect(
        await told(() =>
          cat()
            .outputBuffer()
            .tee('log', { from: 'both' as 'stdout' })
            .run(),
        ),
      ).toEqual(["tee('log', { from: 'both' }): the option from is 'stdout' or 'stderr', and not 'both'"]);
    });

    test('stand in no spec: one that comes back has to be told again', async () => {
      const spec = cat()
        .inputStream(Readable.from(['a']))
        .outputTo(keeper())
        .errorTo(process.stderr)
        .spec();
      expect(spec).toMatchObject({
        stdin: { from: 'stream' },
        stdout: { to: 'stream' },
        attached: ['inputStream', 'outputTo', 'errorTo'],
      });
      const again = () => Command.fromSpec(JSON.parse(JSON.stringify(spec)) as CommandSpec);
      const error = await rejection(UsageError, (again() as Command).run());
      expect(error.mistakes.map(({ problem }) => problem)).toEqual(
        ['inputStream()', 'outputTo()', 'errorTo()'].map(
          (call) => `it was said with a stream, which no spec holds; say ${call} again`,
        ),
      );
      const destination = keeper();
      await (again() as Command)
        .inputStream(Readable.from(['b']))
        .outputTo(destination)
        .errorTo(process.stderr)
        .run();
      expect(destination.text()).toBe('b');
    });
  });
}
