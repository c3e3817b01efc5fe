import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  Command,
  type ErrorEvent,
  ExitError,
  LaunchError,
  OutputBuffer,
  pipeline,
  type Pipeline,
  type PipelineChild,
  PipelineResult,
  UnsupportedError,
  UsageError,
} from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, FOREVER, isRunning, NOWHERE, rejection, sh, useDirectory } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

const cat = () => new Command('cat');
const sleep = () => new Command('sleep', FOREVER);

/** Too short for what sleeps. */
const SHORT_MS = 100;

/** Enough for what ends by itself. */
const LONG_MS = 3000;

/** More than a pipe holds. */
const MUCH = 3_000_000;

/** What a POSIX shell does with `a | b`, and what bash does under `set -o pipefail`, where this differs from it, says the title. */
export function pipelineContract({ name }: EngineUnderTest): void {
  /** The ways to run one to its end. */
  const ways: readonly (readonly [string, (all: Pipeline) => Promise<PipelineResult>])[] = [
    ['run()', (all) => all.run()],
    ['runAsync()', async (all) => (await all.runAsync()).wait()],
    ...(name === 'native' ? ([['runSync()', async (all: Pipeline) => Promise.resolve(all.runSync())]] as const) : []),
  ];

  describe('a pipeline', () => {
    const path = useDirectory();

    describe.each(ways)('by %s', (_way, run) => {
      test('passes on what each stage writes, and gives the result of each', async () => {
        const all = pipeline(
          sh('echo one >&2; seq 1 1000').errorBuffer(),
          new Command('grep', 7),
          new Command('wc', '-l').outputBuffer(),
        );
        const result = await run(all);
        expect(result).toBeInstanceOf(PipelineResult);
        expect(result).toMatchObject({ exitCode: 0, signal: null, timedOut: false, command: String(all) });
        expect(String(result.stdout).trim()).toBe('271');
        expect(result.stages.map(({ exitCode, stderr }) => [exitCode, stderr])).toEqual([
          [0, 'one\n'],
          [0, undefined],
          [0, undefined],
        ]);
      });

      test('takes megabytes from a buffer through every stage into a buffer', async () => {
        const data = Buffer.alloc(MUCH, 'abc\n');
        const all = pipeline(
          cat().inputBuffer(data),
          new Command('gzip', '-1'),
          new Command('gunzip'),
          cat().outputBuffer({ encoding: 'buffer' }),
        );
        const { stdout, inputWritten } = await run(all);
        expect(inputWritten).toBe(MUCH);
        expect(data.equals(stdout as Buffer)).toBe(true);
      });

      test('reads and writes files, and shares streams as 2>&1 does', async () => {
        writeFileSync(path('in'), 'b\na\n');
        await run(
          pipeline(
            sh('cat; echo c >&2').inputFile(path('in')).errorToOutput(),
            new Command('sort').outputFile(path('out')),
          ),
        );
        expect(readFileSync(path('out'), 'utf8')).toBe('a\nb\nc\n');
      });

      test('is of one stage, too', async () => {
        const { stages, stdout } = await run(pipeline(new Command('echo', 'x').outputBuffer()));
        expect([stages.length, stdout]).toEqual([1, 'x\n']);
      });

      // bash gives 141 here under pipefail, which scripts have to allow for; without it, 0.
      test('takes it for no failure that SIGPIPE ends a stage whose reader has read enough', async () => {
        const { stages, stdout } = await run(
          pipeline(new Command('yes'), cat(), new Command('head', '-n', 1).outputBuffer()),
        );
        expect(stdout).toBe('y\n');
        expect(stages.map(({ exitCode, signal }) => signal ?? exitCode)).toEqual(['SIGPIPE', 'SIGPIPE', 0]);
      });

      test.each([
        ['the first', 0, () => pipeline(sh('echo why >&2; exit 3'), cat())],
        ['one in the middle', 1, () => pipeline(cat(), sh('cat; echo why >&2; exit 3'), cat())],
        ['the last', 1, () => pipeline(new Command('echo'), sh('cat; echo why >&2; exit 3'))],
        ['the first of two', 0, () => pipeline(sh('echo why >&2; exit 3'), sh('cat; exit 4'))],
        [
          'the one that has left its writer without a reader',
          1,
          () => pipeline(new Command('yes'), sh('echo why >&2; exit 3'), cat()),
        ],
      ])('names the stage that failed, with its last words: %s', async (_which, stage, all) => {
        const error = await rejection(ExitError, run(all()));
        expect([error.stage, error.reason, error.result.exitCode]).toEqual([stage, 'exit-code', 3]);
        expect(error.message).toMatch(
          new RegExp(`exited with code 3 after .*\\. It is stage ${stage + 1} of \`.* \\| .*\`\\.\\n\\nwhy$`),
        );
        expect(error.pipeline?.stages[stage]).toBe(error.result);
      });

      test('fails where SIGPIPE ended the last stage, or another signal an earlier one', async () => {
        const last = await rejection(ExitError, run(pipeline(cat(), sh('kill -PIPE $$'))));
        const first = await rejection(ExitError, run(pipeline(sh('kill -TERM $$'), cat())));
        expect([last, first].map(({ stage, result }) => [stage, result.signal])).toEqual([
          [1, 'SIGPIPE'],
          [0, 'SIGTERM'],
        ]);
      });

      test('asks each stage which ends are no error', async () => {
        const { stages, exitCode } = await run(
          pipeline(sh('exit 3').check([3]), sh('exit 4').check(false), sh('cat; exit 5').check([0, 5])),
        );
        expect([exitCode, stages.map((stage) => stage.exitCode)]).toEqual([5, [3, 4, 5]]);
      });

      test('stops all stages when its time is over, and says so of all', async () => {
        const error = await rejection(ExitError, run(pipeline(sleep(), cat(), cat()).timeout(SHORT_MS)));
        expect([error.stage, error.reason]).toEqual([0, 'timeout']);
        expect(error.message).toBe(
          `\`sleep 600 | cat | cat\` did not finish within ${SHORT_MS} ms. Stage 1, \`sleep 600\`, was ended by SIGTERM.`,
        );
        expect(error.pipeline?.timedOut).toBe(true);
      });

      test('stops a stage that has less time of its own, and lets the others end', async () => {
        const error = await rejection(
          ExitError,
          run(pipeline(sleep().timeout(SHORT_MS), cat(), sh('cat; echo end').outputBuffer()).timeout(60_000)),
        );
        expect([error.stage, error.reason, error.pipeline?.stdout]).toEqual([0, 'timeout', 'end\n']);
        expect(error.message).toContain('It is stage 1 of `sleep 600 | cat | ');
      });

      test('stops each stage by its own sequence', async () => {
        // Says that it is ready only when it has its trap, and ends when it is told to.
        const trapped = sh('trap "exit 0" INT; echo; while :; do sleep 0.01; done').stopSequence([['SIGINT', 10_000]]);
        const waiting = sh('read line; exec sleep "$1"', FOREVER).stopSequence([['SIGHUP', 10_000]]);
        const error = await rejection(ExitError, run(pipeline(trapped, waiting).timeout(1000)));
        expect(error.pipeline?.stages.map(({ exitCode, signal }) => signal ?? exitCode)).toEqual([0, 'SIGHUP']);
      });

      test('stops the tree of each stage, where that is asked', async () => {
        const left = sh('sleep "$1" & echo $! >"$2"; wait', FOREVER, path('pid')).newSession();
        const error = await rejection(ExitError, run(pipeline(left, cat()).timeout(1000, { tree: true })));
        expect(error.result.tree).toBeDefined();
        expect(isRunning(Number(readFileSync(path('pid'), 'utf8')))).toBe(false);
      });

      test('starts nothing where a program is missing', async () => {
        const error = await rejection(
          LaunchError,
          run(pipeline(sh('touch "$1"', path('made')), new Command('no-such-program'), cat())),
        );
        expect([error.stage, error.step]).toEqual([1, 'path-search']);
        expect(error.message).toMatch(
          /^Cannot start `no-such-program`: .* It is stage 2 of `sh .* \| no-such-program \| cat`\.$/,
        );
        expect(existsSync(path('made'))).toBe(false);
      });

      test.each([0, 1, 2])('ends the others where stage %i cannot be launched', async (bad) => {
        const stages = [0, 1, 2].map((stage) =>
          stage === bad
            ? cat().workingDirectory(NOWHERE)
            : sh('echo $$ >"$1"; exec sleep "$2"', path(String(stage)), FOREVER),
        );
        const error = await rejection(LaunchError, run(pipeline(...stages)));
        expect([error.stage, error.step]).toEqual([bad, 'chdir']);
        for (const file of readdirSync(path())) {
          // One that was ended before its shell had written it has left the file empty.
          const pid = readFileSync(path(file), 'utf8');
          expect(pid !== '' && isRunning(Number(pid))).toBe(false);
        }
      });

      test('starts nothing where its signal was aborted before', async () => {
        const all = pipeline(sh('touch "$1"', path('made')), cat()).abortSignal(AbortSignal.abort('enough'));
        const error = await rejection(LaunchError, run(all));
        expect([error.step, error.stage, existsSync(path('made'))]).toEqual(['abort', 0, false]);
      });

      test('gives away each descriptor once, whatever comes of it', async () => {
        const fd = openSync('/dev/null', 'r');
        await run(pipeline(cat().transferFd(fd), cat().passFd(fd, { as: 5, closeInParent: true })));
        expect(() => closeSync(fd)).toThrow('EBADF');
        const other = openSync('/dev/null', 'r');
        await rejection(LaunchError, run(pipeline(cat().transferFd(other), new Command(`${NOWHERE}/tool`))));
        expect(() => closeSync(other)).toThrow('EBADF');
      });

      test('can be run again, and is what was said when it was made', async () => {
        const last = new Command('wc', '-c').outputBuffer();
        const all = pipeline(new Command('echo', 'x'), last);
        last.arg('-w');
        expect([String((await run(all)).stdout), String((await run(all)).stdout)]).toEqual(['2\n', '2\n']);
      });
    });

    test('has kernel pipes between its stages, of which this process has no end', async () => {
      await using running = await pipeline(sh('echo; exec sleep "$1"', FOREVER), sleep(), sleep()).runAsync();
      const inode = (pid: number | 'self', fd: number | string): number => {
        try {
          return statSync(`/proc/${pid}/fd/${fd}`).ino;
        } catch {
          // Gone since it was listed.
          return 0;
        }
      };
      const [first = 0, second = 0, third = 0] = running.stages.map(({ pid }) => pid);
      const pipes = [inode(first, 1), inode(second, 1)];
      expect([inode(second, 0), inode(third, 0)]).toEqual(pipes);
      expect(pipes.filter((_, stage) => statSync(`/proc/${[first, second][stage]}/fd/1`).isFIFO())).toEqual(pipes);
      const ends = (pid: number | 'self') =>
        readdirSync(`/proc/${pid}/fd`).filter((fd) => pipes.includes(inode(pid, fd)));
      expect(ends('self')).toEqual([]);
      // Nor has any stage an end that is not its own. What its exec closes is there for a moment longer.
      for (const [pid, own] of [[first, '1'] as const, [second, '0,1'] as const, [third, '0'] as const])
        await eventually('it has no other', () => ends(pid).sort().join() === own);
    });

    test('has a stage read the end of its input while the stage before it goes on', async () => {
      await using running = await pipeline(sh('exec >&-; exec sleep "$1"', FOREVER), cat(), cat()).runAsync();
      const [first, ...others] = running.stages;
      await Promise.all(others.map((stage) => stage.wait()));
      expect(isRunning(first?.pid ?? 0)).toBe(true);
    });

    test('has the streams that were asked for, at its ends', async () => {
      await using running = await pipeline(
        cat().inputPipe().errorPipe(),
        sh('cat; echo word >&2').outputPipe().errorPipe(),
      ).runAsync();
      running.stdin.end('in');
      expect(await Promise.all([text(running.stdout), text(running.stderr)])).toEqual(['in', 'word\n']);
      const [first, second] = running.stages;
      expect([first?.stdout, second?.stdin]).toEqual([null, null]);
      expect(first?.stderr).not.toBe(null);
      await running.wait();
    });

    test('is stopped, aborted, signaled and freed as a whole', async () => {
      const start = async () => pipeline(sleep(), sleep()).runAsync();
      const stopped = await start();
      expect((await stopped.stop()).stages.map(({ signal }) => signal)).toEqual(['SIGTERM', 'SIGTERM']);
      const error = await rejection(ExitError, stopped.wait());
      expect([error.reason, error.message]).toEqual([
        'aborted',
        expect.stringMatching(
          /^`sleep 600 \| sleep 600` was aborted after .* Stage 1, `sleep 600`, was ended by SIGTERM\.$/,
        ),
      ]);
      const aborted = await start();
      await aborted.abort();
      expect(aborted.stages.map(({ pid }) => isRunning(pid))).toEqual([false, false]);
      const signaled = await start();
      expect(signaled.signal('SIGUSR1')).toBe(true);
      const { stages } = await signaled.wait({ check: false });
      expect(stages.map(({ signal }) => signal)).toEqual(['SIGUSR1', 'SIGUSR1']);
      expect(signaled.signal('SIGUSR1')).toBe(false);
      const freed = await start();
      await freed.free();
      expect(freed.stages.map(({ pid }) => isRunning(pid))).toEqual([false, false]);
    });

    test('is not stopped by a call with options that are none: a stage that ends is to blame alone', async () => {
      const calls = [
        (running: PipelineChild) => running.stop({ sequence: 'SIGTERM' } as never),
        (running: PipelineChild) => running.stop({ tree: 1 } as never),
        (running: PipelineChild) => running.abort({ sequence: [] } as never),
        (running: PipelineChild) => running.free({ tree: true } as never),
      ];
      for (const call of calls) {
        const one = new AbortController();
        const running = await pipeline(sleep().abortSignal(one.signal), cat()).runAsync();
        await rejection(TypeError, call(running));
        expect(running.stages.map(({ pid }) => isRunning(pid))).toEqual([true, true]);
        one.abort(new Error('only this'));
        const { message } = await rejection(ExitError, running.wait());
        expect(message).toMatch(/^`sleep 600` was aborted after .* It is stage 1 of `sleep 600 \| cat`\.$/);
      }
    });

    test('gives each stage the same options, which are read once', async () => {
      let read = 0;
      const options = {
        get sequence() {
          read += 1;
          return read === 1 ? ([['SIGINT', 5000]] as const) : (undefined as never);
        },
      };
      const running = await pipeline(sleep(), sleep()).runAsync();
      const { stages } = await running.stop(options);
      expect([read, ...stages.map(({ signal }) => signal)]).toEqual([1, 'SIGINT', 'SIGINT']);
    });

    test('counts for outputLimit() with kill what passes through this process, and says where nothing of a stage does', async () => {
      const toError = sh('yes >&2').errorBuffer().outputLimit(1000, 'kill');
      const error = await rejection(ExitError, pipeline(toError, cat()).run());
      expect([error.reason, error.stage]).toEqual(['output-limit', 0]);
      const last = new Command('yes').outputBuffer().outputLimit(1000, 'kill');
      const ofLast = await rejection(ExitError, pipeline(sleep(), last).timeout(LONG_MS).run());
      expect([ofLast.reason, ofLast.stage]).toEqual(['timeout', 0]);
      expect(ofLast.pipeline?.stages.at(-1)?.outputTruncated).toBe(true);
      for (const first of [new Command('yes'), new Command('yes').errorFile('/dev/null')]) {
        const limited = pipeline(first.outputLimit(1000, 'kill'), cat());
        for (const run of [limited.run(), limited.runAsync()]) {
          const { mistakes } = await rejection(UsageError, run);
          const problem =
            'what a stage writes to the next one does not pass through this process, and is not counted; say it of the last stage, or say errorBuffer() too to have standard error counted';
          expect(mistakes).toEqual([{ call: "outputLimit(1000, 'kill')", problem, stage: 0 }]);
        }
      }
    });

    test('is stopped by its signal, or a stage by its own', async () => {
      const all = new AbortController();
      const one = new AbortController();
      const ofAll = pipeline(sleep(), cat()).abortSignal(all.signal).run();
      const ofOne = pipeline(sleep().abortSignal(one.signal), cat()).abortSignal(all.signal);
      const running = await ofOne.runAsync();
      one.abort(new Error('only this'));
      const own = await rejection(ExitError, running.wait());
      expect(own.message).toMatch(
        /^`sleep 600` was aborted after .*: only this\. .* It is stage 1 of `sleep 600 \| cat`\.$/,
      );
      all.abort(new Error('all of it'));
      const { message, cause } = await rejection(ExitError, ofAll);
      expect(message).toMatch(/^`sleep 600 \| cat` was aborted after .*: all of it\. Stage 1, `sleep 600`, /);
      expect(cause).toEqual(new Error('all of it'));
    });

    test('takes no end for an error where all are accepted, but a timeout always', async () => {
      const { stages } = await pipeline(sh('exit 3'), sh('cat; kill -TERM $$')).run({ check: false });
      expect(stages.map(({ exitCode, signal }) => signal ?? exitCode)).toEqual([3, 'SIGTERM']);
      await pipeline(sh('exit 3'), sh('cat; exit 1')).run({ check: [1, 3] });
      await rejection(ExitError, pipeline(sleep(), cat()).timeout(SHORT_MS).run({ check: false }));
    });

    test('gives each stage its own environment, directory and limits', async () => {
      const show = 'cat; echo "$A $(pwd) $(ulimit -n)"';
      const first = sh(show).env('A', 1).envPass('PATH').workingDirectory('/');
      const second = sh(show).env('A', 2).envPass('PATH').workingDirectory(path()).outputBuffer();
      // child_process sets no limits.
      const limited = name === 'native' ? second.maxFiles(77) : second;
      const { stdout } = await pipeline(first, limited).run();
      const ours = (await sh('ulimit -n').outputBuffer().run()).stdout.trim();
      expect(stdout).toBe(`1 / ${ours}\n2 ${path()} ${name === 'native' ? 77 : ours}\n`);
    });

    test('tells of each stage on the channels of commands, and of the failure once, with its stage', async () => {
      const events: unknown[] = [];
      const hear = (kind: string) => {
        const note = (event: unknown): void => {
          const { command, error } = event as ErrorEvent;
          events.push(kind === 'error' ? [kind, command, error.stage] : [kind, command]);
        };
        subscribe(`vircommand:${kind}`, note);
        onTestFinished(() => {
          unsubscribe(`vircommand:${kind}`, note);
        });
      };
      for (const kind of ['launch', 'exit', 'error']) hear(kind);
      await rejection(ExitError, pipeline(cat(), new Command('false')).run());
      expect(events.slice(0, 2)).toEqual([
        ['launch', 'cat'],
        ['launch', 'false'],
      ]);
      expect(events.slice(2, 4).sort()).toEqual([
        ['exit', 'cat'],
        ['exit', 'false'],
      ]);
      expect(events.slice(4)).toEqual([['error', 'false', 1]]);
      events.splice(0);
      await rejection(LaunchError, pipeline(cat(), new Command('no-such-program')).run());
      expect(events).toEqual([['error', 'no-such-program', 1]]);
    });

    test('tells the mistakes of all stages together, and what no stage can say', async () => {
      const buffer = new OutputBuffer();
      const all = pipeline(
        cat().nice(100).outputBuffer().errorBuffer(buffer),
        cat().inputFile('/in').outputFd(1).errorBuffer(buffer),
        cat().inputBuffer('x').requireHandshake().outputPipe(),
        'sort' as never,
      ).timeout(-1);
      const { mistakes, message } = await rejection(UsageError, all.run({ cwd: '/' } as never));
      expect(mistakes.map(({ stage, call }) => [stage, call])).toEqual([
        [undefined, "pipeline('sort')"],
        [undefined, 'timeout(-1)'],
        [undefined, 'run({ cwd: … })'],
        [0, 'nice(100)'],
        [0, 'outputBuffer()'],
        [1, "inputFile('/in')"],
        [1, 'outputFd(1)'],
        [1, 'errorBuffer(…)'],
        [2, 'outputPipe()'],
        [2, 'requireHandshake()'],
        [2, 'inputBuffer(…)'],
        [2, 'requireHandshake()'],
      ]);
      expect(message).toContain(
        '\n  5. stage 1, outputBuffer(): its standard output is what the next stage reads; only the last one has another.',
      );
      const daemon = await rejection(UsageError, pipeline(cat(), cat().daemonize() as never).run());
      expect(daemon.message).toContain(
        'stage 2, daemonize(): a daemon outlives the pipeline that it would be a stage of',
      );
      expect((await rejection(UsageError, pipeline().run())).message).toBe(
        'Mistake: pipeline(): it has no stage; give the commands, in their order.',
      );
    });

    test('is printed as a shell would write it, with secrets hidden', () => {
      const all = pipeline(
        new Command('ls', 'a b').env('A', 'x y'),
        new Command('grep').secretArg('s'),
        new Command('/bin/wc'),
      );
      expect(String(all)).toBe("A='x y' ls 'a b' | grep '***' | /bin/wc");
      expect(all.toString({ stripPath: true })).toBe("A='x y' ls 'a b' | grep '***' | wc");
      expect(all.explain()).toMatch(/1 ← the pipe to the next stage[\s\S]*0 ← the pipe from the stage before/);
    });

    if (name === 'portable') {
      test('cannot hold the thread', async () => {
        const all = pipeline(cat(), cat());
        await rejection(UnsupportedError, new Promise((resolve) => resolve(all.runSync())));
      });
    }

    test('leaves a stage that was released', async () => {
      const running = await pipeline(sleep(), sleep()).runAsync();
      const [first, second] = running.stages;
      const pid = second?.release() ?? 0;
      onTestFinished(() => void process.kill(pid, 'SIGKILL'));
      await running.free();
      expect([first?.pid ?? 0, pid].map(isRunning)).toEqual([false, true]);
      await eventually('it is there', () => isRunning(pid));
    });
  });
}
