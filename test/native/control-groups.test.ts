import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { Command, type LaunchError } from 'vircommand';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { makeControlGroup } from '../helpers/groups.js';
import {
  asNobody,
  inParent,
  lanes,
  launchFailure,
  needsNobody,
  needsProgram,
  needsRoot,
  useNativeEngine,
} from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

let count = 0;
let group = '';
beforeEach(({ skip }) => {
  group =
    makeControlGroup(`vircommand-born-${process.pid}-${count++}`) ??
    skip('there is no control group of version 2 here that this process may write to');
});

/** A group below the one of the test. */
function makeBelow(name: string): string {
  const directory = `${group}/${name}`;
  mkdirSync(directory);
  onTestFinished(() => {
    rmdirSync(directory);
  });
  return directory;
}

/**
 * What a parent under strace asks the kernel for when its program tells the group that it is in. Each thread has a trace of its own,
 * so that each call stands on one line with its answer, whatever the others do in the meantime.
 */
async function launchesUnderStrace(
  skip: (why: string) => never,
  { lane = 'shared-memory', errno }: { lane?: string; errno?: string } = {},
): Promise<{ told: string; calls: string[] }> {
  needsProgram(skip, 'strace');
  const told = await inParent(
    async ({ Command: Program }, asked) => {
      const { spawn } = process.getBuiltinModule('node:child_process');
      const { existsSync, readFileSync: read } = process.getBuiltinModule('node:fs');
      const pause = () => new Promise((done) => setTimeout(done, 10));
      const make = () => {
        const command = new Program('cat', '/proc/self/cgroup').outputBuffer();
        if (asked.lane === 'helper') command.clearCaps();
        if (asked.lane === 'hook-runner') command.preExecHook(() => 0);
        return command;
      };
      // Node's own threads begin by clone3() as well, so they all begin before anything is refused: those for files, too.
      await make().run();
      await process.getBuiltinModule('node:fs/promises').readFile('/dev/null');
      const refuse = asked.errno === undefined ? [] : ['-e', `inject=clone3:error=${asked.errno}`];
      const trace = ['-e', 'trace=clone,clone3,openat', '-e', 'signal=none', ...refuse];
      const strace = spawn(
        'strace',
        ['-ff', '-v', '-qq', '-s', '4096', ...trace, '-o', asked.log, '-p', `${process.pid}`],
        {
          stdio: 'ignore',
        },
      );
      const ended = new Promise((done) => strace.once('exit', done));
      // The kernel tells of the tracer when it has this thread, and strace takes the others before it lets go on any of them.
      const isTraced = () => read('/proc/self/status', 'utf8').includes(`\nTracerPid:\t${strace.pid ?? 0}\n`);
      while (!(isTraced() && existsSync(`${asked.log}.${process.pid}`))) {
        if (strace.exitCode !== null) return 'PTRACE';
        await pause();
      }
      const { stdout } = await make().cgroup(asked.group).run();
      strace.kill('SIGINT');
      await ended;
      return stdout;
    },
    { log: path('trace'), group, lane, errno },
  );
  if (told === 'PTRACE') skip('this sandbox lets nobody trace');
  const traces = readdirSync(path()).filter((file) => file.startsWith('trace.'));
  return { told, calls: traces.flatMap((file) => readFileSync(path(file), 'utf8').split('\n')) };
}

/** Whether a program tells that it is in the group. */
const isIn = (told: string, directory: string): boolean =>
  directory.endsWith(/^0::(.+)$/m.exec(told)?.[1] ?? 'nowhere at all');

const bornInGroup = /\bclone3\(.*CLONE_INTO_CGROUP.* = \d+$/;
const isRefused = /\bclone3\(.*CLONE_INTO_CGROUP.* = -1 /;
const writesItself = /\bopenat\(.*\/cgroup\.procs", O_WRONLY/;

describe('a child of cgroup()', () => {
  test.for(lanes.map(([lane]) => lane))(
    'is born in its group, and nothing is moved there, in the lane %s; as systemd and Go do it',
    async (lane, { skip }) => {
      const { told, calls } = await launchesUnderStrace(skip, { lane });
      expect(isIn(told, group)).toBe(true);
      expect(calls.filter((call) => bornInGroup.test(call))).toHaveLength(1);
      expect(calls.filter((call) => writesItself.test(call))).toEqual([]);
    },
  );

  test('a daemon is born where its first process was', async () => {
    const result = await new Command('sleep', '600').cgroup(group).daemonize().run();
    onTestFinished(() => {
      process.kill(result.pid, 'SIGKILL');
    });
    expect(isIn(readFileSync(`/proc/${result.pid}/cgroup`, 'utf8'), group)).toBe(true);
  });

  test.for(['ENOSYS', 'EPERM', 'EINVAL', 'E2BIG', 'EOPNOTSUPP', 'EAGAIN'])(
    'enters its group by itself where the kernel or a sandbox answers %s to clone3()',
    async (errno, { skip }) => {
      const { told, calls } = await launchesUnderStrace(skip, { errno });
      expect(isIn(told, group)).toBe(true);
      expect(calls.filter((call) => isRefused.test(call))).toHaveLength(1);
      expect(calls.filter((call) => writesItself.test(call))).toHaveLength(1);
    },
  );

  test('may name its group with slashes at the end', async () => {
    const { stdout } = await new Command('cat', '/proc/self/cgroup').outputBuffer().cgroup(`${group}//`).run();
    expect(isIn(stdout, group)).toBe(true);
  });
});

describe.for(lanes)(
  'a group that takes no process, in the lane %s, fails as the write to cgroup.procs does',
  ([, take]) => {
    test('a group of processes below one whose groups hold threads', async ({ skip }) => {
      const threads = makeBelow('threads');
      const below = makeBelow('processes');
      try {
        writeFileSync(`${threads}/cgroup.type`, 'threaded');
      } catch (error) {
        skip(`no group of threads can be made here: ${String(error)}`);
      }
      const writes = new Command('sh', '-c', 'echo $$ >"$0"', `${below}/cgroup.procs`);
      expect((await writes.errorBuffer().run({ check: false })).exitCode).toBe(1);
      expect(await launchFailure(take(new Command('true')).cgroup(below))).toMatchObject({
        step: 'cgroup',
        errno: 'ENOTSUP',
      });
    });

    test('a group that has gone', async () => {
      const below = `${group}/gone`;
      mkdirSync(below);
      rmdirSync(below);
      expect(await launchFailure(take(new Command('true')).cgroup(below))).toMatchObject({
        step: 'cgroup',
        errno: 'ENOENT',
      });
    });
  },
);

test('a group that this process may not write to is EACCES, and no program runs outside of it', async ({ skip }) => {
  needsRoot(skip);
  needsNobody(skip);
  chmodSync(group, 0o755);
  const marker = path('was-run');
  const told = await inParent(
    async ({ Command: Program }, asked) =>
      new Program('touch', asked.marker)
        .cgroup(asked.group)
        .run()
        .then(String, (error: unknown) => {
          const { step, errno } = error as LaunchError;
          return { step, errno };
        }),
    { marker, group },
    { through: [...asNobody] },
  );
  expect(told).toEqual({ step: 'cgroup', errno: 'EACCES' });
  expect(existsSync(marker)).toBe(false);
});
