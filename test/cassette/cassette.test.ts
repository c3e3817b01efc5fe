import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Command, pipeline, UnsupportedError, UsageError } from 'vircommand';
import { type Cassette, cassette, type CassetteOptions, dryRun } from 'vircommand/testing';
import { eventually, FOREVER, NOWHERE, rejection, sh, useDirectory, writeProgram } from '../helpers/tools.js';

const path = useDirectory();

beforeEach(() => {
  vi.stubEnv('CI', undefined);
  vi.stubEnv('VIRCOMMAND_CASSETTE', undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
});

const fileOf = (name = 'tape') => readFileSync(path(name), 'utf8');

/** Records a story. */
async function record(story: () => Promise<unknown>, options: CassetteOptions = {}): Promise<void> {
  await using _tape = cassette(path('tape'), { ...options, mode: 'record' });
  await story();
}

/** Plays a cassette, and gives what its end rejects with; `undefined`: nothing. */
async function endOf(story: (tape: Cassette) => Promise<unknown>, options: CassetteOptions = {}): Promise<unknown> {
  const tape = cassette(path('tape'), { ...options, mode: 'replay' });
  await story(tape);
  return tape.close().then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}

const quiet = (run: Promise<unknown>): Promise<unknown> => run.catch(() => undefined);
const where = (): string => `cassette('${path('tape')}')`;
const ANEW = 'record it anew with VIRCOMMAND_CASSETTE=record';

describe('the file', () => {
  const story = async () => {
    await new Command('printf', String.raw`one\ntwo\n`).workingDirectory('/').env('LANG', 'C').outputBuffer().run();
    await sh('printf x >&2; exit 2').inputBuffer('in').check(false).run();
    await quiet(new Command(path('absent'), 'a').run());
  };

  test('has a field to a line, in an order that does not change, and neither pids nor directories of this machine', async () => {
    await record(story, { env: ['LANG', 'VIRCOMMAND_ABSENT'] });
    const file = fileOf().replaceAll(/"at": \d+/g, '"at": 0');
    expect(file).toBe(
      `${JSON.stringify(
        {
          cassette: 1,
          entries: [
            {
              argv: ['printf', String.raw`one\ntwo\n`],
              directory: '/',
              env: { LANG: 'C', VIRCOMMAND_ABSENT: null },
              events: [{ at: 0, stdout: ['one\n', 'two\n'] }],
              exitCode: 0,
            },
            {
              argv: ['sh', '-c', 'printf x >&2; exit 2', 'sh'],
              env: { LANG: process.env['LANG'] ?? null, VIRCOMMAND_ABSENT: null },
              stdin: { bytes: 2, sha256: '58dd024094ee51c6fc1ba5dbd09a8cbdcbd00aa32a4e6e2d8f3ba6d6bc8a1a4b' },
              events: [{ at: 0, stderr: 'x' }],
              exitCode: 2,
            },
            {
              argv: ['{tmp:1}/absent', 'a'],
              env: { LANG: process.env['LANG'] ?? null, VIRCOMMAND_ABSENT: null },
              fail: { step: 'execve', errno: 'ENOENT', path: '{tmp:1}/absent' },
            },
          ],
        },
        null,
        2,
      )}\n`.replace(/"sha256": "58dd.*"/, String(/"sha256": ".*"/.exec(file))),
    );
    await record(story, { env: ['LANG', 'VIRCOMMAND_ABSENT'] });
    expect(fileOf().replaceAll(/"at": \d+/g, '"at": 0')).toBe(file);
  });

  test('holds directories that were named by their words, and gives those of the machine that plays it', async () => {
    const program = () =>
      new Command('echo', path('project/a'), `--in=${path('project')}`, path('projects')).outputBuffer().run();
    await record(program, { paths: { project: path('project') } });
    expect(fileOf()).toContain('"{project}/a",\n        "--in={project}",\n        "{tmp:1}/projects"');
    let stdout = '';
    const options = { paths: { project: '/elsewhere' } };
    const end = await endOf(async () => {
      const elsewhere = new Command('echo', '/elsewhere/a', '--in=/elsewhere', path('projects'));
      ({ stdout } = await elsewhere.outputBuffer().run());
    }, options);
    expect([stdout, end]).toEqual([`/elsewhere/a --in=/elsewhere ${path('projects')}\n`, undefined]);
  });

  test('holds no secret: arguments, what is sent, variables by their names, and their copies in the output, however they are cut', async () => {
    const secrets = ['hunter2-argument', 'hunter2-sent', 'hunter2-variable', 'hunter2-input'];
    const script =
      'cat; cat <&$1; printf "%s\\n" "$2" "${2#*=}" "$PGPASSWORD"; printf hunter2-; sleep 0.2; echo argument';
    const command = () => {
      const one = new Command('sh', '-c', script, 'sh').env('PGPASSWORD', 'hunter2-variable').inputBuffer('hunter2-in');
      const fd = one.sendBuffer('hunter2-sent\n');
      return one.envPassCommon().arg(fd).secretArg('password=hunter2-argument').outputBuffer();
    };
    const tape = cassette(path('tape'), { mode: 'record', env: ['PGPASSWORD'] });
    const real = await command().run();
    await tape.close();
    expect(real.stdout).toContain(
      'hunter2-sent\npassword=hunter2-argument\nhunter2-argument\nhunter2-variable\nhunter2-argument',
    );
    const [only] = (JSON.parse(fileOf()) as { entries: { argv: string[]; events: object[]; env: object }[] }).entries;
    expect(secrets.filter((secret) => fileOf().includes(secret))).toEqual([]);
    expect([only?.argv.at(-1), only?.env]).toEqual(['***', { PGPASSWORD: '***' }]);
    expect(/"stdout": [^}]*/s.exec(fileOf())?.[0]).toContain('hunter2-in***\\n');
    let stdout = '';
    const end = await endOf(async () => ({ stdout } = await command().run()), { env: ['PGPASSWORD'] });
    expect([stdout, end]).toEqual(['hunter2-in***\n***\n***\n***\n***\n', undefined]);
  });

  test.each([
    ['', 'is no JSON: Unexpected end of JSON input'],
    ['[]', 'is no cassette: it begins with "cassette": 1, and has a list of entries'],
    ['{"cassette":2,"entries":[]}', 'is no cassette: it begins with "cassette": 1, and has a list of entries'],
    ['{"cassette":1,"entries":[{}]}', 'is no cassette: in entry 1, the field argv is missing'],
    [
      '{"cassette":1,"entries":[{"argv":["a"]},{"argv":[]}]}',
      'is no cassette: in entry 2, the field argv is not as it was written',
    ],
    [
      '{"cassette":1,"entries":[{"argv":["a"],"exitCode":-1}]}',
      'is no cassette: in entry 1, the field exitCode is not as it was written',
    ],
    [
      '{"cassette":1,"entries":[{"argv":["a"],"events":[{"at":0,"stdout":1}]}]}',
      'is no cassette: in entry 1, the field events is not as it was written',
    ],
    [
      '{"cassette":1,"entries":[{"argv":["a"],"fail":{"step":"no","errno":"E"}}]}',
      'is no cassette: in entry 1, the field fail is not as it was written',
    ],
    [
      '{"cassette":1,"entries":[{"argv":["a"],"pid":1}]}',
      "is no cassette: in entry 1, there is no field 'pid'; there are: argv, daemon, directory, env, stdin, fail, events, exitCode, signal",
    ],
  ])('that is %j is none', (content, problem) => {
    writeFileSync(path('tape'), content);
    expect(() => cassette(path('tape'))).toThrow(`Mistake: ${where()}: the file ${problem}; ${ANEW}.`);
  });

  test('that cannot be read, or written, is an error with its errno', async () => {
    mkdirSync(path('tape'));
    expect(() => cassette(path('tape'))).toThrow(
      `Mistake: ${where()}: the file cannot be read (open: EISDIR); ${ANEW}.`,
    );
    writeFileSync(path('file'), '');
    const tape = cassette(path('file/tape'), { mode: 'record' });
    expect((await rejection(UsageError, tape.close())).message).toBe(
      `Mistake: cassette('${path('file/tape')}'): the file cannot be written (mkdir: EEXIST); name another one.`,
    );
  });
});

