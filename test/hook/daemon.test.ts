import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { lockHolder, sleeper, targetsOf } from '../helpers/daemons.js';
import { inParent, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

describe('the hook of a daemon', () => {
  test('runs in the daemon, which has its pidfile by then, and the lock on it to its end', async () => {
    const { pid } = await sleeper()
      .pidFile(path('pid'))
      .preExecHook(
        ({ file, pidFile }: { file: string; pidFile: string }, child) => {
          const { ino } = process.getBuiltinModule('node:fs').statSync(pidFile);
          const lock = process
            .getBuiltinModule('node:fs')
            .readFileSync('/proc/locks', 'utf8')
            .split('\n')
            .find((row) => row.includes(`:${ino} `));
          process
            .getBuiltinModule('node:fs')
            .writeFileSync(
              file,
              JSON.stringify({ pid: child.pid, holder: Number(lock?.trim().split(/\s+/)[4]), cwd: process.cwd() }),
            );
        },
        { file: path('told'), pidFile: path('pid') },
      )
      .run();
    keep(pid);
    expect(JSON.parse(readFileSync(path('told'), 'utf8'))).toEqual({ pid, holder: pid, cwd: '/' });
    expect([readFileSync(path('pid'), 'utf8'), lockHolder(path('pid'))]).toEqual([String(pid), pid]);
    const wanted = ['/dev/null', '/dev/null', '/dev/null', path('pid')].sort();
    await eventually(
      `it has ${wanted.join(', ')} and nothing else`,
      () => targetsOf(pid).sort().join() === wanted.join(),
    );
  });

  test('that dies leaves a pidfile alone that somebody else has taken over', async () => {
    const error = await rejection(
      LaunchError,
      sleeper()
        .pidFile(path('pid'))
        .preExecHook((file: string) => {
          process.getBuiltinModule('node:fs').writeFileSync(`${file}.new`, '0'.repeat(String(process.pid).length));
          process.getBuiltinModule('node:fs').renameSync(`${file}.new`, file);
          process.kill(process.pid, 'SIGKILL');
          for (;;);
        }, path('pid'))
        .run(),
    );
    expect([error.step, readFileSync(path('pid'), 'utf8')]).toEqual(['hook', expect.stringMatching(/^0+$/)]);
  });

  test('goes on where the process that launched it is gone', async () => {
    const pid = await inParent(
      async ({ Command: Program }, { ready, told }) => {
        void new Program('sleep', '600')
          .daemonize()
          .preExecHook(
            async ([first, second]: readonly [string, string]) => {
              const { writeFileSync: write, renameSync } = process.getBuiltinModule('node:fs');
              write(`${first}.new`, `${process.pid} ${process.ppid}`);
              renameSync(`${first}.new`, first);
              while (!process.getBuiltinModule('node:fs').existsSync(second))
                await process.getBuiltinModule('node:timers/promises').setTimeout(5);
            },
            [ready, told] as const,
          )
          .run();
        while (!process.getBuiltinModule('node:fs').existsSync(ready))
          await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        const result = Number.parseInt(process.getBuiltinModule('node:fs').readFileSync(ready, 'utf8'), 10);
        process.stdout.write(`\nRESULT ${result}\n`, () => process.kill(process.pid, 'SIGKILL'));
        return new Promise<number>(() => undefined);
      },
      { ready: path('ready'), told: path('told') },
    );
    keep(pid);
    writeFileSync(path('told'), '');
    await eventually(
      'the program runs',
      () => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') === 'sleep\x00600\x00',
    );
  });

  test('with a handshake comes before it', async () => {
    const result = await sleeper()
      .pidFile(path('pid'))
      .requireHandshake()
      .preExecHook((file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'hook'), path('told'))
      .run();
    keep(result.pid);
    expect([readFileSync(path('told'), 'utf8'), readFileSync(path('pid'), 'utf8')]).toEqual([
      'hook',
      String(result.pid),
    ]);
    expect(readFileSync(`/proc/${result.pid}/cmdline`, 'utf8')).toMatch(/^vircommand-helper/);
    await result.handshakeNotify();
    expect(readFileSync(`/proc/${result.pid}/cmdline`, 'utf8')).toBe('sleep\x00600\x00');
    expect(lockHolder(path('pid'))).toBe(result.pid);
  });
});
