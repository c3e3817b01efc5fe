import { readdirSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { type Child, Command } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { end, eventually, processStat, sh, useDirectory } from '../helpers/tools.js';
import { inParent, lanes, needsProgram, needsRoot, readProc, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

const MIB = 1024 * 1024;

describe('handshakes', () => {
  test.each([
    ['by somebody else', (child: Child) => void process.kill(child.pid, 'SIGKILL')],
    ['by abort()', (child: Child) => child.abort()],
  ])('a program that was ended %s before the word cannot be let go', async (_who, endIt) => {
    const child = await new Command('true').requireHandshake().runAsync();
    await child.handshakeWait();
    await endIt(child);
    await child.wait({ check: false }).catch(() => undefined);
    await expect(child.handshakeNotify()).rejects.toMatchObject({ code: 'ERR_COMMAND_LAUNCH', step: 'execve' });
  });

  test.each([
    ['was told to go on', (child: Child) => child.handshakeNotify()],
    ['was ended before', (child: Child) => child.abort()],
    ['was ended at its handshake', (child: Child) => child.handshakeWait().then(() => child.abort())],
  ])('leave no descriptor here when the program %s', async (_what, finish) => {
    const run = async (): Promise<void> => {
      const child = await new Command('true').requireHandshake().runAsync();
      await finish(child);
      await child.wait().catch(() => undefined);
    };
    await run();
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    // The pipe by which that one was told may still be about to close.
    let [before, still] = [descriptors(), 0];
    await eventually('nothing is closed any more', () => {
      const now = descriptors();
      still = now === before ? still + 1 : 0;
      before = now;
      return still === 20;
    });
    for (let round = 0; round < 20; round += 1) await run();
    await eventually('all descriptors are closed', () => descriptors() <= before);
    expect(descriptors()).toBe(before);
  });
});

describe('signals', () => {
  test('a program that has ended is signaled no more, and nor is the process that has its pid then', async ({
    skip,
  }) => {
    needsRoot(skip);
    needsProgram(skip, 'unshare');
    const told = await inParent(
      async ({ Command: Program }) => {
        const { writeFileSync } = process.getBuiltinModule('node:fs');
        const { spawn: launch } = process.getBuiltinModule('node:child_process');
        const child = await new Program('true').runAsync();
        await child.wait();
        // The next pid is the one after this; something else may be started meanwhile.
        for (let attempt = 0; attempt < 50; attempt += 1) {
          try {
            writeFileSync('/proc/sys/kernel/ns_last_pid', String(child.pid - 1));
          } catch {
            return 'ns_last_pid cannot be written';
          }
          const other = launch('sleep', ['600']);
          const ended = new Promise<string | null>((resolve) => other.on('exit', (_code, signal) => resolve(signal)));
          const same = other.pid === child.pid;
          const answers = same ? [child.signal('SIGKILL'), child.signal('SIGTERM')] : [];
          if (same) await child.abort();
          other.kill('SIGUSR1');
          const signal = await ended;
          if (same) return { answers, signal };
        }
        return 'the pid was never the same';
      },
      undefined,
      { through: ['unshare', '--pid', '--fork', '--mount-proc'] },
    ).catch((error: unknown) => skip(`no pid namespace can be made here: ${String(error)}`));
    if (typeof told === 'string') skip(told);
    expect(told).toEqual({ answers: [false, false], signal: 'SIGUSR1' });
  });

  test.for(lanes)('a real-time signal that ends a program is told by its name, in the lane %s', async ([, take]) => {
    const { signal, exitCode, rawStatus } = await take(sh('kill -36 $$')).run({ check: false });
    expect([signal, exitCode, rawStatus]).toEqual(['SIGRTMIN+2', null, 36]);
  });

  test('a real-time signal can be sent', async () => {
    const child = await new Command('sleep', '600').runAsync();
    expect(child.signal('SIGRTMIN+30')).toBe(true);
    expect((await child.wait({ check: false })).signal).toBe('SIGRTMIN+30');
    expect(child.signal('SIGRTMIN+30')).toBe(false);
  });

  test('a core file is told', async ({ skip }) => {
    const pattern = readProc('/proc/sys/kernel/core_pattern').trim();
    if (pattern === '' || pattern.startsWith('|') || pattern.startsWith('/'))
      skip(`core files do not go to the program's directory here, but to '${pattern}'`);
    if (/^Max core file size +\d+ +0 /m.test(readProc('/proc/self/limits')))
      skip('core files are forbidden here by a hard limit');
    const crash = (bytes: number | 'unlimited') =>
      sh('kill -SEGV $$').workingDirectory(path()).limit('core', bytes, 'unlimited').run({ check: false });
    expect(await crash('unlimited')).toMatchObject({ signal: 'SIGSEGV', coreDumped: true, rawStatus: 11 | 0x80 });
    expect(await crash(0)).toMatchObject({ signal: 'SIGSEGV', coreDumped: false, rawStatus: 11 });
  });
});

describe('what a program used', () => {
  test.for(lanes)('processor time and memory are told, in the lane %s', async ([, take]) => {
    const idle = await take(new Command('true')).run();
    const busy = await take(
      new Command(
        process.execPath,
        '-e',
        `Buffer.alloc(${200 * MIB}, 1); let x = 0; for (let i = 0; i < 3e7; i += 1) x += i % 7`,
      ),
    ).run();
    for (const { resourceUsage } of [idle, busy]) {
      for (const value of Object.values(resourceUsage ?? {})) expect(value).toBeGreaterThanOrEqual(0);
    }
    expect(busy.resourceUsage?.userMs).toBeGreaterThan(idle.resourceUsage?.userMs ?? Infinity);
    expect(busy.resourceUsage?.maxRssKib).toBeGreaterThan(200 * 1024);
    expect(busy.resourceUsage?.maxRssKib).toBeLessThan(100 * 1024 * 1024);
  });

  test('children that the program waited for are counted with it', async () => {
    const { resourceUsage } = await sh(
      '"$@"; :',
      process.execPath,
      '-e',
      'let x = 0; for (let i = 0; i < 3e7; i += 1) x += i % 7',
    ).run();
    expect(resourceUsage?.userMs).toBeGreaterThan(5);
  });
});

describe('the standard streams', () => {
  test.for(lanes)('can be opened by their names, in the lane %s', async ([, take]) => {
    const script = 'cat /dev/stdin; echo one >/dev/stdout; echo two >/dev/stderr; cat </proc/self/fd/0';
    expect(await take(sh(script)).inputBuffer('in\n').outputBuffer().errorBuffer().run()).toMatchObject({
      stdout: 'in\none\n',
      stderr: 'two\n',
    });
  });

  test('are pipes, each with an end of its own', async () => {
    const { stdout } = await sh('readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2')
      .inputBuffer('x')
      .outputBuffer()
      .errorBuffer()
      .run();
    const names = stdout.trim().split('\n');
    for (const name of names) expect(name).toMatch(/^pipe:\[\d+\]$/);
    expect(new Set(names).size).toBe(3);
  });

  test('output that nobody reads stops the program, and comes whole when it is read', async () => {
    const bytes = 48 * MIB;
    const child = await new Command('dd', 'if=/dev/zero', 'bs=64k', `count=${bytes / 65_536}`, 'status=none')
      .outputPipe()
      .runAsync();
    const stdout = child.stdout;
    stdout.pause();
    await eventually(
      'the program sleeps in its write',
      () => processStat(child.pid)?.state === 'S' && readProc(`/proc/${child.pid}/syscall`).startsWith('1 '),
    );
    const written = Number(/^wchar: (\d+)$/m.exec(readProc(`/proc/${child.pid}/io`))?.[1]);
    expect(written).toBeLessThan(4 * MIB);
    let read = 0;
    for await (const chunk of stdout) read += (chunk as Buffer).length;
    expect(read).toBe(bytes);
    await child.wait();
  });

  test('input that the program does not read stops the writer, until it reads', async () => {
    const child = await sh('kill -STOP $$; wc -c').inputPipe().outputBuffer().runAsync();
    const stdin = child.stdin;
    await eventually('the program has stopped', () => processStat(child.pid)?.state === 'T');
    const piece = Buffer.alloc(65_536);
    let written = 0;
    do written += piece.length;
    while (stdin.write(piece));
    const drained = once(stdin, 'drain');
    child.signal('SIGCONT');
    await drained;
    stdin.end();
    expect((await child.wait()).stdout).toBe(`${written}\n`);
  });

  test('a pipe of the caller that is destroyed does no harm', async () => {
    const child = await sh('read line; echo "got $line"; exec yes').inputPipe().outputPipe().runAsync();
    child.stdin.write('word\n');
    const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^got word\n/);
    child.stdout.destroy();
    child.stdin.destroy();
    expect((await child.wait({ check: false })).signal).toBe('SIGPIPE');
  });

  test.for(lanes)(
    'a process that the program left behind with an output pipe is told, and not waited for, in the lane %s',
    async ([, take]) => {
      const { stdout, outputHeldOpen } = await take(sh('sleep 600 & echo $!')).outputBuffer().run();
      onTestFinished(() => {
        end(Number(stdout));
      });
      expect(outputHeldOpen).toBe(true);
      expect((await take(sh('echo')).outputBuffer().run()).outputHeldOpen).toBe(false);
    },
  );

  test('one that keeps writing does not stop the result from coming', async () => {
    const { stdout, outputHeldOpen } = await sh('echo $$; yes & echo $! >"$1"', path('pid'))
      .outputBuffer()
      .outputLimit(MIB)
      .run();
    end(Number(readFileSync(path('pid'), 'utf8')));
    expect([outputHeldOpen, stdout.length > 0]).toEqual([true, true]);
  });
});
