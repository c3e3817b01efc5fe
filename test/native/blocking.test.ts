import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { Command } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inPipes } from '../helpers/streams.js';
import { useDirectory } from '../helpers/tools.js';
import { asNobody, needsNobody, needsProgram, useNativeEngine } from '../helpers/native.js';

/*
 * Node sets its pipes, terminals and sockets not to block, which is a property of the open file. child_process clears it in the
 * child for 0, 1 and 2, and so for this process too. Here a pipe or a terminal is opened anew, and this process keeps its mode.
 * A stream of Node's is made at its first use, be it only to set how many listeners it may have.
 */

useNativeEngine();
const path = useDirectory();

/**
 * Writes to a file how each of some descriptors is opened, a number in octal each, and a line at the end. A shell may redirect its
 * own streams while a program of its runs: so it looks first, and writes then.
 */
const TELL =
  'exec 9>"$1"; shift; for fd; do seen=$(grep flags "/proc/$$/fdinfo/$fd"); echo "$seen" >&9; done; echo end >&9';

const blocks = (flags: string | number | undefined): boolean =>
  (Number.parseInt(String(flags), 8) & constants.O_NONBLOCK) === 0;

/** Which of the descriptors block, by what the program told. */
const told = (text: string): boolean[] => Array.from(text.matchAll(/^flags:\t(\d+)$/gm), ([, flags]) => blocks(flags));

interface Own {
  /** How this process's own 0 and 1 were opened before, and are after it. */
  readonly before: string[];
  readonly after: string[];
  readonly descriptors: readonly [before: number, after: number];
}

describe.for(['shared-memory', 'helper', 'hook-runner', 'hook that writes'] as const)('in the lane %s', (lane) => {
  test.for(['run', 'runSync', 'daemon'] as const)(
    'standard streams block in the program, and this process keeps what it has: %s',
    async (how) => {
      const { result } = await inPipes(
        async (
          { Command: Program },
          asked: { lane: string; how: string; seen: string; script: string },
        ): Promise<Own> => {
          const { readFileSync: read, readdirSync: list, rmSync: remove } = process.getBuiltinModule('node:fs');
          process.stdin.setMaxListeners(20);
          process.stdout.setMaxListeners(20);
          const flags = () =>
            [0, 1].map((fd) => /flags:\t(\d+)/.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '');
          const count = () => list('/proc/self/fd').length;
          const launch = async () => {
            const command = new Program('sh', '-c', asked.script, 'sh', asked.seen, 0, 1, 2).inheritStdio();
            if (asked.lane === 'helper') command.clearCaps();
            if (asked.lane === 'hook-runner') command.preExecHook(() => 0);
            if (asked.lane === 'hook that writes')
              command.preExecHook(() => {
                process.stdin.setMaxListeners(20);
                console.log('hook');
              });
            if (asked.how === 'daemon') await command.daemonize().run();
            else if (asked.how === 'run') await command.run();
            else command.runSync();
            const read2 = () => {
              try {
                return read(asked.seen, 'utf8');
              } catch {
                // The daemon has not begun yet.
                return '';
              }
            };
            while (!read2().endsWith('end\n')) await new Promise((resolve) => setTimeout(resolve, 5));
          };
          await launch();
          remove(asked.seen);
          const [before, descriptors] = [flags(), count()];
          await launch();
          return { before, after: flags(), descriptors: [descriptors, count()] };
        },
        { lane, how, seen: path('seen'), script: TELL },
        { directory: path(), feed: 'while [ ! -e over ]; do sleep 0.05; done', drain: 'cat; : >over' },
      );
      expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([true, true, true]);
      expect(result.before.map(blocks)).toEqual([false, false]);
      expect(result.after).toEqual(result.before);
      expect(result.descriptors[1]).toBe(result.descriptors[0]);
    },
  );
});

