import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  Command,
  DaemonResult,
  engineInfo,
  ExitError,
  LaunchError,
  OutputBuffer,
  UsageError,
} from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import { withVariables } from '../helpers/tools.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const absent = (...args: string[]) => new Command('vircommand-no-such-program', ...args);

describe('dryRun()', () => {
  test('records each command and its spec, and starts nothing: the program need not exist', async () => {
    using dry = dryRun();
    const command = absent('a b').env('A', 'b c');
    const result = await command.run();
    await new Command('/nowhere/at/all').run();
    expect(dry.commands).toEqual(["A='b c' vircommand-no-such-program 'a b'", '/nowhere/at/all']);
    expect(dry.specs[0]).toEqual(command.spec());
    expect(result).toMatchObject({
      exitCode: 0,
      signal: null,
      rawStatus: 0,
      stdout: undefined,
      stderr: undefined,
      timedOut: false,
    });
    expect(inspect(dry)).toBe('DryRun { 2 commands }');
    expect(engineInfo().engine).toBe('dry-run');
  });

  test('hides secrets in what it records', async () => {
    using dry = dryRun();
    await absent().secretArg('hunter2').run();
    expect(dry.commands).toEqual(["vircommand-no-such-program '***'"]);
  });

  test('records the words of each command', async () => {
    using dry = dryRun();
    await absent('a b', 'ü').secretArg('hunter2').run();
    await new Command('/x', Buffer.from([0x61, 0xff])).run();
    expect(dry.argv).toEqual([
      ['vircommand-no-such-program', 'a b', 'ü', 'hunter2'],
      ['/x', String.raw`a\xff`],
    ]);
  });

  test('leaves out what envPassCommon() passes, which is this machine’s, unless it is asked for', async () => {
    const common = () => absent().envPassCommon().env('A', 'b');
    await withVariables({ PATH: '/here:/there', HOME: '/root' }, async () => {
      {
        using dry = dryRun();
        await common().run();
        await absent().env('LC_ALL', 'C').run();
        await absent().env('PATH', '/here:/there').run();
        await common().env('PATH', '/mine').run();
        expect(dry.commands).toEqual([
          'A=b vircommand-no-such-program',
          'LC_ALL=C vircommand-no-such-program',
          'PATH=/here:/there vircommand-no-such-program',
          'PATH=/mine A=b vircommand-no-such-program',
        ]);
        expect(dry.specs[0]?.env).toContainEqual(['PATH', '/here:/there']);
      }
      using dry = dryRun({ env: true });
      await common().run();
      expect(dry.commands[0]).toMatch(
        /^LC_ALL=C .*PATH=\/here:\/there .*HOME=\/root .*A=b vircommand-no-such-program$/,
      );
    });
  });

  test('answers with output, which reaches the result and the buffers', async () => {
    using _dry = dryRun({ respond: () => ({ stdout: 'out', stderr: Buffer.from('err') }) });
    const [out, err, both] = [new OutputBuffer(), new OutputBuffer(), new OutputBuffer()];
    expect(await absent().outputBuffer(out).errorBuffer(err).run()).toMatchObject({ stdout: 'out', stderr: 'err' });
    expect([String(out), String(err)]).toEqual(['out', 'err']);
    expect(await absent().outputBuffer(both).errorBuffer(both).run()).toMatchObject({
      stdout: 'outerr',
      stderr: undefined,
    });
    expect(String(both)).toBe('outerr');
    const { stdout } = await absent().outputBuffer({ encoding: 'buffer' }).run();
    expect(stdout).toEqual(Buffer.from('out'));
    expect(await absent().outputBuffer().outputLimit(2).run()).toMatchObject({ stdout: 'ou', outputTruncated: true });
  });

  test('answers with exit codes and signals, which are errors as in earnest', async () => {
    using _dry = dryRun({
      respond: ({ argv }) => (argv[1] === 'code' ? { exitCode: 3, stderr: 'no\n' } : { signal: 'SIGTERM' }),
    });
    await expect(absent('code').run()).rejects.toMatchObject({
      reason: 'exit-code',
      result: { exitCode: 3, rawStatus: 0x300 },
    });
    await expect(absent('code').run()).rejects.toThrow(/exited with code 3 after .*\.\n\nno$/);
    await expect(absent('signal').run()).rejects.toBeInstanceOf(ExitError);
    expect(await absent('code').run({ check: false })).toMatchObject({ exitCode: 3, signal: null });
    expect(await absent('signal').run({ check: false })).toMatchObject({
      exitCode: null,
      signal: 'SIGTERM',
      rawStatus: 15,
    });
  });

  test('answers with a result that was recorded', async () => {
    const results = [
      await new Command('sh', '-c', 'echo out; echo err >&2; exit 3')
        .outputBuffer()
        .errorBuffer()
        .run({ check: false }),
      await new Command('sh', '-c', 'kill -9 $$').run({ check: false }),
    ];
    for (const recorded of results) {
      const { exitCode, signal, stdout, stderr } = recorded;
      using _dry = dryRun({ respond: () => recorded });
      const result = await absent().outputBuffer().errorBuffer().run({ check: false });
      expect(result).toMatchObject({ exitCode, signal, stdout: stdout ?? '', stderr: stderr ?? '' });
    }
  });

  test('answers late, with nothing, and by throwing', async () => {
    using _dry = dryRun({
      async respond({ argv }) {
        await delay(1);
        if (argv[1] === 'throw') throw new RangeError('not today');
        return argv[1] === 'late' ? { stdout: 'late' } : undefined;
      },
    });
    expect((await absent('late').outputBuffer().run()).stdout).toBe('late');
    expect((await absent().outputBuffer().run()).stdout).toBe('');
    await expect(absent('throw').run()).rejects.toThrow(new RangeError('not today'));
  });

  test('reads a stream for who answers, passes on what is played, and writes no file', async () => {
    using _dry = dryRun({ respond: (_spec, inputText) => ({ stdout: inputText.toUpperCase(), stderr: 'why' }) });
    const [output, errors] = [new PassThrough(), new PassThrough()];
    const file = join(temporaryDirectory(), 'log');
    const run = absent()
      .inputStream(async function* () {
        yield await Promise.resolve('h');
        yield Buffer.from('é');
      })
      .outputTo(output)
      .errorTo(errors)
      .tee(file)
      .run();
    expect(await Promise.all([text(output), text(errors)])).toEqual(['HÉ', 'why']);
    expect(await run).toMatchObject({ inputWritten: 3 });
    expect(existsSync(file)).toBe(false);
    const teed = absent().inputBuffer('x').outputBuffer().tee(file);
    expect((await teed.run()).stdout).toBe('X');
  });

  test('tells of a stream that fails as in earnest', async () => {
    using _dry = dryRun({ respond: (_spec, inputText) => ({ stdout: inputText }) });
    const run = absent()
      .inputStream(async function* () {
        yield await Promise.resolve('half');
        throw new Error('gone');
      })
      .outputBuffer()
      .run();
    const error: unknown = await run.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ExitError);
    expect(error).toMatchObject({ reason: 'stream', cause: new Error('gone'), result: { stdout: 'half' } });
    const full = new Writable({
      write(_piece, _encoding, done) {
        done(new Error('full'));
      },
    });
    const output = absent().inputBuffer('x').outputTo(full).run();
    await expect(output).rejects.toMatchObject({ reason: 'stream', cause: new Error('full') });
  });

  test('hands the input to who answers, and counts it as written', async () => {
    using _dry = dryRun({ respond: (_spec, inputText) => ({ stdout: inputText.toUpperCase() }) });
    expect(await absent().inputBuffer('hé').outputBuffer().run()).toMatchObject({ stdout: 'HÉ', inputWritten: 3 });
    expect(await absent().inputBuffer(Buffer.from('x')).outputBuffer().run()).toMatchObject({
      stdout: 'X',
      inputWritten: 1,
    });
    expect(await absent().outputBuffer().run()).toMatchObject({ stdout: '', inputWritten: 0 });
  });

  test('checks a command first, and records none with mistakes', async () => {
    using dry = dryRun();
    await expect(absent().umask(-1).run()).rejects.toBeInstanceOf(UsageError);
    await expect(absent().inputPipe().run()).rejects.toBeInstanceOf(UsageError);
    await expect(absent().user('no such user here').run()).rejects.toBeInstanceOf(UsageError);
    await expect(absent().abortSignal(AbortSignal.abort()).run()).rejects.toMatchObject({ step: 'abort' });
    expect(dry.commands).toEqual([]);
  });

  test('runs what no engine here may be able to do', async () => {
    using dry = dryRun();
    await absent()
      .umask(0)
      .clearCaps()
      .preExecHook(() => 0)
      .cgroup('/x')
      .run();
    expect(dry.specs[0]).toMatchObject({ umask: 0, clearCaps: true, cgroup: '/x' });
  });

  test('gives the pipes of runAsync() something at their other ends', async () => {
    using _dry = dryRun({ respond: () => ({ stdout: 'out', stderr: 'err', exitCode: 1 }) });
    const child = await absent().inputPipe().outputPipe().errorPipe().runAsync();
    await new Promise<void>((resolve) => child.stdin.end('x'.repeat(1_000_000), () => resolve()));
    expect(await text(child.stdout)).toBe('out');
    expect(await text(child.stderr)).toBe('err');
    await expect(child.wait()).rejects.toBeInstanceOf(ExitError);
    expect(child.signal('SIGTERM')).toBe(false);
    await child.abort();
    const plain = await absent().runAsync();
    expect([plain.stdin, plain.stdout, plain.stderr]).toEqual([null, null, null]);
  });

  test('starts a daemon that is none, and writes no pidfile', async () => {
    using dry = dryRun();
    const pidFile = join(temporaryDirectory(), 'p');
    const result = await absent().daemonize().pidFile(pidFile).outputPipe().run();
    expect(result).toBeInstanceOf(DaemonResult);
    expect(result).toMatchObject({ pidFile, stdin: null });
    expect(await text(result.stdout)).toBe('');
    expect(existsSync(pidFile)).toBe(false);
    expect(dry.specs[0]).toMatchObject({ daemonize: true, pidFile });
    // Nobody has this pid, so nothing can be hit by a signal to it.
    expect(() => process.kill(result.pid, 0)).toThrow('ESRCH');
  });

  test('closes a descriptor that was given away, once', async () => {
    using dry = dryRun();
    const fd = openSync('/dev/null', 'r');
    const command = absent().transferFd(fd);
    await command.run();
    expect(() => fstatSync(fd)).toThrow('EBADF');
    const other = openSync('/dev/null', 'r');
    await expect(command.run()).rejects.toThrow('an earlier run has given this descriptor away');
    expect(fstatSync(other).isCharacterDevice()).toBe(true);
    closeSync(other);
    expect(dry.commands).toHaveLength(1);
  });

  test('can run one command again and again', async () => {
    const answers = ['one', 'two'];
    using _dry = dryRun({ respond: () => ({ stdout: answers.shift() ?? '' }) });
    const buffer = new OutputBuffer();
    const command = absent().outputBuffer(buffer);
    expect([(await command.run()).stdout, (await command.run()).stdout, String(buffer)]).toEqual(['one', 'two', 'two']);
  });
});

