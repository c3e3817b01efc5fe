import { once } from 'node:events';
import { existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { type AnyCommand, Command, UnsupportedError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  eventually,
  isRunning,
  processStat,
  rejection,
  sh,
  umask,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';
import { makeControlGroup } from '../helpers/groups.js';
import { lockHolder, sleeper, targetsOf, variablesOf } from '../helpers/daemons.js';
import { fieldsOf, lanes, needsRoot, NOBODY, readProc, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

const NICE = 16;
const SCORE = 700;

const statusOf = (pid: number) => fieldsOf(readProc(`/proc/${pid}/status`));
const limitOf = (pid: number, name: string) =>
  new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(readProc(`/proc/${pid}/limits`))?.slice(1);

/** Without a pidfile in both lanes, and with one. */
const ways: readonly (readonly [name: string, take: <C extends AnyCommand>(command: C) => C])[] = [
  ...lanes.map(([lane, take]) => [`in the lane ${lane}`, take] as const),
  ['with a pidfile', (command) => command.pidFile(path('pid'))],
];

describe.for(ways)('a daemon, %s, has', ([way, take]) => {
  test('its limits, umask, nice value and out-of-memory score, and this process keeps its own', async () => {
    const before = [umask(), readFileSync('/proc/self/oom_score_adj', 'utf8')];
    const command = take(sleeper())
      .limit('nofile', 50, 60)
      .maxCoreSize(0)
      .umask(0o027)
      .nice(5)
      .oomScoreAdjust(SCORE)
      .noNewPrivileges();
    const { pid } = await command.run();
    keep(pid);
    expect([limitOf(pid, 'Max open files'), limitOf(pid, 'Max core file size')]).toEqual([
      ['50', '60'],
      ['0', '0'],
    ]);
    const { Umask, NoNewPrivs } = statusOf(pid);
    expect([Umask, NoNewPrivs]).toEqual(['0027', '1']);
    expect(
      readProc(`/proc/${pid}/stat`)
        .replace(/^.*\) /s, '')
        .split(' ')[NICE],
    ).toBe('5');
    expect(readProc(`/proc/${pid}/oom_score_adj`).trim()).toBe(String(SCORE));
    expect([umask(), readFileSync('/proc/self/oom_score_adj', 'utf8')]).toEqual(before);
    // The pidfile is made under that mask as well.
    if (existsSync(path('pid'))) expect(statSync(path('pid')).mode & 0o777).toBe(0o640);
  });

  test('a limit of 0 bytes for every file, which its pidfile does not feel', async () => {
    const { stdout, pid } = await take(sh('echo ready; exec sleep 600').daemonize())
      .outputPipe()
      .limit('fsize', 0)
      .run();
    keep(pid);
    const [line] = (await once(stdout, 'data')) as [Buffer];
    expect(line.toString()).toBe('ready\n');
    expect(limitOf(pid, 'Max file size')).toEqual(['0', '0']);
    stdout.destroy();
  });

  test("another user's ids, as root, and a pidfile that belongs to root", async ({ skip }) => {
    needsRoot(skip);
    const { pid } = await take(sleeper()).uid(NOBODY).gid(NOBODY).groups([7]).run();
    keep(pid);
    const { Uid, Gid, Groups, CapEff } = statusOf(pid);
    expect([Uid, Gid, Groups, CapEff]).toEqual([
      Array(4).fill(NOBODY).join('\t'),
      Array(4).fill(NOBODY).join('\t'),
      '7',
      '0'.repeat(16),
    ]);
    if (!existsSync(path('pid'))) return;
    expect([statSync(path('pid')).uid, lockHolder(path('pid')), readFileSync(path('pid'), 'utf8')]).toEqual([
      0,
      pid,
      String(pid),
    ]);
  });

  test('the descriptors that it was given, at their numbers, and no other', async () => {
    const fd = openSync(path('given'), 'w');
    const { pid } = await take(sleeper()).passFd(fd, { as: 9, closeInParent: true }).run();
    keep(pid);
    const wanted = [
      '/dev/null',
      '/dev/null',
      '/dev/null',
      path('given'),
      ...(existsSync(path('pid')) ? [path('pid')] : []),
    ].sort();
    // What it does not have in the end, no look can see; the loader comes and goes between two looks.
    await eventually(
      `it has ${wanted.join(', ')} and nothing else`,
      () => targetsOf(pid).sort().join() === wanted.join(),
    );
  });

  test('sockets to listen on, and LISTEN_PID is its own', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    // Who answers is told by what it says: it takes the connection from descriptor 3, as socket activation has it.
    const program = `const { LISTEN_PID, LISTEN_FDS } = process.env;
      require('node:net').createServer((socket) => socket.end([LISTEN_PID, process.pid, LISTEN_FDS].join())).listen({ fd: 3 });`;
    const { pid } = await take(new Command(process.execPath, '-e', program).daemonize())
      .listenFds(fd)
      .run();
    keep(pid);
    const { port } = server.address() as { port: number };
    server.close();
    expect(await text(connect(port, '127.0.0.1'))).toBe(`${pid},${pid},1`);
    expect(
      variablesOf(pid)
        .filter((variable) => variable.startsWith('LISTEN_'))
        .sort(),
    ).toEqual(['LISTEN_FDS=1', `LISTEN_PID=${pid}`]);
  });

  test('both streams in one log, in the order in which they were written, and its input from a file', async () => {
    const { pid } = await take(sh('cat; echo out; echo err >&2; echo out; exec sleep 600').daemonize())
      .inputFile('/proc/sys/kernel/ostype')
      .outputFile(path('log'))
      .errorToOutput()
      .run();
    keep(pid);
    await eventually('it has written', () => readFileSync(path('log'), 'utf8') === 'Linux\nout\nerr\nout\n');
    expect(processStat(pid)?.session).not.toBe(processStat(process.pid)?.session);
  });

  test('a pipe for its output, which the caller reads to the end', async () => {
    const { pid, stdout } = await take(sh('echo one; echo two').daemonize()).outputPipe().run();
    expect(await text(stdout)).toBe('one\ntwo\n');
    await eventually('it has ended', () => !isRunning(pid));
  });

  test('a control group of its own, from its first step on', async ({ skip }) => {
    const directory =
      makeControlGroup(`vircommand-daemon-${process.pid}-${way.replaceAll(' ', '-')}`) ??
      skip('there is no control group of version 2 here that this process may write to');
    const { pid } = await take(sleeper()).cgroup(directory).run();
    keep(pid);
    expect(directory.endsWith(/^0::(.*)$/m.exec(readProc(`/proc/${pid}/cgroup`))?.[1] ?? 'nowhere')).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  test('an AppArmor profile', async ({ skip }) => {
    if (!existsSync('/proc/self/attr/apparmor')) skip('this machine has no AppArmor');
    const { pid } = await take(sleeper()).appArmorProfile('unconfined').run();
    keep(pid);
    expect(readProc(`/proc/${pid}/attr/apparmor/current`)).toBe('unconfined\n');
  });

  test('a SELinux label, or is refused', async ({ skip }) => {
    if (existsSync('/sys/fs/selinux/enforce')) skip('this machine has SELinux, whose labels depend on its policy');
    const error = await rejection(UnsupportedError, take(sleeper()).selinuxLabel('system_u:object_r:bin_t:s0').run());
    expect([error.feature, existsSync(path('pid'))]).toEqual(['selinuxLabel', false]);
  });
});
