import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';
import { inParent, needsProgram, needsRoot, NOBODY, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** What `strace -ff` wrote of each process, by pid: one system call a line. */
type Traces = ReadonlyMap<number, readonly string[]>;

function readTraces(): Traces {
  const files = readdirSync(path()).filter((name) => name.startsWith('trace.'));
  return new Map(
    files.map((name) => [Number(name.slice('trace.'.length)), readFileSync(path(name), 'utf8').trim().split('\n')]),
  );
}

/** Runs a function in a parent under strace, and gives what each process of it did, and what the function gave. */
async function traced<T>(
  skip: (why: string) => never,
  body: (library: Library, argument: number) => Promise<T>,
): Promise<{ traces: Traces; told: T }> {
  needsProgram(skip, 'strace');
  const strace = ['strace', '-ff', '-qq', '-v', '-e', 'signal=none', '-o', path('trace')];
  const told = await inParent(body, NOBODY, { through: strace }).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
  return { traces: readTraces(), told };
}

/** The calls that make a process or a thread. */
const births = (lines: readonly string[]): string[] =>
  lines.filter((line) => /^(clone|clone3|fork|vfork)\(/.test(line));

/** The names of a child's system calls, up to the exec that makes it another program; repeated ones once. */
function names(lines: readonly string[]): string[] {
  const calls = lines.map((line) => /^(\w+)\(/.exec(line)?.[1] ?? '');
  const own = calls.slice(0, calls.indexOf('execve') + 1);
  return own.filter((name, index) => name !== own[index - 1]);
}

/** The child's process: the trace that begins with the reset of its signals. */
const childrenIn = (traces: Traces): (readonly string[])[] =>
  Array.from(traces.values()).filter(
    ([first]) => first?.startsWith('rt_sigaction(SIGHUP, {sa_handler=SIG_DFL') === true,
  );

test('no launch is a plain fork: every process that is made shares the memory of its maker, which sleeps', async ({
  skip,
}) => {
  const { traces } = await traced(skip, async ({ Command }, nobody) => {
    const root = process.geteuid?.() === 0;
    await new Command('true').run();
    await new Command('true').clearCaps().run();
    if (root) await new Command('true').uid(nobody).gid(nobody).run();
    await new Command('/nowhere').run().catch(() => undefined);
    await new Command('true')
      .clearCaps()
      .workingDirectory('/nowhere')
      .run()
      .catch(() => undefined);
    const child = await new Command('cat').inputPipe().outputPipe().newSession().runAsync();
    child.stdin.end();
    child.stdout.resume();
    await child.wait();
    await new Command('true').daemonize().run();
    await new Command('true').daemonize().clearCaps().run();
    return null;
  });
  const all = Array.from(traces.values()).flatMap(births);
  const processes = all.filter((line) => !line.includes('CLONE_THREAD'));
  // The probe, six or seven launches, and two daemons that are made twice.
  expect(processes.length).toBeGreaterThanOrEqual(11);
  expect(processes.filter((line) => !line.includes('CLONE_VM|') || !line.includes('CLONE_VFORK|'))).toEqual([]);
});

describe('the child in shared memory', () => {
  test('makes exactly the calls of the simplest plan, in its order', async ({ skip }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      await new Command('/bin/true').run();
      return null;
    });
    const [child = [], ...others] = childrenIn(traces);
    expect(others).toEqual([]);
    expect(names(child)).toEqual(['rt_sigaction', 'dup3', 'close_range', 'rt_sigprocmask', 'execve']);
    expect(child.filter((line) => line.startsWith('rt_sigaction(')).length).toBe(64);
  });

  test('makes the calls of a full plan in its order, and none that changes ids', async ({ skip }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      const { openSync } = process.getBuiltinModule('node:fs');
      const command = new Command('/bin/true')
        .newSession()
        .umask(0)
        .nice(1)
        .oomScoreAdjust(1)
        .limit('core', 0)
        .workingDirectory('/');
      await command.noNewPrivileges().dieWithParent().listenFds(openSync('/dev/null', 'r')).run();
      return null;
    });
    const [child = []] = childrenIn(traces);
    expect(names(child)).toEqual([
      'rt_sigaction',
      'setsid',
      'dup3',
      // What each descriptor is, so that one which Node made non-blocking blocks in the program.
      'fcntl',
      'close_range',
      'umask',
      'setpriority',
      'openat',
      'write',
      'close',
      'getpid',
      'prlimit64',
      'chdir',
      'prctl',
      'getppid',
      'rt_sigprocmask',
      'execve',
    ]);
  });

  test('ends by itself where a step fails, and is reaped', async ({ skip }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      await new Command('/bin/true')
        .workingDirectory('/nowhere')
        .run()
        .catch(() => undefined);
      return null;
    });
    const [child = []] = childrenIn(traces);
    expect(child.slice(-2).map((line) => line.replace(/ +=.*/, ''))).toEqual(['chdir("/nowhere")', 'exit_group(127)']);
    const reaped = Array.from(traces.values())
      .flat()
      .filter((line) => /^waitid\(P_PIDFD, .*si_status=127/.test(line));
    expect(reaped).toHaveLength(1);
  });

  test('has all signals blocked until just before the exec', async ({ skip }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      await new Command('/bin/true').run();
      return null;
    });
    const parent =
      Array.from(traces.values()).find((lines) => lines.some((line) => /^clone\(.*CLONE_PIDFD/.test(line))) ?? [];
    const at = parent.findLastIndex((line) => /^clone\(.*CLONE_PIDFD/.test(line));
    expect(parent[at - 1]).toMatch(/^rt_sigprocmask\(SIG_SETMASK, ~\[\], .*, 8\)/);
    expect(parent[at + 1]).toMatch(/^rt_sigprocmask\(SIG_SETMASK, \[\], NULL, 8\)/);
    const [child = []] = childrenIn(traces);
    expect(child.find((line) => line.startsWith('rt_sigprocmask('))).toMatch(
      /^rt_sigprocmask\(SIG_SETMASK, \[\], NULL, 8\)/,
    );
  });
});

