import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Command, ExitError, LaunchError, pidAbort, pidWait, UsageError } from '../../src/index.js';
import { dryRun, running, type RunningOptions } from '../../src/testing.js';
import { playing } from '../helpers/played.js';
import { rejection } from '../helpers/tools.js';

const absent = (...args: string[]) => new Command('vircommand-no-such-program', ...args);

afterEach(() => {
  vi.useRealTimers();
});

describe('running() goes on', () => {
  test('until it is signaled, and each process has a pid of its own', async () => {
    const { dry, last } = playing();
    using _dry = dry;
    const [one, two] = [await absent().runAsync(), await absent().runAsync()];
    expect(one.pid).not.toBe(two.pid);
    expect(() => process.kill(one.pid, 0)).toThrow('ESRCH');
    expect([last().pid, last().isRunning, inspect(last())]).toEqual([
      two.pid,
      true,
      `PlayedProgram { pid ${two.pid}, running }`,
    ]);
    expect(two.signal('SIGTERM')).toBe(true);
    expect(await two.wait({ check: false })).toMatchObject({ exitCode: null, signal: 'SIGTERM', pid: two.pid });
    expect([two.signal('SIGTERM'), last().isRunning, last().signals]).toEqual([false, false, ['SIGTERM']]);
    await one.abort();
    const error = await rejection(ExitError, one.wait());
    expect([error.reason, error.result.signal]).toEqual(['aborted', 'SIGTERM']);
    expect(dry.kills).toEqual([
      { call: 'signal', pid: two.pid, signal: 'SIGTERM' },
      { call: 'abort', pid: one.pid, signal: 'SIGTERM' },
    ]);
  });

  test('until the test has it end', async () => {
    const { dry, last } = playing();
    using _dry = dry;
    const exiting = absent()
      .outputBuffer()
      .run({ check: [3] });
    await Promise.resolve();
    last().write('last words');
    last().exit(3);
    last().write('and more');
    last().exit(4);
    expect(await exiting).toMatchObject({ exitCode: 3, stdout: 'last words' });
    const child = await absent().outputBuffer().errorBuffer().runAsync();
    last().end({ signal: 'SIGSEGV', stderr: 'oh' });
    expect(await child.wait({ check: false })).toMatchObject({ signal: 'SIGSEGV', stdout: '', stderr: 'oh' });
  });

  // SIGHUP as systemd's ExecReload has it, and what signal(7) has no action for.
  test.each(['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCHLD', 'SIGCONT', 'SIGSTOP', 'SIGWINCH'] as const)(
    'when it is sent %s, which asks no service to end',
    async (signal) => {
      const { dry, last } = playing({ onSignal: () => undefined });
      using _dry = dry;
      const child = await absent().runAsync();
      expect(child.signal(signal)).toBe(true);
      expect(last().isRunning).toBe(true);
      expect(child.signal('SIGRTMIN+1')).toBe(true);
      expect(await child.wait({ check: false })).toMatchObject({ signal: 'SIGRTMIN+1' });
      expect(last().signals).toEqual([signal, 'SIGRTMIN+1']);
    },
  );

  test('to the end of the dry run, which ends it', async () => {
    let child;
    {
      using _dry = playing().dry;
      child = await absent().runAsync();
    }
    expect(await child.wait({ check: false })).toMatchObject({ signal: 'SIGTERM' });
  });

  test('also after this process has let it go, and is known by its pid', async () => {
    const { dry } = playing();
    using _dry = dry;
    const pid = (await absent().runAsync()).release();
    await pidAbort(pid);
    expect(dry.kills).toEqual([{ call: 'pidAbort', pid, signal: 'SIGTERM' }]);
    expect(await rejection(ExitError, pidWait(pid))).toMatchObject({ reason: 'aborted' });
    await pidAbort(pid);
    expect(dry.kills).toHaveLength(1);
  });
});

