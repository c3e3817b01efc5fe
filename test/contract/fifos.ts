import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { Command, LaunchError } from 'vircommand';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { inParent } from '../helpers/native.js';
import { eventually, rejection, sh, useDirectory } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

/** Too short for anybody to come. */
const SHORT_MS = 50;

/** More than Node's pool has threads. */
const MANY = 6;

/** A way to open a FIFO as a stream of a program. */
const ways = [
  ['inputFile()', 'reading', (command: Command, path: string) => command.inputFile(path)],
  ['outputFile()', 'writing', (command: Command, path: string) => command.outputFile(path)],
  [
    'outputFile() with append',
    'writing',
    (command: Command, path: string) => command.outputFile(path, { append: true }),
  ],
  ['errorFile()', 'writing', (command: Command, path: string) => command.errorFile(path)],
] as const;

/** What ends the wait, and how that is told. */
const ends = [
  [
    'its timeout',
    (command: Command) => command.timeout(SHORT_MS),
    { step: 'open', reason: 'timeout' },
    (how: string) => new RegExp(`: '.*fifo' could not be opened for ${how} within 50 ms\\.$`),
  ],
  [
    'its abort signal',
    (command: Command) => command.abortSignal(AbortSignal.timeout(SHORT_MS)),
    { step: 'abort', reason: 'aborted' },
    (how: string) =>
      new RegExp(
        `: its signal was aborted before '.*fifo' could be opened for ${how}: The operation was aborted .*\\.$`,
      ),
  ],
] as const;

