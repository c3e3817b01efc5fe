import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { Command, ExitError, type ExitEvent, OutputBuffer } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { inParent } from '../helpers/native.js';
import {
  eventually,
  isRunning,
  nodeFixture,
  rejection,
  sh,
  umask,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

/** Waits for the file `gone` in the directory that it is given. */
const UNTIL_GONE = 'until [ -e "$1/gone" ]; do sleep 0.01; done';

/** Enough for two pipes that are merged to betray themselves. */
const ALTERNATIONS = 2000;
const ALTERNATE = `i=0; while [ $i -lt ${ALTERNATIONS / 2} ]; do echo o$i; echo e$i >&2; i=$((i+1)); done`;
const alternated = Array.from({ length: ALTERNATIONS / 2 }, (_, index) => `o${index}\ne${index}\n`).join('');

/** What of the unclaimed output is kept, about: the rest is left out in the middle. */
const MOST_KEPT = 100_000;

export function outputContract({ name }: EngineUnderTest): void {
  describe('output', () => {
    const path = useDirectory();
    const started = useProcesses();

    test('both streams come back as text, each by itself', async () => {
      const result = await sh('echo out é; echo err ß >&2').outputBuffer().errorBuffer().run();
      expect([result.stdout, result.stderr]).toEqual(['out é\n', 'err ß\n']);
      expect(result.outputBytes).toEqual({ stdout: 7, stderr: 7 });
    });

    test('every byte comes back as it was, without a character added at the end', async () => {
      const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256));
      writeFileSync(path('bytes'), bytes);
      const result = await sh('cat "$1"; cat "$1" >&2', path('bytes'))
        .outputBuffer({ encoding: 'buffer' })
        .errorBuffer({ encoding: 'buffer' })
        .run();
      expect([result.stdout, result.stderr]).toEqual([bytes, bytes]);
    });

    test.for<[BufferEncoding, string]>([
      ['utf8', 'é€🙂'],
      ['latin1', Buffer.from('é€🙂').toString('latin1')],
      ['hex', Buffer.from('é€🙂').toString('hex')],
      ['base64', Buffer.from('é€🙂').toString('base64')],
      ['utf16le', Buffer.from('é€🙂..').toString('utf16le').slice(0, 4)],
    ])('text comes back in the encoding that was asked for: %s', async ([encoding, expected]) => {
      const { stdout } = await sh("printf 'é€🙂'").outputBuffer({ encoding }).run();
      expect(stdout).toBe(expected);
    });

    test('a character that is written byte by byte stays whole', async () => {
      const seen = new OutputBuffer();
      const child = await sh(String.raw`for byte in '\360' '\237' '\231' '\202'; do printf "$byte"; read go; done`)
        .inputPipe()
        .outputBuffer(seen)
        .runAsync();
      for (let count = 1; count <= 4; count += 1) {
        await eventually(`byte ${count} is read`, () => seen.bytes().length === count);
        child.stdin.write('go\n');
      }
      expect((await child.wait()).stdout).toBe('🙂');
      expect(String(seen)).toBe('🙂');
    });

    test.for<[string, (command: Command) => Promise<string>]>([
      [
        'one OutputBuffer for both',
        async (command) => {
          const both = new OutputBuffer();
          const { stdout, stderr } = await command.outputBuffer(both).errorBuffer(both).run();
          expect([stdout, stderr]).toEqual([String(both), undefined]);
          return String(both);
        },
      ],
      ['errorToOutput()', async (command) => (await command.outputBuffer().errorToOutput().run()).stdout],
      [
        'one file for both',
        async (command) => {
          await command.outputFile(path('log')).errorFile(path('log')).run();
          return readFileSync(path('log'), 'utf8');
        },
      ],
    ])('two streams keep their order exactly, however fast they alternate: %s', async ([, run]) => {
      expect(await run(sh(ALTERNATE))).toBe(alternated);
    });

    test('an OutputBuffer is emptied at each run, also at one that fails to start', async () => {
      const buffer = new OutputBuffer();
      writeFileSync(path('text'), 'first');
      const command = new Command('cat', path('text')).outputBuffer(buffer);
      expect((await command.run()).stdout).toBe('first');
      writeFileSync(path('text'), 'second');
      expect((await command.run()).stdout).toBe('second');
      expect([String(buffer), buffer.bytes()]).toEqual(['second', Buffer.from('second')]);
      await sh('exit 0').outputBuffer(buffer).run();
      expect(String(buffer)).toBe('');
    });

    test('one command runs many times at once, each run with its own result', async () => {
      const command = sh('echo $$').outputBuffer();
      const results = await Promise.all(Array.from({ length: 20 }, () => command.run()));
      expect(results.map(({ stdout }) => stdout)).toEqual(results.map(({ pid }) => `${pid}\n`));
      expect(new Set(results.map(({ pid }) => pid)).size).toBe(20);
    });

    test('buffers fill while the program runs', async () => {
      const [out, err] = [new OutputBuffer(), new OutputBuffer()];
      const child = await sh('echo out; echo err >&2; read go; echo more')
        .inputPipe()
        .outputBuffer(out)
        .errorBuffer(err)
        .runAsync();
      await eventually('both are filled', () => String(out) === 'out\n' && String(err) === 'err\n');
      child.stdin.end('go\n');
      expect(await child.wait()).toMatchObject({ stdout: 'out\nmore\n', stderr: 'err\n' });
    });

    test('output that nobody claimed is not in the result; its tail is in the error, and its ends in the event', async () => {
      const events: ExitEvent[] = [];
      const listen = (event: unknown): void => void events.push(event as ExitEvent);
      subscribe('vircommand:exit', listen);
      const script = 'seq 100000; echo the reason >&2; exit 1';
      const error = await rejection(ExitError, sh(script).run()).finally(() => unsubscribe('vircommand:exit', listen));
      expect([error.result.stdout, error.result.stderr, error.result.outputTruncated]).toEqual([
        undefined,
        undefined,
        false,
      ]);
      expect(error.message).toMatch(/\n\nthe reason$/);
      const unclaimed = events[0]?.unclaimed;
      expect(unclaimed?.stderr).toBe('the reason\n');
      expect(unclaimed?.stdout).toMatch(/^1\n2\n[^]*bytes left out[^]*\n99999\n100000\n$/);
      expect(unclaimed?.stdout?.length).toBeLessThan(MOST_KEPT);
    });

    test('runAsync() keeps the end of an unclaimed standard error for its error, and gives standard output to /dev/null', async () => {
      const script = 'exec 3>&1; readlink /proc/self/fd/3 >&2; seq 1 100000 >&2; echo "the reason" >&2; exit 3';
      const events: ExitEvent[] = [];
      const listen = (event: unknown): void => void events.push(event as ExitEvent);
      subscribe('vircommand:exit', listen);
      const child = await sh(script).runAsync();
      const error = await rejection(ExitError, child.wait());
      unsubscribe('vircommand:exit', listen);
      expect(error.message).toMatch(/ exited with code 3 after .*\n\n99992\n[^]*\n100000\nthe reason$/);
      expect([error.result.stdout, error.result.stderr]).toEqual([undefined, undefined]);
      const unclaimed = events[0]?.unclaimed;
      expect(unclaimed?.stderr).toMatch(/^\/dev\/null\n1\n2\n[^]*bytes left out[^]*\nthe reason\n$/);
      expect(unclaimed?.stderr?.length).toBeLessThan(9 * 1024);
      expect(unclaimed).not.toHaveProperty('stdout');
    });

    // With child_process and stdio 'pipe', the program would die of SIGPIPE at its first word.
    test('a released program goes on writing to an unclaimed standard error when the process that started it has ended', async () => {
      const script = `${UNTIL_GONE}; seq 1 100000 >&2; echo $? >"$1/told"`;
      const parent = await nodeFixture('release.js', 'sh', '-c', script, 'sh', path()).outputBuffer().run();
      const pid = started(Number(parent.stdout));
      writeFileSync(path('gone'), '');
      await eventually('it has ended', () => !isRunning(pid));
      expect(readFileSync(path('told'), 'utf8')).toBe('0\n');
    });

    // With child_process and stdio 'ignore' it can, as it can with libvirt's virCommandRunAsync().
    test('what a program of runAsync() has left behind goes on writing to an unclaimed standard error', async () => {
      const child = await sh(
        `{ ${UNTIL_GONE}; seq 1 100000 >&2; echo $? >"$1/told"; } & echo $! >"$1/pid"`,
        path(),
      ).runAsync();
      const { outputHeldOpen } = await child.wait();
      expect(outputHeldOpen).toBe(true);
      const pid = started(Number(readFileSync(path('pid'), 'utf8')));
      writeFileSync(path('gone'), '');
      await eventually('it has ended', () => !isRunning(pid));
      expect(readFileSync(path('told'), 'utf8')).toBe('0\n');
    });

    test('the error of a released program quotes none of what another process has read', async () => {
      const child = await sh(`echo early >&2; ${UNTIL_GONE}; seq 1 100000 >&2; exit 3`, path()).runAsync();
      child.release();
      writeFileSync(path('gone'), '');
      const { message } = await rejection(ExitError, child.wait());
      expect(message).toMatch(/ exited with code 3 after [^\n]*$/);
    });

    test('the standard error of a released program is read here where there is no `cat`', async () => {
      const message = await inParent(
        async ({ Command: Program }, [script, directory]: readonly [string, string]) => {
          const { writeFileSync: write } = process.getBuiltinModule('node:fs');
          const child = await new Program('/bin/sh', '-c', script, 'sh', directory).runAsync();
          process.env['PATH'] = directory;
          child.release();
          write(`${directory}/gone`, '');
          return child.wait().then(String, (error: unknown) => (error as Error).message);
        },
        [`${UNTIL_GONE}; seq 1 100000 >&2; exit 3`, path()] as const,
        { env: { VIRCOMMAND_ENGINE: name } },
      );
      expect(message).toMatch(/ exited with code 3 after [^]*\n100000$/);
    });

    test('a file is emptied, or written to at its end, and made with the modes that this process gives', async () => {
      const log = path('log');
      writeFileSync(log, 'before\n');
      await sh('echo one; echo two >&2').outputFile(log, { append: true }).errorFile(log, { append: true }).run();
      expect(readFileSync(log, 'utf8')).toBe('before\none\ntwo\n');
      await sh('echo three').outputFile(log).run();
      expect(readFileSync(log, 'utf8')).toBe('three\n');
      await sh('echo x; umask').outputFile(path('new')).run();
      expect(statSync(path('new')).mode & 0o777).toBe(0o666 & ~umask());
      expect(Number.parseInt(readFileSync(path('new'), 'utf8').split('\n')[1] ?? '', 8)).toBe(umask());
    });
  });
}
