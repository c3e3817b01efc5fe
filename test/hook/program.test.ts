import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { rejection, useDirectory } from '../helpers/tools.js';
import { bits, needsProgram, outputOf, statusOf, useNativeEngine } from '../helpers/native.js';
import { sh } from './tools.js';

useNativeEngine();
const path = useDirectory();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

describe("of a hook's work, the program", () => {
  const LIST = 'for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink $fd)"; done';

  /** The descriptors of a shell that lists its own, less those that it opens for that. */
  const listed = async (command: Command): Promise<string[]> =>
    (await outputOf(command))
      .trim()
      .split('\n')
      .filter((line) => !/^\d+ (\/dev\/null|pipe:.*|\/usr.*|)$/.test(line));

  test('has the umask', async () => {
    expect(
      (await statusOf((command) => command.umask(0o077).preExecHook(() => void process.umask(0o027))))['Umask'],
    ).toBe('0027');
  });

  test('has the directory', async () => {
    expect(await outputOf(new Command('pwd').preExecHook((to: string) => process.chdir(to), path()))).toBe(
      `${path()}\n`,
    );
  });

  test('has none of the descriptors that it opened, in whatever way', async () => {
    const opened = await listed(
      sh(LIST).preExecHook((file: string) => {
        const { openSync: open } = process.getBuiltinModule('node:fs');
        for (let count = 0; count < 10; count += 1) open(file, 'a+');
        process.getBuiltinModule('node:net').createServer().listen(`${file}.socket`);
      }, path('opened')),
    );
    expect(opened).toEqual([]);
    expect(existsSync(path('opened'))).toBe(true);
  });

  test('has none either that a library in the hook opened without care', async ({ skip }) => {
    needsProgram(skip, 'cc');
    execFileSync('cc', [
      '-shared',
      '-fPIC',
      '-o',
      path('leak.so'),
      fileURLToPath(new URL('../programs/leak-descriptor.c', import.meta.url)),
    ]);
    const seen = await listed(
      sh(LIST).preExecHook(
        ({ library, file }: { library: string; file: string }) => {
          try {
            process.dlopen({ exports: {} }, library);
          } catch {
            // It is no addon; but it was loaded, and has done its work.
          }
          const { readdirSync: list, readlinkSync: lead, writeFileSync: write } = process.getBuiltinModule('node:fs');
          write(
            file,
            String(
              list('/proc/self/fd').some((fd) => {
                try {
                  return lead(`/proc/self/fd/${fd}`) === '/dev/full';
                } catch {
                  return false;
                }
              }),
            ),
          );
        },
        { library: path('leak.so'), file: path('told') },
      ),
    );
    expect([readFileSync(path('told'), 'utf8'), seen]).toEqual(['true', []]);
  });

  test('has the descriptors that it was passed, at their numbers, and those that keepFd() names', async () => {
    const fd = openSync(path('passed'), 'w+');
    try {
      const seen = await listed(
        sh(LIST)
          .passFd(fd, { as: 3 })
          .passFd(fd, { as: 17 })
          .preExecHook((file: string, child) => {
            const { openSync: open, writeFileSync: write } = process.getBuiltinModule('node:fs');
            const fds = Array.from({ length: 10 }, () => open(`${file}.kept`, 'w+'));
            child.keepFd(fds[4] ?? -1);
            write(file, String(fds[4]));
          }, path('told')),
      );
      expect(seen).toEqual(
        expect.arrayContaining([
          `3 ${path('passed')}`,
          `17 ${path('passed')}`,
          `${readFileSync(path('told'), 'utf8')} ${path('told')}.kept`,
        ]),
      );
      expect(seen).toHaveLength(3);
    } finally {
      closeSync(fd);
    }
  });

  test.for([-1, 1.5, 900, 'x'])('keepFd(%s) of what is not open fails the hook', async (fd) => {
    const error = await rejection(
      LaunchError,
      new Command('true').preExecHook((given: number, child) => child.keepFd(given), fd as number).run(),
    );
    expect(error.message).toBe(
      `Cannot start \`true\`: its pre-exec hook failed: TypeError: keepFd(${typeof fd === 'string' ? `'${fd}'` : fd}): this is no open descriptor of the hook's; give it the number that openSync() gave.`,
    );
  });

  test('gives what the hook itself starts none of the descriptors that it was passed', async () => {
    const fd = openSync(path('passed'), 'w+');
    try {
      await new Command('true')
        .passFd(fd, { as: 5 })
        .passFd(fd, { as: 300 })
        .preExecHook((file: string) => {
          const { stdout } = process
            .getBuiltinModule('node:child_process')
            .spawnSync('sh', ['-c', 'ls -l /proc/self/fd'], { encoding: 'utf8' });
          process.getBuiltinModule('node:fs').writeFileSync(file, stdout);
        }, path('told'))
        .run();
      expect(
        Array.from(readFileSync(path('told'), 'utf8').matchAll(/ (\d+) -> /g), ([, number]) => Number(number)),
      ).toEqual([0, 1, 2, 3]);
    } finally {
      closeSync(fd);
    }
  });

  test('has its standard streams as they were, though Node sets pipes not to block', async () => {
    const O_NONBLOCK = 0o4000;
    const nonblocking = (text: string): boolean[] =>
      Array.from(
        text.matchAll(/^flags:\s*(\d+)$/gm),
        ([, flags = '']) => (Number.parseInt(flags, 8) & O_NONBLOCK) !== 0,
      );
    const child = await sh('cat /proc/$$/fdinfo/0 /proc/$$/fdinfo/1 /proc/$$/fdinfo/2')
      .inputPipe()
      .outputPipe()
      .errorPipe()
      .preExecHook(() => {
        process.stdin.resume();
        process.stdin.pause();
        process.stdout.write('hook\n');
        process.stderr.write('hook\n');
        const { readFileSync: read } = process.getBuiltinModule('node:fs');
        // The instrument: Node has changed at least one of them.
        const flags = [0, 1, 2].map((fd) =>
          Number.parseInt(/^flags:\s*(\d+)$/m.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8),
        );
        if (!flags.some((bits) => (bits & 0o4000) !== 0)) throw new Error('Node has changed nothing');
      })
      .runAsync();
    let output = '';
    for await (const chunk of child.stdout) output += String(chunk);
    await child.wait();
    expect(output).toMatch(/^hook\n/);
    expect(nonblocking(output)).toEqual([false, false, false]);
  });

  test('has signals at their defaults and free, whatever the hook has done to them', async () => {
    const status = await statusOf((command) =>
      command.preExecHook(() => {
        for (const signal of ['SIGTERM', 'SIGUSR2', 'SIGPIPE', 'SIGHUP'] as const) process.on(signal, () => undefined);
      }),
    );
    expect(['SigIgn', 'SigBlk', 'SigCgt'].map((set) => bits(status[set]))).toEqual([0n, 0n, 0n]);
  });

  test('reads the input that was meant for it', async () => {
    expect(await outputOf(new Command('cat').inputBuffer('input').preExecHook(() => 0))).toBe('input');
    expect(
      new Command('cat')
        .inputBuffer('input')
        .outputBuffer()
        .preExecHook(() => 0)
        .runSync().stdout,
    ).toBe('input');
  });

  test("has LISTEN_PID right, and none of the hook's variables", async () => {
    const child = await sh('echo $$ $LISTEN_PID $LISTEN_FDS $SAID')
      .listenFds(2)
      .outputBuffer()
      .preExecHook(() => {
        process.env['SAID'] = 'x';
      })
      .runAsync();
    expect((await child.wait()).stdout).toBe(`${child.pid} ${child.pid} 1\n`);
  });
});
