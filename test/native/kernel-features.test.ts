import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { Command, engineInfo, UnsupportedError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { makeControlGroup } from '../helpers/groups.js';
import { rejection, useDirectory } from '../helpers/tools.js';
import {
  inParent,
  lanes,
  launchFailure,
  needsProgram,
  needsRoot,
  outputOf,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();

const path = useDirectory();

const noGroup = 'there is no control group of version 2 here that this process may write to';

/** What the errors of this machine advise. */
function wayOut(): string {
  const mounts = Array.from(
    readFileSync('/proc/self/mounts', 'utf8').matchAll(/^\S+ (\S+) cgroup2 /gm),
    ([, mount = '']) => `'${mount}'`,
  );
  return mounts.length === 0
    ? 'Version 2 is not mounted here; mount it, or leave cgroup() out.'
    : `Make a directory below ${mounts.join(', ')}, where version 2 is mounted, and name that.`;
}

describe.for(lanes)('control groups, in the lane %s', ([lane, take]) => {
  test('cgroup() is entered by the program, and not by this process', async ({ skip }) => {
    const directory = makeControlGroup(`vircommand-test-${process.pid}-${lane}`) ?? skip(noGroup);
    const before = readFileSync('/proc/self/cgroup', 'utf8');
    const text = await outputOf(take(new Command('cat', '/proc/self/cgroup')).cgroup(directory));
    expect(directory.endsWith(/^0::(.*)$/m.exec(text)?.[1] ?? 'nowhere')).toBe(true);
    expect(readFileSync('/proc/self/cgroup', 'utf8')).toBe(before);
  });

  test('the name of a control group may have letters of any language', async ({ skip }) => {
    const directory = makeControlGroup(`vircommand-prüfung-${process.pid}-${lane}`) ?? skip(noGroup);
    expect(await outputOf(take(new Command('cat', '/proc/self/cgroup')).cgroup(directory))).toContain('prüfung');
  });

  // clone3() with CLONE_INTO_CGROUP refuses such a directory too (EBADF), and so does systemd.
  test('a directory that is no control group of version 2 is refused before there is a child', async () => {
    const before = readFileSync('/proc/self/cgroup', 'utf8');
    expect(await launchFailure(take(new Command('true')).cgroup('/tmp'))).toEqual({
      step: 'cgroup',
      errno: undefined,
      sentence: `'/tmp' is no control group. ${wayOut()}`,
    });
    expect(readFileSync('/proc/self/cgroup', 'utf8')).toBe(before);
  });

  test('a control group of version 1 is refused, and the program is not moved out of its own', async ({ skip }) => {
    const mount =
      /^\S+ (\S+) cgroup \S*\bmemory\b/m.exec(readFileSync('/proc/self/mounts', 'utf8'))?.[1] ??
      skip('no control groups of version 1 are mounted here');
    expect(await launchFailure(take(new Command('true')).cgroup(mount))).toEqual({
      step: 'cgroup',
      errno: undefined,
      sentence: `'${mount}' is a control group of version 1, and cgroup() takes one of version 2. ${wayOut()}`,
    });
  });

  test('a control group that is not there, or is a file, is a failure of that step', async ({ skip }) => {
    expect(await launchFailure(take(new Command('true')).cgroup('/nowhere'))).toEqual({
      step: 'cgroup',
      errno: 'ENOENT',
      sentence: `the control group '/nowhere' does not exist (cgroup: ENOENT). ${wayOut()}`,
    });
    const directory = makeControlGroup(`vircommand-file-${process.pid}-${lane}`) ?? skip(noGroup);
    const file = `${directory}/cgroup.events`;
    expect(await launchFailure(take(new Command('true')).cgroup(file))).toEqual({
      step: 'cgroup',
      errno: 'ENOTDIR',
      sentence: `the control group '${file}' is not a directory (cgroup: ENOTDIR). ${wayOut()}`,
    });
  });
});

test('an error names the mount point of version 2 as it is, blanks and all', async ({ skip }) => {
  needsRoot(skip);
  needsProgram(skip, 'unshare');
  const mount = path('two words');
  mkdirSync(mount);
  const words = ['unshare', '-m', 'sh', '-c', 'mount -t cgroup2 none "$0" || exit 77; exec "$@"', mount];
  if (spawnSync('unshare', [...words.slice(1), 'true']).status !== 0) skip('control groups cannot be mounted here');
  const message = await inParent(
    ({ Command: Program }) =>
      new Program('true')
        .cgroup('/tmp')
        .run()
        .then(String, (error: unknown) => (error as Error).message),
    undefined,
    { through: words },
  );
  expect(message).toContain(`'${mount}', where version 2 is mounted`);
});

describe.for(lanes)('core scheduling, in the lane %s', ([, take]) => {
  test.for<[string, (command: Command) => Command]>([
    ['runAlone', (command) => command.runAlone()],
    ['runAmong', (command) => command.runAmong(process.pid)],
  ])('%s() takes effect, or is refused with a reason where the kernel cannot', async ([method, ask]) => {
    const error: unknown = await ask(take(new Command('true')))
      .run()
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    if (error === undefined) return;
    // A kernel without core scheduling answers EINVAL, and one on a processor that runs one thread for each core, ENODEV.
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ feature: method, engine: 'native' });
  });

  test('runAmong() a process that is not there is a failure of that step', async ({ skip }) => {
    const works = await new Command('true')
      .runAlone()
      .run()
      .then(
        () => true,
        () => false,
      );
    if (!works) skip('this kernel has no core scheduling');
    expect(await launchFailure(take(new Command('true')).runAmong(0x3fff_ffff))).toMatchObject({
      step: 'sched_core',
      errno: 'ESRCH',
    });
  });
});

