import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Command, type Lane } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { end, eventually, exists, isRunning, nodeFixture, useDirectory } from '../helpers/tools.js';
import {
  lanes,
  needsRoot,
  NOBODY,
  outputOf,
  parentWords,
  root,
  useNativeEngine,
  type Library,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** Starts a parent that runs the function and stays. Gives the parent's pid, and what the function gives. */
async function parentThatStays<A, T>(
  body: (library: Library, argument: A) => Promise<T>,
  argument: A,
): Promise<{ pid: number; told: T }> {
  const [program = '', ...words] = parentWords(body, argument);
  const parent = spawn(program, words, {
    cwd: root,
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = parent.pid ?? -1;
  const closed = once(parent, 'close');
  onTestFinished(async () => {
    end(pid);
    await closed;
  });
  for await (const line of createInterface({ input: parent.stdout })) {
    if (line.startsWith('RESULT ')) return { pid, told: JSON.parse(line.slice('RESULT '.length)) as T };
  }
  throw new Error('The parent ended before it told anything.');
}

interface Asked {
  readonly lane: Lane;
  readonly uid?: number;
}

async function startSleepers(
  { Command: Program }: Library,
  { lane, uid }: Asked,
): Promise<{ dies: number; lives: number }> {
  const sleeper = () => {
    const command = new Program('sleep', '600');
    if (lane === 'helper') command.clearCaps();
    if (lane === 'hook-runner') command.preExecHook(() => 0);
    return uid === undefined ? command : command.uid(uid).gid(uid);
  };
  const dies = await sleeper().dieWithParent().runAsync();
  const lives = await sleeper().runAsync();
  return { dies: dies.pid, lives: lives.pid };
}

describe('dieWithParent()', () => {
  test.for(lanes)('a parent that is killed takes its programs with it, in the lane %s', async ([lane]) => {
    const { pid, told } = await parentThatStays(startSleepers, { lane });
    onTestFinished(() => {
      end(told.lives);
    });
    expect([told.dies, told.lives].map(isRunning)).toEqual([true, true]);
    process.kill(pid, 'SIGKILL');
    await eventually('the program has died with its parent', () => !isRunning(told.dies));
    // The instrument: without the call, it lives on.
    expect(isRunning(told.lives)).toBe(true);
  });

  test('the change of ids does not take it away', async ({ skip }) => {
    needsRoot(skip);
    const { pid, told } = await parentThatStays(startSleepers, { lane: 'helper', uid: NOBODY });
    onTestFinished(() => {
      end(told.lives);
    });
    process.kill(pid, 'SIGKILL');
    await eventually('the program has died with its parent', () => !isRunning(told.dies));
  });

  test.for(lanes)('another signal can be asked for, in the lane %s', async ([lane]) => {
    const told = await parentThatStays(
      async ({ Command: Program }, asked) => {
        const command = new Program(
          'sh',
          '-c',
          'trap "echo told >$0; exit" USR2; echo ready; while :; do sleep 0.01; done',
          asked.file,
        );
        if (asked.lane === 'helper') command.clearCaps();
        if (asked.lane === 'hook-runner') command.preExecHook(() => 0);
        const child = await command.outputPipe().dieWithParent('SIGUSR2').runAsync();
        await process.getBuiltinModule('node:events').once(child.stdout as NodeJS.EventEmitter, 'data');
        return child.pid;
      },
      { lane, file: path('told') },
    );
    onTestFinished(() => {
      end(told.told);
    });
    process.kill(told.pid, 'SIGKILL');
    await eventually('the program was told', () => !isRunning(told.told));
    expect(readFileSync(path('told'), 'utf8')).toBe('told\n');
  });
});

describe('free()', () => {
  test('ends a program that stands before its handshake, where it hears no signal but SIGKILL', async () => {
    const child = await new Command('sleep', '600').requireHandshake().inputPipe().runAsync();
    await child.handshakeWait();
    await child.free();
    expect(exists(child.pid)).toBe(false);
    expect(child.stdin.destroyed).toBe(true);
  });
});

describe('a child of a worker thread', () => {
  const leave = async (how: string): Promise<readonly number[]> => {
    const parent = await nodeFixture('leave-workers-child.js', how).outputPipe().runAsync();
    const pids = String(((await once(parent.stdout, 'data')) as [Buffer])[0])
      .trim()
      .split(' ')
      .map(Number);
    onTestFinished(() => {
      for (const pid of pids) end(pid);
    });
    await parent.wait({ check: false });
    return pids;
  };

  test.for(['exit', 'throw', 'terminate'])('ends with its worker, when that is ended by %s', async (how) => {
    const pids = await leave(how);
    expect(pids).toHaveLength(2);
    await eventually('both are gone', () => !pids.some(isRunning));
  });

  // A worker hears no signals, so what ends the process by one leaves its children behind; the kernel does not.
  test('ends with a process that a signal ends only where dieWithParent() was said', async () => {
    const [left = 0, dies = 0] = await leave('SIGTERM');
    await eventually('the one is gone', () => !isRunning(dies));
    expect(isRunning(left)).toBe(true);
  });
});

describe('listenFds()', () => {
  const TELL = 'echo "$$ $LISTEN_PID $LISTEN_FDS"; readlink /proc/$$/fd/3 /proc/$$/fd/4';

  test.for(lanes)(
    'LISTEN_PID is the pid of the program, and the descriptors begin at 3, in the lane %s',
    async ([, take]) => {
      const fds = [openSync('/dev/zero', 'r'), openSync('/dev/full', 'r')] as const;
      try {
        const child = await take(new Command('sh', '-c', TELL))
          .listenFds(...fds)
          .outputBuffer()
          .runAsync();
        const { stdout } = await child.wait();
        expect(stdout).toBe(`${child.pid} ${child.pid} 2\n/dev/zero\n/dev/full\n`);
      } finally {
        for (const fd of fds) closeSync(fd);
      }
    },
  );

  test.for(lanes)(
    'variables of that name that this process has itself do not reach the program, in the lane %s',
    async ([, take]) => {
      const own = { LISTEN_PID: '1', LISTEN_FDS: '7', LISTEN_FDNAMES: 'a:b' };
      Object.assign(process.env, own);
      onTestFinished(() => {
        for (const name of Object.keys(own)) Reflect.deleteProperty(process.env, name);
      });
      const [pid, ...entries] = (
        await outputOf(take(new Command('sh', '-c', 'echo $$; tr "\\0" "\\n" </proc/$$/environ')).listenFds(2))
      ).split('\n');
      // getenv() gives the first of several.
      expect(entries.filter((entry) => entry.startsWith('LISTEN_')).sort()).toEqual([
        'LISTEN_FDS=1',
        `LISTEN_PID=${pid ?? ''}`,
      ]);
    },
  );

  test('a daemon has its own pid in LISTEN_PID', async () => {
    const { pid } = await new Command('sh', '-c', 'echo "$$ $LISTEN_PID" >"$0"; exec sleep 600', path('told'))
      .listenFds(2)
      .daemonize()
      .run();
    onTestFinished(() => {
      end(pid);
    });
    const told = await eventually('the daemon has told', () => {
      try {
        return readFileSync(path('told'), 'utf8').trim() || undefined;
      } catch {
        // It has not written yet.
        return undefined;
      }
    });
    expect(told).toBe(`${pid} ${pid}`);
  });

  test('the program reads exactly the variables that were said, and the two', async () => {
    const text = await outputOf(new Command('env').env('A', 'b').listenFds(2));
    expect(
      text
        .replace(/\d+$/m, 'N')
        .trim()
        .split('\n')
        .map((line) => line.replace(/=.*/, ''))
        .sort(),
    ).toEqual(['A', 'LISTEN_FDS', 'LISTEN_PID']);
  });
});
