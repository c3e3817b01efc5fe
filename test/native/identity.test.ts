import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { useDirectory, writeProgram } from '../helpers/tools.js';
import {
  asNobody,
  inParent,
  lanes,
  launchFailure,
  needsNobody,
  needsProgram,
  needsRoot,
  NOBODY,
  statusOf,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** The four ids of one kind: real, effective, saved, and of the file system. */
const four = (id: number): string => [id, id, id, id].join('\t');

/** The supplementary groups, as the kernel prints them. */
const groupsOf = (field: string | undefined): number[] =>
  field === undefined || field === ''
    ? []
    : field
        .split(' ')
        .map(Number)
        .sort((a, b) => a - b);

const CAPABILITIES = ['CapPrm', 'CapEff', 'CapAmb'] as const;

describe('another user, as root', () => {
  test("uid() and gid() change the real, the effective, the saved and the file system's id", async ({ skip }) => {
    needsRoot(skip);
    const { Uid, Gid, Groups } = await statusOf((command) => command.uid(54_321).gid(54_322));
    expect([Uid, Gid, groupsOf(Groups)]).toEqual([four(54_321), four(54_322), [54_322]]);
  });

  test('the privileges of root go with the uid', async ({ skip }) => {
    needsRoot(skip);
    const status = await statusOf((command) => command.uid(NOBODY).gid(NOBODY));
    expect(CAPABILITIES.map((set) => status[set])).toEqual(CAPABILITIES.map(() => '0'.repeat(16)));
  });

  test('user() by name has the ids and groups that the system gives that user', async ({ skip }) => {
    needsRoot(skip);
    const { Uid, Gid, Groups } = await statusOf((command) => command.user('nobody'));
    const id = (...words: string[]) => execFileSync('id', [...words, 'nobody'], { encoding: 'utf8' }).trim();
    expect([Uid, Gid]).toEqual([four(Number(id('-u'))), four(Number(id('-g')))]);
    expect(groupsOf(Groups)).toEqual(groupsOf(id('-G')));
  });

  test('user() by number is the same as by name', async ({ skip }) => {
    needsRoot(skip);
    const byName = await statusOf((command) => command.user('daemon'));
    const byNumber = await statusOf((command) =>
      command.user(Number(execFileSync('id', ['-u', 'daemon'], { encoding: 'utf8' }))),
    );
    expect([byNumber['Uid'], byNumber['Gid'], byNumber['Groups']]).toEqual([
      byName['Uid'],
      byName['Gid'],
      byName['Groups'],
    ]);
  });

  test('groups() are exactly those, also none, also very many', async ({ skip }) => {
    needsRoot(skip);
    for (const groups of [[], [7], [4, 27, 100], Array.from({ length: 1000 }, (_, index) => 10_000 + index)]) {
      const { Uid, Groups } = await statusOf((command) => command.groups(groups).uid(NOBODY).gid(NOBODY));
      expect([Uid, groupsOf(Groups)]).toEqual([four(NOBODY), groups]);
    }
  });

  test('gid() alone leaves the user, and takes all other groups away', async ({ skip }) => {
    needsRoot(skip);
    const { Uid, Gid, Groups } = await statusOf((command) => command.gid(4321));
    expect([Uid, Gid, groupsOf(Groups)]).toEqual([four(0), four(4321), [4321]]);
  });

  test('groups() alone leaves user and group', async ({ skip }) => {
    needsRoot(skip);
    const { Uid, Gid, Groups } = await statusOf((command) => command.groups([12, 34]));
    expect([Uid, Gid, groupsOf(Groups)]).toEqual([four(0), four(0), [12, 34]]);
  });

  test('the largest ids are ids like any other', async ({ skip }) => {
    needsRoot(skip);
    const { Uid, Gid } = await statusOf((command) => command.uid(0xffff_fffe).gid(0xffff_fffd));
    expect([Uid, Gid]).toEqual([four(0xffff_fffe), four(0xffff_fffd)]);
  });

  test('all that needs privileges is done before they go', async ({ skip }) => {
    needsRoot(skip);
    const command = (program: Command) =>
      program
        .user('nobody')
        .nice(-3)
        .noNewPrivileges()
        .umask(0o77)
        .limit('nofile', 99, 99)
        .newSession()
        .dieWithParent();
    const { Uid, Umask, NoNewPrivs } = await statusOf(command);
    expect([Uid, Umask, NoNewPrivs]).toEqual([four(NOBODY), '0077', '1']);
  });

  test('the plan changes the groups first, then the gid, then the uid', () => {
    const steps = new Command('true')
      .uid(NOBODY)
      .gid(NOBODY)
      .plan()
      .steps.map(({ step }) => step);
    expect(steps.filter((step) => step.startsWith('set') && step !== 'setsid')).toEqual([
      'setgroups',
      'setgid',
      'setuid',
    ]);
  });

  test('a program that only root may execute is a failure of execve for nobody', async ({ skip }) => {
    needsRoot(skip);
    mkdirSync(path('closed'), { mode: 0o700 });
    const failure = await launchFailure(
      new Command(writeProgram(path('closed/program'), '#!/bin/sh\n')).uid(NOBODY).gid(NOBODY),
    );
    expect(failure).toMatchObject({ step: 'execve', errno: 'EACCES' });
  });
});

describe('another user, as nobody', () => {
  test.for<[string, string, string]>([
    ['groups', 'setgroups', 'take the groups 1, 2'],
    ['gid', 'setgroups', 'take the groups 4321'],
    ['uid', 'setgroups', 'take the groups 4321'],
  ])('%s() is a failure of the step that needs a privilege', async ([method, step, wanted], { skip }) => {
    needsNobody(skip);
    const failure = await inParent(
      async ({ Command: Program }, asked) => {
        const command = new Program('true');
        if (asked === 'groups') command.groups([1, 2]);
        else command.gid(4321);
        if (asked === 'uid') command.uid(1234);
        return command.run().then(
          () => undefined,
          (error: unknown) => {
            const { step: failed, errno, message } = error as { step: string; errno: string; message: string };
            return { failed, errno, message };
          },
        );
      },
      method,
      { through: asNobody },
    );
    expect(failure).toEqual({
      failed: step,
      errno: 'EPERM',
      message: `Cannot start \`true\`: this process may not ${wanted} (${step}: EPERM). Run as root, or with the capability CAP_SETGID.`,
    });
  });

  test('a parent that may change groups and not the uid fails at the uid', async ({ skip }) => {
    needsNobody(skip);
    const failure = await inParent(
      async ({ Command: Program }) =>
        new Program('true')
          .uid(1234)
          .gid(4321)
          .run()
          .then(
            () => undefined,
            (error: unknown) => String(error),
          ),
      undefined,
      { through: [...asNobody, '--inh-caps', '-all,+setgid', '--ambient-caps', '-all,+setgid'] },
    );
    expect(failure).toBe(
      'LaunchError: Cannot start `true`: this process may not take the uid 1234 (setuid: EPERM). Run as root, or with the capability CAP_SETUID.',
    );
  });

  // "Run as root" helps nobody who is root.
  test.for([
    [
      'without the capability, as in most containers',
      ['setpriv', '--bounding-set', '-setgid', '--inh-caps', '-setgid'],
      'It is root without the capability CAP_SETGID; have the container or service that it runs in give it.',
    ],
    [
      'of a user namespace',
      ['unshare', '-r'],
      'It is root of a user namespace, which is not root of the machine; run it outside of that.',
    ],
  ] as const)('root %s is told what it lacks', async ([, through, wayOut], { skip }) => {
    needsNobody(skip);
    needsProgram(skip, through[0]);
    const failure = await inParent(
      async ({ Command: Program }) =>
        String(
          await new Program('true')
            .groups([1])
            .run()
            .catch((error: unknown) => error),
        ),
      undefined,
      { through },
    );
    expect(failure).toBe(
      `LaunchError: Cannot start \`true\`: this process may not take the groups 1 (setgroups: EPERM). ${wayOut}`,
    );
  });
});

// The errno is looked behind in this process, which may not look where the program may not go either.
test.for(lanes)(
  'a program in a directory that this process may not enter is a failure of execve, in the lane %s',
  async ([lane], { skip }) => {
    needsNobody(skip);
    mkdirSync(path('closed'), { mode: 0o700 });
    const program = writeProgram(path('closed/program'), '#!/bin/sh\n');
    const failure = await inParent(
      async ({ Command: Program }, asked) => {
        const command = new Program(asked.program);
        if (asked.lane === 'helper') command.clearCaps();
        if (asked.lane === 'hook-runner') command.preExecHook(() => 0);
        return command.run().then(
          () => undefined,
          (error: unknown) => {
            const { name, step, errno } = error as { name: string; step?: string; errno?: string };
            return { name, step, errno };
          },
        );
      },
      { program, lane },
      { through: asNobody },
    );
    expect(failure).toEqual({ name: 'LaunchError', step: 'execve', errno: 'EACCES' });
  },
);
