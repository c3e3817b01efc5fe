import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { inParent, type Library, needsProgram, needsRoot, readProc, useNativeEngine } from '../helpers/native.js';
import { eventually, fixture, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

/** Pids of processes that were started with this word among theirs. */
const running = (word: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && readProc(`/proc/${name}/cmdline`).split('\0').includes(word))
    .map(Number);

/*
 * A thread launches where the launch before it still runs: so each of these parents has a program that sleeps, and tells of a launch by how
 * many threads the process has more right after the call.
 */

/**
 * Launches in a parent whose attributes change between any two launches, right before the call and right after it, and gives what a program has that
 * is launched by a thread, and what one has that child_process starts in the same moment, which is a fork of the calling thread.
 */
async function inheritances({ Command }: Library, { directory, rounds }: { directory: string; rounds: number }) {
  const { execFileSync, spawnSync } = process.getBuiltinModule('node:child_process');
  const { mkdirSync, readdirSync, rmdirSync, writeFileSync } = process.getBuiltinModule('node:fs');
  const os = process.getBuiltinModule('node:os');
  const isRoot = process.geteuid?.() === 0;
  const script =
    'readlink /proc/$$/cwd; for ns in /proc/$$/ns/*; do readlink $ns; done; cat /proc/$$/timerslack_ns /proc/$$/oom_score_adj /proc/$$/cgroup /proc/$$/limits; ' +
    'cat /proc/$$/attr/current 2>/dev/null; cat /proc/keys 2>/dev/null | cut -c1-8; cut -d" " -f4,5,6,19,40,41 /proc/$$/stat; ' +
    'grep -E "^(Umask|PPid|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed|NSsid)" /proc/$$/status; echo $TURN';
  const told: { ours: string; forked: string; threads: number }[] = [];
  const set = (turn: number): void => {
    const place = `${directory}/${turn}`;
    mkdirSync(place, { recursive: true });
    process.chdir(place);
    if (turn % 3 === 0) rmdirSync(place);
    process.umask(turn % 0o100);
    process.env['TURN'] = String(turn);
    os.setPriority(turn % 1000);
    if (isRoot) {
      process.setgroups?.([turn, turn + 1]);
      process.setegid?.(1000 + turn);
    }
  };
  // What only another process can set, or one that goes on for all.
  const setSlowly = (turn: number): void => {
    writeFileSync('/proc/self/oom_score_adj', String(turn * 10));
    const pid = String(process.pid);
    execFileSync('prlimit', ['--pid', pid, `--core=${turn * 4096}:`, `--stack=${(turn + 8) * 1024 * 1024}:`]);
    execFileSync('taskset', ['-p', '-c', turn % 2 === 0 ? '0' : `0-${os.cpus().length - 1}`, pid]);
    if (isRoot) execFileSync('chrt', ['--pid', turn % 2 === 0 ? '--batch' : '--other', '0', pid]);
    if (isRoot) writeFileSync(`/proc/${pid}/timerslack_ns`, String(50_000 + turn));
  };
  for (let turn = 1; turn <= rounds; turn += 1) {
    process.setegid?.(process.getgid?.() ?? 0);
    setSlowly(turn);
    const sleeper = await new Command('sleep', '600').runAsync();
    set(turn);
    const forked = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).stdout;
    const threads = readdirSync('/proc/self/task').length;
    const ours = new Command('/bin/sh', '-c', script).outputBuffer().errorBuffer().run();
    const more = readdirSync('/proc/self/task').length - threads;
    process.setegid?.(process.getgid?.() ?? 0);
    set(turn + 1001);
    told.push({ ours: (await ours).stdout, forked, threads: more });
    process.chdir('/');
    await sleeper.abort();
  }
  return told;
}