test("a stream of this process's that is first used while the program runs does not change the program's", async () => {
  const { result } = await inPipes(
    async ({ Command: Program }, asked: { ready: string; used: string; seen: string; script: string }) => {
      const { existsSync, readFileSync: read, writeFileSync: write } = process.getBuiltinModule('node:fs');
      const script = `: >"$1"; while [ ! -e "$2" ]; do sleep 0.05; done; shift 2; ${asked.script}`;
      const command = new Program('sh', '-c', script, 'sh', asked.ready, asked.used, asked.seen, 1);
      const child = await command.inheritStdio().runAsync();
      while (!existsSync(asked.ready)) await new Promise((resolve) => setTimeout(resolve, 5));
      process.stdout.setMaxListeners(20);
      write(asked.used, '');
      await child.wait();
      return /flags:\t(\d+)/.exec(read('/proc/self/fdinfo/1', 'utf8'))?.[1];
    },
    { ready: path('ready'), used: path('used'), seen: path('seen'), script: TELL },
    { directory: path() },
  );
  expect(blocks(result)).toBe(false);
  expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([true]);
});

test('what comes from one descriptor is one open file in the program too', async ({ skip }) => {
  needsProgram(skip, 'python3');
  await inPipes(
    async ({ Command: Program }, asked: { seen: string; script: string }) => {
      process.stdout.setMaxListeners(20);
      await new Program('python3', '-c', asked.script, asked.seen).outputFd(1).errorFd(1).passFd(1, { as: 7 }).run();
    },
    {
      seen: path('seen'),
      script: `
import fcntl, os, sys
mode = lambda fd: bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
before = [mode(fd) for fd in (1, 2, 7)]
fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_NONBLOCK)
open(sys.argv[1], 'w').write(repr((before, [mode(fd) for fd in (1, 2, 7)])))`,
    },
    { directory: path() },
  );
  expect(readFileSync(path('seen'), 'utf8')).toBe('([False, False, False], [True, True, True])');
});

test('a pipe blocks at every number, and a socket above 2 keeps its mode, so that the event loop goes on with it', async () => {
  const { result } = await inPipes(
    async ({ Command: Program }, asked: { seen: string; socket: string; script: string }) => {
      const { createServer, connect } = process.getBuiltinModule('node:net');
      const { readFileSync: read } = process.getBuiltinModule('node:fs');
      const numberOf = (owner: unknown) => (owner as { _handle: { fd: number } })._handle.fd;
      const server = createServer((client) => client.end('served')).listen(asked.socket);
      await new Promise((resolve) => server.once('listening', resolve));
      const writer = await new Program('sleep', '600').inputPipe().runAsync();
      const [listening, pipe] = [numberOf(server), numberOf(writer.stdin)];
      await new Program('sh', '-c', asked.script, 'sh', asked.seen, 3, 4, 7)
        .listenFds(listening, pipe)
        .passFd(pipe, { as: 7 })
        .run();
      let served = '';
      for await (const piece of connect(asked.socket)) served += String(piece);
      const own = [listening, pipe].map(
        (fd) => /flags:\t(\d+)/.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '',
      );
      server.close();
      await writer.free();
      return { served, own };
    },
    { seen: path('seen'), socket: path('socket'), script: TELL },
    { directory: path() },
  );
  expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([false, true, true]);
  expect([result.served, ...result.own.map(blocks)]).toEqual(['served', false, false]);
});