describe('onSignal() answers', () => {
  test('with an end, with words, with nothing, or by ignoring it', async () => {
    const seen: string[] = [];
    const { dry } = playing({
      onSignal(signal) {
        seen.push(signal);
        if (signal === 'SIGHUP') return { stdout: 'read again\n' };
        if (signal === 'SIGINT') return 'ignore';
        return signal === 'SIGTERM' ? { exitCode: 7, stdout: 'bye\n' } : undefined;
      },
    });
    using _dry = dry;
    const child = await absent().outputPipe().runAsync();
    child.signal('SIGHUP');
    child.signal('SIGINT');
    expect(await child.stop()).toMatchObject({ exitCode: 7, signal: null });
    expect(seen).toEqual(['SIGHUP', 'SIGINT', 'SIGTERM']);
    expect(await text(child.stdout)).toBe('read again\nbye\n');
    const other = await absent().runAsync();
    other.signal('SIGQUIT');
    expect(await other.wait({ check: false })).toMatchObject({ signal: 'SIGQUIT' });
  });

  // What push() and add() give: a function that only takes notes answers nothing.
  test.each([undefined, null, 1, true, 'text', new Set(['SIGTERM']), {}, { stdout: undefined }])(
    'with %o, which is no answer',
    async (answer) => {
      using _dry = playing({ onSignal: () => answer as never }).dry;
      const child = await absent().runAsync();
      expect(await child.stop()).toMatchObject({ signal: 'SIGTERM' });
    },
  );

  test('later', async () => {
    const { dry } = playing({ onSignal: async () => ({ exitCode: 0 }) });
    using _dry = dry;
    const child = await absent().runAsync();
    expect(await child.stop()).toMatchObject({ exitCode: 0 });
  });

  test('nothing to SIGKILL, which no program sees', async () => {
    const { dry, last } = playing({ onSignal: () => 'ignore' });
    using _dry = dry;
    const child = await absent().runAsync();
    child.signal('SIGTERM');
    child.signal('SIGKILL');
    const error = await rejection(ExitError, child.wait());
    expect(error.message).toContain('was ended by SIGKILL');
    expect(error.message).toContain('This process sent it, by signal().');
    expect(last().signals).toEqual(['SIGTERM', 'SIGKILL']);
  });

  test.each([
    [
      'at once',
      () => {
        throw new RangeError('not so');
      },
    ],
    [
      'later',
      async () => {
        throw new RangeError('not so');
      },
    ],
  ])('by throwing %s, which is told to who waits', async (_, onSignal) => {
    using _dry = playing({ onSignal }).dry;
    const child = await absent().runAsync();
    child.signal('SIGHUP');
    await expect(child.wait()).rejects.toThrow(new RangeError('not so'));
  });

  test('by throwing, which the end of the dry run tells where nobody has waited', async () => {
    const { dry } = playing({
      onSignal() {
        throw new RangeError('not so');
      },
    });
    (await absent().runAsync()).signal('SIGHUP');
    expect(() => dry[Symbol.dispose]()).toThrow(new RangeError('not so'));
    expect(() => dry[Symbol.dispose]()).not.toThrow();
  });

  test.each([
    [{ exitCode: 'x' }, "onSignal() gave the exit code 'x'; it is a whole number."],
    [{ signal: 'SIGKIL' }, "onSignal() gave the signal 'SIGKIL'; write its name, as 'SIGTERM'."],
    [{ stdout: 5 }, 'onSignal() gave as stdout 5; give a string, a Buffer or a Uint8Array.'],
  ])('with %o, which is none', async (answer, message) => {
    using _dry = playing({ onSignal: () => answer as never }).dry;
    const child = await absent().runAsync();
    child.signal('SIGHUP');
    await expect(child.wait()).rejects.toThrow(new TypeError(message));
  });
});