describe('the scope of a dryRun()', () => {
  const isReal = (start: Promise<unknown>) => expect(start).rejects.toMatchObject({ step: 'path-search' });

  test('ends with its block', async () => {
    {
      using dry = dryRun();
      await absent().run();
      expect(dry.commands).toHaveLength(1);
    }
    await isReal(absent().run());
    expect(engineInfo().engine).not.toBe('dry-run');
  });

  test('ends also where the block is left by a throw', async () => {
    await expect(
      (async () => {
        using _dry = dryRun({
          respond: () => {
            throw new Error('out');
          },
        });
        await absent().run();
      })(),
    ).rejects.toThrow('out');
    await isReal(absent().run());
  });

  test('can lie in another, which goes on after it', async () => {
    using outer = dryRun({ respond: () => ({ exitCode: 1 }) });
    {
      using inner = dryRun();
      await absent('inner').run();
      expect(inner.commands).toEqual(['vircommand-no-such-program inner']);
    }
    await expect(absent('outer').run()).rejects.toBeInstanceOf(ExitError);
    expect(outer.commands).toEqual(['vircommand-no-such-program outer']);
  });

  test('catches in the outer one what was begun in the inner one and goes on after its end', async () => {
    using outer = dryRun();
    let goOn: () => void = () => undefined;
    let late: Promise<unknown>;
    {
      using _inner = dryRun();
      const wait = new Promise<void>((resolve) => (goOn = resolve));
      late = wait.then(() => absent('late').run());
    }
    goOn();
    await late;
    expect(outer.commands).toEqual(['vircommand-no-such-program late']);
  });

  test('reaches what is called and awaited from it', async () => {
    using dry = dryRun();
    const deep = async () => {
      await delay(1);
      await Promise.all([absent('1').run(), absent('2').run()]);
    };
    await deep();
    await new Promise((resolve) => setImmediate(resolve)).then(() => absent('3').run());
    await new Promise((resolve) => setTimeout(() => resolve(absent('4').run()), 1));
    expect([...dry.commands].sort()).toEqual(['1', '2', '3', '4'].map((arg) => `vircommand-no-such-program ${arg}`));
  });

  test('is not seen by another that runs at the same time', async () => {
    const scope = async (name: string) => {
      using dry = dryRun({ respond: () => ({ stdout: name }) });
      const answers: string[] = [];
      for (let turn = 0; turn < 5; turn += 1) {
        await delay(1);
        answers.push((await absent(name).outputBuffer().run()).stdout);
      }
      return { commands: dry.commands, answers };
    };
    const outside = delay(2).then(() => isReal(absent().run()));
    const seen = await Promise.all(['a', 'b', 'c'].map(scope));
    await outside;
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      expect(seen[index]).toEqual({
        commands: Array<string>(5).fill(`vircommand-no-such-program ${name}`),
        answers: Array<string>(5).fill(name),
      });
    }
  });

  test('forbids launches outside of it where it is strict, until it ends', async () => {
    const { outside, start } = standingOutside();
    {
      using dry = dryRun({ strict: true });
      await absent().run();
      start();
      await expect(outside).resolves.toMatchObject({
        message:
          'Mistake in `vircommand-no-such-program outside`: dryRun({ strict: true }): a strict dryRun() stands, and this command came from outside its scope; enter a dryRun() where the command is started.',
      });
      expect(dry.commands).toEqual(['vircommand-no-such-program']);
    }
    await isReal(absent().run());
  });

  test('lets launches outside of it be where it is not strict', async () => {
    const { outside, start } = standingOutside();
    using dry = dryRun();
    start();
    expect(await outside).toBeInstanceOf(LaunchError);
    expect(dry.commands).toEqual([]);
  });

  test('can be ended twice, and counts once', async () => {
    const { outside, start } = standingOutside();
    const first = dryRun({ strict: true });
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    {
      using _second = dryRun({ strict: true });
      start();
      expect(await outside).toBeInstanceOf(UsageError);
    }
    await isReal(absent().run());
  });

  /** A run that begins where no dry run reaches, when it is told to; it resolves with its error. */
  function standingOutside(): { outside: Promise<unknown>; start: () => void } {
    let start: () => void = () => undefined;
    const told = new Promise<void>((resolve) => (start = resolve));
    const outside = told.then(() => absent('outside').run()).catch((error: unknown) => error);
    return { outside, start };
  }
});