describe('the mode', () => {
  const run = async (options?: CassetteOptions): Promise<[string, string]> => {
    await using tape = cassette(path('new/tape'), options);
    const { stdout } = await sh('echo "$$"').outputBuffer().run();
    return [tape.mode, stdout];
  };

  test('auto records a file that is not there, and plays it from then on', async () => {
    const [first, said] = await run();
    expect(first).toBe('record');
    expect(await run()).toEqual(['replay', said]);
    expect(await run({ mode: 'auto' })).toEqual(['replay', said]);
    expect((await run({ mode: 'record' }))[1]).not.toBe(said);
  });

  test('is that of VIRCOMMAND_CASSETTE where the call says none', async () => {
    await run();
    vi.stubEnv('VIRCOMMAND_CASSETTE', 'record');
    expect((await run())[0]).toBe('record');
    expect((await run({ mode: 'replay' }))[0]).toBe('replay');
    vi.stubEnv('VIRCOMMAND_CASSETTE', 'replays');
    expect(() => cassette(path('tape'))).toThrow(
      `Mistake: ${where()}: the variable VIRCOMMAND_CASSETTE is 'replays'; it is one of: auto, record, replay.`,
    );
  });

  test.each(['true', '1', 'woodpecker'])(
    'nothing is recorded where CI is %s, unless VIRCOMMAND_CASSETTE says so',
    async (ci) => {
      vi.stubEnv('CI', ci);
      const way =
        'nothing is recorded in CI; record it on your machine and commit it, or set VIRCOMMAND_CASSETTE=record.';
      expect(() => cassette(path('tape'))).toThrow(`Mistake: ${where()}: there is no such file, and ${way}`);
      expect(() => cassette(path('tape'), { mode: 'record' })).toThrow(`Mistake: ${where()}: ${way}`);
      expect(existsSync(path('tape'))).toBe(false);
      vi.stubEnv('VIRCOMMAND_CASSETTE', 'record');
      expect((await run())[0]).toBe('record');
      vi.stubEnv('VIRCOMMAND_CASSETTE', undefined);
      expect((await run())[0]).toBe('replay');
    },
  );

  test.each(['', '0', 'false'])('CI that is %j is none', async (ci) => {
    vi.stubEnv('CI', ci);
    expect((await run())[0]).toBe('record');
  });

  test('replay of a file that is not there is an error', () => {
    expect(() => cassette(path('tape'), { mode: 'replay' })).toThrow(
      `Mistake: ${where()}: there is no such file; record it with VIRCOMMAND_CASSETTE=record.`,
    );
  });

  test.each([
    [[undefined], "give the path of a file, as text or as the address of a 'file:'"],
    [[''], "give the path of a file, as text or as the address of a 'file:'"],
    [['a', { mode: 'once' }], "mode is 'auto', 'record' or 'replay'"],
    [['a', { env: 'LANG' }], 'env is a list of names'],
    [
      ['a', { paths: { 'a b': '/a' } }],
      'paths has words of letters, digits, - and _, and for each of them a path that begins with /',
    ],
    [['a', { timed: 1 }], 'timed is true or false'],
    [['a', { name: 'b' }], 'there is no such option; there are: mode, env, paths, timed'],
  ])('and what else is said is read: %j', (values, problem) => {
    expect(() => cassette(...(values as Parameters<typeof cassette>))).toThrow(problem);
  });
});