describe('the streams of running()', () => {
  test('carry what it writes, and what is written to it', async () => {
    let isOver = false;
    const { dry, last } = playing({
      stdout: 'ready\n',
      stderr: Buffer.from('warned\n'),
      onInput: (line, program) => {
        if (line === 'stop\n') program.exit();
        return { stdout: line.toUpperCase(), stderr: `${line.length}\n` };
      },
      onInputEnd: () => {
        isOver = true;
        return { exitCode: 2 };
      },
    });
    using _dry = dry;
    const child = await absent().inputPipe().outputPipe().errorPipe().runAsync();
    expect(String((await once(child.stdout, 'data'))[0])).toBe('ready\n');
    const letters = Buffer.from('é');
    child.stdin.write(letters.subarray(0, 1));
    child.stdin.write(letters.subarray(1));
    expect(String((await once(child.stdout, 'data'))[0])).toBe('É');
    last().writeError('later\n');
    child.stdin.write('stop\n');
    expect(await child.wait()).toMatchObject({ exitCode: 0 });
    expect(await text(child.stderr)).toBe('warned\n1\nlater\n');
    expect([child.stdin.destroyed, isOver]).toEqual([true, false]);
    const other = await absent().inputPipe().runAsync();
    other.stdin.end('x');
    expect(await other.wait({ check: false })).toMatchObject({ exitCode: 2 });
    expect(isOver).toBe(true);
  });

  test('share a descriptor where the command says so', async () => {
    const { dry } = playing({ stdout: 'out ', stderr: 'err', onSignal: () => ({ exitCode: 0, stderr: ' end' }) });
    using _dry = dry;
    const child = await absent().outputPipe().errorToOutput().runAsync();
    await child.stop();
    expect(await text(child.stdout)).toBe('out err end');
  });

  test('reach buffers while it runs, and the text of inputBuffer() reaches it', async () => {
    const { dry } = playing({ onInput: (input) => ({ stdout: `<${input}>` }), onInputEnd: () => ({ exitCode: 0 }) });
    using _dry = dry;
    expect(await absent().inputBuffer('héllo').outputBuffer().run()).toMatchObject({
      stdout: '<héllo>',
      inputWritten: 6,
    });
  });

  test('are cut by an output limit, which stops it', async () => {
    const { dry, last } = playing({ stdout: 'abc' });
    using _dry = dry;
    const child = await absent().outputBuffer().outputLimit(4, 'kill').runAsync();
    last().write('def');
    expect(await rejection(ExitError, child.wait())).toMatchObject({
      reason: 'output-limit',
      result: { stdout: 'abcd' },
    });
    expect(last().signals).toEqual(['SIGTERM']);
  });

  test('are closed by free()', async () => {
    const { dry, last } = playing();
    using _dry = dry;
    {
      await using child = await absent().inputPipe().outputPipe().runAsync();
      expect(child.stdout.destroyed).toBe(false);
    }
    expect([last().isRunning, last().signals]).toEqual([false, ['SIGTERM']]);
  });
});

describe('the time of running() is the time of the test', () => {
  const stubborn: RunningOptions = { onSignal: () => 'ignore' };

  test('fake timers bring its timeout, and its stop sequence', async () => {
    vi.useFakeTimers();
    const { dry, last } = playing(stubborn);
    using _dry = dry;
    const ended = rejection(
      ExitError,
      absent()
        .timeout(60_000)
        .stopSequence([
          ['SIGINT', 1000],
          ['SIGTERM', 2000],
        ])
        .run(),
    );
    await vi.advanceTimersByTimeAsync(59_999);
    expect(last().signals).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(last().signals).toEqual(['SIGINT']);
    await vi.advanceTimersByTimeAsync(1000);
    expect(last().signals).toEqual(['SIGINT', 'SIGTERM']);
    await vi.advanceTimersByTimeAsync(2000);
    const error = await ended;
    expect([error.reason, error.result.timedOut, error.result.durationMs]).toEqual(['timeout', true, 63_000]);
    expect(error.message).toMatch(
      /did not finish within 1 min 0 s\. It ignored SIGINT and SIGTERM for 3 s and was ended by SIGKILL\.$/,
    );
  });

  test('a tree that is stopped is the played process alone, and its signals come by the timers of the test', async () => {
    vi.useFakeTimers();
    const { dry, last } = playing(stubborn);
    using _dry = dry;
    const ended = rejection(ExitError, absent().timeout(1000, { tree: true }).run());
    await vi.advanceTimersByTimeAsync(1000);
    expect(last().signals).toEqual(['SIGTERM']);
    await vi.advanceTimersByTimeAsync(5000);
    const { result, message } = await ended;
    expect(result.tree).toMatchObject({ level: 'walk', ended: [result.pid], survivors: [], isComplete: true });
    expect(message).toMatch(/Its tree was ended by a walk from parent to child\.$/);
    const child = await absent().runAsync();
    expect((await child.stop({ sequence: [['SIGKILL', 0]] })).tree).toBeUndefined();
    expect((await child.stop({ tree: true })).tree).toMatchObject({ ended: [], isComplete: true });
  });

  test('time that was over before anybody waited is over', async () => {
    vi.useFakeTimers();
    using _dry = playing().dry;
    const ended = rejection(ExitError, absent().timeout(1000).run());
    vi.advanceTimersByTime(1000);
    expect(await ended).toMatchObject({ reason: 'timeout' });
  });

  // node:test's mock.timers replace the timers, and not performance.now().
  test('timers alone may be fake, and the clock real', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { dry, last } = playing(stubborn);
    using _dry = dry;
    const ended = rejection(ExitError, absent().timeout(60_000).run());
    await vi.advanceTimersByTimeAsync(60_000);
    expect(last().signals).toEqual(['SIGTERM']);
    await vi.advanceTimersByTimeAsync(5000);
    const error = await ended;
    expect([error.reason, error.result.durationMs >= 65_000]).toEqual(['timeout', true]);
  });

  test('without fake timers it passes by itself', async () => {
    using _dry = playing(stubborn).dry;
    const ended = absent()
      .timeout(20)
      .stopSequence([['SIGTERM', 10]])
      .run();
    expect(await rejection(ExitError, ended)).toMatchObject({ reason: 'timeout', result: { signal: 'SIGKILL' } });
  });

  test('a real program beside it has its own', async () => {
    const real = new Command('sleep', '0.05').timeout(20_000).run();
    vi.useFakeTimers();
    using _dry = playing().dry;
    const ended = rejection(ExitError, absent().timeout(30_000).run());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await ended).toMatchObject({ reason: 'timeout' });
    expect(await real).toMatchObject({ exitCode: 0 });
  });

  test('an abort signal stops it', async () => {
    using _dry = playing().dry;
    const abort = new AbortController();
    const ended = absent().abortSignal(abort.signal).run();
    abort.abort(new Error('no longer wanted'));
    expect(await rejection(ExitError, ended)).toMatchObject({
      reason: 'aborted',
      message: /no longer wanted\. It was ended by SIGTERM\.$/,
    });
  });

  test('runSync() lets its time pass at once', () => {
    const { dry, last } = playing(stubborn);
    using _dry = dry;
    let error: unknown;
    try {
      absent().timeout(3_600_000).runSync();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ reason: 'timeout', result: { signal: 'SIGKILL' } });
    expect(last().signals).toEqual(['SIGTERM', 'SIGKILL']);
    expect(() => absent().runSync()).toThrow(
      new TypeError(
        'respond() gave running(), and runSync() would wait for ever; say timeout(), or how the program ends.',
      ),
    );
  });
});

