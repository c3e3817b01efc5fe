import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Command, LaunchError, UnsupportedError, type UsageError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { end, eventually, hasProgram, isRunning, useDirectory, writeProgram } from '../helpers/tools.js';
import {
  asNobody,
  bits,
  fieldsOf,
  inParent,
  type Library,
  needsNobody,
  needsProgram,
  needsRoot,
  NOBODY,
  parentWords,
  type ParentOptions,
  root,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

interface Replaced {
  /** The pid of the process that replaced itself. */
  readonly pid: number;
  readonly output: string;
  readonly errors: string;
  readonly exitCode: number | null;
}

/** Runs a function in a process of its own, which replaces itself, and waits for the end of what it became. */
async function replaced<A>(
  body: (library: Library, argument: A) => Promise<unknown>,
  argument: A,
  options?: ParentOptions & { detached?: boolean },
): Promise<Replaced> {
  const [program = '', ...words] = parentWords(body, argument, options);
  const child = spawn(program, words, {
    cwd: root,
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native', ...options?.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options?.detached ?? false,
  });
  onTestFinished(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  await once(child, 'close');
  return { pid: child.pid ?? -1, output, errors, exitCode: child.exitCode };
}

describe('the program in the place of this process', () => {
  test('has its pid, its parent, its standard streams, and what the command says', async () => {
    const { pid, output, errors, exitCode } = await replaced(
      async ({ Command: Program }, { directory }) => {
        await Promise.resolve();
        return new Program(
          'sh',
          '-c',
          'echo $$ $PPID "$1" "$A" "${HOME-unset}" $(pwd); echo told >&2; exit 3',
          'sh',
          'a b',
        )
          .env('A', 'B')
          .env('PATH', process.env['PATH'] ?? '')
          .workingDirectory(directory)
          .exec();
      },
      { directory: path() },
    );
    expect(output).toBe(`${pid} ${process.pid} a b B unset ${path()}\n`);
    expect([errors, exitCode]).toEqual(['told\n', 3]);
  });

  test('has the descriptors that were named and its standard streams, and no other', async () => {
    writeFileSync(path('file'), '');
    const { output } = await replaced(async ({ Command: Program }, file) => {
      await Promise.resolve();
      const { openSync } = process.getBuiltinModule('node:fs');
      // The event loop's own descriptors have low numbers: to place one of ours there must not disturb it before the exec.
      const [first, second] = [openSync(file, 'r'), openSync(file, 'r')];
      return new Program(
        'node',
        '-e',
        "for (const fd of fs.readdirSync('/proc/self/fd')) try { console.log(fd, fs.readlinkSync('/proc/self/fd/' + fd)) } catch {}",
      )
        .passFd(first, { as: 7 })
        .passFd(second, { as: second })
        .passFd(first, { as: 50 })
        .exec();
    }, path('file'));
    const rows = output
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    const own = rows.filter(([fd]) => Number(fd) <= 2).map(([fd]) => fd);
    const files = rows.filter(([, target]) => target === path('file')).map(([fd]) => Number(fd));
    expect(own.sort()).toEqual(['0', '1', '2']);
    expect(files).toEqual(expect.arrayContaining([7, 50]));
    expect(files).toHaveLength(3);
    // What else is open, that Node has opened for itself.
    expect(
      rows.filter(
        ([fd, target]) =>
          Number(fd) > 2 && target !== path('file') && !/^(anon_inode|pipe|socket):|\/dev\/null$/.test(target ?? ''),
      ),
    ).toEqual([]);
  });

  test('reads and writes files in the place of its standard streams', async () => {
    writeFileSync(path('in'), 'from a file');
    const { output } = await replaced(
      async ({ Command: Program }, { input, out }) => {
        await Promise.resolve();
        return new Program('sh', '-c', 'cat; echo err >&2').inputFile(input).outputFile(out).errorToOutput().exec();
      },
      { input: path('in'), out: path('out') },
    );
    expect(output).toBe('');
    expect(readFileSync(path('out'), 'utf8')).toBe('from a fileerr\n');
  });

  test('has every signal at its default, none blocked, and the umask, limits and nice value that were asked for', async () => {
    const { output } = await replaced(async ({ Command: Program }) => {
      await Promise.resolve();
      process.on('SIGTERM', () => undefined);
      return new Program('sh', '-c', 'cat /proc/self/status; umask; ulimit -n; nice')
        .umask(0o27)
        .maxFiles(64)
        .nice(3)
        .noNewPrivileges()
        .exec();
    }, null);
    const status = fieldsOf(output);
    // cat itself and the shell handle nothing before they begin.
    expect([bits(status['SigIgn']), bits(status['SigBlk']), status['NoNewPrivs']]).toEqual([0n, 0n, '1']);
    expect(output.trim().split('\n').slice(-3)).toEqual(['0027', '64', '3']);
  });

  test('has the ids and capabilities that were asked for, in every thread that there was', async ({ skip }) => {
    needsRoot(skip);
    const { output } = await replaced(async ({ Command: Program }, id) => {
      await Promise.resolve();
      return new Program('cat', '/proc/self/status').uid(id).gid(id).groups([id, 7]).allowCap('CAP_NET_RAW').exec();
    }, NOBODY);
    const status = fieldsOf(output);
    expect([status['Uid'], status['Gid'], status['Groups'], status['Threads']]).toEqual(
      Array.from({ length: 2 }, () => Array.from({ length: 4 }, () => NOBODY).join('\t')).concat(`7 ${NOBODY}`, '1'),
    );
    expect(['CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb'].map((name) => bits(status[name]))).toEqual(
      Array.from({ length: 5 }, () => 1n << 13n),
    );
  });

  test('comes in spite of timers, threads, open connections and work in the pool', async () => {
    const { output, exitCode } = await replaced(async ({ Command: Program }) => {
      const { Worker } = process.getBuiltinModule('node:worker_threads');
      const { createServer } = process.getBuiltinModule('node:net');
      const { pbkdf2 } = process.getBuiltinModule('node:crypto');
      setInterval(() => undefined, 1);
      const worker = new Worker('for (;;);', { eval: true });
      await new Promise((resolve) => worker.once('online', resolve));
      await new Promise<void>((resolve) => createServer().listen(0, '127.0.0.1', resolve));
      for (let i = 0; i < 8; i += 1) pbkdf2('a', 'b', 10_000_000, 64, 'sha512', () => undefined);
      return new Program('echo', 'here').exec();
    }, null);
    expect([output, exitCode]).toEqual(['here\n', 0]);
  });

  test('dies with the parent of this process, if it shall', async () => {
    const { output } = await replaced(async ({ Command: Program }) => {
      await Promise.resolve();
      const script =
        'import ctypes; value = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(value)); print(value.value)';
      return new Program('python3', '-c', script).dieWithParent('SIGINT').exec();
    }, null);
    expect(output).toBe('2\n');
  });
});

describe('what becomes of children', () => {
  test('owned ones end before the program begins; a released one and a daemon live', async () => {
    const { output } = await replaced(async ({ Command: Program }) => {
      const owned = await new Program('sleep', '600').runAsync();
      const released = (await new Program('sleep', '600').runAsync()).release();
      const { pid: daemon } = await new Program('sleep', '600').daemonize().run();
      const script = 'for pid; do read -r _ _ state _ </proc/$pid/stat; echo $pid $state; done';
      return new Program('sh', '-c', script, 'sh', owned.pid, released, daemon).exec();
    }, null);
    const states = output
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    for (const [pid] of states.slice(1)) end(Number(pid));
    expect(states.map(([, state]) => state)).toEqual(['Z', 'S', 'S']);
  });
});

describe('exec() that fails', () => {
  /** Everything that the steps change of a process, seen before and after. Runs in the other process, and must stand by itself. */
  async function attempt(
    library: Library,
    asked: { how: 'missing' | 'directory' | 'interpreter' | 'ids' | 'session' | 'late' | 'kept'; directory: string },
  ) {
    const { readFileSync: read, readdirSync, readlinkSync, openSync, statSync } = process.getBuiltinModule('node:fs');
    const { spawn: start } = process.getBuiltinModule('node:child_process');
    const { Command: Program } = library;
    process.umask(0o22);
    process.on('SIGUSR2', () => undefined);
    const fd = openSync(`${asked.directory}/file`, 'w');
    await new Program('true').run();
    new Program('true').runSync();

    const FIELDS = /^(Umask|Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|Cap\w+|NoNewPrivs|PPid|NSsid|NSpgid|Threads):/;
    const look = () => ({
      status: read('/proc/thread-self/status', 'utf8')
        .split('\n')
        .filter((line) => FIELDS.test(line)),
      limits: read('/proc/self/limits', 'utf8'),
      oomScore: read('/proc/self/oom_score_adj', 'utf8'),
      nice: read('/proc/self/stat', 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ')[16],
      cwd: process.cwd(),
      mode: statSync('/proc/self/environ').uid,
      fds: readdirSync('/proc/self/fd').flatMap((number) => {
        try {
          return [
            `${number} ${readlinkSync(`/proc/self/fd/${number}`)} ${/^flags:.*$/m.exec(read(`/proc/self/fdinfo/${number}`, 'utf8'))?.[0] ?? ''}`,
          ];
        } catch {
          return []; // The directory's own.
        }
      }),
      children: readdirSync('/proc/self/task').flatMap((task) =>
        read(`/proc/self/task/${task}/children`, 'utf8')
          .split(' ')
          .filter((pid) => pid !== ''),
      ).length,
    });

    // All that a plan can change, and our own numbers among those that are replaced for it.
    const numbers = readdirSync('/proc/self/fd')
      .map(Number)
      .filter((number) => number > 2 && number < 40 && number !== fd);
    // To raise a hard limit again takes a privilege that even root may lack; it stays.
    const hard = Number(/^Max open files +\d+ +(\d+)/m.exec(read('/proc/self/limits', 'utf8'))?.[1]);
    const full = (program: string) => {
      const command = new Program(program)
        .umask(0)
        .nice(19)
        .oomScoreAdjust(900)
        .limit('nofile', 64, hard)
        .listenFds(fd)
        .workingDirectory('/')
        .errorFd(1);
      for (const number of numbers) if (number > 3) command.passFd(fd, { as: number });
      return command;
    };
    const commands = {
      missing: () => full(`${asked.directory}/nothing`),
      directory: () => full('/bin/true').uid(1234).gid(1234),
      interpreter: () => full(`${asked.directory}/script`),
      ids: () => full('/bin/true').uid(1234).gid(1234),
      session: () => new Program('/bin/true').newSession(),
      late: () => full('/bin/true'),
      kept: () => full('/bin/true').noNewPrivileges(),
    };
    let tracer: ReturnType<typeof start> | undefined;
    if (asked.how === 'late' || asked.how === 'kept') {
      // The rehearsal is another process: only the exec of this very thread is made to fail.
      tracer = start('strace', ['-o', '/dev/null', '-p', String(process.pid), '-e', 'inject=execve:error=EIO'], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      // It says on its standard error that it is there, and must be able to say more.
      await new Promise((resolve) => tracer?.stderr?.once('data', resolve));
      tracer.stderr?.resume();
    }
    const before = look();
    let error: unknown;
    try {
      const command = commands[asked.how]();
      if (asked.how === 'directory') command.clone().exec();
      else command.exec();
    } catch (thrown) {
      error = thrown;
    }
    const after = look();
    if (tracer !== undefined) {
      const closed = new Promise((resolve) => tracer.once('close', resolve));
      tracer.kill();
      await closed;
    }
    // The event loop, its descriptors and its signals go on.
    const lives = await new Promise<string>((resolve) => {
      const alive = setInterval(() => undefined, 1000);
      process.once('SIGWINCH', () => {
        clearInterval(alive);
        resolve('a signal came');
      });
      process.kill(process.pid, 'SIGWINCH');
    });
    const { exitCode } = await new Program('true').run();
    const { name, step, errno, message } = error as { name: string; step?: string; errno?: string; message: string };
    return { before, after, lives, exitCode, error: { name, step, errno, message } };
  }

  const cases = [
    ['a program that is not there', 'missing', 'execve', 'ENOENT', []],
    ['a script whose interpreter is not there', 'interpreter', 'execve', 'ENOENT', []],
    ['ids that this process may not take', 'ids', 'setgroups', 'EPERM', asNobody],
    ['an exec that the kernel refuses here and granted to the rehearsal', 'late', 'execve', 'EIO', []],
  ] as const;
  test.for(cases)(
    '%s is a LaunchError with its step, and leaves this process as it was',
    async ([, how, step, errno, through], { skip }) => {
      if (through.length > 0) needsNobody(skip);
      if (how === 'late' && !hasProgram('strace')) skip('there is no strace');
      writeProgram(path('script'), '#!/nowhere/sh\n');
      const directory = path('writable');
      mkdirSync(directory);
      chmodSync(directory, 0o755);
      for (const place of [path('file'), `${directory}/file`]) writeProgram(place, '', 0o666);
      const { before, after, lives, exitCode, error } = await inParent(
        attempt,
        { how, directory: how === 'interpreter' ? path() : directory },
        { through },
      );
      expect([error.name, error.step, error.errno], error.message).toEqual(['LaunchError', step, errno]);
      expect(after).toEqual(before);
      expect([lives, exitCode]).toEqual(['a signal came', 0]);
    },
  );

  test('what no process can take back is kept, and the error names its steps', async ({ skip }) => {
    if (!hasProgram('strace')) skip('there is no strace');
    writeProgram(path('file'), '', 0o666);
    const { before, after, error } = await inParent(attempt, { how: 'kept', directory: path() });
    const keeps = (line: string): string => (line.startsWith('NoNewPrivs:') ? 'NoNewPrivs:\t1' : line);
    expect(after).toEqual({ ...before, status: before.status.map(keeps) });
    expect(error.message).toBe(
      "Cannot start `/bin/true`: '/bin/true' cannot be executed (execve: EIO). This process keeps what no process can take back: no_new_privs.",
    );
  });

  test('a step that only a child could take is a LaunchError too: a process that leads a group can open no session', async () => {
    const { output } = await replaced(
      async ({ Command: Program }) => {
        await Promise.resolve();
        try {
          return new Program('true').newSession().exec();
        } catch (error) {
          const { step, errno } = error as { step: string; errno: string };
          process.stdout.write(`${step} ${errno}`);
          return undefined;
        }
      },
      null,
      { detached: true },
    );
    expect(output).toMatch(/^setsid EPERM/);
  });

  test('the program has not begun: a rehearsal is ended before the first instruction', async () => {
    const { output } = await replaced(
      async ({ Command: Program }, file) => {
        await Promise.resolve();
        for (let i = 0; i < 20; i += 1) {
          try {
            new Program('/bin/sh', '-c', 'echo ran >>"$0"', file).newSession().exec();
          } catch (error) {
            process.stdout.write(`${(error as { step: string }).step}\n`);
          }
        }
      },
      path('ran'),
      { detached: true },
    );
    expect(output.split('\n').filter((line) => line === 'setsid')).toHaveLength(20);
    expect(existsSync(path('ran'))).toBe(false);
  });

  test('a child that is owned lives on', async () => {
    const { pid } = await inParent(async ({ Command: Program }) => {
      const child = await new Program('sleep', '600').runAsync();
      try {
        new Program('/nowhere').exec();
      } catch {
        // That is what is asked.
      }
      return { pid: child.release() };
    });
    expect(isRunning(pid)).toBe(true);
    end(pid);
    await eventually('it has ended', () => !isRunning(pid));
  });
});

test('where no process may be traced, the exec itself is not rehearsed, and done all the same', async ({ skip }) => {
  if (!hasProgram('strace')) skip('there is no strace');
  const { output } = await replaced(async ({ Command: Program }) => {
    const { spawn: start } = process.getBuiltinModule('node:child_process');
    await new Program('true').run();
    const tracer = start(
      'strace',
      ['-f', '-o', '/dev/null', '-p', String(process.pid), '-e', 'inject=ptrace:error=EPERM'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await new Promise((resolve) => tracer.stderr.once('data', resolve));
    tracer.stderr.resume();
    return new Program('echo', 'here').exec();
  }, null);
  expect(output).toBe('here\n');
});

describe('where /proc is not mounted', () => {
  /** Starts a program in a mount namespace whose /proc is empty, with a descriptor that programs inherit. */
  const withoutProc = [
    'unshare',
    '--mount',
    'bash',
    '-c',
    'mount -t tmpfs none /proc && exec "$@" 40</dev/null',
    'bash',
  ];

  function needsEmptyProc(skip: (why: string) => never): void {
    needsRoot(skip);
    for (const program of ['unshare', 'bash']) needsProgram(skip, program);
    if (spawnSync('unshare', [...withoutProc.slice(1), 'true']).status !== 0) skip('no /proc can be covered here');
  }

  // As os.execv() of Python has it, and execvp() of C: neither asks /proc.
  test('exec() works, and ends the owned children as everywhere', async ({ skip }) => {
    needsEmptyProc(skip);
    const { output, errors, exitCode } = await replaced(
      async ({ Command: Program }) => {
        const owned = await new Program('sleep', '600').runAsync();
        return new Program('echo', owned.pid).exec();
      },
      null,
      { through: withoutProc },
    );
    expect([errors, exitCode]).toEqual(['', 0]);
    expect(output).toMatch(/^\d+\n$/);
    await eventually('the owned child has ended', () => !isRunning(Number(output)));
  });

  // Each of a million numbers is asked for, and strace stops this process at every call.
  test(
    'exec() that fails is a LaunchError, and what is inherited by children stays so',
    { timeout: 240_000 },
    async ({ skip }) => {
      needsEmptyProc(skip);
      if (!hasProgram('strace')) skip('there is no strace');
      // strace lets the program begin that it is told to trace. The rehearsal is another process, which it does not trace.
      const traced = [
        ...withoutProc,
        'strace',
        '-o',
        '/dev/null',
        '-e',
        'trace=execve',
        '-e',
        'inject=execve:error=EIO',
      ];
      const told = await inParent(
        async ({ Command: Program }) => {
          const { spawnSync: run } = process.getBuiltinModule('node:child_process');
          await new Program('true').run();
          const look = () => run('bash', ['-c', ': <&40 && echo open'], { encoding: 'utf8' }).stdout;
          const before = look();
          let error: unknown;
          try {
            new Program('true').exec();
          } catch (thrown) {
            error = thrown;
          }
          const { name, step, errno } = error as LaunchError;
          return { name, step, errno, before, after: look() };
        },
        undefined,
        { through: traced },
      );
      expect(told).toEqual({ name: 'LaunchError', step: 'execve', errno: 'EIO', before: 'open\n', after: 'open\n' });
    },
  );
});

test('in a worker thread it is a mistake', async () => {
  const message = await inParent(async () => {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    const code = `
      import { parentPort } from 'node:worker_threads';
      import { Command } from ${JSON.stringify(`${process.cwd()}/dist/index.js`)};
      try { new Command('true').exec(); } catch (error) { parentPort.postMessage(error.message); }`;
    return new Promise<string>((resolve) => new Worker(code, { eval: true }).once('message', resolve));
  });
  expect(message).toBe('Mistake in `true`: exec(): a worker thread is not the process; call it in the main thread.');
});

test('what needs somebody who is still there is a mistake, all of it told at once', () => {
  const command = new Command('true')
    .inputBuffer('x')
    .outputPipe()
    .errorBuffer()
    .timeout(5)
    .stopSequence([['SIGTERM', 1]])
    .outputLimit(5, 'truncate')
    .waitForOutputEnd()
    .requireHandshake();
  const problem = 'exec() leaves nobody here to do that; leave the call out, or use run()';
  let error: unknown;
  try {
    command.exec();
  } catch (thrown) {
    error = thrown;
  }
  expect((error as UsageError).mistakes).toEqual(
    [
      'inputBuffer(…)',
      'outputPipe()',
      'errorBuffer()',
      'timeout(…)',
      'stopSequence(…)',
      'outputLimit(…)',
      'waitForOutputEnd()',
      'requireHandshake()',
    ].map((call) => ({ call, problem })),
  );
  expect(() => new Command('true').daemonize().exec()).toThrow(
    'daemonize(): exec() makes this process the program; leave one of the two out.',
  );
});

test('a missing program is told before anything happens, bare or not', () => {
  expect(() => new Command('vircommand-no-such-program').exec()).toThrow(LaunchError);
  expect(() => new Command('/nowhere').exec()).toThrow(
    "Cannot start `/nowhere`: '/nowhere' does not exist (execve: ENOENT).",
  );
});

test('a dry run records it, and says that nothing was replaced', () => {
  using dry = dryRun();
  expect(() => new Command('/sbin/init', '6').exec()).toThrow(UnsupportedError);
  expect(dry.commands).toEqual(['/sbin/init 6']);
});
