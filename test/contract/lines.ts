import { readFileSync } from 'node:fs';
import { Command, ExitError, LaunchError, type LineOptions, OutputError, pipeline, UsageError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, FOREVER, isRunning, NOWHERE, processStat, rejection, sh, useDirectory } from '../helpers/tools.js';

/** Far more than a pipe and the streams hold together. */
const MANY = 400_000;
const ENDED = 'It did not end within its time.';

/** All that a loop gets. */
async function all<T>(lines: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const line of lines) got.push(line);
  return got;
}

/** A program that writes its pid and goes on; the pid, once it is known. */
const forever = (path: string): Command => sh('echo $$ > "$1"; echo one; exec sleep "$2"', path, FOREVER);
const pidIn = (path: string): number => Number(readFileSync(path, 'utf8'));

const printf = (text: string): Command => new Command('printf', text);

/** What a caller sees who reads a program line by line; Python's `for line in process.stdout` and `readline` of Node are the measure, where they agree. */
export function lineContract(): void {
  describe('lines', () => {
    const path = useDirectory();

    describe('of a command', () => {
      test('come one by one, without their ends, be they \\n or \\r\\n, and the last may have none', async () => {
        expect(await all(printf('a\\nb\\r\\n\\n c ').lines())).toEqual(['a', 'b', '', ' c ']);
        expect(await all(printf('').lines())).toEqual([]);
        expect(await all(printf('\\n').lines())).toEqual(['']);
      });

      test('keep their ends where that is asked', async () => {
        expect(await all(printf('a\\nb\\r\\nc').lines({ keepNewline: true }))).toEqual(['a\n', 'b\r\n', 'c']);
        const cut = printf('a\\rb\\nc').lines({ keepNewline: true, separator: /[\r\n]/ });
        expect(await all(cut)).toEqual(['a\r', 'b\n', 'c']);
      });

      test('end at any text, or pattern', async () => {
        expect(await all(printf('a, b, c').lines({ separator: ', ' }))).toEqual(['a', 'b', 'c']);
        expect(await all(printf('1%%\\r2%%\\r3%%\\n').lines({ separator: /[\r\n]/ }))).toEqual(['1%', '2%', '3%']);
        expect(await all(printf('a\\0b\\0').lines({ separator: '\0' }))).toEqual(['a', 'b']);
      });

      test('are whole, wherever the pieces of the output were cut: in a character, in a \\r\\n, in a separator', async () => {
        const slowly = (...pieces: string[]): Command =>
          sh(pieces.map((piece) => `printf '${piece}'`).join('; sleep 0.05; '));
        expect(await all(slowly('na\\303', '\\257ve\\r', '\\nx\\n').lines())).toEqual(['naïve', 'x']);
        expect(await all(slowly('a-', '\\055b--', '\\055c').lines({ separator: '--' }))).toEqual(['a', 'b', '-c']);
        expect(await all(slowly('a\\r', '\\nb').lines({ separator: /\r\n?/ }))).toEqual(['a', 'b']);
        const bytes = await all(slowly('a-', '\\055b\\377', '\\055-c').lines({ separator: '--', encoding: 'buffer' }));
        expect(bytes.map((line) => line.toString('latin1'))).toEqual(['a', 'b\xff', 'c']);
        expect((await all(slowly('a\\r', '\\nb').lines({ encoding: 'buffer' }))).map(String)).toEqual(['a', 'b']);
      });

      test('a progress line comes when its carriage return has, and not with the next one', async () => {
        const child = await sh('printf "50%%\\r"; exec sleep "$1"', FOREVER).outputPipe().runAsync();
        onTestFinished(() => child.free());
        const lines = child.lines({ separator: /[\r\n]/ });
        expect(await lines.next()).toEqual({ done: false, value: '50%' });
      });

      test('are text in the encoding that is named, and wrong bytes are U+FFFD', async () => {
        expect(await all(printf('\\344\\n').lines({ encoding: 'latin1' }))).toEqual(['ä']);
        expect(await all(printf('\\344\\n').lines())).toEqual(['\ufffd']);
        expect(await all(printf('a\\0\\n\\0b\\0').lines({ encoding: 'utf16le' }))).toEqual(['a', 'b']);
      });

      test('of both streams have the name of theirs', async () => {
        const both = sh('echo a; sleep 0.05; echo b >&2; sleep 0.05; echo c').lines({ from: 'both' });
        expect(await all(both)).toEqual([
          { stream: 'stdout', line: 'a' },
          { stream: 'stderr', line: 'b' },
          { stream: 'stdout', line: 'c' },
        ]);
        expect(await all(sh('echo a; echo b >&2').lines({ from: 'stderr' }))).toEqual(['b']);
      });

      test('are all there, however many', async () => {
        let sum = 0;
        for await (const line of new Command('seq', MANY).lines()) sum += Number(line);
        expect(sum).toBe((MANY * (MANY + 1)) / 2);
      });

      test('a slow loop holds the program, and no more is in memory than a few pieces', async () => {
        const lines = sh('seq 1 10000000; exec sleep "$1"', FOREVER).lines();
        onTestFinished(async () => {
          await lines.return(undefined);
        });
        await lines.next();
        const child = await eventually('seq runs', () => {
          const found = seqOf(process.pid);
          return found !== undefined && processStat(found)?.state === 'S' ? found : undefined;
        });
        const writtenBy = (): string => /wchar: (\d+)/.exec(readFileSync(`/proc/${child}/io`, 'latin1'))![1]!;
        const before = await eventually('it stands still', () => {
          const first = writtenBy();
          for (let look = 0; look < 20; look += 1) if (writtenBy() !== first) return undefined;
          return first;
        });
        expect(Number(before)).toBeLessThan(3_000_000);
        expect(isRunning(child)).toBe(true);
      });

      test('an error of the program is thrown behind its last line, with its last words', async () => {
        const got: string[] = [];
        const loop = (async () => {
          for await (const line of sh('echo one; echo broken >&2; exit 3').lines()) got.push(line);
        })();
        const error = await rejection(ExitError, loop);
        expect([got, error.result.exitCode]).toEqual([['one'], 3]);
        expect(error.message).toContain('broken');
        expect(await all(sh('echo one; exit 3').check([3]).lines())).toEqual(['one']);
        await rejection(ExitError, all(new Command('sleep', FOREVER).timeout(50).lines()));
      });

      test('a program that cannot be launched is an error of the first step', async () => {
        const error = await rejection(LaunchError, all(new Command(NOWHERE).lines()));
        expect(error.errno).toBe('ENOENT');
      });

      test.each([
        ['break', undefined],
        ['an error in the loop', new Error('in the loop')],
      ])('%s ends the program by its stop sequence, and waits for its end', async (_way, thrown) => {
        const command = sh(
          'trap \'echo stopped > "$2"; exit\' INT; echo $$ > "$1"; echo one; while :; do sleep 0.05; done',
          path('pid'),
          path('stopped'),
        );
        const loop = (async () => {
          for await (const line of command.stopSequence([['SIGINT', 20_000]]).lines()) {
            expect(line).toBe('one');
            if (thrown !== undefined) throw thrown;
            break;
          }
        })();
        await loop.catch((error: unknown) => {
          expect(error).toBe(thrown);
        });
        expect(readFileSync(path('stopped'), 'utf8')).toBe('stopped\n');
        expect(isRunning(pidIn(path('pid')))).toBe(false);
      });

      test('a loop that is left while the program floods its pipe ends it all the same', async () => {
        for await (const line of sh('trap "exit 0" TERM; while :; do seq 1 1000; done').lines()) {
          expect(line).toBe('1');
          break;
        }
      });

      test('a process that is left behind with the pipe holds nobody', async () => {
        const lines = all(sh('echo $$; (sleep "$1" & echo $! > "$2"); printf last', FOREVER, path('left')).lines());
        const got = await Promise.race([lines, sleepReal(10_000).then(() => [ENDED])]);
        process.kill(pidIn(path('left')), 'SIGKILL');
        expect(got.slice(1)).toEqual(['last']);
      });

      test('nothing is started before the first line is asked for, nor where none is', async () => {
        const lines = new Command('touch', path('file')).lines();
        await lines.return(undefined);
        expect(await lines.next()).toEqual({ done: true, value: undefined });
        expect(() => readFileSync(path('file'))).toThrow('ENOENT');
      });

      test('several steps may be asked for at once', async () => {
        const lines = printf('a\\nb\\n').lines();
        const steps = await Promise.all([lines.next(), lines.next(), lines.next(), lines.next()]);
        expect(steps.map(({ value }) => value)).toEqual(['a', 'b', undefined, undefined]);
      });

      test.each([
        ['text', undefined],
        ['bytes', 'buffer' as const],
      ])(
        'a line of %s longer than it may be is an error that names it, behind those before it',
        async (_what, encoding) => {
          const options = { maxLineBytes: 4, ...(encoding === undefined ? {} : { encoding }) };
          const got: string[] = [];
          const read = async (command: Command): Promise<void> => {
            for await (const line of command.lines(options)) got.push(line);
          };
          const error = await rejection(OutputError, read(printf('abcd\\r\\nabcde\\nx\\n')));
          expect(got.map(String)).toEqual(['abcd']);
          expect(error).toMatchObject({
            reason: 'line-too-long',
            stream: 'stdout',
            line: 2,
            code: 'ERR_COMMAND_OUTPUT',
          });
          expect(error.message).toBe(
            "`printf 'abcd\\r\\nabcde\\nx\\n'` wrote more than 4 bytes to stdout in one line, line 2. Raise maxLineBytes, or name another separator.",
          );
          // The measure is bytes.
          await rejection(OutputError, read(printf('\\303\\257\\303\\257\\303\\257\\n')));
        },
      );

      test('a line without an end does not fill the memory: the program is stopped', async () => {
        const error = await rejection(OutputError, all(new Command('cat', '/dev/zero').lines()));
        expect(error.message).toContain('wrote more than 1048576 bytes');
      });

      test('what takes the stream elsewhere is a mistake, as is what nobody can answer', async () => {
        const wrong = [
          [new Command('true').outputBuffer(), "lines(): it reads the program's stdout, and another call takes that"],
          [new Command('true').outputFile('/dev/null'), 'another call takes that'],
          [new Command('true').inputPipe(), 'lines() gives nobody the other end of the pipe; use inputBuffer()'],
          [new Command('true').requireHandshake(), 'with lines() nobody could answer'],
          [new Command('true').daemonize() as unknown as Command, 'a daemon is not waited for'],
        ] as const;
        for (const [command, words] of wrong) {
          const error = await rejection(UsageError, all(command.lines()));
          expect([error.mistakes.length, error.message]).toEqual([1, expect.stringContaining(words)]);
        }
        expect(await all(new Command('cat').inputBuffer('a\nb').outputPipe().lines())).toEqual(['a', 'b']);
      });

      test.each<[LineOptions, string]>([
        [{ separator: '' }, 'the separator is a string of one character or more, or a RegExp'],
        [{ separator: /x*/ }, 'the separator matches where there is nothing'],
        [{ separator: /x/, encoding: 'buffer' as const }, 'bytes are split at a text'],
        [{ from: 'stdin' as 'stdout' }, "from is 'stdout', 'stderr' or 'both', and no 'stdin'"],
        [{ encoding: 'base64' as 'utf8' }, 'lines have the encodings'],
        [{ maxLineBytes: 0 }, 'maxLineBytes is a whole number of bytes above 0'],
        [{ keepNewline: 1 as unknown as boolean }, 'keepNewline is true or false'],
        [JSON.parse('{ "separators": 1 }') as LineOptions, "there is no option 'separators'"],
      ])('options that are none are a mistake: %j', async (options, words) => {
        const error = await rejection(UsageError, all(new Command('touch', path('file')).lines(options)));
        expect(error.message).toContain(words);
        expect(error.mistakes[0]?.at).toContain('lines.ts');
        expect(() => readFileSync(path('file'))).toThrow('ENOENT');
        const child = await new Command('true').outputPipe().errorPipe().runAsync();
        expect(() => child.lines(options)).toThrow(words);
        await child.free();
      });
    });

    describe('of a child', () => {
      test('go on being read when a loop is left, so that the program does not die of it', async () => {
        const child = await sh('echo one; seq 1 100000; echo done >&2').outputPipe().errorBuffer().runAsync();
        for await (const line of child.lines()) {
          expect(line).toBe('one');
          break;
        }
        expect((await child.wait()).stderr).toBe('done\n');
      });

      test('that a loop has left, the next one gets, if it comes at once', async () => {
        const child = await printf('a\\nb\\nc\\n').outputPipe().runAsync();
        for await (const line of child.lines()) if (line === 'b') break;
        expect(await all(child.lines())).toEqual(['c']);
        expect(await all(child.lines())).toEqual([]);
        await child.wait();
      });

      test('go to all who read at the same time', async () => {
        const child = await new Command('seq', 20_000).outputPipe().runAsync();
        const [one, two] = await Promise.all([all(child.lines()), all(child.lines())]);
        expect(one).toHaveLength(20_000);
        expect(two).toEqual(one);
        await expect(child.wait()).resolves.toBeDefined();
      });

      test('end with the program where another process holds the pipe', async () => {
        const child = await sh('sleep "$1" & echo $!', FOREVER).outputPipe().runAsync();
        const [pid = ''] = await all(child.lines());
        process.kill(Number(pid), 'SIGKILL');
        await child.free();
      });

      test('without a pipe, or split in two ways, are a mistake that says so', async () => {
        const child = await printf('a\\n').outputPipe().runAsync();
        child.lines();
        expect(() => child.lines({ separator: 'x' })).toThrow('stdout is being split in another way');
        expect(() => child.lines({ from: 'stderr' })).toThrow(
          'nobody asked for a pipe from stderr; call errorPipe() before runAsync()',
        );
        await child.free();
      });

      test('of a pipeline are those of the last stage', async () => {
        const running = await pipeline(new Command('seq', 3), new Command('tac').outputPipe()).runAsync();
        expect(await all(running.lines())).toEqual(['3', '2', '1']);
        await running.wait();
      });
    });

    describe('waitForLine()', () => {
      test('resolves with the first line that fits, and leaves the rest to the next reader', async () => {
        const child = await sh('echo a1; echo a2; echo ready; echo b; exec sleep "$1"', FOREVER)
          .outputPipe()
          .runAsync();
        onTestFinished(() => child.free());
        expect(await child.waitForLine(/^a\d/g)).toBe('a1');
        expect(await child.waitForLine('rea')).toBe('ready');
        expect((await child.lines().next()).value).toBe('b');
      });

      test('reads beside a loop, and takes a function, from either stream', async () => {
        const child = await sh('echo a; echo b >&2; echo c').outputPipe().errorPipe().runAsync();
        const lines = all(child.lines({ from: 'both' }));
        expect(await child.waitForLine((line) => line > 'a', { from: 'stderr' })).toBe('b');
        expect((await lines).map(({ line }) => line).sort()).toEqual(['a', 'b', 'c']);
        await child.wait();
      });

      test('does not hold the program afterwards', async () => {
        const child = await sh('echo ready; seq 1 100000').outputPipe().runAsync();
        await child.waitForLine('ready');
        expect((await child.wait()).exitCode).toBe(0);
      });

      test('rejects when the program ends without it, and tells how, and its last line', async () => {
        const child = await sh('echo bad config; exit 2').outputPipe().runAsync();
        const error = await rejection(OutputError, child.waitForLine(/ready/));
        expect(error).toMatchObject({ reason: 'no-such-line', stream: 'stdout' });
        expect(error.message).toMatch(
          /ended before it wrote a line that matches \/ready\/ to stdout\. .* exited with code 2 after .*\. Its last line was `bad config`\.$/,
        );
        await rejection(ExitError, child.wait());
      });

      test('rejects when its time is over, and the program goes on', async () => {
        const child = await forever(path('pid')).outputPipe().runAsync();
        onTestFinished(() => child.free());
        const error = await rejection(OutputError, child.waitForLine('two', { within: 100 }));
        expect(error.message).toContain("did not write a line with 'two' to stdout within 100 ms.");
        expect(isRunning(child.pid)).toBe(true);
      });

      test('what cannot be looked for is told at once', async () => {
        const child = await new Command('true').outputPipe().runAsync();
        await rejection(TypeError, child.waitForLine(''));
        await rejection(TypeError, child.waitForLine('x', { within: -1 }));
        await child.wait();
      });
    });

    describe('onLine()', () => {
      test('is called with each line while the program runs, and what is captured is captured', async () => {
        const got: string[] = [];
        const { stdout } = await sh('echo a; echo b >&2; printf c')
          .onLine((line, stream) => got.push(`${stream} ${line}`), { from: 'both' })
          .outputBuffer()
          .run();
        expect(got.sort()).toEqual(['stderr b', 'stdout a', 'stdout c']);
        expect(stdout).toBe('a\nc');
      });

      test('is called before the program ends', async () => {
        const child = sh('echo one; read answer; echo $answer');
        let answer = (_text: string): void => undefined;
        const run = child
          .inputPipe()
          .outputBuffer()
          .onLine((line) => {
            answer(`${line} and two\n`);
          })
          .runAsync();
        const running = await run;
        answer = (text) => running.stdin.end(text);
        expect((await running.wait()).stdout).toBe('one\none and two\n');
      });

      test('what it throws stops the program, and the run rejects with it', async () => {
        const thrown = new Error('of the callback');
        const run = forever(path('pid')).onLine(() => {
          throw thrown;
        });
        expect(await rejection(Error, run.run())).toBe(thrown);
        expect(isRunning(pidIn(path('pid')))).toBe(false);
        expect(
          await rejection(
            OutputError,
            printf('abcde\\n')
              .onLine(() => undefined, { maxLineBytes: 4 })
              .run(),
          ),
        ).toMatchObject({ line: 1 });
      });

      test('a stream that does not come by is a mistake', async () => {
        const watched = (): Command => new Command('true').onLine(() => undefined);
        await rejection(UsageError, watched().outputFile('/dev/null').run());
        const error = await rejection(UsageError, watched().runAsync());
        expect(error.message).toContain('standard output is not read here; say outputBuffer() too');
        await rejection(
          UsageError,
          watched()
            .onLine(() => undefined)
            .run(),
        );
        await rejection(UsageError, new Command('true').onLine(1 as never).run());
      });
    });

    describe('JSON', () => {
      test('jsonLines() gives the value of each line, and passes over those without any', async () => {
        expect(await all(printf('{"a": 1}\\n\\n  \\n[2]\\n3').jsonLines())).toEqual([{ a: 1 }, [2], 3]);
      });

      test('a line that is none is an error that names the command, the line and its beginning, and stops it', async () => {
        const command = sh('echo $$ > "$1"; echo 1; echo oops; exec sleep "$2"', path('pid'), FOREVER);
        const error = await rejection(OutputError, all(command.jsonLines()));
        expect(error).toMatchObject({ reason: 'not-json', line: 2 });
        expect(error.message).toMatch(/^`sh .*` wrote no JSON to stdout in line 2: .*\. It begins with `oops`\.$/s);
        expect(isRunning(pidIn(path('pid')))).toBe(false);
      });

      test('result.json() and result.lines read what was captured, or say why not', async () => {
        const result = await printf('[1,\\n2]\\r\\n').outputBuffer().run();
        expect(result.json<number[]>()).toEqual([1, 2]);
        expect(result.lines).toEqual(['[1,', '2]']);
        const bytes = await printf('{}').outputBuffer({ encoding: 'buffer' }).run();
        expect([bytes.json(), bytes.lines]).toEqual([{}, ['{}']]);
        const none = await new Command('true').run();
        expect(() => none.lines).toThrow('standard output was not captured; say outputBuffer() before the run');
        const wrong = await printf('').outputBuffer().run();
        expect(() => wrong.json()).toThrow(/^`printf ''` wrote no JSON to stdout: .*\. It is empty\.$/);
        const joined = await pipeline(printf('[1]'), new Command('cat').outputBuffer()).run();
        expect([joined.json(), joined.lines]).toEqual([[1], ['[1]']]);
      });
    });

    describe('the parsers of libvirt', () => {
      test('runRegex() gives the groups of all patterns for each line that matches all of them', async () => {
        const got: unknown[] = [];
        const result = await printf('  a=1 x\\nb=2 y\\nc= z\\n').runRegex(
          [/(?<name>\w)=(\d)/, '(.)$'],
          (match) => {
            got.push([...match], { ...match.groups }, match.line);
          },
          { prefix: '  ' },
        );
        expect(got).toEqual([['a', '1', 'x'], { name: 'a' }, 'a=1 x', ['b', '2', 'y'], { name: 'b' }, 'b=2 y']);
        expect(result.exitCode).toBe(0);
      });

      test('a group that took no part is undefined, and a pattern remembers nothing of the line before', async () => {
        const all2 = await all(printf('ab\\nb\\n').matches(/(a)?b/g));
        expect(all2.map((match) => [...match])).toEqual([['a'], [undefined]]);
      });

      test('a bad pattern is told before anything is started', async () => {
        const command = new Command('touch', path('file'));
        const error = await rejection(
          UsageError,
          command.runRegex('(', () => undefined),
        );
        expect(error.message).toContain("the pattern '(' cannot be read (Invalid regular expression");
        expect(error.mistakes[0]?.at).toContain('lines.ts');
        const wrong = [
          () => command.runRegex([], () => undefined),
          () => command.runRegex(1 as never, () => undefined),
          () => command.runRegex('a', () => undefined, { prefix: 1 as never }),
          () => command.runRegex('a', () => undefined, { check: 'x' as never }),
          () => command.runRegex('a', 'b' as never),
          () => command.runNul(0, () => undefined),
          () => command.runNul(['a', 'a'], () => undefined),
          () => command.runNul(1, undefined as never),
          () => all(command.matches('a', { check: false } as never)),
          () => all(command.rows(1.5)),
          () => all(command.jsonLines({ from: 'stderr' } as never)),
        ];
        for (const call of wrong) await rejection(UsageError, call());
        expect(() => readFileSync(path('file'))).toThrow('ENOENT');
      });

      test('a callback that says false stops the program, and one that throws does too', async () => {
        const command = (): Command => forever(path('pid'));
        const result = await command().runRegex(/one/, () => false);
        expect([result.signal, isRunning(result.pid)]).toEqual(['SIGTERM', false]);
        const thrown = new Error('of the callback');
        const failed = command().runNul(1, async () => Promise.reject(thrown));
        // There is no zero byte, so the row comes at the end.
        process.kill(
          await eventually('it runs', () => (isRunning(pidIn(path('pid'))) ? pidIn(path('pid')) : undefined)),
          'SIGTERM',
        );
        expect(await rejection(Error, failed)).toBe(thrown);
      });

      test('how the program ends is judged as by run()', async () => {
        await rejection(
          ExitError,
          sh('echo a; exit 1').runRegex(/a/, () => undefined),
        );
        expect((await sh('echo a; exit 1').runRegex(/a/, () => undefined, { check: [1] })).exitCode).toBe(1);
        expect((await sh('exit 1').runNul(1, () => undefined, { check: false })).exitCode).toBe(1);
      });

      test('runNul() gives rows of so many tokens; the last may be shorter, and empty output has none', async () => {
        const got: unknown[] = [];
        await printf('a\\0001\\000b\\n\\0002\\000c\\000').runNul(2, (row) => void got.push(row));
        expect(got).toEqual([['a', '1'], ['b\n', '2'], ['c']]);
        expect(await all(printf('a\\0001\\000c').rows(['name', 'size']))).toEqual([
          { name: 'a', size: '1' },
          { name: 'c' },
        ]);
        await printf('').runNul(2, () => expect.unreachable());
      });
    });
  });
}

/** A `seq` below a process. */
function seqOf(parent: number): number | undefined {
  for (const child of childrenOf(parent)) {
    if (readFileSync(`/proc/${child}/comm`, 'latin1').trim() === 'seq') return child;
    const below = seqOf(child);
    if (below !== undefined) return below;
  }
  return undefined;
}

const childrenOf = (parent: number): number[] => {
  try {
    return readFileSync(`/proc/${parent}/task/${parent}/children`, 'latin1')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    // It has ended meanwhile.
    return [];
  }
};

const sleepReal = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