describe('what the file has not', () => {
  const recorded = async () => {
    await record(async () => {
      await new Command('echo', 'a', 'b').workingDirectory('/').inputBuffer('in').outputBuffer().run();
      await new Command('echo', 'a').run();
      await new Command('true').run();
    });
    vi.stubEnv('PATH', NOWHERE);
  };

  test.each<[string, () => { run(): Promise<unknown>; toString(): string }, string]>([
    ['another program', () => new Command('nothing'), 'no entry is this command'],
    [
      'another word',
      () => new Command('echo', 'c').workingDirectory('/'),
      "no entry is this command; entry 1 has 'a' as its word 1",
    ],
    [
      'a word more',
      () => new Command('echo', 'a', 'b', 'c').workingDirectory('/'),
      'no entry is this command; entry 1 has only 3 words',
    ],
    [
      'a word less',
      () => new Command('echo').workingDirectory('/'),
      "no entry is this command; entry 1 has 'a' as its word 1",
    ],
    [
      'another directory',
      () => new Command('echo', 'a', 'b').inputBuffer('in'),
      "no entry is this command; entry 1 has the working directory '/'",
    ],
    [
      'another input',
      () => new Command('echo', 'a', 'b').workingDirectory('/').inputBuffer('i'),
      'no entry is this command; entry 1 has another input, of 2 bytes',
    ],
    ['a daemon', () => new Command('true').daemonize(), 'no entry is this command; entry 3 has no daemon'],
  ])('is an error that names the command and what is nearest: %s', async (_, command, problem) => {
    await recorded();
    let message = '';
    const end = await endOf(async () => {
      ({ message } = await rejection(UsageError, command().run()));
    });
    expect(message).toBe(`Mistake in \`${command().toString()}\`: ${where()}: ${problem}; ${ANEW}.`);
    // Whoever catches it does not hide it.
    expect(end).toBe(message);
  });

  test('is one that was played already, and a variable that is another one', async () => {
    await recorded();
    await endOf(async () => {
      await new Command('true').run();
      expect((await rejection(UsageError, new Command('true').run())).message).toContain(
        'entry 3 is this command, and was played already',
      );
    });
    vi.unstubAllEnvs();
    vi.stubEnv('CI', undefined);
    await record(() => new Command('true').env('LANG', 'C').run(), { env: ['LANG'] });
    const end = await endOf(() => quiet(new Command('true').env('LANG', 'D').run()), { env: ['LANG'] });
    expect(end).toContain('entry 1 has another value of the variable LANG');
  });

  test('is what it was not asked for', async () => {
    await recorded();
    expect(await endOf(() => new Command('true').run())).toBe(
      `Mistake in \`echo a b\`: ${where()}: entry 1 was not asked for, nor were: 2; take out of the file what is not needed, or ${ANEW}.`,
    );
    const tape = cassette(path('tape'));
    const first = tape.close();
    await rejection(UsageError, first);
    await tape.close();
  });

  test('is another talk, and another signal', async () => {
    await record(async () => {
      const child = await new Command('cat').inputPipe().outputBuffer().runAsync();
      child.stdin.write('one\n');
      child.stdin.end('two\n');
      await child.wait();
    });
    for (const words of ['one\ntwx\n', 'one\n', 'one\ntwo\nthree\n'])
      expect(
        await endOf(async () => {
          const child = await new Command('cat').inputPipe().outputBuffer().runAsync();
          child.stdin.end(words);
          expect((await rejection(UsageError, child.wait())).message).toContain('Mistake in `cat`');
        }),
      ).toBe(
        `Mistake in \`cat\`: ${where()}: entry 1: what is written to its standard input is not what was written when it was recorded; ${ANEW}.`,
      );
    await record(async () => {
      const child = await new Command('sleep', FOREVER).runAsync();
      child.signal('SIGTERM');
      await quiet(child.wait());
    });
    const end = await endOf(async () => {
      const child = await new Command('sleep', FOREVER).runAsync();
      child.signal('SIGINT');
      await quiet(child.wait());
    });
    expect(end).toContain('entry 1: it was sent SIGINT, and when it was recorded, it was not');
  });
});

