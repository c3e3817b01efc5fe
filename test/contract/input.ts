import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { nodeFixture, sh, useDirectory } from '../helpers/tools.js';

const MiB = 1024 * 1024;

/** Far more than a pipe holds. */
const MUCH = 5 * MiB;
const VERY_MUCH = 64 * MiB;

/** The programs below end on their own; the numbers only have to be far from what a pipe holds. */
const VERY_MUCH_MS = 60_000;

export function inputContract(): void {
  describe('input', () => {
    const path = useDirectory();

    test.for<[string, (command: Command) => Promise<unknown>]>([
      ['run()', (command) => command.run()],
      ['run() with other streams set', (command) => command.outputBuffer().errorToOutput().run()],
      ['runAsync()', async (command) => (await command.runAsync()).wait()],
    ])('standard input is /dev/null unless it is set: %s', async ([, run]) => {
      await run(sh('readlink /proc/self/fd/0 > "$1"; cat >> "$1"', path('seen')));
      expect((await new Command('cat', path('seen')).outputBuffer().run()).stdout).toBe('/dev/null\n');
    });

    test.for<[string, string | Uint8Array]>([
      ['text', 'one\ntwo é 🙂'],
      ['a newline alone', '\n'],
      ['no byte at all', ''],
      ['no byte at all, as bytes', new Uint8Array()],
      ['every byte', Uint8Array.from({ length: 256 }, (_, index) => index)],
      ['a part of a larger buffer', Buffer.from('abcdef').subarray(2, 4)],
      ['more than a pipe holds', randomBytes(MUCH)],
    ])('the program reads %s, and then the end', async ([, data]) => {
      const result = await new Command('cat').inputBuffer(data).outputBuffer({ encoding: 'buffer' }).run();
      expect(result.stdout.equals(Buffer.from(data))).toBe(true);
      expect(result.inputWritten).toBe(Buffer.byteLength(data));
    });

    test.for([
      ['exits at once', 'exit 3'],
      ['closes its input and runs on', 'exec 0<&-; for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done; exit 3'],
      ['reads one line', 'read line; exit 3'],
      ['waits, and then exits without reading', 'sleep 0.1; exit 3'],
    ])('nobody is hurt by a program that %s', async ([, script = '']) => {
      const result = await sh(script).inputBuffer('a line\n'.padEnd(MUCH, 'x')).run({ check: false });
      expect([result.exitCode, result.signal]).toEqual([3, null]);
      expect(result.inputWritten).toBeLessThan(MUCH);
    });

    test('data that changes after the call is read as it was', async () => {
      const data = Buffer.from('before');
      const command = new Command('cat').inputBuffer(data).outputBuffer();
      data.write('after!');
      expect((await command.run()).stdout).toBe('before');
    });

    test('inputFile() gives the program a descriptor of its own', async () => {
      writeFileSync(path('input'), 'first\nsecond\n');
      const { stdout } = await sh('readlink /proc/self/fd/0; cat').inputFile(path('input')).outputBuffer().run();
      expect(stdout).toBe(`${path('input')}\nfirst\nsecond\n`);
    });

    test(
      'a program can be fed and read on both streams at once, beyond what any pipe holds',
      { timeout: VERY_MUCH_MS },
      async () => {
        const data = randomBytes(VERY_MUCH);
        const command = nodeFixture('copy-to-both.js')
          .inputBuffer(data)
          .outputBuffer({ encoding: 'buffer' })
          .errorBuffer({ encoding: 'buffer' });
        const result = await command.run();
        expect([result.stdout.equals(data), result.stderr.equals(data), result.inputWritten]).toEqual([
          true,
          true,
          VERY_MUCH,
        ]);
        expect(result.outputBytes).toEqual({ stdout: VERY_MUCH, stderr: VERY_MUCH });
      },
    );
  });
}
