import { readFileSync, writeFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Command, CommandError, killTree, pipeline, PidFile } from 'vircommand';
import { cassette, type CassetteOptions } from 'vircommand/testing';
import { loadNative } from '../../src/native/load.js';
import { FOREVER, NOWHERE, sh, useDirectory, writeProgram } from '../helpers/tools.js';

const path = useDirectory();

beforeEach(() => {
  vi.stubEnv('CI', undefined);
  vi.stubEnv('VIRCOMMAND_CASSETTE', undefined);
});
afterEach(() => void vi.unstubAllEnvs());

/** Records what a story does, then tells it again where no program can be found, and compares what both gave. */
async function twice<T>(story: () => Promise<T>, options: CassetteOptions = {}): Promise<{ told: T; file: string }> {
  const tape = cassette(path('tape'), { ...options, mode: 'record' });
  const real = await story();
  await tape.close();
  vi.stubEnv('PATH', NOWHERE);
  const again = cassette(path('tape'), { ...options, mode: 'replay' });
  const told = await story();
  await again.close();
  expect(told).toEqual(real);
  return { told, file: readFileSync(path('tape'), 'utf8') };
}

/** What an error tells; whatever else is thrown is thrown on. */
async function failureOf(run: Promise<unknown>): Promise<unknown> {
  const error = await run.then(
    () => new Error('it resolved'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof CommandError)) throw error as Error;
  const { name, message, code, step, errno, reason, stage } = error as unknown as Record<string, unknown>;
  // How long it took is another time each time.
  return { name, message: String(message).replace(/after \d+ ms/, 'after … ms'), code, step, errno, reason, stage };
}

/** Collects what is written to it. */
function collector(): { stream: Writable; text: () => string } {
  const pieces: Buffer[] = [];
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(pieces).toString() };
}