describe('a pipe that cannot be opened anew changes its mode for this process, too, as libuv has it', () => {
  test('since it belongs to another user', async ({ skip }) => {
    needsNobody(skip);
    chmodSync(path(), 0o777);
    const { result } = await inPipes(
      async ({ Command: Program }, asked: { seen: string; script: string }) => {
        process.stdin.setMaxListeners(20);
        process.stdout.setMaxListeners(20);
        await new Program('sh', '-c', asked.script, 'sh', asked.seen, 0, 1, 2).inheritStdio().run();
        const { readFileSync: read } = process.getBuiltinModule('node:fs');
        return [0, 1].map((fd) => /flags:\t(\d+)/.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '');
      },
      { seen: path('seen'), script: TELL },
      { directory: path(), feed: 'while [ ! -e over ]; do sleep 0.05; done', drain: 'cat; : >over' },
      { through: asNobody },
    );
    expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([true, true, true]);
    expect(result.map(blocks)).toEqual([true, true]);
  });

  test('since nobody has its other end; the launch does not wait for one', async () => {
    execFileSync('mkfifo', [path('fifo')]);
    const reader = openSync(path('fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path('fifo'), constants.O_WRONLY | constants.O_NONBLOCK);
    onTestFinished(() => closeSync(writer));
    closeSync(reader);
    await new Command('sh', '-c', TELL, 'sh', path('seen'), 1).outputFd(writer).run();
    expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([true]);
  });
});

test('a file keeps its offset, which it shares with this process, whatever its mode', async () => {
  const fd = openSync(path('log'), constants.O_WRONLY | constants.O_CREAT | constants.O_NONBLOCK);
  onTestFinished(() => closeSync(fd));
  await new Command('sh', '-c', 'echo first; echo second >&8').outputFd(fd).passFd(fd, { as: 8 }).run();
  writeSync(fd, 'third\n');
  expect(readFileSync(path('log'), 'utf8')).toBe('first\nsecond\nthird\n');
});

describe('exec()', () => {
  test('leaves nobody who could mind: streams, pipes and sockets of the event loop block in the program, at every number', async () => {
    // What it becomes prints the result of the process that it was.
    await inPipes(
      async ({ Command: Program }, asked: { seen: string; socket: string; script: string }) => {
        const server = process.getBuiltinModule('node:net').createServer().listen(asked.socket);
        await new Promise((resolve) => server.once('listening', resolve));
        process.stdin.setMaxListeners(20);
        process.stdout.setMaxListeners(20);
        const script = `${asked.script}; echo; echo RESULT null`;
        return new Program('sh', '-c', script, 'sh', asked.seen, 0, 1, 2, 3, 7)
          .listenFds((server as unknown as { _handle: { fd: number } })._handle.fd)
          .passFd(0, { as: 7 })
          .exec();
      },
      { seen: path('seen'), socket: path('socket'), script: TELL },
      { directory: path(), feed: 'while [ ! -e over ]; do sleep 0.05; done', drain: 'cat; : >over' },
    );
    expect(told(readFileSync(path('seen'), 'utf8'))).toEqual([true, true, true, true, true]);
  });

  test('that fails leaves every mode as it was, also those of sockets', async () => {
    writeFileSync(path('no-program'), 'neither a script nor a binary', { mode: 0o755 });
    const { result } = await inPipes(
      async ({ Command: Program }, asked: { socket: string; program: string }) => {
        const { createServer, connect } = process.getBuiltinModule('node:net');
        const { readFileSync: read } = process.getBuiltinModule('node:fs');
        const server = createServer().listen(asked.socket);
        const client = connect(asked.socket);
        await new Promise((resolve) => client.once('connect', resolve));
        const fd = (client as unknown as { _handle: { fd: number } })._handle.fd;
        process.stdout.setMaxListeners(20);
        let step = 'none';
        try {
          new Program(asked.program).inputFd(fd).exec();
        } catch (error) {
          step = (error as { step: string }).step;
        }
        const modes = [fd, 1].map((own) => /flags:\t(\d+)/.exec(read(`/proc/self/fdinfo/${own}`, 'utf8'))?.[1] ?? '');
        client.destroy();
        server.close();
        return { step, modes };
      },
      { socket: path('socket'), program: path('no-program') },
      { directory: path() },
    );
    expect([result.step, ...result.modes.map(blocks)]).toEqual(['execve', false, false]);
  });
});
