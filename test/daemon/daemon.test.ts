import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { Command, PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  children,
  eventually,
  exists,
  isRunning,
  processStat,
  rejection,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';
import { holdersOf, lockHolder, marked, sleeper, targetsOf } from '../helpers/daemons.js';
import { lanes, needsRoot, parentWords, resultIn, root, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

/** Writes to a daemon and reads from it. */
async function talksByPipes(take: (typeof lanes)[number][1]): Promise<void> {
  const { pid, stdin, stdout } = await take(new Command('cat').daemonize()).inputPipe().outputPipe().run();
  keep(pid);
  stdin.write('hello');
  const [chunk] = (await once(stdout, 'data')) as [Buffer];
  expect(chunk.toString()).toBe('hello');
  const ended = once(stdout, 'close');
  stdin.end();
  stdout.resume();
  await ended;
}

describe.for(lanes)('in the lane %s', ([lane, take]) => {
  test('a daemon is taken there', () => {
    expect(take(sleeper()).plan().lane).toBe(lane);
  });

  test("a daemon is nobody's child but init's, leads no session and no group, and has no terminal", async () => {
    const { pid } = await take(sleeper()).run();
    keep(pid);
    const [, parent, group, session, terminal] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    expect(parent).not.toBe(process.pid);
    expect(session).not.toBe(processStat(process.pid)?.session);
    expect([session === pid, group, terminal]).toEqual([false, session, 0]);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
    // The one in the middle, which leads the session, has been reaped.
    expect(exists(session ?? 0)).toBe(false);
    expect(children()).toEqual([]);
  });

  test('pipes of a daemon are streams of the caller', () => talksByPipes(take));
});

/** A pidfile alone takes a daemon to the helper; what changes privileges comes after it there. */
const companions: typeof lanes = [
  ['helper', (command) => command],
  ['helper', (command) => command.clearCaps()],
];

describe.for(
  companions.map(([lane, take], index) => [index === 0 ? 'alone' : 'with a change of privileges', take, lane] as const),
)('a pidfile %s', ([, take, lane]) => {
  test('is taken in the lane of the helper, where a busy disk holds nobody', () => {
    expect(take(sleeper()).pidFile(path('pid')).plan().lane).toBe(lane);
  });

  test('run() resolves when the program runs and its pidfile is written and locked by it', async () => {
    const { pid, pidFile } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    expect(pidFile).toBe(path('pid'));
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
    // The kernel fills it in a moment after the exec has succeeded.
    expect(await eventually('its arguments are there', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))).toBe(
      'sleep\0' + '600\0',
    );
    expect(lockHolder(path('pid'))).toBe(pid);
    expect(await PidFile.readIfAlive(path('pid'))).toBe(pid);
  });

  test('it has its three descriptors, and the pidfile, by which it holds the lock', async () => {
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    const wanted = ['/dev/null', '/dev/null', '/dev/null', path('pid')].sort();
    // The loader opens and closes libraries before the program sleeps.
    // What it does not have in the end, no look can see; the loader comes and goes between two looks.
    await eventually(
      `it has ${wanted.join(', ')} and nothing else`,
      () => targetsOf(pid).sort().join() === wanted.join(),
    );
  });

  test('a second start is told who holds the pidfile, and starts nothing', async () => {
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    const command = marked(
      take(new Command('sh', '-c', 'echo >"$0"', path('ran')).daemonize()).pidFile(path('pid')),
      path('mark'),
    );
    expect(holdersOf(path('mark'))).toEqual([process.pid]);
    const error = await rejection(PidFileError, command.run());
    expect([error.heldBy, error.path]).toEqual([pid, path('pid')]);
    expect(error.message).toMatch(new RegExp(`^Pidfile '${path('pid')}' is held by process ${pid}\\b`));
    expect(isRunning(pid)).toBe(true);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
    await eventually('nothing is left of the second', () => holdersOf(path('mark')).length === 0);
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

  test('that somebody has removed is held by nobody: the daemon goes on, and a second one may start', async () => {
    const first = await take(sleeper()).pidFile(path('pid')).run();
    keep(first.pid);
    rmSync(path('pid'));
    const second = await take(sleeper()).pidFile(path('pid')).run();
    keep(second.pid);
    expect([isRunning(first.pid), readFileSync(path('pid'), 'utf8')]).toEqual([true, String(second.pid)]);
  });

  test('what a longer pid left in the file is gone', async () => {
    writeFileSync(path('pid'), '99999999999 and more\n');
    const { pid } = await take(sleeper()).pidFile(path('pid')).run();
    keep(pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
  });

  test.for<[string, string, () => void]>([
    ['in a directory that is not there', 'ENOENT', () => undefined],
    ['that is a directory', 'EISDIR', () => mkdirSync(path('missing/pid'), { recursive: true })],
    [
      'that is a symbolic link',
      'ELOOP',
      () => {
        mkdirSync(path('missing'));
        symlinkSync('/dev/null', path('missing/pid'));
      },
    ],
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
    expect(error.message).toBe(
      `Pidfile '${path('special')}' is no regular file, and was left as it is. Choose another path.`,
    );
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
    const daemon = await take(new Command(path('program'), '600').daemonize())
      .requireHandshake()
      .pidFile(path('pid'))
      .run();
    keep(daemon.pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(daemon.pid));
    unlinkSync(path('pid'));
    writeFileSync(path('pid'), 'of somebody else');
    rmSync(path('program'));
    await expect(daemon.handshakeNotify()).rejects.toMatchObject({ step: 'execve' });
    expect(readFileSync(path('pid'), 'utf8')).toBe('of somebody else');
  });

  test('pipes of a daemon are streams of the caller', () => talksByPipes(take));
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
      const outcomes = await Promise.allSettled(
        Array.from({ length: starts }, (_, index) => (index % 2 === 0 ? command() : command().clearCaps()).run()),
      );
      return outcomes.map((outcome) => {
        if (outcome.status === 'fulfilled') return { pid: outcome.value.pid };
        const { name, heldBy } = outcome.reason as { name: string; heldBy?: number };
        return { name, heldBy };
      });
    },
    { file: path('pid'), starts: STARTS },
  );
  const parents = Array.from({ length: PARENTS }, () =>
    spawn(program, words, {
      cwd: root,
      env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
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
