import { writeFileSync } from 'node:fs';
import { Command, ExitError, OutputBuffer, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { exists, processStat, rejection, sh, useDirectory } from '../helpers/tools.js';

/** Writes this text to both streams. */
const toBoth = (text: string): Command => sh('printf %s "$1"; printf %s "$1" >&2', text).outputBuffer().errorBuffer();

export function outputLimitContract(): void {
  describe('the output limit', () => {
    const path = useDirectory();

    test.for([
      ['one under', '123456789', '123456789', false],
      ['exactly', '1234567890', '1234567890', false],
      ['one over', '12345678901', '1234567890', true],
      ['far over', '1234567890'.repeat(1000), '1234567890', true],
    ] as const)('truncate keeps the head of each stream: %s', async ([, written, kept, outputTruncated]) => {
      const result = await toBoth(written).outputLimit(10).run();
      expect([result.stdout, result.stderr, result.outputTruncated]).toEqual([kept, kept, outputTruncated]);
      expect(result.outputBytes).toEqual({ stdout: written.length, stderr: written.length });
    });

    test.for([
      ['one under', '123456789', '123456789', false],
      ['exactly', '1234567890', '1234567890', false],
      ['one over', '12345678901', '12345\n[… 1 bytes left out …]\n78901', true],
      ['far over', `head_${'x'.repeat(5000)}_tail`, 'head_\n[… 5000 bytes left out …]\n_tail', true],
    ] as const)('headAndTail keeps both ends of each stream: %s', async ([, written, kept, outputTruncated]) => {
      const result = await toBoth(written).outputLimit(10, 'headAndTail').run();
      expect([result.stdout, result.stderr, result.outputTruncated]).toEqual([kept, kept, outputTruncated]);
      expect(result.outputBytes).toEqual({ stdout: written.length, stderr: written.length });
    });

    test.for([
      ['one under', '123456789'],
      ['exactly', '1234567890'],
    ])('kill lets a program be that writes no more: %s', async ([, written = '']) => {
      const result = await toBoth(written).outputLimit(10, 'kill').run();
      expect([result.stdout, result.stderr, result.outputTruncated]).toEqual([written, written, false]);
    });

    test.for(['stdout', 'stderr'] as const)(
      'kill ends a program that writes one byte more, and names the stream: %s',
      async (stream) => {
        const script = `printf %s 12345678901 ${stream === 'stderr' ? '>&2' : ''}; exec sleep 600`;
        const error = await rejection(
          ExitError,
          sh(script).outputBuffer().errorBuffer().outputLimit(10, 'kill').run({ check: false }),
        );
        expect(exists(error.result.pid)).toBe(false);
        expect(error).toMatchObject({
          reason: 'output-limit',
          result: { signal: 'SIGTERM', [stream]: '1234567890', outputTruncated: true },
        });
        expect(error.result.outputBytes[stream]).toBe(11);
        expect(error.message).toContain(`wrote more than 10 bytes to ${stream}. It was ended by SIGTERM.`);
      },
    );

    test.for(['stdout', 'stderr'] as const)(
      'kill ends a program that writes for ever what nobody claimed: %s',
      async (stream) => {
        const error = await rejection(
          ExitError,
          sh(`yes ${stream === 'stderr' ? '>&2' : ''}`)
            .outputLimit(100_000, 'kill')
            .timeout(20_000)
            .run(),
        );
        expect(error).toMatchObject({ reason: 'output-limit', result: { stdout: undefined, stderr: undefined } });
        expect(error.message).toContain(`wrote more than 100000 bytes to ${stream}.`);
      },
    );

    test('kill is a mistake where no output is captured', async () => {
      const problem = {
        call: "outputLimit(5, 'kill')",
        problem: 'none of the output is captured, so none would be counted; say outputBuffer() or errorBuffer() too',
      };
      const toFile = sh('exit').outputFile(path('file')).errorToOutput().outputLimit(5, 'kill');
      expect((await rejection(UsageError, toFile.run())).mistakes).toMatchObject([problem]);
      expect(
        (await rejection(UsageError, sh('exit').outputPipe().outputLimit(5, 'kill').runAsync())).mistakes,
      ).toMatchObject([problem]);
    });

    test('kill ends a program that would write for ever', async () => {
      const error = await rejection(
        ExitError,
        new Command('yes').outputBuffer({ encoding: 'buffer' }).outputLimit(100_000, 'kill').run(),
      );
      expect(error.reason).toBe('output-limit');
      expect(error.result.stdout).toEqual(Buffer.from('y\n'.repeat(50_000)));
    });

    test.for([
      [3, 'a'],
      [4, 'a'],
      [5, 'a🙂'],
      [6, 'a🙂'],
    ] as const)('a character that the limit of %d bytes cuts is left out of the text', async ([limit, kept]) => {
      const { stdout } = await sh("printf 'a🙂é'").outputBuffer().outputLimit(limit).run();
      expect(stdout).toBe(kept);
    });

    test('bytes are cut exactly, characters or not', async () => {
      const { stdout } = await sh("printf 'a🙂é'").outputBuffer({ encoding: 'buffer' }).outputLimit(3).run();
      expect(stdout).toEqual(Buffer.from('a🙂é').subarray(0, 3));
    });

    test('a tail begins with a whole character', async () => {
      const { stdout } = await sh("printf 'ab🙂cd'").outputBuffer().outputLimit(6, 'headAndTail').run();
      expect(stdout).toBe('ab\n[… 2 bytes left out …]\ncd');
    });

    test('one buffer for both streams has one limit', async () => {
      const both = new OutputBuffer();
      const result = await sh('printf 12345; printf 67890 >&2; printf 12345')
        .outputBuffer(both)
        .errorBuffer(both)
        .outputLimit(10)
        .run();
      expect([String(both), result.outputTruncated, result.outputBytes.stdout]).toEqual(['1234567890', true, 15]);
    });

    test('too much is too much, even if the program has ended before anybody looked', async () => {
      const child = await new Command('seq', '5000').outputBuffer().outputLimit(1000, 'kill').runAsync();
      // The event loop stands until the program is over: nobody is left to be signaled.
      while (processStat(child.pid)?.state !== 'Z');
      expect(await rejection(ExitError, child.wait({ check: false }))).toMatchObject({ reason: 'output-limit' });
    });

    test('the totals count what was not kept, to the byte', async () => {
      writeFileSync(path('data'), Buffer.alloc(3_000_001));
      const result = await new Command('cat', path('data')).outputBuffer({ encoding: 'buffer' }).outputLimit(0).run();
      expect([result.stdout.length, result.outputBytes.stdout, result.outputTruncated]).toEqual([0, 3_000_001, true]);
    });
  });
}
