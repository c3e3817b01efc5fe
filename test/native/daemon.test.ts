import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { Command, LaunchError, PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, exists, isRunning, processStat, rejection, useDirectory, useProcesses } from '../contract/tools.js';
import { lanes, needsRoot, parentWords, resultIn, root, useNativeEngine } from './tools.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

const sleeper = () => new Command('sleep', '600').daemonize();

/** The pid that holds a lock on a file, as the kernel lists it. */
function lockHolder(file: string): number | undefined {
  const { ino } = statSync(file);
  const line = readFileSync('/proc/locks', 'utf8').split('\n').find((row) => row.includes(`:${ino} `) && row.includes('POSIX'));
  return line === undefined ? undefined : Number(line.trim().split(/\s+/)[4]);
}

/** Gives a command a descriptor of a file of its own, by which every process of its launch is known, whatever it executes. */
function marked<C extends Command>(command: C): { command: C; holders: () => string[] } {
  const file = path('mark');
  const fd = openSync(file, 'w');
  const holds = (pid: string): boolean => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((number) => readlinkSync(`/proc/${pid}/fd/${number}`) === file);
    } catch {
      // It is gone, or a thread of the kernel, which has no descriptors.
      return false;
    }
  };
  return { command: command.transferFd(fd), holders: () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && holds(pid)) };
}

const children = () => readdirSync('/proc').map(Number).filter((pid) => pid > 0 && processStat(pid)?.parent === process.pid);

describe.for(lanes)('in the lane %s', ([, take]) => {
  test('a daemon is nobody\'s child but init\'s, leads no session and no group, and has no terminal', async () => {
    const { pid } = await take(sleeper()).run();
    keep(pid);
    const [, parent, group, session, terminal] = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ').map(Number);
    expect(parent).not.toBe(process.pid);
    expect(session).not.toBe(processStat(process.pid)?.session);
    expect([session === pid, group, terminal]).toEqual([false, session, 0]);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
    // The one in the middle, which leads the session, has been reaped.
    expect(exists(session ?? 0)).toBe(false);
    expect(children()).toEqual([]);
  });

  test('run() resolves when the program runs and its pidfile is written and locked by it', async () => {
    const { pid, pidFile } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    expect(pidFile).toBe(path('pid'));
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\0' + '600\0');
    expect(lockHolder(path('pid'))).toBe(pid);
    expect(await PidFile.readIfAlive(path('pid'))).toBe(pid);
  });

  test('it has its three descriptors, and the pidfile, by which it holds the lock', async () => {
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    const wanted = ['/dev/null', '/dev/null', '/dev/null', path('pid')].sort();
    // The loader opens and closes libraries before the program sleeps.
    const targets = (): string[] => readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return []; // It was closed between the two looks.
      }
    });
    await eventually('the loader is done', () => targets().length === wanted.length);
    expect(targets().sort()).toEqual(wanted);
  });

  test('a second start is told who holds the pidfile, and starts nothing', async () => {
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    const { command, holders } = marked(take(new Command('sh', '-c', 'echo >"$0"', path('ran')).daemonize()).pidFile(path('pid')));
    expect(holders()).toEqual([String(process.pid)]);
    const error = await rejection(PidFileError, command.run());
    expect([error.heldBy, error.path]).toEqual([pid, path('pid')]);
    expect(error.message).toMatch(new RegExp(`^Pidfile '${path('pid')}' is held by process ${pid}\\b`));
    expect(isRunning(pid)).toBe(true);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
    await eventually('nothing is left of the second', () => holders().length === 0);
    expect(existsSync(path('ran'))).toBe(false);
  });

  test('the lock ends with the daemon, however it ends, and the file is taken over', async () => {
    const first = await take(sleeper()).pidFile(path('pid')).run();
    keep(first.pid);
    process.kill(first.pid, 'SIGKILL');
    await eventually('the first has ended', () => !isRunning(first.pid));
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(first.pid));
    const second = await take(sleeper()).pidFile(path('pid')).run();
    keep(second.pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(second.pid));
    expect(lockHolder(path('pid'))).toBe(second.pid);
  });

  test('what a longer pid left in the file is gone', async () => {
    writeFileSync(path('pid'), '99999999999 and more\n');
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
  });

  test('a program that is not there rejects, and leaves no pidfile and no process', async () => {
    const { command, holders } = marked(take(new Command('/nowhere/at/all').daemonize()).pidFile(path('pid')));
    expect(holders()).toEqual([String(process.pid)]);
    const error = await rejection(LaunchError, command.run());
    expect([error.step, error.errno, error.path]).toEqual(['execve', 'ENOENT', '/nowhere/at/all']);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect(existsSync(path('pid'))).toBe(false);
    expect(children()).toEqual([]);
  });

  test('a step that fails before or after the pidfile rejects too, and leaves none', async () => {
    const before = await rejection(LaunchError, take(sleeper()).limit('nofile', 2 ** 40).pidFile(path('pid')).run());
    expect([before.step, existsSync(path('pid'))]).toEqual(['prlimit', false]);
    const held = await rejection(LaunchError, take(sleeper()).passFd(2, { as: 1_048_575 }).pidFile(path('pid')).run());
    expect([held.step, existsSync(path('pid'))]).toEqual(['dup2', false]);
    expect(children()).toEqual([]);
  });

  test.for<[string, string, () => void]>([
    ['in a directory that is not there', 'ENOENT', () => undefined],
    ['that is a directory', 'EISDIR', () => mkdirSync(path('missing/pid'), { recursive: true })],
    ['that is a symbolic link', 'ELOOP', () => {
      mkdirSync(path('missing'));
      symlinkSync('/dev/null', path('missing/pid'));
    }],
  ])('a pidfile %s is a PidFileError', async ([, errno, prepare]) => {
    prepare();
    const error = await rejection(PidFileError, take(sleeper()).pidFile(path('missing/pid')).run());
    expect([error.errno, error.heldBy, error.path]).toEqual([errno, undefined, path('missing/pid')]);
    expect(children()).toEqual([]);
  });

  test.for<[string, (file: string) => void]>([
    ['a FIFO', (file) => void execFileSync('mkfifo', [file])],
    ['a device', (file) => void execFileSync('mknod', [file, 'c', '1', '3'])],
  ])('%s is refused as a pidfile, and is still there', async ([kind, make], { skip }) => {
    if (kind === 'a device') needsRoot(skip);
    make(path('special'));
    const { ino } = statSync(path('special'));
    const error = await rejection(PidFileError, take(sleeper()).pidFile(path('special')).run());
    expect(error.message).toBe(`Pidfile '${path('special')}' is no regular file, and was left as it is. Choose another path.`);
    expect(statSync(path('special')).ino).toBe(ino);
    expect(children()).toEqual([]);
  });

  test('a pidfile that cannot be written names the call, and leaves no file', async ({ skip }) => {
    // A disk that is full: a file system of one page, which another file has.
    needsRoot(skip);
    mkdirSync(path('full'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'vircommand-test', path('full')]);
    if (mounted.status !== 0) skip('no file system can be mounted here');
    try {
      writeFileSync(path('full/other'), 'x');
      const error = await rejection(PidFileError, take(sleeper()).pidFile(path('full/pid')).run());
      expect(error.message).toBe(`Pidfile '${path('full/pid')}' cannot be written (write: ENOSPC).`);
      expect(readdirSync(path('full'))).toEqual(['other']);
    } finally {
      execFileSync('umount', [path('full')]);
    }
  });

  test('a daemon that fails after its pidfile was replaced leaves the other one alone', async () => {
    copyFileSync('/bin/sleep', path('program'));
    const daemon = await take(new Command(path('program'), '600').daemonize()).requireHandshake().pidFile(path('pid')).run();
    keep(daemon.pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(daemon.pid));
    unlinkSync(path('pid'));
    writeFileSync(path('pid'), 'of somebody else');
    rmSync(path('program'));
    await expect(daemon.handshakeNotify()).rejects.toMatchObject({ step: 'execve' });
    expect(readFileSync(path('pid'), 'utf8')).toBe('of somebody else');
  });

  test('pipes of a daemon are streams of the caller', async () => {
    const { pid, stdin, stdout } = await take(new Command('cat').daemonize()).inputPipe().outputPipe().run();
    keep(pid);
    stdin?.write('hello');
    const [chunk] = (await once(stdout ?? expect.fail(), 'data')) as [Buffer];
    expect(chunk.toString()).toBe('hello');
    const ended = once(stdout ?? expect.fail(), 'close');
    stdin?.end();
    stdout?.resume();
    await ended;
  });
});

