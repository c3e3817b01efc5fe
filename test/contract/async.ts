import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { type Child, Command, ExitError, pidAbort, pidWait } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  eventually,
  exists,
  fixture,
  FOREVER,
  isRunning,
  nodeFixture,
  processStat,
  rejection,
  sh,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';

/** Far more than a pipe and a stream hold together. */
const MUCH = 50_000_000;
const HELD_AT_MOST = 5_000_000;
/** After the end of a program 16 MiB are taken unasked, in case that another process goes on to write. */
const HELD_AFTER_THE_END = 16 * 1024 * 1024 + HELD_AT_MOST;

/** How many looks in a row show the same before something counts as standing still. */
const STILL = 20;

const sleep = (): Command => new Command('sleep', FOREVER);

export function asyncContract(): void {
  describe('a child', () => {
    const path = useDirectory();
    const started = useProcesses();

    /** Waits until a process of write-and-report.js is blocked, and gives how much it has written. */
    async function standstill(pid: number): Promise<number> {
      const reported = (): number => {
        try {
          return Number(readFileSync(path('report'), 'utf8'));
        } catch {
          // It has not begun.
          return 0;
        }
      };
      let [last, still] = [0, 0];
      await eventually('it stands still', () => {
        const now = reported();
        still = now > 0 && now === last && processStat(pid)?.state === 'S' ? still + 1 : 0;
        last = now;
        return still === STILL;
      });
      return last;
    }

    test('has the streams that were asked for, and null for the others', async () => {
      const none = await sh('exit 0').runAsync();
      expect([none.stdin, none.stdout, none.stderr]).toEqual([null, null, null]);
      const all = await sh('cat; echo err >&2').inputPipe().outputPipe().errorPipe().runAsync();
      all.stdin.end('in');
      expect(await Promise.all([text(all.stdout), text(all.stderr)])).toEqual(['in', 'err\n']);
      expect(await all.wait()).toMatchObject({ exitCode: 0, stdout: undefined, stderr: undefined });
      await none.wait();
    });

    test('talks in both directions while it runs', async () => {
      const child = await new Command('cat').inputPipe().outputPipe().runAsync();
      for (const line of ['one\n', 'two\n', 'é\n']) {
        child.stdin.write(line);
        const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
        expect(String(chunk)).toBe(line);
      }
      child.stdin.end();
      await child.wait();
    });

    // child_process destroys `stdin` when the child exits, and Python's communicate() closes it.
    test.each([
      ['that nobody else holds', 'exit 0'],
      ['whose other end a grandchild holds', `sleep ${FOREVER} <&0 >&- 2>&- & exit 0`],
    ])(
      'has at its end no input any more %s: what is piped to it settles, and no descriptor is left',
      async (_what, script) => {
        const first = await sh('exit 0').inputPipe().runAsync();
        await Promise.all([first.wait(), once(first.stdin, 'close')]);
        const descriptors = (): number => readdirSync('/proc/self/fd').length;
        const before = descriptors();
        for (let run = 0; run < 3; run += 1) {
          // Its pid is that of the group, by which the grandchild can be ended.
          const child = await sh(script).newSession().inputPipe().runAsync();
          const source = new PassThrough();
          const piped = pipeline(source, child.stdin);
          const settled = piped.then(
            () => 'resolved',
            (error: unknown) => (error as NodeJS.ErrnoException).code,
          );
          await child.wait();
          expect(await settled).toBe('ERR_STREAM_PREMATURE_CLOSE');
          expect(child.stdin.destroyed).toBe(true);
          if (script !== 'exit 0') process.kill(-child.pid, 'SIGKILL');
        }
        await eventually('all descriptors are closed', () => descriptors() <= before);
        expect(descriptors()).toBe(before);
      },
    );

    test('leaves what it wrote in its streams, to be read long after its end', async () => {
      const child = await sh('seq 20000; seq 5 >&2').outputPipe().errorPipe().runAsync();
      const ended = eventually(
        'it has written all, or waits for a reader',
        () => !isRunning(child.pid) || processStat(child.pid)?.state === 'S',
      );
      await ended;
      const numbers = (last: number): string => Array.from({ length: last }, (_, index) => `${index + 1}\n`).join('');
      const small = await sh('seq 1000').outputPipe().runAsync();
      await small.wait();
      await eventually('it is gone', () => !exists(small.pid));
      expect(await text(small.stdout)).toBe(numbers(1000));
      expect(await Promise.all([text(child.stdout), text(child.stderr)])).toEqual([numbers(20_000), numbers(5)]);
      await child.wait();
    });

    describe('whose output is not read', () => {
      /** Fills a stream to the brim, and leaves in a file how much that was. */
      const FILL_1 = 'dd if=/dev/zero bs=1024 oflag=nonblock 2>"$1"';
      const FILL_2 = 'dd if=/dev/zero bs=1024 oflag=nonblock 2>"$2" >&3';
      /** A pipe holds 64 KiB, and the sockets of child_process hold 57 KiB or more, by the version of Node. */
      const FULL = 48 * 1024;
      /** What dd says: that it could not write on, what it has read and what it has written. */
      const filled = (name: string): number =>
        1024 * Number(/^\d+\+0 .*\n(\d+)\+0 /m.exec(readFileSync(path(name), 'utf8'))?.[1]);
      const descriptors = (): number => readdirSync('/proc/self/fd').length;
      const settled = async (before: number): Promise<void> => {
        await eventually('all descriptors are closed', () => descriptors() <= before);
        expect(descriptors()).toBe(before);
      };

      /** What Node opens for the first stream stays. */
      async function countDescriptors(): Promise<number> {
        const first = await sh('exit 0').outputPipe().errorPipe().runAsync();
        await Promise.all([first.wait(), once(first.stdout, 'close'), once(first.stderr, 'close')]);
        const before = descriptors();
        const one = openSync('/dev/null', 'r');
        expect(descriptors()).toBe(before + 1);
        closeSync(one);
        return before;
      }

      // Python's communicate() and subprocess.run() leave no descriptor behind, and child_process, which throws away what was not read, none either.
      test.for([
        ['a word on standard output', 'echo word', 1, [5, 0]],
        ['a word on standard error', 'echo word >&2', 2, [0, 5]],
        ['standard output full to the brim', FILL_1, 1, ['1', 0]],
        ['standard error full to the brim', `exec 3>&2; ${FILL_2}`, 2, [0, '2']],
        ['both full to the brim', `exec 3>&2; ${FILL_1}; ${FILL_2}`, 3, ['1', '2']],
      ] as const)(
        'has at its end left no descriptor here, and all of it can be read: %s',
        async ([, script, pipes, sizes]) => {
          const before = await countDescriptors();
          const ended: Child[] = [];
          const expected: (readonly [number, number])[] = [];
          for (let run = 0; run < 20; run += 1) {
            const command = sh(`${script}; exit 0`, path('1'), path('2'));
            if (pipes !== 2) command.outputPipe();
            if (pipes !== 1) command.errorPipe();
            const child = await command.runAsync();
            ended.push(child);
            await child.wait();
            const [out, err] = sizes.map((size) => (typeof size === 'number' ? size : filled(size)));
            expected.push([out!, err!]);
          }
          await settled(before);
          const length = async (stream: Child['stdout']): Promise<number> =>
            stream === null ? 0 : (await text(stream)).length;
          const read = await Promise.all(
            ended.map(({ stdout, stderr }) => Promise.all([length(stdout), length(stderr)])),
          );
          expect(read).toEqual(expected);
          for (const [at, size] of sizes.entries())
            if (typeof size === 'string') for (const both of expected) expect(both[at]).toBeGreaterThan(FULL);
        },
      );

      test('to its end has left no descriptor here either, whoever reads: an iteration that was begun, a stream that is paused, nobody any more', async () => {
        const before = await countDescriptors();
        const run = async (): Promise<Child> =>
          sh(`read go; ${FILL_1}; exit 0`, path('1')).inputPipe().outputPipe().runAsync();
        const begun: (() => Promise<number>)[] = [];
        const expected: number[] = [];
        for (let round = 0; round < 5; round += 1) {
          const iterated = await sh(`echo word; read go; ${FILL_1}; exit 0`, path('1'))
            .inputPipe()
            .outputPipe()
            .runAsync();
          const pieces = iterated.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
          expect(String((await pieces.next()).value)).toBe('word\n');
          iterated.stdin.end('go\n');
          await iterated.wait();
          expected.push(filled('1'));
          begun.push(async () => {
            let length = 0;
            for (let next = await pieces.next(); next.done !== true; next = await pieces.next())
              length += next.value.length;
            return length;
          });

          const paused = await run();
          let seen = 0;
          paused.stdout!.on('data', (piece: Buffer) => (seen += piece.length)).pause();
          paused.stdin?.end('go\n');
          await paused.wait();
          expected.push(filled('1'));
          begun.push(async () => {
            expect(seen).toBe(0);
            await once(paused.stdout!.resume(), 'end');
            return seen;
          });

          const destroyed = await run();
          destroyed.stdin?.end('go\n');
          await destroyed.wait();
          destroyed.stdout!.destroy();
        }
        await settled(before);
        const read: number[] = [];
        for (const rest of begun) read.push(await rest());
        expect(read).toEqual(expected);
      });

      test('but held by a process that it left behind keeps its descriptor until that ends, or the stream is destroyed', async () => {
        const before = await countDescriptors();
        const leave = async (): Promise<[Child, number]> => {
          const child = await sh(`sleep ${FOREVER} 2>&- & echo $! >"$1"; exit 0`, path('pid')).outputPipe().runAsync();
          await child.wait();
          return [child, started(Number(readFileSync(path('pid'), 'utf8')))];
        };
        const [, first] = await leave();
        const [second] = await leave();
        expect(descriptors()).toBe(before + 2);
        process.kill(first, 'SIGKILL');
        await settled(before + 1);
        second.stdout!.destroy();
        await settled(before);
      });

      test('and is written by a process that it left behind blocks that one as it was blocked, and nothing of it is lost', async () => {
        const before = await countDescriptors();
        const writer = [process.execPath, fixture('write-and-report.js'), String(MUCH), path('report')];
        const child = await new Command('sh', '-c', '"$@" & echo $! >"$0"', path('pid'), ...writer)
          .outputPipe()
          .runAsync();
        await child.wait();
        const pid = started(Number(readFileSync(path('pid'), 'utf8')));
        expect(await standstill(pid)).toBeLessThan(HELD_AFTER_THE_END);
        expect((await text(child.stdout)).length).toBe(MUCH);
        await settled(before);
      });
    });

    test('is blocked while nobody reads what it writes, and nothing of it is lost', async () => {
      const child = await nodeFixture('write-and-report.js', String(MUCH), path('report')).outputPipe().runAsync();
      expect(await standstill(child.pid)).toBeLessThan(HELD_AT_MOST);
      expect((await text(child.stdout)).length).toBe(MUCH);
      await child.wait();
    });

    test('that closes its input hurts nobody who writes to it', async () => {
      const child = await sh('exec 0<&-; read go').inputPipe().outputBuffer().runAsync();
      const written = await new Promise<Error | null | undefined>((resolve) =>
        child.stdin.write('x'.repeat(MUCH), resolve),
      );
      expect(written).toBeInstanceOf(Error);
      expect((await child.wait({ check: false })).signal).toBeNull();
    });

    test('that has ended hurts nobody who writes to it', async () => {
      const child = await new Command('true').inputPipe().runAsync();
      await child.wait();
      expect(await new Promise((resolve) => child.stdin.write('x', resolve))).toBeInstanceOf(Error);
    });

    // By SIGPIPE from a pipe; a socket whose last bytes were not read says ECONNRESET.
    test('that nobody reads any more is told so', async () => {
      const child = await new Command('yes').outputPipe().runAsync();
      await once(child.stdout, 'data');
      child.stdout.destroy();
      expect((await child.wait({ check: false })).exitCode).not.toBe(0);
    });

    test('can be waited for many times, before its end and after', async () => {
      const child = await sh('exit 3').runAsync();
      const options = { check: false };
      const results = await Promise.all([
        child.wait(options),
        child.wait(options),
        rejection(ExitError, child.wait()).then(({ result }) => result),
      ]);
      results.push(await child.wait(options));
      expect(new Set(results).size).toBe(1);
      expect(results[0].exitCode).toBe(3);
    });

    test('takes signals until it has ended, and none after', async () => {
      const child = await sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done").outputPipe().runAsync();
      await once(child.stdout, 'data');
      expect(child.signal('SIGUSR1')).toBe(true);
      expect((await child.wait({ check: false })).exitCode).toBe(9);
      expect(child.signal('SIGUSR1')).toBe(false);
      expect(child.signal('SIGKILL')).toBe(false);
    });

    test('is ended at the end of its block with `await using`, and its pipes are closed', async () => {
      let kept: Child;
      {
        await using child = await sh(`trap '' TERM; exec sleep ${FOREVER}`).inputPipe().outputPipe().runAsync();
        kept = child;
        expect(exists(child.pid)).toBe(true);
      }
      expect(exists(kept.pid)).toBe(false);
      expect([kept.stdin?.destroyed, kept.stdout?.destroyed]).toEqual([true, true]);
      await rejection(ExitError, kept.wait());
    });

    test('that is released lives on after its block, and is waited for and ended by its pid', async () => {
      let pid = 0;
      {
        await using child = await sleep().runAsync();
        pid = started(child.release());
        expect(child.release()).toBe(pid);
      }
      expect(isRunning(pid)).toBe(true);
      await pidAbort(pid);
      expect(exists(pid)).toBe(false);
      await expect(pidWait(pid, { check: false })).rejects.toMatchObject({ reason: 'aborted' });

      const quick = (await sh('exit 4').runAsync()).release();
      expect(await pidWait(quick, { check: false })).toMatchObject({ pid: quick, exitCode: 4 });
      await expect(pidWait(quick)).rejects.toThrow(ExitError);
      await expect(pidWait(1)).rejects.toMatchObject({ code: 'ECHILD' });
    });

    test('is waited for and ended by its pid while it runs, too', async () => {
      const child = await sleep().runAsync();
      const end = pidWait(child.pid, { check: false });
      await pidAbort(child.pid);
      expect(exists(child.pid)).toBe(false);
      await expect(end).rejects.toMatchObject({ reason: 'aborted' });
      // Nobody asked for its pid, so nobody can ask by pid any more.
      const problem =
        'this process has no child of that pid that runs or was released, and can only wait for its own; for others there is killPainfully()';
      await expect(pidAbort(child.pid)).rejects.toMatchObject({
        code: 'ECHILD',
        message: `pidAbort(${child.pid}): ${problem}.`,
      });
    });

    test('that is released is out of reach for its timeout and its abort signal', async () => {
      const controller = new AbortController();
      const child = await sleep().timeout(1).abortSignal(controller.signal).runAsync();
      const pid = started(child.release());
      controller.abort();
      await sh('sleep 0.1').run();
      expect(isRunning(pid)).toBe(true);
      await pidAbort(pid);
    });

    describe('is freed', () => {
      const freed = async (child: Child): Promise<void> => {
        await child.free();
        expect(exists(child.pid)).toBe(false);
        expect([child.stdin, child.stdout, child.stderr].filter((stream) => stream?.destroyed === false)).toEqual([]);
        // Once more does no harm.
        await child.free();
      };

      test('when it ignores SIGTERM', async () => {
        const child = await sh(`trap '' TERM; echo ready; exec sleep ${FOREVER}`).outputPipe().runAsync();
        await once(child.stdout, 'data');
        await freed(child);
      });

      test('when it is stopped', async () => {
        const child = await sleep().inputPipe().runAsync();
        child.signal('SIGSTOP');
        await eventually('it is stopped', () => processStat(child.pid)?.state === 'T');
        await freed(child);
      });

      test('when it has ended', async () => {
        const child = await sh('echo much; exit 3').outputPipe().runAsync();
        await child.wait({ check: false });
        await freed(child);
      });

      test.for(['runs', 'has ended'] as const)('when another process holds its output, and it %s', async (state) => {
        const script = `sleep ${FOREVER} & echo $!; ${state === 'runs' ? 'wait' : 'exit 0'}`;
        const piped = await sh(script).outputPipe().runAsync();
        started(Number(String(((await once(piped.stdout, 'data')) as [Buffer])[0])));
        await freed(piped);
        // Even where the end of the output was to be waited for.
        const file = path('pid');
        const waited = await sh(`sleep ${FOREVER} & echo $! >"$1"; ${state === 'runs' ? 'wait' : 'exit 0'}`, file)
          .outputBuffer()
          .waitForOutputEnd()
          .runAsync();
        const holder = await eventually('it has started the other', () => {
          try {
            return Number(readFileSync(file, 'utf8').trim()) || undefined;
          } catch {
            // It has not begun.
            return undefined;
          }
        });
        started(holder);
        if (state === 'has ended') await eventually('it has ended', () => !isRunning(waited.pid));
        await freed(waited);
        expect(isRunning(holder)).toBe(true);
      });

      test('unless it was released', async () => {
        const child = await sleep().runAsync();
        const pid = started(child.release());
        await child.free();
        expect(isRunning(pid)).toBe(true);
        await pidAbort(pid);
      });
    });

    test('that nobody holds any more is not ended by garbage collection, and leaves neither a zombie nor a descriptor at its end', async () => {
      const { stdout } = await new Command(process.execPath, '--expose-gc', fixture('drop-children.js'))
        .outputBuffer()
        .run();
      // The instrument sees what is dropped, and counts what runs.
      expect(JSON.parse(stdout)).toEqual({
        isCollectable: true,
        runningAfterCollection: 20,
        written: 200_000,
        zombies: 0,
        moreDescriptors: 0,
      });
    });

    test.for([
      'exit',
      'throw',
      'reject',
      'SIGTERM',
      'SIGINT',
      'SIGHUP',
      'SIGQUIT',
      'SIGALRM',
      'SIGUSR2',
      'SIGVTALRM',
    ] as const)('ends with this process, unless it was released: %s', async (end) => {
      const parent = await nodeFixture('leave-children.js', end.startsWith('SIG') ? 'wait' : end)
        .outputPipe()
        .runAsync();
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const [owned = 0, released = 0] = String(line).split(' ').map(Number);
      started(released);
      if (end.startsWith('SIG')) parent.signal(end as NodeJS.Signals);
      await parent.wait({ check: false });
      await eventually('the child that was not released is gone', () => !isRunning(owned));
      expect(isRunning(released)).toBe(true);
    });
  });
}