describe('its scope', () => {
  test('the innermost counts: a dry run in a cassette is not recorded, and a cassette in a dry run is played', async () => {
    await record(async () => {
      await new Command('echo', 'recorded').run();
      using dry = dryRun({ respond: () => ({ stdout: 'played\n' }) });
      expect((await new Command('nothing').outputBuffer().run()).stdout).toBe('played\n');
      expect(dry.commands).toEqual(['nothing']);
    });
    expect(fileOf()).not.toContain('nothing');
    using dry = dryRun();
    {
      await using _tape = cassette(path('tape'));
      expect((await new Command('echo', 'recorded').outputBuffer().run()).stdout).toBe('recorded\n');
    }
    await new Command('behind').run();
    expect(dry.commands).toEqual(['behind']);
  });

  test('nothing is recorded in a dry run, which would record what is played', () => {
    using _dry = dryRun();
    expect(() => cassette(path('tape'))).toThrow(
      `Mistake: ${where()}: it would record what a dry run plays; begin it outside of the dry run.`,
    );
  });

  test('two tests at the same time do not see each other', async () => {
    const one = async (name: string) => {
      await Promise.resolve();
      {
        await using _tape = cassette(path(name), { mode: 'record' });
        await sh('sleep 0.05; echo $1', name).run();
      }
      return JSON.parse(fileOf(name)) as { entries: unknown[] };
    };
    const files = await Promise.all(['a', 'b', 'c'].map(one));
    expect(files.map(({ entries }) => entries.length)).toEqual([1, 1, 1]);
  });

  test('what goes on at its end is recorded as going on, and ends with the replay', async () => {
    const program = writeProgram(path('goes-on'), '#!/bin/sh\necho ready\nexec sleep 600\n');
    const story = async () => {
      const child = await new Command(program).outputPipe().runAsync();
      await child.waitForLine('ready');
      return child;
    };
    const tape = cassette(path('tape'), { mode: 'record' });
    const real = await story();
    await tape.close();
    await real.abort();
    expect(fileOf()).not.toMatch(/exitCode|signal/);
    const again = cassette(path('tape'));
    const played = await story();
    await again.close();
    await rejection(Error, played.wait());
    expect(inspect(again)).toBe(`Cassette { replay, '${path('tape')}' }`);
  });

  test('exec() is refused while it records, and a refusal of the engine cannot be played', async () => {
    const tape = cassette(path('tape'), { mode: 'record' });
    expect(() => new Command('/bin/true').exec()).toThrow(UnsupportedError);
    vi.stubEnv('VIRCOMMAND_ENGINE', 'portable');
    await rejection(UnsupportedError, new Command('/bin/true').umask(0).run());
    expect((await rejection(UsageError, tape.close())).message).toContain(
      'the engine refuses this command, and a replay refuses nothing; record it on another engine, or leave it out',
    );
  });
});