describe('a launcher thread', () => {
  const threadsIn = (traces: Traces): (readonly string[])[] =>
    Array.from(traces.values()).filter(([first]) => first?.startsWith('close_range(') === true);

  test('is made with all signals blocked, has a table of its own from its first call on, takes what the plan names and no more, sleeps for its child, and stays until that has ended', async ({
    skip,
  }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      const { openSync } = process.getBuiltinModule('node:fs');
      for (let i = 0; i < 20; i += 1) openSync('/dev/null', 'r');
      const sleeper = await new Command('sleep', '600').runAsync();
      await new Command('/bin/true').outputBuffer().errorBuffer().run();
      await sleeper.abort();
      return null;
    });
    const makers = Array.from(traces.values());
    const making = /^clone\(.*CLONE_VM\|CLONE_FILES\|CLONE_SIGHAND\|CLONE_THREAD\|CLONE_CHILD_CLEARTID[,|]/;
    const maker = makers.find((lines) => lines.some((line) => making.test(line))) ?? [];
    const at = maker.findIndex((line) => making.test(line));
    expect(maker[at - 1]).toMatch(/^rt_sigprocmask\(SIG_SETMASK, ~\[\], .*, 8\)/);
    expect(maker[at + 1]).toMatch(/^rt_sigprocmask\(SIG_SETMASK, \[\], NULL, 8\)/);
    const [thread = [], ...others] = threadsIn(traces);
    expect(others).toEqual([]);
    expect(thread[0]).toMatch(/^close_range\(0, 4294967295, CLOSE_RANGE_UNSHARE\) = 0/);
    expect(births(thread)).toEqual([expect.stringMatching(/CLONE_VM\|CLONE_PIDFD\|CLONE_VFORK\|SIGCHLD/)]);
    // The socket, and three streams.
    expect(thread.filter((line) => line.startsWith('pidfd_getfd('))).toHaveLength(4);
    expect(thread.filter((line) => line.startsWith('rt_sigprocmask('))).toEqual([]);
    expect(thread.slice(-2).join('\n')).toMatch(
      /^ppoll\(\[\{fd=\d+, events=POLLIN\}\], 1, .*revents=POLLIN.*\nexit\(0\)/,
    );
  });

  test('is not made where nothing runs beside, for runSync(), for a program that dies with its parent, nor for a descriptor of the caller', async ({
    skip,
  }) => {
    const { traces } = await traced(skip, async ({ Command }) => {
      const { openSync } = process.getBuiltinModule('node:fs');
      await new Command('/bin/true').run();
      const beside = async (launch: () => unknown) => {
        const sleeper = await new Command('sleep', '600').dieWithParent().runAsync();
        await launch();
        await sleeper.abort();
      };
      await beside(() => new Command('/bin/true').runSync());
      await beside(() => new Command('/bin/true').dieWithParent().run());
      await beside(() => new Command('/bin/true').inputFd(openSync('/etc/passwd', 'r')).run());
      return null;
    });
    expect(threadsIn(traces)).toEqual([]);
    expect(childrenIn(traces)).toHaveLength(7);
  });
});

describe('the child in the lane of the helper', () => {
  test('changes ids and capabilities only after it has executed the helper', async ({ skip }) => {
    needsRoot(skip);
    const { traces } = await traced(skip, async ({ Command }, nobody) => {
      await new Command('/bin/true').uid(nobody).gid(nobody).allowCap('CAP_CHOWN').noNewPrivileges().run();
      return null;
    });
    const [child = []] = childrenIn(traces);
    const calls = child.map((line) => /^(\w+)\(/.exec(line)?.[1] ?? '');
    const [helper = -1, program = -1] = calls.flatMap((name, index) => (name === 'execve' ? [index] : []));
    expect(child[helper]).toMatch(
      /^execve\(".*\/vircommand-helper", \["vircommand-helper", "\d+", "\d+"\], \[\]\) += 0$/,
    );
    expect(child[program]).toMatch(/^execve\("\/bin\/true"/);
    const credentials = calls.flatMap((name, index) =>
      /^(set(res|re|fs)?[ug]id|setgroups|capset)$/.test(name) ? [index] : [],
    );
    expect(credentials.map((index) => calls[index])).toEqual(['setgroups', 'setresgid', 'setresuid', 'capset']);
    expect(credentials.filter((index) => index < helper || index > program)).toEqual([]);
    // A change of the bounding set is one of the credentials too.
    expect(child.slice(0, helper).filter((line) => line.startsWith('prctl('))).toEqual([]);
  });

  test('verifies the ids that it took', async ({ skip }) => {
    needsRoot(skip);
    const { traces } = await traced(skip, async ({ Command }, nobody) => {
      await new Command('/bin/true').uid(nobody).gid(nobody).run();
      return null;
    });
    const [child = []] = childrenIn(traces);
    const ids = child.map((line) => /^(\w+res[ug]id)\(/.exec(line)?.[1]).filter((name) => name !== undefined);
    expect(ids).toEqual(['setresgid', 'getresgid', 'setresuid', 'getresuid']);
  });
});