test.for([
  ['this process', []],
  [
    'one that may get no new privileges and is out of most capabilities',
    ['setpriv', '--no-new-privs', '--bounding-set=-sys_admin', '--securebits=+no_setuid_fixup'],
  ],
  ['a worker of the scheduler that resets its children', ['chrt', '--reset-on-fork', '--rr', '3']],
  ['a process that ignores signals', ['sh', '-c', 'trap "" USR1 TERM; exec "$@"', 'sh']],
] as const)(
  'what a program inherits from %s is what a fork at the call would have, as child_process has it, whatever changes right after the call',
  async ([, through], { skip }) => {
    for (const name of ['prlimit', 'taskset', 'chrt', 'setpriv']) needsProgram(skip, name);
    if (through.at(0) !== undefined && through.at(0) !== 'sh') needsRoot(skip);
    const told = await inParent(inheritances, { directory: path(), rounds: 12 }, { through });
    expect(told).toHaveLength(12);
    // The instrument: no two rounds are alike.
    expect(new Set(told.map(({ forked }) => forked)).size).toBe(12);
    for (const { ours, forked, threads } of told) {
      expect(ours).toBe(forked);
      expect(threads).toBe(1);
    }
  },
);

test('a file that was written and closed beside launches can be executed, and a port that was closed can be listened on: no child has a copy', async () => {
  const failures = await inParent(async ({ Command }, file) => {
    const { chmodSync, copyFileSync, rmSync } = process.getBuiltinModule('node:fs');
    const { createServer } = process.getBuiltinModule('node:net');
    const failed: string[] = [];
    const note = (error: unknown) => void failed.push(String(error));
    let port = 0;
    for (let round = 0; round < 300; round += 1) {
      const server = createServer();
      await new Promise<void>((resolve, reject) => server.on('error', reject).listen(port, '127.0.0.1', resolve)).catch(
        note,
      );
      port = (server.address() as { port: number } | null)?.port ?? port;
      const beside = [new Command('/bin/true').run(), new Command('/bin/true').run()];
      rmSync(file, { force: true });
      copyFileSync('/bin/true', file);
      chmodSync(file, 0o755);
      const busy = new Command(file).run().catch(note);
      server.close();
      await Promise.all([...beside, busy]);
    }
    return failed;
  }, path('program'));
  expect(failures).toEqual([]);
});

test.for(['at once', 'in a microtask', 'in the next turn', 'in a turn after'])(
  'the end of this process %s, while launches go on beside it, ends their programs, and loses no daemon',
  async (when, { skip }) => {
    needsProgram(skip, 'sleep');
    const marks = Array.from({ length: 4 }, (_, index) => `${7_000_000 + process.pid * 10 + index}.${when.length}`);
    for (const mark of marks) {
      const file = path(`daemon-${mark}`);
      // The parent gives no result: it exits.
      await inParent(
        async ({ Command }, { when, mark, file }) => {
          const exit = (): never => process.exit(0);
          void new Command('sleep', mark).runAsync();
          void new Command('sleep', mark).run();
          void new Command('sh', '-c', 'echo ran >"$0"', file).daemonize().run();
          if (when === 'at once') exit();
          if (when === 'in a microtask') queueMicrotask(exit);
          if (when === 'in the next turn') setImmediate(exit);
          if (when === 'in a turn after') setTimeout(exit, 1);
          await new Promise(() => undefined);
        },
        { when, mark, file },
      ).catch((error: unknown) => {
        expect(String(error)).toContain('(exit code 0, signal null)');
      });
      await eventually('the daemon', () => readProc(file) === 'ran\n');
      await eventually('the end of the programs', () => running(mark).length === 0);
    }
  },
);

