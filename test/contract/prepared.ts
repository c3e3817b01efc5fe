import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import {
  type Child,
  Command,
  ExitError,
  LaunchError,
  type PreparedCommand,
  type RunResult,
  UsageError,
} from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NOWHERE, rejection, sh, useDirectory, withVariables, writeProgram } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

/** Prints what a program is given: arguments, variables, directory, mask, ids, limits, and its descriptors. */
const SURROUNDINGS =
  'echo "$#:$*"; env | grep -v "^\\(_\\|PWD\\|SHLVL\\|OLDPWD\\)=" | sort; pwd; umask; id -u; id -G; ulimit -n; nice; ls /proc/self/fd; cat';

/** What runs: a command, or one that was prepared. */
interface Runs {
  readonly run: () => Promise<RunResult>;
  readonly runAsync: () => Promise<Pick<Child, 'wait'>>;
  readonly runSync: () => RunResult;
}

const runsOf = (command: Command | PreparedCommand<Command>): Runs =>
  command instanceof Command
    ? { run: () => command.run(), runAsync: () => command.runAsync(), runSync: () => command.runSync() }
    : { run: () => command.run(), runAsync: () => command.runAsync(), runSync: () => command.runSync() };

type Run = (command: Runs) => Promise<RunResult>;

/** How it went: the end, the output, or the error, without what differs from run to run. */
async function answer(run: Promise<RunResult>): Promise<unknown> {
  try {
    const { exitCode, signal, stdout, stderr, timedOut, outputBytes, inputWritten } = await run;
    return { exitCode, signal, stdout, stderr, timedOut, outputBytes, inputWritten };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { name: error.name, message: error.message.replaceAll(/\d+(\.\d+)? m?s/g, 'some time') };
  }
}

