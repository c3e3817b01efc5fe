import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AnyCommand, Command, LaunchError } from 'vircommand';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  children,
  eventually,
  NOWHERE,
  rejection,
  useDirectory,
  useProcesses,
  writeProgram,
} from '../helpers/tools.js';
import { holdersOf, marked, sleeper } from '../helpers/daemons.js';
import {
  asNobody,
  inParent,
  lanes,
  needsNobody,
  needsRoot,
  NOBODY,
  useNativeEngine,
  type Library,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// What the engine keeps from its first launch on is there before anything is counted.
beforeAll(async () => {
  await new Command('true').run();
  await new Command('true').clearCaps().run();
});

/** Without a pidfile in both lanes, and with one: every failure must be the same, and leave as little behind. */
const ways: readonly (readonly [name: string, take: <C extends AnyCommand>(command: C) => C])[] = [
  ...lanes.map(([lane, take]) => [`in the lane ${lane}`, take] as const),
  ['with a pidfile', (command) => command.pidFile(path('pid'))],
];

/** The highest number that a descriptor may have here. */
const mostFiles = Number(/^Max open files +\S+ +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
const HIGHEST_FD = 1_048_575;

interface Row {
  readonly what: string;
  readonly command: () => AnyCommand;
  readonly step: string;
  readonly errno: string;
  /** Why this cannot be brought about here, if so. */
  readonly missing?: string | false;
}

// In the order of the steps. What only strace can make fail is in test/soak/faults.test.ts.
const rows: readonly Row[] = [
  {
    what: 'a log in a directory that is not there',
    command: () => sleeper().outputFile(path('absent/log')),
    step: 'open',
    errno: 'ENOENT',
  },
  { what: 'a log that is a directory', command: () => sleeper().errorFile('/'), step: 'open', errno: 'EISDIR' },
  {
    what: 'an input file that is not there',
    command: () => sleeper().inputFile(path('absent')),
    step: 'open',
    errno: 'ENOENT',
  },
  { what: 'a control group that is none', command: () => sleeper().cgroup(NOWHERE), step: 'cgroup', errno: 'ENOENT' },
  {
    what: 'a descriptor above the limit',
    command: () => sleeper().passFd(2, { as: HIGHEST_FD }),
    step: 'dup2',
    errno: 'EBADF',
    missing: mostFiles > HIGHEST_FD && `this process may have more than ${HIGHEST_FD} descriptors`,
  },
  {
    what: 'a limit that nobody may have',
    command: () => sleeper().limit('nofile', 2 ** 40),
    step: 'prlimit',
    errno: 'EPERM',
  },
  {
    what: 'an AppArmor profile that is not there',
    command: () => sleeper().appArmorProfile('no-such-profile'),
    step: 'apparmor',
    errno: 'ENOENT',
    missing: !existsSync('/proc/self/attr/apparmor') && 'this machine has no AppArmor',
  },
  {
    what: 'a program that is not there',
    command: () => new Command(NOWHERE).daemonize(),
    step: 'execve',
    errno: 'ENOENT',
  },
  {
    what: 'a program that is not executable',
    command: () => new Command(writeProgram(path('plain'), '#!/bin/sh\n', 0o644)).daemonize(),
    step: 'execve',
    errno: 'EACCES',
  },
  {
    what: 'a program that is none',
    command: () => new Command(writeProgram(path('text'), 'never\n')).daemonize(),
    step: 'execve',
    errno: 'ENOEXEC',
  },
  {
    what: 'an interpreter that is not there',
    command: () => new Command(writeProgram(path('script'), `#!${NOWHERE}\n`)).daemonize(),
    step: 'execve',
    errno: 'ENOENT',
  },
  {
    what: 'arguments that are too long',
    command: () => sleeper().arg('x'.repeat(200_000)),
    step: 'execve',
    errno: 'E2BIG',
  },
];

describe.for(ways)('a daemon that cannot start, %s', ([, take]) => {
  test.for(rows.map((row) => [row.what, row] as const))(
    'for %s, rejects with its step, and leaves nothing behind',
    async ([, { command, step, errno, missing }], { skip }) => {
      if (typeof missing === 'string') skip(missing);
      const failing = marked(take(command()), path('mark'));
      if (failing.spec().stdin.from === 'null') failing.inputPipe();
      // Without the mark, which goes with the launch.
      const before = {
        files: readdirSync(path()),
        descriptors: readdirSync('/proc/self/fd').length - 1,
        children: children(),
      };
      expect(holdersOf(path('mark')), 'this looks at whom it should').toEqual([process.pid]);
      const error = await rejection(LaunchError, failing.run());
      expect([error.step, error.errno]).toEqual([step, errno]);
      await eventually('no process of it is left', () => holdersOf(path('mark')).length === 0);
      expect({
        files: readdirSync(path()),
        descriptors: readdirSync('/proc/self/fd').length,
        children: children(),
      }).toEqual(before);
    },
  );
});

/** What needs a right that nobody has, tried as nobody. */
const forbidden = async (
  { Command: Program }: Library,
  { mark, pidFile }: { mark: string; pidFile: string | undefined },
) => {
  const { openSync: open } = process.getBuiltinModule('node:fs');
  const own = () => {
    const command = new Program('sleep', '600').daemonize().transferFd(open(mark, 'a'));
    return pidFile === undefined ? command : command.pidFile(pidFile);
  };
  const kinds = {
    nice: () => own().nice(-5),
    score: () => own().oomScoreAdjust(-500),
    capabilities: () => own().clearCaps().allowCap('CAP_CHOWN'),
    groups: () => own().groups([0]),
    'uid and gid': () => own().uid(0).gid(0),
  };
  const told: Record<string, string> = {};
  for (const [kind, build] of Object.entries(kinds)) {
    told[kind] = await build()
      .run()
      .then(
        () => 'it started',
        (error: unknown) => {
          const { name, step, errno } = error as LaunchError;
          return `${name} ${step} ${errno ?? ''}`;
        },
      );
  }
  return told;
};

test.for([
  ['without a pidfile', undefined],
  ['with a pidfile', 'pid'],
] as const)('what a daemon may not do rejects too, %s', async ([, name], { skip }) => {
  needsNobody(skip);
  // The directory is closed to nobody; this one is not.
  mkdirSync(path('open'));
  chmodSync(path('open'), 0o777);
  writeFileSync(path('mark'), '');
  chmodSync(path('mark'), 0o666);
  const pidFile = name === undefined ? undefined : path(`open/${name}`);
  expect(await inParent(forbidden, { mark: path('mark'), pidFile }, { through: asNobody })).toEqual({
    nice: 'LaunchError setpriority EACCES',
    score: 'LaunchError oom_score_adj EACCES',
    capabilities: 'LaunchError capbset_drop EPERM',
    groups: 'LaunchError setgroups EPERM',
    'uid and gid': 'LaunchError setgroups EPERM',
  });
  await eventually('no process of them is left', () => holdersOf(path('mark')).length === 0);
  expect(readdirSync(path('open'))).toEqual([]);
});

test('a pidfile that is there already is not touched by a failure before it, and removed by one after it', async () => {
  writeFileSync(path('pid'), 'a crash left this');
  await rejection(LaunchError, sleeper().cgroup(NOWHERE).pidFile(path('pid')).run());
  expect(readFileSync(path('pid'), 'utf8')).toBe('a crash left this');
  await rejection(LaunchError, new Command(NOWHERE).daemonize().pidFile(path('pid')).run());
  expect(existsSync(path('pid'))).toBe(false);
});

test('a daemon that fails as another user, who may not remove the pidfile, leaves none all the same', async ({
  skip,
}) => {
  needsRoot(skip);
  const program = writeProgram(path('closed'), '#!/bin/sh\n', 0o700);
  // Its directory belongs to root, and so does the program.
  const error = await rejection(
    LaunchError,
    new Command(program).uid(NOBODY).gid(NOBODY).daemonize().pidFile(path('pid')).run(),
  );
  expect([error.step, error.errno, existsSync(path('pid'))]).toEqual(['execve', 'EACCES', false]);
});

test('the start after a failure has the pidfile', async () => {
  await rejection(LaunchError, new Command(NOWHERE).daemonize().pidFile(path('pid')).run());
  const { pid } = await sleeper().pidFile(path('pid')).run();
  keep(pid);
  expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
});