/** A shell's `cmd < fifo` and `cmd > fifo` wait for the other end, and to end the shell leaves nothing behind. */
export function fifoContract({ name }: EngineUnderTest): void {
  describe('a FIFO', () => {
    const path = useDirectory();
    let fifo = '';
    beforeEach(() => {
      fifo = path('fifo');
      execFileSync('mkfifo', [fifo]);
    });

    /** Who has the FIFO open, in this process and below it: the other end would meet them. */
    const holders = (): string[] => [
      ...(canOpen(fifo, constants.O_WRONLY) ? ['a reader'] : []),
      ...(hasWriter(fifo) ? ['a writer'] : []),
    ];

    describe.each(ends)('whose opening is ended by %s', (_by, stopped, known, message) => {
      test.each(ways)('is left by it, as %s for %s', async (_method, how, open) => {
        const error = await rejection(LaunchError, stopped(open(new Command('true'), fifo)).run());
        expect(holders()).toEqual([]);
        expect(error).toMatchObject({ ...known, path: fifo });
        expect(error.message).toMatch(message(how));
      });
    });

    test('that a daemon waits for is left by it when its signal is aborted', async () => {
      for (const [, , open] of ways) {
        const daemon = open(new Command('true'), fifo).daemonize().abortSignal(AbortSignal.timeout(SHORT_MS));
        await rejection(LaunchError, daemon.run());
      }
      expect(holders()).toEqual([]);
    });

    test('holds no thread of the pool: files are read while it is waited for, and after that was given up', async () => {
      const read = await inParent(
        async ({ Command: Program }, asked: { fifo: string; many: number; ms: number }) => {
          const { readFile } = process.getBuiltinModule('node:fs/promises');
          const { fifo: reading, many, ms } = asked;
          const waiting = Array.from({ length: many }, () => [
            new Program('true').inputFile(reading).timeout(ms).run().catch(String),
            new Program('true').outputFile(`${reading}2`).timeout(ms).run().catch(String),
          ]).flat();
          const during = (await readFile('/proc/self/comm')).length;
          await Promise.all(waiting);
          return [during > 0, (await readFile('/proc/self/comm')).length > 0];
        },
        { fifo, many: MANY, ms: SHORT_MS },
        { env: { VIRCOMMAND_ENGINE: name }, through: ['sh', '-c', 'mkfifo "$0" && exec "$@"', `${fifo}2`] },
      );
      expect(read).toEqual([true, true]);
    });

    test.each(['process.exit()', 'SIGKILL'])(
      'does not keep a process that waits for it from its end by %s',
      async (by) => {
        const script = `
        const { Command } = await import(process.argv[1]);
        for (let i = 0; i < ${MANY}; i++) {
          new Command('true').inputFile(process.argv[2]).run();
          new Command('true').outputFile(process.argv[2] + '2').run();
        }
        setTimeout(() => { console.log('waits'); ${by === 'SIGKILL' ? '' : 'process.exit(0);'} }, 300);`;
        execFileSync('mkfifo', [`${fifo}2`]);
        const library = new URL('../../dist/index.js', import.meta.url).href;
        const words = ['--input-type=module', '-e', script, library, fifo];
        const parent = spawn(process.execPath, words, {
          env: { ...process.env, VIRCOMMAND_ENGINE: name },
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        onTestFinished(() => void parent.kill('SIGKILL'));
        await once(parent.stdout, 'data');
        if (by === 'SIGKILL') parent.kill('SIGKILL');
        await once(parent, 'exit');
        await eventually('nobody has it open', () => holders().length === 0 && !hasWriter(`${fifo}2`));
      },
    );

    test('is waited for until there is a writer, be it one that writes late: all of it arrives', async () => {
      const started = path('started');
      const reading = sh(': >"$1"; exec cat', started).inputFile(fifo).outputBuffer().run();
      const writer = sh('exec 3>"$1"; while [ ! -e "$2" ]; do sleep 0.01; done; echo late >&3', fifo, started);
      const [{ stdout }] = await Promise.all([reading, writer.run()]);
      expect(stdout).toBe('late\n');
    });

    test('has no reader whose program has not been started: none of what was written before is lost', async () => {
      const reading = new Command('cat').inputFile(fifo).outputBuffer().run();
      await sh('seq 1 1000 >"$1"', fifo).run();
      expect((await reading).stdout.split('\n').length).toBe(1001);
    });

    test('that a writer has opened and closed is at its end', async () => {
      const reading = new Command('cat').inputFile(fifo).outputBuffer().run();
      await sh(': >"$1"', fifo).run();
      expect((await reading).stdout).toBe('');
    });

    test('is waited for until there is a reader', async () => {
      const writing = new Command('echo', 'for somebody').outputFile(fifo).run();
      const { stdout } = await sh('cat <"$1"', fifo).outputBuffer().run();
      await writing;
      expect(stdout).toBe('for somebody\n');
    });

    test('joins two commands', async () => {
      const [, { stdout }] = await Promise.all([
        new Command('seq', 1, 3).outputFile(fifo).run(),
        new Command('cat').inputFile(fifo).outputBuffer().run(),
      ]);
      expect(stdout).toBe('1\n2\n3\n');
    });

    test('blocks in the program, at both ends', async () => {
      const tell = 'exec cat /proc/self/fdinfo/"$1" >"$2"';
      await Promise.all([
        sh(tell, '0', path('reader')).inputFile(fifo).run(),
        sh(tell, '2', path('writer')).errorFile(fifo).run(),
      ]);
      const modes = ['reader', 'writer'].map((file) =>
        Number.parseInt(/^flags:\t(\d+)$/m.exec(readFileSync(path(file), 'utf8'))?.[1] ?? '', 8),
      );
      expect(modes.map((mode) => mode & constants.O_NONBLOCK)).toEqual([0, 0]);
    });

    test('is meant from the directory of the call, also when that has changed while it is waited for', async () => {
      const answer = await inParent(
        async ({ Command: Program }, asked: { directory: string }) => {
          process.chdir(asked.directory);
          const reading = new Program('cat').inputFile('fifo').outputBuffer().run();
          process.chdir('/');
          await new Program('sh', '-c', 'echo here >"$1"', 'sh', `${asked.directory}/fifo`).run();
          return (await reading).stdout;
        },
        { directory: path() },
        { env: { VIRCOMMAND_ENGINE: name } },
      );
      expect(answer).toBe('here\n');
    });

    test('is no socket and no file: those are opened, or not, at once', async () => {
      execFileSync('python3', ['-c', 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', path('s')]);
      for (const [, , open] of ways) {
        const error = await rejection(LaunchError, open(new Command('true'), path('s')).run());
        expect(error).toMatchObject({ step: 'open', errno: 'ENXIO', path: path('s') });
      }
      writeFileSync(path('file'), 'text');
      expect((await new Command('cat').inputFile(path('file')).outputBuffer().run()).stdout).toBe('text');
    });

    test('that may not be opened is an error at once', async () => {
      const gone = path('gone');
      const error = await rejection(LaunchError, new Command('true').inputFile(gone).run());
      expect(error).toMatchObject({ step: 'open', errno: 'ENOENT', path: gone });
      expect(existsSync(gone)).toBe(false);
    });

    if (name === 'native') {
      test.each(ways)('is left by runSync() when its time is over, as %s for %s', (_method, how, open) => {
        const command = open(new Command('true').timeout(SHORT_MS), fifo);
        expect(() => command.runSync()).toThrow(
          expect.objectContaining({
            step: 'open',
            reason: 'timeout',
            message: expect.stringMatching(`for ${how} within 50 ms`) as string,
          }),
        );
        expect(holders()).toEqual([]);
      });

      test('is waited for by runSync() until there is another end', async () => {
        const writer = spawn('sh', ['-c', 'sleep 0.1; echo late >"$1"', 'sh', fifo], { stdio: 'ignore' });
        expect(new Command('cat').inputFile(fifo).outputBuffer().runSync().stdout).toBe('late\n');
        await once(writer, 'exit');
        const reader = spawn('sh', ['-c', 'sleep 0.1; cat <"$1" >"$2"', 'sh', fifo, path('read')], { stdio: 'ignore' });
        new Command('echo', 'late').outputFile(fifo).runSync();
        await once(reader, 'exit');
        expect(readFileSync(path('read'), 'utf8')).toBe('late\n');
      });
    }
  });
}

function canOpen(fifo: string, flags: number): boolean {
  try {
    closeSync(openSync(fifo, flags | constants.O_NONBLOCK));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENXIO') return false;
    throw error;
  }
}

/** A pipe without a writer is at its end; with one, there is nothing to read yet. */
function hasWriter(fifo: string): boolean {
  const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    readSync(fd, Buffer.alloc(1));
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return true;
    throw error;
  } finally {
    closeSync(fd);
  }
}