const PARENTS = 5;
const STARTS = 10;

test('of fifty starts at once, from several processes, exactly one wins, and the others are told its pid', async () => {
  const [program = '', ...words] = parentWords(
    async ({ Command: Program }, { file, starts }) => {
      const command = () => new Program('sleep', '600').daemonize().pidFile(file);
      process.stdout.write('ready\n');
      await process.getBuiltinModule('node:events').once(process.stdin, 'data');
      process.stdin.destroy();
      const outcomes = await Promise.allSettled(Array.from({ length: starts }, (_, index) => (index % 2 === 0 ? command() : command().clearCaps()).run()));
      return outcomes.map((outcome) => {
        if (outcome.status === 'fulfilled') return { pid: outcome.value.pid };
        const { name, heldBy } = outcome.reason as { name: string; heldBy?: number };
        return { name, heldBy };
      });
    },
    { file: path('pid'), starts: STARTS },
  );
  const parents = Array.from({ length: PARENTS }, () => spawn(program, words, { cwd: root, env: { ...process.env, VIRCOMMAND_ENGINE: 'native' }, stdio: ['pipe', 'pipe', 'inherit'] }));
  const outputs = parents.map(() => '');
  await Promise.all(
    parents.map(async (parent, index) => {
      parent.stdout.on('data', (chunk: Buffer) => (outputs[index] = `${outputs[index] ?? ''}${chunk.toString()}`));
      await once(parent.stdout, 'data');
    }),
  );
  const closed = Promise.all(parents.map((parent) => once(parent, 'close')));
  for (const parent of parents) parent.stdin.end('go');
  await closed;
  const told = outputs.flatMap((output) => resultIn(output, '') as { pid?: number; name?: string; heldBy?: number }[]);
  const winners = told.flatMap(({ pid }) => pid ?? []);
  for (const pid of winners) keep(pid);
  expect(told).toHaveLength(PARENTS * STARTS);
  expect(winners).toEqual([Number(readFileSync(path('pid'), 'utf8'))]);
  const losers = told.filter(({ pid }) => pid === undefined);
  expect(losers).toEqual(losers.map(() => ({ name: 'PidFileError', heldBy: winners[0] })));
});