describe('time', () => {
  const file = {
    cassette: 1,
    entries: [
      {
        argv: ['slow'],
        events: [
          { at: 0, stdout: 'one\n' },
          { at: 40_000, stdout: 'two\n' },
        ],
        exitCode: 0,
      },
    ],
  };

  test('is not taken, unless that is asked for: then it is the time of the test', async () => {
    writeFileSync(path('tape'), JSON.stringify(file));
    expect(await endOf(() => new Command('slow').run())).toBe(undefined);
    vi.useFakeTimers();
    await using _tape = cassette(path('tape'), { timed: true });
    const child = await new Command('slow').outputPipe().runAsync();
    let text = '';
    child.stdout.on('data', (piece) => (text += String(piece)));
    await vi.advanceTimersByTimeAsync(39_999);
    expect(text).toBe('one\n');
    await vi.advanceTimersByTimeAsync(1);
    await child.wait();
    expect(text).toBe('one\ntwo\n');
  });

  test('is not taken by runSync()', () => {
    writeFileSync(path('tape'), JSON.stringify(file));
    const tape = cassette(path('tape'), { timed: true });
    expect(new Command('slow').outputBuffer().runSync().stdout).toBe('one\ntwo\n');
    return tape.close();
  });

  test('that the output of a pipeline takes to be read is waited for', async () => {
    await record(async () => {
      const child = await sh('head -c 60000 /dev/zero | tr "\\0" x').outputPipe().runAsync();
      await child.wait();
    });
    expect(fileOf().length).toBeGreaterThan(60_000);
    const end = await endOf(async () => {
      const child = await sh('head -c 60000 /dev/zero | tr "\\0" x').outputPipe().runAsync();
      let length = 0;
      child.stdout.on('data', (piece: Buffer) => (length += piece.length));
      await eventually('all is read', () => length === 60_000);
      await child.wait();
    });
    expect(end).toBe(undefined);
    await record(() => pipeline(new Command('true'), new Command('cat').outputBuffer()).run());
  });
});