/** What `prepare()` promises: a run of it is a run of the command at that moment. The same holds for a command that is run again. */
export function preparedContract({ name }: EngineUnderTest): void {
  const ways: readonly { readonly way: string; readonly run: Run }[] = [
    { way: 'run()', run: (command) => command.run() },
    { way: 'runAsync()', run: async (command) => (await command.runAsync()).wait() },
    ...(name === 'native'
      ? [{ way: 'runSync()', run: async (command: Runs) => Promise.resolve(command.runSync()) }]
      : []),
  ];

  const builds: readonly { readonly what: string; readonly build: () => Command }[] = [
    { what: 'what it was given', build: () => sh(SURROUNDINGS, 'a', 'b c').outputBuffer() },
    { what: 'no input but a buffer', build: () => sh(SURROUNDINGS).inputBuffer('in').outputBuffer() },
    { what: 'variables of its own', build: () => sh(SURROUNDINGS).envPassCommon().env('A', '1').outputBuffer() },
    { what: 'one variable more', build: () => sh(SURROUNDINGS).envInherit().env('A', '1').outputBuffer() },
    {
      what: 'a directory, a mask and a limit',
      build: () => sh(SURROUNDINGS).workingDirectory('/').umask(0o27).outputBuffer(),
    },
    { what: 'limits', build: () => sh(SURROUNDINGS).limit('nofile', 64).outputBuffer() },
    { what: 'a session', build: () => sh('ps -o sid= -p $$ | grep -c "^ *$$\\$"').newSession().outputBuffer() },
    { what: 'one buffer for both streams', build: () => sh('echo a; echo b >&2').outputBuffer().errorToOutput() },
    { what: 'bytes', build: () => sh('printf "\\377\\0"').outputBuffer({ encoding: 'buffer' }) },
    { what: 'another exit code', build: () => sh('echo no >&2; exit 3') },
    { what: 'an exit code that it may have', build: () => sh('exit 3').check([0, 3]) },
    { what: 'a signal', build: () => sh('kill -TERM $$') },
    { what: 'a time that is over', build: () => new Command('sleep', 60).timeout(50) },
    { what: 'too much output', build: () => sh('yes').outputBuffer().outputLimit(1000, 'kill') },
    { what: 'no such program', build: () => new Command('there-is-no-such-program') },
    { what: 'no such file', build: () => new Command(`${NOWHERE}/program`) },
    { what: 'no such directory', build: () => new Command('true').workingDirectory(NOWHERE) },
    ...(process.getuid?.() === 0
      ? [{ what: 'other ids', build: () => sh(SURROUNDINGS).user('nobody').outputBuffer() }]
      : []),
  ];

  describe('a command that runs again', () => {
    const path = useDirectory();

    for (const { way, run } of ways)
      test.for(builds)(`with $what does by ${way} what a new one does, three times`, async ({ build }) => {
        const command = runsOf(build());
        const prepared = runsOf(build().prepare());
        for (let time = 1; time <= 3; time += 1) {
          const expected = await answer(run(runsOf(build())));
          expect(await answer(run(command))).toEqual(expected);
          expect(await answer(run(prepared))).toEqual(expected);
        }
      });

    /** What commands print that are run before and after a change of the world. */
    const seenAround = async (build: () => Command, change: () => void): Promise<unknown[]> => {
      const again = runsOf(build());
      const prepared = runsOf(build().prepare());
      // The second run of each is the first that has something to remember.
      for (const command of [again, prepared, again, prepared]) await answer(command.run());
      change();
      const seen: unknown[] = [];
      for (const command of [runsOf(build()), again, prepared, again, prepared]) seen.push(await answer(command.run()));
      return seen;
    };

    const sees = async (build: () => Command, change: () => void, expected: unknown): Promise<void> => {
      const seen = await seenAround(build, change);
      expect(seen.at(0)).toMatchObject(expected as object);
      for (const one of seen) expect(one).toEqual(seen.at(0));
    };

    test('sees a program that lies earlier in PATH by now, and one that is gone', async () => {
      for (const name of ['early', 'late']) mkdirSync(path(name));
      writeProgram(path('late/tool-of-test'), '#!/bin/sh\necho late\n');
      await withVariables({ PATH: `${path('early')}:${path('late')}:${process.env['PATH'] ?? ''}` }, async () => {
        const tool = () => new Command('tool-of-test').outputBuffer();
        await sees(tool, () => writeProgram(path('early/tool-of-test'), '#!/bin/sh\necho early\n'), {
          stdout: 'early\n',
        });
        await sees(tool, () => chmodSync(path('early/tool-of-test'), 0o644), { stdout: 'late\n' });
        await sees(tool, () => rmSync(path('late/tool-of-test')), { name: 'LaunchError' });
      });
    });

    test('sees another PATH', async () => {
      for (const name of ['one', 'two']) {
        mkdirSync(path(name));
        writeProgram(path(`${name}/tool-of-test`), `#!/bin/sh\necho ${name}\n`);
      }
      await withVariables({ PATH: path('one') }, () =>
        sees(
          () => new Command('tool-of-test').outputBuffer(),
          () => (process.env['PATH'] = path('two')),
          { stdout: 'two\n' },
        ),
      );
    });

    test('sees a program that was replaced', async () => {
      writeProgram(path('tool'), '#!/bin/sh\necho old\n');
      await sees(
        () => new Command(path('tool')).outputBuffer(),
        () => {
          writeProgram(path('new'), '#!/bin/sh\necho new\n');
          renameSync(path('new'), path('tool'));
        },
        { stdout: 'new\n' },
      );
    });

    test('sees the variables of this process, also another process.env', async () => {
      const print = () => sh('echo "$VIRCOMMAND_OF_TEST"').outputBuffer();
      await withVariables({ VIRCOMMAND_OF_TEST: 'one' }, async () => {
        await sees(print, () => (process.env['VIRCOMMAND_OF_TEST'] = 'two'), { stdout: 'two\n' });
        const printMore = () => print().envInherit().env('MORE', 1);
        await sees(printMore, () => (process.env['VIRCOMMAND_OF_TEST'] = 'more'), { stdout: 'more\n' });
        process.env['VIRCOMMAND_OF_TEST'] = 'two';
        const real = process.env;
        onTestFinished(() => {
          process.env = real;
        });
        await sees(print, () => (process.env = { ...real, VIRCOMMAND_OF_TEST: 'three' }), { stdout: 'three\n' });
        await sees(print, () => (process.env = real), { stdout: 'two\n' });
      });
    });

    test('sees the directory of this process, and what lies below it', async () => {
      const before = process.cwd();
      onTestFinished(() => {
        process.chdir(before);
      });
      for (const name of ['one', 'two']) {
        mkdirSync(path(`${name}/below`), { recursive: true });
        writeProgram(path(`${name}/tool`), `#!/bin/sh\necho ${name}; cat\n`);
        writeFileSync(path(`${name}/in`), `input ${name}`);
      }
      const goTo = (name: string) => () => {
        process.chdir(path(name));
      };
      goTo('one')();
      await sees(() => new Command('pwd').outputBuffer(), goTo('two'), { stdout: `${path('two')}\n` });
      await sees(() => new Command('./tool').outputBuffer(), goTo('one'), { stdout: 'one\n' });
      await sees(() => new Command('pwd').workingDirectory('below').outputBuffer(), goTo('two'), {
        stdout: `${path('two/below')}\n`,
      });
      await sees(() => new Command('cat').inputFile('in').outputBuffer(), goTo('one'), { stdout: 'input one' });
      await sees(() => new Command('cat').env('A', 1).inputFile('missing'), goTo('two'), {
        message: expect.stringContaining(path('two/missing')),
      });
      await sees(() => new Command('cat').workingDirectory('missing'), goTo('one'), {
        message: expect.stringContaining(path('one/missing')),
      });
      await sees(
        () => new Command('pwd').workingDirectory('below').outputBuffer(),
        () => {
          rmSync(path('one/below'), { recursive: true });
        },
        { name: 'LaunchError' },
      );
    });

    test('sees the mask of this process', async () => {
      const before = process.umask(0o22);
      onTestFinished(() => {
        process.umask(before);
      });
      await sees(
        () => sh('umask').outputBuffer(),
        () => process.umask(0o77),
        { stdout: '0077\n' },
      );
    });

    test('sees the ids of this process', async ({ skip }) => {
      if (process.getegid?.() !== 0 || process.getuid?.() !== 0) skip('only root can take another group');
      onTestFinished(() => {
        process.setegid?.(0);
      });
      await sees(
        () => new Command('id', '-g').outputBuffer(),
        () => {
          process.setegid?.(65_534);
        },
        { stdout: '65534\n' },
      );
    });

    test('has its descriptors, whatever numbers are free here', async () => {
      const copy = () => sh('cat; cat <&0; ls /proc/self/fd').inputBuffer('in').outputBuffer().errorBuffer();
      const opened: number[] = [];
      onTestFinished(() => {
        for (const fd of opened) closeSync(fd);
      });
      const fresh = (await copy().run()).stdout;
      const again = copy();
      const prepared = copy().prepare();
      for (let time = 0; time < 12; time += 1) {
        expect((await again.run()).stdout).toBe(fresh);
        expect((await prepared.run()).stdout).toBe(fresh);
        if (time % 3 === 0) opened.push(openSync('/dev/null', 'r'), openSync('/dev/null', 'r'));
        else if (time % 3 === 1) closeSync(opened.shift()!);
      }
    });

    test('does so many times at once, and leaves no descriptor behind', async () => {
      const prepared = new Command('cat').inputBuffer('in').outputBuffer().prepare();
      await prepared.run();
      const before = readdirSync('/proc/self/fd').length;
      const results = await Promise.all(Array.from({ length: 40 }, () => prepared.run()));
      expect(results.map(({ stdout }) => stdout)).toEqual(results.map(() => 'in'));
      expect(new Set(results.map(({ pid }) => pid)).size).toBe(40);
      expect(readdirSync('/proc/self/fd').length).toBe(before);
    });

    test('is what it was when it was prepared, and a command goes on', async () => {
      const command = new Command('echo', 'a').outputBuffer();
      const prepared = command.prepare();
      await command.run();
      command.arg('b');
      expect((await command.run()).stdout).toBe('a b\n');
      expect((await prepared.run()).stdout).toBe('a\n');
      expect(String(prepared)).toBe('echo a');
    });

    test('hears of an abort signal that comes later, and of one that came already', async () => {
      const controller = new AbortController();
      const prepared = new Command('sleep', 60).abortSignal(controller.signal).prepare();
      const running = prepared.run();
      controller.abort();
      expect((await rejection(ExitError, running)).reason).toBe('aborted');
      expect((await rejection(LaunchError, prepared.run())).step).toBe('abort');
    });

    test('tells mistakes when it is prepared, each with its place', () => {
      const command = new Command('true').timeout(-1).newSession().processGroup();
      let error: unknown;
      try {
        command.prepare();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(UsageError);
      const { mistakes, message } = error as UsageError;
      expect(mistakes.map(({ call }) => call)).toEqual(['timeout(-1)', 'processGroup()']);
      expect(mistakes.at(0)?.at).toContain('prepared.ts');
      expect(message).toContain('a timeout is above 0');
    });

    test('tells wrong options of a run where they were said', async () => {
      const error = await rejection(UsageError, new Command('true').prepare().run({ chek: 1 } as never));
      expect(error.mistakes.at(0)?.at).toContain('prepared.ts');
    });

    test('sends what is sent once', async () => {
      const command = sh('cat <&3').outputBuffer();
      command.sendBuffer('a');
      const prepared = command.prepare();
      expect((await prepared.run()).stdout).toBe('a');
      expect((await rejection(UsageError, prepared.run())).message).toContain('sendBuffer(…)');
      expect((await command.run()).stdout).toBe('a');
    });

    test('is a command for a dry run, and really runs behind it', async () => {
      const prepared = new Command('echo', 'a').outputBuffer().prepare();
      await prepared.run();
      {
        using dry = dryRun({ respond: ({ argv }) => ({ stdout: `played ${argv.map(String).join(' ')}` }) });
        expect((await prepared.run()).stdout).toBe('played echo a');
        expect((await prepared.run()).stdout).toBe('played echo a');
        expect(dry.commands.map(String)).toEqual(['echo a', 'echo a']);
      }
      expect((await prepared.run()).stdout).toBe('a\n');
    });

    test('needs no program in a dry run, before and after it did', async () => {
      const prepared = new Command('there-is-no-such-program').env('A', 1).prepare();
      for (let time = 0; time < 2; time += 1) {
        {
          using _dry = dryRun();
          for (let run = 0; run < 3; run += 1) expect((await prepared.run()).exitCode).toBe(0);
        }
        expect((await rejection(LaunchError, prepared.run())).step).toBe('path-search');
      }
    });

    test('looks at its descriptors each time', async () => {
      const fd = openSync('/etc/hosts', 'r');
      const prepared = new Command('true').passFd(fd, { as: 9 }).prepare();
      for (let time = 0; time < 3; time += 1) await prepared.run();
      closeSync(fd);
      const { message } = await rejection(UsageError, prepared.run());
      expect(message).toContain(`descriptor ${fd} is not open any more`);
    });

    test('shows no secret', () => {
      const prepared = new Command('mount').secretArg('hunter2').env('PASSWORD', 'hunter2').prepare();
      expect(inspect(prepared)).toBe("PreparedCommand { mount '***' }");
      expect(JSON.stringify(prepared)).not.toContain('hunter2');
    });
  });
}
