import { existsSync } from 'node:fs';
import { type Child, Command, ExitError, LaunchError, pidAbort, type StopSequence } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, exists, FOREVER, processStat, rejection, sh, useDirectory } from '../helpers/tools.js';

/** Too short for `sleep`. */
const SHORT_MS = 50;

/** Time enough for a shell to set its traps on a busy machine. */
const SETUP_MS = 1500;

/** Long enough to tell an escalation from none, short enough to wait for. */
const GRACE_MS = 200;

/** Too long for a test to wait for: a promise that settles has not waited for it. */
const LONG_MS = 1_000_000;

const sleep = (): Command => new Command('sleep', FOREVER);

/** A program that ignores SIGTERM, and says when it does. */
const stubborn = (): Command => sh(`trap '' TERM; echo ready; exec sleep ${FOREVER}`);

/** A program that exits with code 0 when it is asked to end, and says when it listens. No signal makes it leave a process behind. */
const polite = (): Command => sh(`trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`);

/** A program that takes longer to tidy up than libvirt's 10 ms, and exits with code 3 then. SIGTERM it ignores. */
const tidier = (): Command =>
  sh(
    `trap '' TERM; trap 'sleep 0.2; echo tidy >&2; exit 3' INT; echo ready; while :; do sleep 0.01; done`,
  ).errorBuffer();

/** Time enough for it. */
const patient: StopSequence = [['SIGINT', LONG_MS]];

