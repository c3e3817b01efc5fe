import { chmodSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { getPriority } from 'node:os';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { processStat, sh, umask, useDirectory } from '../helpers/tools.js';
import {
  inParent,
  asNobody,
  lanes,
  launchFailure,
  needsNobody,
  needsRoot,
  NOBODY,
  outputOf,
  statusOf,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** The places of some fields in `/proc/PID/stat`, counted from the state. */
const PARENT = 1;
const GROUP = 2;
const SESSION = 3;
const NICE = 16;

async function statOf(
  build: (command: Command) => Command,
): Promise<{ pid: number; field: (place: number) => number }> {
  const text = await outputOf(build(new Command('cat', '/proc/self/stat')));
  const fields = text.replace(/^.*\) /s, '').split(' ');
  return { pid: Number.parseInt(text, 10), field: (place) => Number(fields[place]) };
}

describe.for(lanes)('in the lane %s', ([lane, take]) => {
  test('the plan takes that lane', () => {
    expect(take(new Command('true')).plan().lane).toBe(lane);
  });

  test('a program is a child of this process, in its session and group', async () => {
    const { field } = await statOf(take);
    const own = processStat(process.pid);
    expect([field(PARENT), field(GROUP), field(SESSION)]).toEqual([process.pid, own?.group, own?.session]);
  });

  test('newSession() makes it the leader of a session and a group', async () => {
    const { pid, field } = await statOf((command) => take(command).newSession());
    expect([field(PARENT), field(GROUP), field(SESSION)]).toEqual([process.pid, pid, pid]);
  });

  test('processGroup() makes it the leader of a group, in this session', async () => {
    const { pid, field } = await statOf((command) => take(command).processGroup());
    expect([field(PARENT), field(GROUP), field(SESSION)]).toEqual([
      process.pid,
      pid,
      processStat(process.pid)?.session,
    ]);
  });

  test.for([0, 0o022, 0o077, 0o777])('umask(%i) is the mask of the program, and not of this process', async (mask) => {
    const before = umask();
    const { Umask } = await statusOf((command) => take(command).umask(mask));
    expect(Number.parseInt(Umask ?? '', 8)).toBe(mask);
    expect(umask()).toBe(before);
  });

  test("without umask() it is this process's", async () => {
    const { Umask } = await statusOf(take);
    expect(Number.parseInt(Umask ?? '', 8)).toBe(umask());
  });

  test('nice() is the nice value of the program, and not of this process', async () => {
    const before = getPriority();
    const value = Math.min(before + 7, 19);
    const { field } = await statOf((command) => take(command).nice(value));
    expect(field(NICE)).toBe(value);
    expect(getPriority()).toBe(before);
  });

  test('nice() below 0 needs a privilege', async ({ skip }) => {
    needsRoot(skip);
    const { field } = await statOf((command) => take(command).nice(-9));
    expect(field(NICE)).toBe(-9);
  });

  test('oomScoreAdjust() is the score of the program, and not of this process', async () => {
    const before = readFileSync('/proc/self/oom_score_adj', 'utf8');
    expect(await outputOf(take(new Command('cat', '/proc/self/oom_score_adj')).oomScoreAdjust(743))).toBe('743\n');
    expect(readFileSync('/proc/self/oom_score_adj', 'utf8')).toBe(before);
  });

  test('noNewPrivileges() holds in the program, and not in this process', async () => {
    expect((await statusOf((command) => take(command).noNewPrivileges()))['NoNewPrivs']).toBe('1');
    expect((await statusOf(take))['NoNewPrivs']).toBe('0');
  });

  test('workingDirectory() is entered, through links', async () => {
    mkdirSync(path('real'));
    symlinkSync(path('real'), path('link'));
    expect(await outputOf(take(new Command('pwd', '-P')).workingDirectory(path('link')))).toBe(
      `${realpathSync(path('real'))}\n`,
    );
  });

  test('a directory that is not there, and one that is a file, are failures of chdir', async () => {
    const failure = (directory: string) => launchFailure(take(new Command('true')).workingDirectory(directory));
    expect(await failure(path('missing'))).toEqual({
      step: 'chdir',
      errno: 'ENOENT',
      sentence: `the working directory '${path('missing')}' does not exist (chdir: ENOENT).`,
    });
    expect(await failure('/proc/self/status')).toMatchObject({ step: 'chdir', errno: 'ENOTDIR' });
  });

  test('a program that is not there is a failure of execve', async () => {
    expect(await launchFailure(take(new Command(path('missing'))))).toEqual({
      step: 'execve',
      errno: 'ENOENT',
      sentence: `'${path('missing')}' does not exist (execve: ENOENT).`,
    });
  });

  test('all of them together hold in one program', async () => {
    mkdirSync(path('here'));
    const tell =
      'pwd; cat /proc/self/status /proc/self/oom_score_adj; cat /proc/$$/stat; awk "/open files/" /proc/self/limits; readlink /proc/$$/fd/9';
    const command = take(sh(tell))
      .workingDirectory(path('here'))
      .umask(0o27)
      .nice(19)
      .oomScoreAdjust(500)
      .noNewPrivileges()
      .newSession();
    const text = await outputOf(
      command
        .limit('nofile', 100, 200)
        .dieWithParent()
        .passFd(2, { as: 9 })
        .env('PATH', process.env['PATH'] ?? ''),
    );
    expect(text.startsWith(`${path('here')}\n`)).toBe(true);
    for (const line of [/^Umask:\t0027$/m, /^NoNewPrivs:\t1$/m, /^500$/m, /^Max open files +100 +200 /m])
      expect(text).toMatch(line);
    const [, pid, fields = ''] = /^(\d+) \(sh\) (.*)$/m.exec(text) ?? [];
    expect([fields.split(' ')[SESSION], fields.split(' ')[NICE]]).toEqual([pid, '19']);
  });
});

test('nobody may not take a nice value below 0, and hears so', async ({ skip }) => {
  needsNobody(skip);
  const failure = await inParent(
    async ({ Command: Program }) =>
      new Program('true')
        .nice(-5)
        .run()
        .then(
          () => undefined,
          (error: unknown) => {
            const { step, errno, message } = error as { step: string; errno: string; message: string };
            return { step, errno, message };
          },
        ),
    undefined,
    { through: asNobody },
  );
  expect(failure).toEqual({
    step: 'setpriority',
    errno: 'EACCES',
    message:
      'Cannot start `true`: this process may not take the nice value -5 (setpriority: EACCES). Run as root, or with the capability CAP_SYS_NICE.',
  });
});

test('nobody may not lower the out-of-memory score, and hears so', async ({ skip }) => {
  needsNobody(skip);
  const failure = await inParent(
    async ({ Command: Program }) =>
      new Program('true')
        .oomScoreAdjust(-1000)
        .run()
        .then(
          () => undefined,
          (error: unknown) => String(error),
        ),
    undefined,
    { through: asNobody },
  );
  expect(failure).toBe(
    'LaunchError: Cannot start `true`: this process may not take the out-of-memory score -1000 (oom_score_adj: EACCES). Run as root, or with the capability CAP_SYS_RESOURCE.',
  );
});

describe('a directory and another user', () => {
  test('a directory that only root may enter is a failure of chdir for a program of nobody', async ({ skip }) => {
    needsRoot(skip);
    mkdirSync(path('closed'), { mode: 0o700 });
    const failure = await launchFailure(new Command('true').workingDirectory(path('closed')).uid(NOBODY).gid(NOBODY));
    expect(failure).toMatchObject({ step: 'chdir', errno: 'EACCES' });
    expect(failure.sentence).toMatch(
      new RegExp(`^the working directory '${path('closed')}' cannot be entered \\(chdir: EACCES\\)`),
    );
  });

  test('one that nobody owns is entered as nobody', async ({ skip }) => {
    needsRoot(skip);
    mkdirSync(path('open'));
    chmodSync(path('open'), 0o755);
    const command = new Command('id', '-u').workingDirectory(path('open')).uid(NOBODY).gid(NOBODY);
    expect(await outputOf(command)).toBe(`${NOBODY}\n`);
  });
});