test('in a worker, its own thread launches: the child is one of its own, and never one of the main thread', async () => {
  const told = await inParent(
    async (_, { library }) => {
      const { Worker } = process.getBuiltinModule('node:worker_threads');
      const { readFileSync } = process.getBuiltinModule('node:fs');
      const script = `
        const { parentPort, workerData } = require('node:worker_threads');
        const { readdirSync } = require('node:fs');
        import(workerData.library).then(async ({ Command }) => {
          await new Command('sleep', '600').runAsync();
          const threads = readdirSync('/proc/self/task').length;
          const begun = new Command('sleep', '600').runAsync();
          const more = readdirSync('/proc/self/task').length - threads;
          parentPort.postMessage({ pid: (await begun).pid, more });
        });`;
      const worker = new Worker(script, { eval: true, execArgv: [], workerData: { library } });
      const { pid, more } = await new Promise<{ pid: number; more: number }>((resolve) =>
        worker.once('message', resolve),
      );
      const ofMain = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
      await worker.terminate();
      return { more, isOfMain: ofMain.includes(String(pid)) };
    },
    { library: new URL('../../dist/index.js', import.meta.url).href },
  );
  expect(told).toEqual({ more: 0, isOfMain: false });
});

test('where there is room for one process more and none for a thread beside it, this thread launches', async ({
  skip,
}) => {
  needsRoot(skip);
  for (const name of ['setpriv', 'prlimit']) needsProgram(skip, name);
  // A user that has no other process, since the kernel counts all of a user's.
  const user = 1_000_000 + process.pid;
  const told = await inParent(
    async ({ Command }) => {
      const { spawnSync } = process.getBuiltinModule('node:child_process');
      const { readdirSync } = process.getBuiltinModule('node:fs');
      const end = () => new Command('/bin/true').run().then(({ exitCode }) => exitCode, String);
      let sleeper = await new Command('sleep', '600').runAsync();
      const before = await end();
      const limit = (count: number) => {
        spawnSync('prlimit', ['--pid', String(process.pid), `--nproc=${count}:`]);
      };
      const threads = readdirSync('/proc/self/task').length;
      const ends = [];
      for (const more of [2, 1]) {
        for (let round = 0; round < 20; round += 1) {
          limit(1000);
          await sleeper.abort();
          sleeper = await new Command('sleep', '600').runAsync();
          limit(threads + 1 + more);
          ends.push(await end());
        }
      }
      limit(1000);
      await sleeper.abort();
      return { before, ends };
    },
    undefined,
    { through: ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups'] },
  ).catch((error: unknown) => {
    if (/EACCES|MODULE_NOT_FOUND|No such file/.test(String(error))) skip('another user may not read this checkout');
    throw error;
  });
  expect(told).toEqual({ before: 0, ends: Array.from({ length: 40 }, () => 0) });
});

test('a program that asks for a signal at the end of its parent gets it at the end of this process, however busy the machine is, and not before', async ({
  skip,
}) => {
  needsProgram(skip, 'setpriv');
  const asking = ['--pdeathsig', 'KILL'];
  const mark = `${9_000_000 + process.pid}.5`;
  const parent = inParent(
    async ({ Command }, { asking, mark }): Promise<string[]> => {
      const ends = await Promise.all(
        Array.from({ length: 200 }, () =>
          new Command('setpriv', ...asking, 'sleep', '0.02').run().then(String, String),
        ),
      );
      await new Command('setpriv', ...asking, 'sleep', mark).runAsync();
      const wrong = ends.filter((end) => !end.includes('exited with code 0'));
      process.stdout.write(`\nRESULT ${JSON.stringify(wrong)}\n`, () => {
        process.kill(process.pid, 'SIGKILL');
      });
      return await new Promise(() => undefined);
    },
    { asking, mark },
  );
  expect(await parent).toEqual([]);
  await eventually('the end of the program', () => running(mark).length === 0);
});

test("a descriptor of the caller that is closed, or taken by another file, right after the call is the program's as it was", async () => {
  const told = await inParent(async ({ Command }, file) => {
    const { closeSync, openSync, writeFileSync } = process.getBuiltinModule('node:fs');
    const { spawnSync } = process.getBuiltinModule('node:child_process');
    writeFileSync(file, 'of the file\n');
    spawnSync('mkfifo', [`${file}.fifo`]);
    const texts: string[] = [];
    for (let round = 0; round < 50; round += 1) {
      const fd = round % 2 === 0 ? openSync(file, 'r') : openSync(`${file}.fifo`, 'r+');
      if (round % 2 === 1) writeFileSync(fd, 'of the FIFO\n');
      const sleeper = await new Command('sleep', '600').runAsync();
      const run = new Command('head', '-n1').inputFd(fd).outputBuffer().run();
      closeSync(fd);
      const other = openSync('/dev/null', 'r');
      texts.push((await run).stdout);
      closeSync(other);
      await sleeper.abort();
    }
    return texts;
  }, path('file'));
  expect(told.filter((_, round) => round % 2 === 0)).toEqual(Array.from({ length: 25 }, () => 'of the file\n'));
  expect(told.filter((_, round) => round % 2 === 1)).toEqual(Array.from({ length: 25 }, () => 'of the FIFO\n'));
});

test('no thread, descriptor or zombie is left after many launches at once', async () => {
  const counts = await inParent(async ({ Command }) => {
    const { readdirSync, readFileSync } = process.getBuiltinModule('node:fs');
    const count = () => [readdirSync('/proc/self/fd').length, readdirSync('/proc/self/task').length];
    const many = (size: number) =>
      Promise.all(
        Array.from({ length: size }, (_, i) =>
          new Command(i % 5 === 0 ? '/nowhere' : '/bin/true')
            .outputBuffer()
            .run()
            .catch(() => undefined),
        ),
      );
    await many(40);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = count();
    for (let round = 0; round < 5; round += 1) await many(40);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const children = readdirSync('/proc/self/task')
      .map((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8'))
      .join('');
    return { before, after: count(), children };
  });
  expect(counts.after).toEqual(counts.before);
  expect(counts.children.trim()).toBe('');
});

test.for(['at once', 'in a microtask', 'in the next turn'])(
  'a launch that is called off %s, while it goes on beside this thread, rejects, and its program ends',
  async (when) => {
    const mark = `${6_000_000 + process.pid}.${when.length}`;
    const error = await inParent(
      async ({ Command }, { when, mark }) => {
        const sleeper = await new Command('sleep', '600').runAsync();
        const controller = new AbortController();
        const run = new Command('sleep', mark).abortSignal(controller.signal).run().then(String, String);
        const abort = (): void => {
          controller.abort();
        };
        if (when === 'at once') abort();
        if (when === 'in a microtask') queueMicrotask(abort);
        if (when === 'in the next turn') setImmediate(abort);
        const end = await run;
        await sleeper.abort();
        return end;
      },
      { when, mark },
    );
    expect(error).toMatch(/^(ExitError|LaunchError): .*(called off|abort)/);
    await eventually('the end of the program', () => running(mark).length === 0);
  },
);

test('a program that lowers the limit of descriptors below those that this process has open runs to its end', async ({
  skip,
}) => {
  needsProgram(skip, 'prlimit');
  const end = await inParent(async ({ Command }) => {
    const { openSync, readSync } = process.getBuiltinModule('node:fs');
    const twoAtOnce = () => [new Command('true').run(), new Command('true').run()];
    await Promise.all(twoAtOnce());
    // One that is read again and again: none can be opened then.
    const limits = openSync('/proc/self/limits', 'r');
    const page = Buffer.alloc(4096);
    for (let i = 0; i < 500; i += 1) openSync('/dev/null', 'r');
    const hasSunk = () => /^Max open files +300 /m.test(page.toString('utf8', 0, readSync(limits, page, 0, 4096, 0)));
    const sleeper = await new Command('sleep', '600').runAsync();
    const run = new Command('prlimit', '--pid', String(process.pid), '--nofile=300:').run();
    // The event loop hears of the program when the limit has sunk.
    while (!hasSunk());
    const ended = await run.then(({ exitCode }) => exitCode, String);
    sleeper.signal('SIGKILL');
    return ended;
  });
  expect(end).toBe(0);
});

test.for([
  ['can do nothing else', 'a process that gives up its ids', true],
  ['may do what its other threads may', 'a process that has nothing to give up', false],
] as const)(
  'threads that wait for their children %s in %s, and leave with them',
  async ([, , isPrivileged], { skip }) => {
    needsRoot(skip);
    const through = isPrivileged ? [] : ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    if (!isPrivileged) needsProgram(skip, 'setpriv');
    const told = await inParent(
      async ({ Command }, isPrivileged) => {
        const { readdirSync, readFileSync } = process.getBuiltinModule('node:fs');
        const tasks = () => readdirSync('/proc/self/task');
        const field = (task: string, name: string) =>
          new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/self/task/${task}/status`, 'utf8'))?.[1] ?? '';
        const own = String(process.pid);
        const first = await new Command('cat').inputPipe().runAsync();
        const before = tasks();
        const second = await new Command('cat').inputPipe().runAsync();
        const beside = tasks().filter((task) => !before.includes(task));
        const isConfined = (task: string) => field(task, 'Seccomp') !== field(own, 'Seccomp');
        const mark = Date.now();
        while (isPrivileged && !beside.every(isConfined) && Date.now() - mark < 5000);
        if (isPrivileged) process.setuid?.(65_534);
        // What a thread may do that still has the ids of before, or all that it may where no thread has.
        const others = tasks().map((task) => ({
          hasOwnIds: field(task, 'Uid') === field(own, 'Uid') && field(task, 'CapPrm') === field(own, 'CapPrm'),
          isConfined: isConfined(task),
          mayGain: field(task, 'NoNewPrivs') === field(own, 'NoNewPrivs'),
        }));
        for (const child of [first, second]) child.stdin.end();
        await Promise.all([first.wait(), second.wait()]);
        while (tasks().length > before.length && Date.now() - mark < 10_000);
        return { beside: beside.length, left: tasks().length - before.length, others };
      },
      isPrivileged,
      { through },
    ).catch((error: unknown) => {
      if (/EACCES|MODULE_NOT_FOUND|No such file/.test(String(error))) skip('another user may not read this checkout');
      throw error;
    });
    expect(told).toMatchObject({ beside: 1, left: 0 });
    const harmless = { hasOwnIds: false, isConfined: true, mayGain: false };
    const plain = { hasOwnIds: true, isConfined: false, mayGain: true };
    expect(told.others.filter(({ hasOwnIds }) => !hasOwnIds)).toEqual(isPrivileged ? [harmless] : []);
    expect(told.others.filter(({ hasOwnIds }) => hasOwnIds)).toEqual(
      Array.from({ length: told.others.length - (isPrivileged ? 1 : 0) }, () => plain),
    );
  },
);

test('where this thread enters a sandbox that refuses what the other takes, this one launches', async ({ skip }) => {
  needsProgram(skip, 'cc');
  const library = path('refuse-getfd.so');
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, fixture('refuse-getfd.c')], { stdio: 'inherit' });
  const told = await inParent(async ({ Command }, file) => {
    const { readdirSync } = process.getBuiltinModule('node:fs');
    const beside = async () => {
      const sleeper = await new Command('sleep', '600').runAsync();
      const threads = readdirSync('/proc/self/task').length;
      const run = new Command('sh', '-c', 'sleep 0.2; echo ran').outputBuffer().run();
      const more = readdirSync('/proc/self/task').length - threads;
      const { stdout } = await run;
      await sleeper.abort();
      return { stdout, more };
    };
    const before = await beside();
    try {
      process.dlopen({ exports: {} }, file);
    } catch {
      // It is no addon. It was loaded.
    }
    return { before, after: await beside() };
  }, library);
  expect(told).toEqual({ before: { stdout: 'ran\n', more: 1 }, after: { stdout: 'ran\n', more: 0 } });
});