/** Starts a program, and waits for the first thing that it says. */
async function ready(command: Command): Promise<Child> {
  const child = await command.outputPipe().runAsync();
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

export function stoppingContract(): void {
  describe('a program that is stopped', () => {
    test('by its timeout: the promise rejects when it is dead and reaped', async () => {
      const error = await rejection(ExitError, sleep().timeout(SHORT_MS).run());
      expect(exists(error.result.pid)).toBe(false);
      expect(error).toMatchObject({
        reason: 'timeout',
        result: { exitCode: null, signal: 'SIGTERM', rawStatus: 15, timedOut: true },
      });
      expect(error.message).toBe(`\`sleep ${FOREVER}\` did not finish within ${SHORT_MS} ms. It was ended by SIGTERM.`);
      expect(error.result.durationMs).toBeGreaterThanOrEqual(SHORT_MS - 1);
    });

    test('by its abort signal: the reason is the cause', async () => {
      const controller = new AbortController();
      const child = await sleep().abortSignal(controller.signal).runAsync();
      const reason = new Error('no longer needed');
      controller.abort(reason);
      const error = await rejection(ExitError, child.wait());
      expect(exists(child.pid)).toBe(false);
      expect(error).toMatchObject({ reason: 'aborted', cause: reason, result: { signal: 'SIGTERM', timedOut: false } });
      expect(error.message).toMatch(/^`sleep 600` was aborted after .*: no longer needed\. It was ended by SIGTERM\.$/);
    });

    test('by abort(): it is dead when abort() resolves, and wait() tells why', async () => {
      const child = await ready(stubborn());
      await child.abort();
      expect(exists(child.pid)).toBe(false);
      const error = await rejection(ExitError, child.wait());
      expect(error).toMatchObject({ reason: 'aborted', result: { signal: 'SIGKILL', timedOut: false } });
    });

    test.for(['timeout', 'abort signal', 'abort()'] as const)(
      'rejects though every end is accepted: %s',
      async (by) => {
        const controller = new AbortController();
        const child = await sleep()
          .timeout(by === 'timeout' ? SHORT_MS : LONG_MS)
          .abortSignal(controller.signal)
          .runAsync();
        if (by === 'abort signal') controller.abort();
        if (by === 'abort()') void child.abort();
        await rejection(ExitError, child.wait({ check: false }));
      },
    );

    test('is ended by SIGKILL where it ignores SIGTERM for as long as it is given', async () => {
      const command = stubborn()
        .timeout(SETUP_MS)
        .stopSequence([
          ['SIGTERM', GRACE_MS],
          ['SIGKILL', 0],
        ]);
      const error = await rejection(ExitError, command.run());
      expect(error).toMatchObject({ reason: 'timeout', result: { signal: 'SIGKILL', timedOut: true } });
      expect(exists(error.result.pid)).toBe(false);
      expect(error.message).toMatch(
        /did not finish within 1\.5 s\. It ignored SIGTERM for \d+ ms and was ended by SIGKILL\.$/,
      );
    });

    test('has timed out also where it exits with code 0 in its grace', async () => {
      const error = await rejection(ExitError, polite().timeout(SETUP_MS).run());
      expect(error).toMatchObject({ reason: 'timeout', result: { exitCode: 0, signal: null, timedOut: true } });
      expect(error.message).toMatch(/It exited with code 0 after SIGTERM\.$/);
    });

    test('was aborted also where it exits with code 0 in its grace', async () => {
      const controller = new AbortController();
      const child = await ready(polite().abortSignal(controller.signal));
      controller.abort();
      const error = await rejection(ExitError, child.wait({ check: false }));
      expect(error).toMatchObject({ reason: 'aborted', result: { exitCode: 0, signal: null, timedOut: false } });
    });

    test('ends even where it was halted by SIGSTOP', async () => {
      const command = sh('kill -STOP $$')
        .timeout(SETUP_MS)
        .stopSequence([
          ['SIGTERM', GRACE_MS],
          ['SIGKILL', 0],
        ]);
      const error = await rejection(ExitError, command.run());
      expect(error).toMatchObject({ reason: 'timeout', result: { signal: 'SIGKILL' } });
      expect(exists(error.result.pid)).toBe(false);

      const child = await sleep().runAsync();
      child.signal('SIGSTOP');
      await eventually('it is halted', () => processStat(child.pid)?.state === 'T');
      await child.abort();
      expect(exists(child.pid)).toBe(false);
    });

    test('gets the signals of its stop sequence in their order, and SIGKILL in the end', async () => {
      const script = `for s in INT USR1 TERM; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.01; done`;
      const controller = new AbortController();
      const child = await sh(script)
        .stopSequence([
          ['SIGINT', GRACE_MS],
          ['SIGUSR1', GRACE_MS],
          ['SIGTERM', GRACE_MS],
        ])
        .abortSignal(controller.signal)
        .outputPipe()
        .runAsync();
      let said = '';
      for await (const chunk of child.stdout) {
        said += String(chunk);
        if (said === 'ready\n') controller.abort();
      }
      const error = await rejection(ExitError, child.wait());
      expect([said, error.result.signal]).toEqual(['ready\nINT\nUSR1\nTERM\n', 'SIGKILL']);
      expect(error.message).toMatch(/It ignored SIGINT and SIGUSR1 and SIGTERM for .* and was ended by SIGKILL\.$/);
    });

    test('can be stopped by a real-time signal', async () => {
      const controller = new AbortController();
      const child = await sleep()
        .stopSequence([['SIGRTMIN+1', LONG_MS]])
        .abortSignal(controller.signal)
        .runAsync();
      controller.abort();
      await rejection(ExitError, child.wait());
      expect(exists(child.pid)).toBe(false);
    });

    test('does not wait out its grace when it has ended', async () => {
      const command = sleep()
        .timeout(SHORT_MS)
        .stopSequence([
          ['SIGTERM', LONG_MS],
          ['SIGKILL', 0],
        ]);
      await rejection(ExitError, command.run());
    });

    test('is hastened by abort() while it is in its grace', async () => {
      const controller = new AbortController();
      const child = await ready(
        stubborn()
          .abortSignal(controller.signal)
          .stopSequence([['SIGTERM', LONG_MS]]),
      );
      controller.abort();
      await child.abort();
      expect(exists(child.pid)).toBe(false);
      await rejection(ExitError, child.wait());
    });
  });

  // Bun's and execa's kill() resolve with nothing; subprocess.Popen of Python has terminate() and wait() for it.
  describe('stop()', () => {
    test.each<[string, Command, StopSequence | undefined, object]>([
      ['an exit code', polite(), undefined, { exitCode: 0, signal: null }],
      ['another exit code', tidier(), patient, { exitCode: 3, signal: null, stderr: 'tidy\n' }],
      ['a signal', polite(), [['SIGUSR1', LONG_MS]], { exitCode: null, signal: 'SIGUSR1' }],
      ['its own SIGKILL', stubborn(), [['SIGTERM', GRACE_MS]], { exitCode: null, signal: 'SIGKILL' }],
    ])('resolves with the result of a program that ends by %s', async (_how, command, sequence, end) => {
      const child = await ready(command);
      const result = await child.stop({ sequence });
      expect(exists(child.pid)).toBe(false);
      expect(result).toMatchObject({ pid: child.pid, timedOut: false, ...end });
      // Said again, it is the same; and who waits hears that it was our doing.
      expect(await child.stop()).toBe(result);
      const error = await rejection(ExitError, child.wait({ check: false }));
      expect([error.reason, error.result]).toEqual(['aborted', result]);
    });

    test('gives the result of a program that has ended by itself, which was not aborted', async () => {
      const child = await sh('exit 4').runAsync();
      const result = await child.wait({ check: false });
      expect(await child.stop()).toBe(result);
      expect(await child.wait({ check: false })).toBe(result);
    });

    test("obeys the command's stop sequence, and a sequence of its own begins at once", async () => {
      const said = await ready(tidier().stopSequence(patient));
      expect(await said.stop()).toMatchObject({ exitCode: 3 });
      const hastened = await ready(stubborn().stopSequence([['SIGTERM', LONG_MS]]));
      void hastened.stop();
      expect(await hastened.stop({ sequence: [['SIGKILL', 0]] })).toMatchObject({ signal: 'SIGKILL' });
    });

    test('resolves where a timeout has begun to stop the program', async () => {
      const child = await ready(tidier().timeout(SETUP_MS).stopSequence(patient));
      const error = await rejection(ExitError, child.wait());
      expect(await child.stop()).toBe(error.result);
      expect(error.result).toMatchObject({ exitCode: 3, timedOut: true });
    });

    test.each([
      [{ sequence: [] }, 'stop({ sequence: [] }): give pairs'],
      [{ sequence: [['SIGNOPE', 1]] }, "signals are named, as 'SIGTERM'"],
      [{ sequence: [['SIGTERM', -1]] }, 'give pairs of a signal and milliseconds'],
      [{ force: true }, 'there is no such option'],
      ['SIGTERM', 'options are an object'],
    ])('refuses %j, and stops nothing', async (options, words) => {
      const child = await sleep().runAsync();
      const error = await rejection(TypeError, child.stop(options as never));
      expect(error.message).toContain(words);
      expect(child.signal('SIGCONT')).toBe(true);
      await child.abort();
    });
  });

  // systemd's TimeoutStopSec= holds for every stop of a service, whoever asks for it.
  describe('a stop sequence is obeyed', () => {
    test.each<[string, (child: Child) => Promise<unknown>]>([
      ['abort()', (child) => child.abort()],
      ['two calls of abort()', (child) => Promise.all([child.abort(), child.abort()])],
      ['pidAbort()', (child) => pidAbort(child.pid)],
      ['free()', (child) => child.free()],
      ['abort() and free()', (child) => Promise.all([child.abort(), child.free()])],
      [
        'the end of an await using block',
        async (child) => {
          await using held = child;
          return held.pid;
        },
      ],
      // A stop that has its time is not cut short by the end of a block.
      ['stop() and then free()', (child) => Promise.all([child.stop(), child.free()])],
    ])('by %s', async (_what, end) => {
      const child = await ready(tidier().stopSequence(patient));
      await end(child);
      expect(exists(child.pid)).toBe(false);
      const { result } = await rejection(ExitError, child.wait());
      expect(result).toMatchObject({ exitCode: 3, stderr: 'tidy\n' });
    });

    test('by an abort signal whose block ends meanwhile', async () => {
      const controller = new AbortController();
      const child = await ready(tidier().stopSequence(patient).abortSignal(controller.signal));
      controller.abort();
      await child.free();
      expect((await rejection(ExitError, child.wait())).result).toMatchObject({ exitCode: 3 });
    });

    test('also where a stop() with a sequence of its own is under way when the block ends', async () => {
      const child = await ready(tidier());
      void child.stop({ sequence: patient });
      await child.free();
      expect((await rejection(ExitError, child.wait())).result).toMatchObject({ exitCode: 3 });
    });

    // Its last words would fill the pipe that nobody reads any more.
    test('where the program writes much before it ends, into a pipe that nobody reads', async () => {
      const script = `trap 'head -c 300000 /dev/zero; exit 3' INT; echo >&2 ready; while :; do sleep 0.01; done`;
      const child = await sh(script).stopSequence(patient).outputPipe().errorPipe().runAsync();
      await new Promise((resolve) => child.stderr.once('data', resolve));
      await child.free();
      expect((await rejection(ExitError, child.wait())).result).toMatchObject({ exitCode: 3 });
    });
  });

  describe('an abort at the wrong time', () => {
    const path = useDirectory();

    test.for<[string, (command: Command) => Promise<unknown>]>([
      ['run()', (command) => command.run()],
      ['runAsync()', (command) => command.runAsync()],
      ['run() of a daemon', (command) => command.daemonize().run()],
    ])('starts nothing when it came before the start: %s', async ([, run]) => {
      const reason = new Error('too late');
      const error = await rejection(
        LaunchError,
        run(sh('touch "$1"', path('started')).abortSignal(AbortSignal.abort(reason))),
      );
      expect(error).toMatchObject({ step: 'abort', reason: 'aborted', cause: reason, errno: undefined });
      expect(error.message).toContain('its signal was aborted before the start: too late.');
      // A program that was started all the same would be done before this one is.
      await sh('sleep 0.1').run();
      expect(existsSync(path('started'))).toBe(false);
    });

    test('has no effect after the end', async () => {
      const controller = new AbortController();
      const child = await sh('exit 0').abortSignal(controller.signal).runAsync();
      const result = await child.wait();
      controller.abort();
      await child.abort();
      expect(await child.wait()).toBe(result);
      expect(result).toMatchObject({ exitCode: 0, signal: null, timedOut: false });
    });

    test('has an effect once', async () => {
      const child = await ready(stubborn());
      await Promise.all([child.abort(), child.abort()]);
      await child.abort();
      const [first, second] = await Promise.all([
        rejection(ExitError, child.wait()),
        rejection(ExitError, child.wait({ check: false })),
      ]);
      expect(first).toBe(second);
    });

    test('during the start stops the program that was being started', async () => {
      const controller = new AbortController();
      const running = sleep().abortSignal(controller.signal).run();
      controller.abort();
      const error = await running.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({ reason: 'aborted' });
      if (error instanceof ExitError) expect(exists(error.result.pid)).toBe(false);
    });
  });
}