describe.each(['native', 'portable'] as const)(
  'a run of the %s engine is told again without its program:',
  (engine) => {
    const native = loadNative();
    beforeEach(({ skip }) => {
      if (engine === 'native' && typeof native === 'string') skip(native);
      vi.stubEnv('VIRCOMMAND_ENGINE', engine);
    });

    test('its output, its end, and what it said in an error', async () => {
      const { told } = await twice(async () => {
        const { stdout, stderr, exitCode } = await sh('echo one; echo two >&2; exit 3')
          .outputBuffer()
          .errorBuffer()
          .check([3])
          .run();
        const failure = await failureOf(sh('echo "no space left" >&2; exit 4').run());
        const killed = await failureOf(sh('kill -SEGV $$').run());
        return { stdout, stderr, exitCode, failure, killed };
      });
      expect(told).toMatchObject({ stdout: 'one\n', stderr: 'two\n', exitCode: 3 });
      expect(told.failure).toMatchObject({ name: 'ExitError', message: expect.stringContaining('no space left') });
    });

    test('bytes that are no text, and a character that comes in two pieces', async () => {
      const { told, file } = await twice(async () => {
        const bytes = await sh(String.raw`printf "\377\000a"`)
          .outputBuffer({ encoding: 'buffer' })
          .run();
        const child = await sh(String.raw`printf "\303"; sleep 0.2; printf "\244\n"`)
          .outputPipe()
          .runAsync();
        const line = await child.waitForLine('ä');
        await child.wait();
        return [bytes.stdout.toString('hex'), line];
      });
      expect(told).toEqual(['ff0061', 'ä']);
      expect(file).toContain(`"base64": "${Buffer.from([255, 0, 97]).toString('base64')}"`);
      expect(file).toContain('"stdout": "ä"');
    });

    test('launches that fail, at their steps', async () => {
      writeFileSync(path('plain'), '', { mode: 0o644 });
      const { told } = await twice(() =>
        Promise.all([
          failureOf(new Command(path('absent')).run()),
          failureOf(new Command('/bin/true').workingDirectory(path('absent')).run()),
          failureOf(new Command('/bin/true').inputFile(path('absent')).run()),
          failureOf(new Command('/bin/true', 'x'.repeat(200_000)).run()),
        ]),
      );
      expect(told.map((error) => (error as { step: string }).step)).toEqual(['execve', 'chdir', 'open', 'execve']);
    });

    test('a name that is not in PATH', async () => {
      vi.stubEnv('PATH', NOWHERE);
      const { told } = await twice(() => failureOf(new Command('vircommand-absent').run()));
      expect(told).toMatchObject({ step: 'path-search', errno: 'ENOENT' });
    });

    test('lines, and a signal that it was sent while it ran', async () => {
      const { told } = await twice(async () => {
        const script = 'trap "echo bye; exit 7" TERM; echo ready; while :; do sleep 0.02; done';
        const child = await sh(script).outputPipe().runAsync();
        const first = await child.waitForLine('ready');
        const wasSent = child.signal('SIGTERM');
        const rest: string[] = [];
        for await (const line of child.lines()) rest.push(line);
        const { exitCode } = await child.wait({ check: [7] });
        return [first, wasSent, rest, exitCode, child.signal('SIGTERM')];
      });
      expect(told).toEqual(['ready', true, ['bye'], 7, false]);
    });

    test('stop(), and a program that takes no SIGTERM', async () => {
      const { told } = await twice(async () => {
        const child = await sh(`trap "" TERM; echo ready; while :; do sleep 0.02; done`).outputPipe().runAsync();
        await child.waitForLine('ready');
        const { signal } = await child.stop({ sequence: [['SIGTERM', 50]] });
        return [signal, await failureOf(child.wait())];
      });
      expect(told[0]).toBe('SIGKILL');
    });

    test('a timeout, an abort and too much output', async () => {
      const { told } = await twice(async () => {
        const late = await failureOf(new Command('sleep', FOREVER).timeout(30).run());
        const abort = new AbortController();
        const running = failureOf(new Command('sleep', FOREVER).abortSignal(abort.signal).run());
        setTimeout(() => abort.abort(new Error('enough')), 30);
        const long = failureOf(
          sh('while :; do echo "a line that is long"; done').outputBuffer().outputLimit(1000, 'kill').run(),
        );
        return [late, await running, await long];
      });
      expect(told.map((error) => (error as { reason: string }).reason)).toEqual(['timeout', 'aborted', 'output-limit']);
    });

    test('a talk, in which it answers what is written to it', async () => {
      const { told, file } = await twice(async () => {
        const child = await sh('while read line; do echo "<$line>"; done; echo end')
          .inputPipe()
          .outputPipe()
          .runAsync();
        const answers: string[] = [];
        for (const word of ['one', 'zwei', 'ünf']) {
          child.stdin.write(`${word}\n`);
          answers.push(await child.waitForLine('<'));
        }
        child.stdin.end();
        answers.push(await child.waitForLine('end'));
        await child.wait();
        return answers;
      });
      expect(told).toEqual(['<one>', '<zwei>', '<ünf>', 'end']);
      expect(file).not.toMatch(/"(one|zwei|ünf)/);
    });

    test('input that is given at once, or by a stream, and output that goes to one', async () => {
      const { told, file } = await twice(async () => {
        const { stdout } = await new Command('cat').inputBuffer('to be read').outputBuffer().run();
        const { stream, text } = collector();
        await new Command('cat')
          .inputStream(Readable.from(['a ', 'stream']))
          .outputTo(stream)
          .run();
        return [stdout, text()];
      });
      expect(told).toEqual(['to be read', 'a stream']);
      expect(file.match(/"stdin": \{/g)).toHaveLength(2);
    });

    test('commands that are equal come in their order, also where they run at the same time', async () => {
      const { told } = await twice(async () => {
        const count = () => sh('echo x >>"$1"; grep -c x "$1"; sleep 0.05', path('count')).outputBuffer();
        writeFileSync(path('count'), '');
        const first = (await count().run()).stdout;
        const second = (await count().run()).stdout;
        const both = await Promise.all([1, 2].map((n) => sh('echo $1', String(n)).outputBuffer().run()));
        return [first, second, ...both.map(({ stdout }) => stdout)];
      });
      expect(told).toEqual(['1\n', '2\n', '1\n', '2\n']);
    });

    test('a pipeline, and one whose second stage is not there', async () => {
      const { told, file } = await twice(async () => {
        const sorted = await pipeline(
          new Command('printf', String.raw`b\na\n`),
          new Command('sort').outputBuffer(),
        ).run();
        const failed = await failureOf(
          pipeline(new Command('/bin/sleep', FOREVER), new Command(path('absent')), new Command('/bin/cat')).run(),
        );
        return [sorted.stdout, failed];
      });
      expect(told).toMatchObject(['a\nb\n', { name: 'LaunchError', stage: 1, step: 'execve' }]);
      expect(file).toContain('"fail"');
    });

    test('what stands in the directory for temporary files has one name on all machines', async () => {
      const story = () => sh('echo "$1 is $PWD"', path('a')).workingDirectory(path()).outputBuffer().run();
      {
        await using _tape = cassette(path('tape'), { mode: 'record' });
        await story();
      }
      const file = readFileSync(path('tape'), 'utf8');
      expect(file).not.toContain(path());
      expect(file).toContain('"directory": "{tmp:1}"');
      writeFileSync(path('other'), file.replace('is {tmp:1}', 'is not {tmp:1}'));
      await using _tape = cassette(path('other'), { mode: 'replay' });
      expect((await story()).stdout).toBe(`${path('a')} is not ${path()}\n`);
    });
  },
);

describe('what the native engine can do beside is told again:', () => {
  const native = loadNative();
  beforeEach(({ skip }) => {
    if (typeof native === 'string') skip(native);
    vi.stubEnv('VIRCOMMAND_ENGINE', 'native');
  });

  test('runSync(), and its timeout', async () => {
    const { told } = await twice(() => {
      const { stdout } = new Command('cat').inputBuffer('sync').outputBuffer().runSync();
      const piped = pipeline(new Command('printf', 'x'), new Command('cat').outputBuffer()).runSync();
      const late = failureOf(Promise.resolve().then(() => new Command('sleep', FOREVER).timeout(30).runSync()));
      return late.then((error) => [stdout, piped.stdout, error]);
    });
    expect(told).toMatchObject(['sync', 'x', { reason: 'timeout' }]);
  });

  test('a daemon with its pidfile, which is met again, signaled and ended', async () => {
    const program = writeProgram(path('daemon'), `#!/bin/sh\ntrap "" HUP\nwhile :; do sleep 0.02; done\n`);
    const { told, file } = await twice(async () => {
      const daemon = () => new Command(program).daemonize().pidFile(path('pid'));
      const { pid } = await daemon().run();
      const second = (await failureOf(daemon().run())) as { name: string };
      const found = await PidFile.open(path('pid'));
      const facts = [found?.pid === pid, found?.signal('SIGHUP'), second.name];
      await killTree(pid);
      await PidFile.remove(path('pid'));
      return [...facts, await PidFile.readIfAlive(path('pid'))];
    });
    expect(told).toEqual([true, true, 'PidFileError', undefined]);
    expect(JSON.parse(file)).toEqual({ cassette: 1, entries: [{ argv: ['{tmp:1}/daemon'], daemon: true }] });
  });

  test('a terminal, what it shows, and what is typed', async () => {
    const { told } = await twice(async () => {
      const child = await sh('stty -echo; printf "name? "; read name; echo "hello $name"').terminal().runAsync();
      await child.waitForLine('', { within: 1 }).catch(() => undefined);
      let text = '';
      for await (const piece of child.terminal) {
        text += String(piece);
        if (text === 'name? ') child.terminal.write('world\r');
      }
      await child.wait();
      return text;
    });
    expect(told).toBe('name? hello world\r\n');
  });

  test('a handshake', async () => {
    const { told } = await twice(async () => {
      const child = await new Command('echo', 'hello').requireHandshake().outputPipe().runAsync();
      await child.handshakeWait();
      await child.handshakeNotify();
      const line = await child.waitForLine('hello');
      await child.wait();
      return line;
    });
    expect(told).toBe('hello');
  });
});