describe('a dry run of what waits', () => {
  test('answers runSync() at once, and refuses a promise there', () => {
    using dry = dryRun({ respond: ({ argv }) => (argv[1] === 'later' ? Promise.resolve({}) : { stdout: 'answer' }) });
    expect(absent().outputBuffer().runSync().stdout).toBe('answer');
    expect(() => absent('later').runSync()).toThrow('respond() gave a promise, and runSync() cannot wait for one');
    expect(dry.commands).toHaveLength(2);
  });

  test('shakes hands', async () => {
    using dry = dryRun();
    const child = await absent().requireHandshake().runAsync();
    await child.handshakeWait();
    await child.handshakeNotify();
    await child.wait();
    const daemon = await absent().daemonize().requireHandshake().run();
    await daemon.handshakeNotify();
    expect(dry.commands).toHaveLength(2);
  });

  test.for([
    [{ exitCode: 'x' }, 'exit code'],
    [{ signal: 'SIGKIL' }, 'signal'],
    [{ stdout: 5 }, 'as stdout 5'],
    ['text', "'text'; give an object with any of: exitCode, signal, stdout, stderr"],
  ] as const)('refuses the answer %o', async ([answer, what]) => {
    using _dry = dryRun({ respond: () => answer as never });
    await expect(absent().run()).rejects.toThrow(new RegExp(`respond\\(\\) gave (the )?${what}`));
  });
});