describe('labels', () => {
  test('a SELinux label is refused with a reason where there is no SELinux', async ({ skip }) => {
    if (existsSync('/sys/fs/selinux/enforce')) skip('this machine has SELinux');
    const error = await rejection(
      UnsupportedError,
      new Command('true').selinuxLabel('system_u:object_r:bin_t:s0').run(),
    );
    expect([error.feature, error.engine, error.why]).toEqual([
      'selinuxLabel',
      'native',
      'SELinux is not enabled on this machine',
    ]);
    expect(engineInfo().refuses).toMatchObject({ selinux: error.why });
  });

  test('an AppArmor profile is refused with a reason where there is no AppArmor', async ({ skip }) => {
    if (existsSync('/proc/self/attr/apparmor')) skip('this machine has AppArmor');
    const error = await rejection(UnsupportedError, new Command('true').appArmorProfile('unconfined').run());
    expect([error.feature, error.engine, error.why]).toEqual([
      'appArmorProfile',
      'native',
      'AppArmor is not enabled on this machine',
    ]);
    expect(engineInfo().refuses).toMatchObject({ apparmor: error.why });
  });

  test.for(lanes)('an AppArmor profile is that of the program, in the lane %s', async ([, take], { skip }) => {
    if (!existsSync('/proc/self/attr/apparmor')) skip('this machine has no AppArmor');
    expect(
      await outputOf(take(new Command('cat', '/proc/self/attr/apparmor/current')).appArmorProfile('unconfined')),
    ).toBe('unconfined\n');
    expect(await launchFailure(take(new Command('true')).appArmorProfile('no-such-profile'))).toMatchObject({
      step: 'apparmor',
      errno: 'ENOENT',
    });
  });

  test('a refused command starts nothing', async ({ skip }) => {
    if (existsSync('/sys/fs/selinux/enforce')) skip('this machine has SELinux');
    const before = readdirSync('/proc/self/fd').length;
    await rejection(UnsupportedError, new Command('true').selinuxLabel('x').run());
    expect(readdirSync('/proc/self/fd')).toHaveLength(before);
  });
});
