import { Command, ExitError, LaunchError, OutputError, pipeline, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { FOREVER, rejection, sh } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

const SHORT_MS = 100;
/** No program of these tests is silent for so long, on a busy machine either. */
const LONG_MS = 20_000;

/** What `timeout` has been asked to do for long: GNU's has no such option, and execa neither; a watchdog of systemd (WatchdogSec=) is the nearest. */
export function silenceContract({ name }: EngineUnderTest): void {
  const ways: readonly (readonly [string, (command: Command) => Promise<unknown>])[] = [
    ['run()', (command) => command.run()],
    ['runAsync()', async (command) => (await command.outputBuffer().runAsync()).wait()],
    ...(name === 'native'
      ? ([['runSync()', async (command: Command) => Promise.resolve(command.runSync())]] as const)
      : []),
  ];

  describe('silence', () => {
    test.each(ways)('stops a program that writes nothing for so long, by its stop sequence: %s', async (_way, run) => {
      const command = sh('trap \'kill $!; exit 7\' INT; echo one; sleep "$1" & wait', FOREVER)
        .stopSequence([['SIGINT', LONG_MS]])
        .silenceTimeout(SHORT_MS);
      const error = await rejection(ExitError, run(command));
      expect([error.reason, error.result.exitCode, error.result.timedOut]).toEqual(['silence', 7, false]);
      expect(error.message).toContain('wrote nothing for 100 ms. It exited with code 7 after SIGINT.');
    });

    test.each(ways)('is broken by each piece of output, on either stream: %s', async (_way, run) => {
      // Together far longer than the time of silence, and each pause far shorter.
      const command = sh('for i in 1 2 3 4 5 6 7 8; do echo $i >&$((i % 2 + 1)); sleep 0.2; done').silenceTimeout(1500);
      await run(command);
    });

    test('is that of the pipes that the caller reads, too', async () => {
      const child = await sh('echo one; exec sleep "$1"', FOREVER).outputPipe().silenceTimeout(SHORT_MS).runAsync();
      const lines = [];
      for await (const line of child.lines()) lines.push(line);
      expect(lines).toEqual(['one']);
      expect((await rejection(ExitError, child.wait())).reason).toBe('silence');
    });

    test('does not count while the caller lets output lie', async () => {
      const child = await sh('seq 1 100000').outputPipe().silenceTimeout(SHORT_MS).runAsync();
      await new Promise((resolve) => setTimeout(resolve, 5 * SHORT_MS));
      let count = 0;
      for await (const line of child.lines()) count += Number(line) > 0 ? 1 : 0;
      expect(count).toBe(100_000);
      await child.wait();
    });

    test('and time: the shorter one is the reason', async () => {
      const sleep = (): Command => new Command('sleep', FOREVER);
      const late = await rejection(ExitError, sleep().timeout(SHORT_MS).silenceTimeout(LONG_MS).run());
      const silent = await rejection(ExitError, sleep().timeout(LONG_MS).silenceTimeout(SHORT_MS).run());
      expect([late.reason, silent.reason]).toEqual(['timeout', 'silence']);
    });

    test('is that of the last stage of a pipeline; of another nobody hears', async () => {
      const speaking = (): Command => sh('while echo x; do sleep 0.05; done');
      const silent = sh('exec sleep "$1"', FOREVER).outputBuffer().silenceTimeout(SHORT_MS);
      const error = await rejection(ExitError, pipeline(speaking(), silent).timeout(LONG_MS).run());
      expect(error.reason).toBe('silence');
      const unheard = await rejection(
        UsageError,
        pipeline(speaking().silenceTimeout(SHORT_MS), new Command('cat')).run(),
      );
      expect(unheard.message).toContain('say it of the last stage');
    });

    test('of output that goes elsewhere is a mistake, and so is a time that is none', async () => {
      const file = new Command('true').outputFile('/dev/null').errorToOutput().silenceTimeout(SHORT_MS);
      expect((await rejection(UsageError, file.run())).message).toContain('so it would always be silent');
      for (const ms of [0, -1, NaN, '5' as unknown as number, 2 ** 31])
        await rejection(UsageError, new Command('true').silenceTimeout(ms).run());
      const twice = new Command('true').silenceTimeout(1).silenceTimeout(2);
      await rejection(UsageError, twice.run());
      await new Command('true').silenceTimeout(undefined).run();
      await rejection(LaunchError, new Command('/nowhere').silenceTimeout(SHORT_MS).run());
    });
  });

  describe('captured text', () => {
    const printf = (text: string): Command => new Command('printf', text);

    test('ends before its last newline where that is asked, and bytes are left alone', async () => {
      const stripped = async (text: string): Promise<string> =>
        (await printf(text).outputBuffer({ stripFinalNewline: true }).run()).stdout;
      expect(await Promise.all(['a\\n', 'a\\r\\n', 'a\\n\\n', 'a', '', '\\n'].map(stripped))).toEqual([
        'a',
        'a',
        'a\n',
        'a',
        '',
        '',
      ]);
      await rejection(UsageError, printf('a').outputBuffer({ encoding: 'buffer', stripFinalNewline: true }).run());
    });

    test.each([
      ['a byte that begins no character', 'ab\\377c', 'utf8', 2],
      ['a character that is cut by the end', 'na\\303', 'utf8', 2],
      ['a character that is cut by another', 'a\\303b', 'utf8', 1],
      ['half of a unit', 'a\\000b', 'utf16le', 2],
    ] as const)(
      'that is to be right is an error that tells the place of %s',
      async (_what, bytes, encoding, offset) => {
        const error = await rejection(OutputError, printf(bytes).outputBuffer({ fatal: true, encoding }).run());
        expect(error).toMatchObject({ reason: 'not-text', stream: 'stdout' });
        expect(error.message).toContain(`are no ${encoding}, from byte ${offset} on`);
      },
    );

    test('that is right is given, whatever the limit cuts, and a program that fails tells that first', async () => {
      const result = await printf('\\357\\273\\277na\\303\\257f').outputBuffer({ fatal: true }).run();
      expect(result.stdout).toBe('\ufeffnaïf');
      const cut = await printf('na\\303\\257').outputBuffer({ fatal: true }).outputLimit(3).run();
      expect([cut.stdout, cut.outputTruncated]).toEqual(['na', true]);
      const failed = await rejection(ExitError, sh("printf '\\377'; exit 3").outputBuffer({ fatal: true }).run());
      expect(failed.result.stdout).toBe('\ufffd');
      await rejection(UsageError, printf('a').outputBuffer({ encoding: 'latin1', fatal: true }).run());
    });

    test('says how it was asked for in the spec, and comes back from it', () => {
      const spec = printf('a').outputBuffer({ fatal: true, stripFinalNewline: true }).silenceTimeout(5).spec();
      expect(spec).toMatchObject({ stdout: { fatal: true, stripFinalNewline: true }, silenceTimeoutMs: 5 });
      expect(Command.fromSpec(JSON.parse(JSON.stringify(spec)) as typeof spec).spec()).toEqual(spec);
    });
  });
}