describe('a handshake with running()', () => {
  test('comes before its first words, and before its signals', async () => {
    const { dry, last } = playing({ stdout: 'begun\n' });
    using _dry = dry;
    const child = await absent().requireHandshake().outputBuffer().runAsync();
    await child.handshakeWait();
    // A process before its exec has every signal blocked.
    child.signal('SIGTERM');
    expect(last().isRunning).toBe(true);
    await child.handshakeNotify();
    expect(await child.wait({ check: false })).toMatchObject({ stdout: '', signal: 'SIGTERM' });
    await expect(child.handshakeNotify()).rejects.toThrow(UsageError);
    const other = await absent().requireHandshake().outputBuffer().runAsync();
    await other.handshakeNotify();
    last().exit();
    expect(await other.wait()).toMatchObject({ stdout: 'begun\n' });
  });

  test('that never comes leaves a program that never ran', async () => {
    using _dry = playing().dry;
    const child = await absent().requireHandshake().runAsync();
    await child.abort();
    expect(await rejection(LaunchError, child.wait())).toMatchObject({ step: 'execve' });
  });
});

describe('a mistake with running()', () => {
  test.each([
    [{ stdout: 5 }, 'what a program writes is a string, a Buffer or a Uint8Array'],
    [{ onSignal: 'ignore' }, 'onSignal is a function'],
    [{ onsignal: () => 0 }, 'there is no such option; there are: stdout, stderr, onSignal, onInput, onInputEnd'],
  ])('in its options %o is a TypeError', (options, words) => {
    expect(() => running(options as never)).toThrow(words);
  });

  test('is to play one twice, or to have it act before it is launched', async () => {
    const program = running();
    expect(inspect(program)).toBe('PlayedProgram { not launched }');
    expect([program.pid, program.isRunning, program.signals]).toEqual([undefined, false, []]);
    expect(() => program.exit()).toThrow(/^end\(\): this program has not been launched/);
    using _dry = dryRun({ respond: () => program });
    await absent().runAsync();
    await expect(absent().runAsync()).rejects.toThrow('call running() in each answer');
    expect(() => program.write(5 as never)).toThrow(TypeError);
  });
});
