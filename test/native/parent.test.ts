import { describe, expect, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';
import { asNobody, inParent, needsNobody, NOBODY, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** How many threads launch at once, and how often each takes every kind of launch. */
const THREADS = 3;
const ROUNDS = 6;

interface Asked {
  readonly threads: number;
  readonly rounds: number;
  readonly directory: string;
  readonly library: string;
  /** A user to take, for a parent that may. */
  readonly uid?: number;
}

/**
 * Takes every kind of launch, many at once, in this thread and in others, and tells what the kernel says of this process
 * before and after: all that a launch could have changed.
 */
async function launchEverything(_: Library, asked: Asked) {
  const { readFileSync: read, readdirSync, readlinkSync, statSync } = process.getBuiltinModule('node:fs');
  const { Worker } = process.getBuiltinModule('node:worker_threads');

  const attempt = (look: () => string): string => {
    try {
      return look();
    } catch {
      return 'gone';
    }
  };
  const FIELDS =
    /^(Umask|Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|Cap\w+|NoNewPrivs|Seccomp|Seccomp_filters|THP_enabled|TracerPid|PPid|NSsid|NSpgid):/;
  const statusOf = (directory: string) =>
    read(`${directory}/status`, 'utf8')
      .split('\n')
      .filter((line) => FIELDS.test(line));
  const fds = () =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      const target = attempt(() => readlinkSync(`/proc/self/fd/${fd}`));
      return target === 'gone'
        ? []
        : [`${fd} ${target} ${attempt(() => /^flags:.*$/m.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[0] ?? '')}`];
    });
  const look = () => ({
    // Files of a process that is not dumpable belong to root.
    ownerOfFiles: statSync('/proc/self/environ').uid,
    coredumpFilter: read('/proc/self/coredump_filter', 'utf8'),
    oomScore: read('/proc/self/oom_score_adj', 'utf8'),
    timerSlack: attempt(() => read('/proc/self/timerslack_ns', 'utf8')),
    personality: attempt(() => read('/proc/self/personality', 'utf8')),
    cgroup: read('/proc/self/cgroup', 'utf8'),
    limits: read('/proc/self/limits', 'utf8'),
    cwd: process.cwd(),
    threads: readdirSync('/proc/self/task').map((task) => statusOf(`/proc/self/task/${task}`)),
    nice: readdirSync('/proc/self/task').map((task) =>
      read(`/proc/self/task/${task}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ')
        .slice(15, 17),
    ),
    environment: JSON.stringify(process.env),
    fds: fds(),
  });

  const launches = `
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { Command } = await import(workerData.library);
      const full = () => new Command('true').umask(0).nice(3).oomScoreAdjust(900).limit('core', 0).limit('nofile', 64).newSession()
        .workingDirectory('/').noNewPrivileges().dieWithParent().listenFds(2);
      const other = (command) => (workerData.uid === undefined ? command.clearCaps() : command.uid(workerData.uid).gid(workerData.uid));
      const kinds = [
        () => new Command('true').run(),
        () => full().run(),
        () => other(full()).run(),
        () => other(new Command('true')).run(),
        () => new Command('cat').inputBuffer('x').outputBuffer().run(),
        () => new Command('/nowhere').run(),
        () => other(new Command('/nowhere')).run(),
        () => full().workingDirectory('/nowhere/at/all').run(),
        () => other(full().limit('nofile', 2 ** 40)).run(),
        () => new Command('true').daemonize().run(),
        () => other(full()).preExecHook(() => 0).run(),
        () => new Command('true').preExecHook(() => 1).run(),
        () => other(new Command('true').daemonize()).run(),
        () => new Command('/nowhere').daemonize().pidFile(workerData.directory + '/never').run(),
        () => new Command('sh', '-c', 'kill -9 $$').run(),
        () => other(new Command('true')).terminal().run(),
        () => new Command('/nowhere').terminal().run(),
        async () => { const child = await new Command('cat').terminal().runAsync(); child.terminal.resume().write('x'); await child.free(); },
        async () => { const child = await new Command('sleep', '600').processGroup().inputPipe().outputPipe().runAsync(); await child[Symbol.asyncDispose](); },
      ];
      for (let round = 0; round < workerData.rounds; round += 1) {
        await Promise.all(kinds.map((launch) => launch().catch(() => undefined)));
      }
    })().then(() => parentPort.postMessage('done'), (error) => parentPort.postMessage(String(error?.stack)));`;
  const launch = (rounds: number) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(launches, { eval: true, execArgv: [], workerData: { ...asked, rounds } });
      let told: unknown;
      worker.on('message', (message: unknown) => (told = message)).on('error', reject);
      worker.on('exit', () => {
        resolve(told);
      });
    });

  const { Command } = _;
  const mine = async () => {
    await new Command('true').run();
    await new Command('true').clearCaps().umask(0).run();
    await new Command('/nowhere').run().catch(() => undefined);
  };
  // The handlers that end our children with us stay for a moment after the last.
  const quiet = async () => {
    while (process.listenerCount('SIGTERM') > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const untouched = look();
  // Two at once, so that a thread launches, too.
  await Promise.all([mine(), mine()]);
  await launch(1);
  await quiet();
  const before = look();
  const answers = await Promise.all([
    ...Array.from({ length: asked.threads }, () => launch(asked.rounds)),
    mine(),
    mine(),
  ]);
  await quiet();
  return { untouched, before, after: look(), answers: answers.slice(0, asked.threads) };
}

const library = new URL('../../dist/index.js', import.meta.url).href;
const asked = (): Asked => ({ threads: THREADS, rounds: ROUNDS, directory: path(), library });

describe('this process is untouched by every kind of launch, many at once, from several threads', () => {
  test('as it is here', async () => {
    const { before, after, answers } = await inParent(launchEverything, asked());
    expect(answers).toEqual(Array.from({ length: THREADS }, () => 'done'));
    expect(after).toEqual(before);
  });

  test('as nobody, whose files in /proc belong to root as soon as it is not dumpable', async ({ skip }) => {
    needsNobody(skip);
    const { before, after, answers } = await inParent(
      launchEverything,
      { ...asked(), directory: '/nowhere' },
      { through: asNobody },
    );
    expect(answers).toEqual(Array.from({ length: THREADS }, () => 'done'));
    expect(before.ownerOfFiles).toBe(NOBODY);
    expect(after).toEqual(before);
  });

  test('as nobody who may change ids, which its programs do', async ({ skip }) => {
    needsNobody(skip);
    const rights = '-all,+setuid,+setgid';
    const through = [...asNobody, '--inh-caps', rights, '--ambient-caps', rights];
    const { before, after } = await inParent(
      launchEverything,
      { ...asked(), directory: '/nowhere', uid: 1234 },
      { through },
    );
    expect(before.ownerOfFiles).toBe(NOBODY);
    expect(after).toEqual(before);
  });

  test('the instrument: a process that changes an id of its own is not dumpable any more', async ({ skip }) => {
    needsNobody(skip);
    const rights = '-all,+setgid';
    const owners = await inParent(
      async () => {
        const { statSync } = process.getBuiltinModule('node:fs');
        const owner = () => statSync('/proc/self/environ').uid;
        const before = owner();
        process.setegid?.(1234);
        return [before, owner()];
      },
      undefined,
      { through: [...asNobody, '--inh-caps', rights, '--ambient-caps', rights] },
    );
    expect(owners).toEqual([NOBODY, 0]);
  });
});

// Node ignores SIGXFSZ, so that a write beyond the limit of a file's size is an error, and not the end of the process.
test('the signals that Node ignores are still ignored after the first launch', async () => {
  const { untouched, before } = await inParent(launchEverything, { ...asked(), threads: 0, rounds: 0 });
  const ignored = (state: typeof before) =>
    Array.from(new Set(state.threads.flat().filter((line) => line.startsWith('SigIgn'))));
  expect(ignored(before)).toEqual(ignored(untouched));
});
