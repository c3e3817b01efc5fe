import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Command, ExitError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  asNobody,
  inParent,
  lanes,
  launchFailure,
  needsNobody,
  needsProgram,
  outputOf,
  useNativeEngine,
} from '../helpers/native.js';
import { rejection } from '../helpers/tools.js';

useNativeEngine();

/** Every limit, with the name that the kernel prints. */
const resources = [
  ['cpu', 'Max cpu time'],
  ['fsize', 'Max file size'],
  ['data', 'Max data size'],
  ['stack', 'Max stack size'],
  ['core', 'Max core file size'],
  ['rss', 'Max resident set'],
  ['nproc', 'Max processes'],
  ['nofile', 'Max open files'],
  ['memlock', 'Max locked memory'],
  ['as', 'Max address space'],
  ['locks', 'Max file locks'],
  ['sigpending', 'Max pending signals'],
  ['msgqueue', 'Max msgqueue size'],
  ['nice', 'Max nice priority'],
  ['rtprio', 'Max realtime priority'],
  ['rttime', 'Max realtime timeout'],
] as const;

/** The soft and hard limits in a `/proc/PID/limits`, as bigints or 'unlimited', by the name that the kernel prints. */
function limitsIn(text: string): Record<string, (bigint | string)[]> {
  const value = (word = ''): bigint | string => (word === 'unlimited' ? word : BigInt(word));
  const rows = Array.from(
    text.matchAll(/^(Max .*?) {2,}(\w+) +(\w+)/gm),
    ([, name = '', soft, hard]) => [name, [value(soft), value(hard)]] as [string, (bigint | string)[]],
  );
  return Object.fromEntries(rows);
}

const own = () => limitsIn(readFileSync('/proc/self/limits', 'utf8'));
const limitsOf = async (build: (command: Command) => Command) =>
  limitsIn(await outputOf(build(new Command('cat', '/proc/self/limits'))));

/** Limits that a program can live with, below any hard limit that a machine has, and not what they were. */
function liveable(resource: string, hard: bigint | string | undefined): { soft: bigint; hard: bigint } {
  const large = 1n << 33n;
  const most = typeof hard === 'bigint' && hard < large ? hard : large;
  return ['nice', 'rtprio'].includes(resource)
    ? { soft: 0n, hard: most > 9n ? 9n : most }
    : { soft: most / 2n + 1n, hard: most };
}

test('there are sixteen limits, and this process has all of them', () => {
  expect(Object.keys(own()).sort()).toEqual(resources.map(([, name]) => name).sort());
});

describe.for(lanes)('in the lane %s', ([, take]) => {
  test.for(resources)(
    'limit(%o) sets the soft and the hard limit of the program, and no other',
    async ([resource, name]) => {
      const before = own();
      const { soft, hard } = liveable(resource, before[name]?.[1]);
      expect(await limitsOf((command) => take(command).limit(resource, soft, hard))).toEqual({
        ...(await limitsOf(take)),
        [name]: [soft, hard],
      });
      expect(own()).toEqual(before);
    },
  );

  test('one value is both limits, and a number is as good as a bigint', async () => {
    expect(await limitsOf((command) => take(command).limit('cpu', 1000))).toMatchObject({
      'Max cpu time': [1000n, 1000n],
    });
  });

  test('limits are exact above what a number can hold', async () => {
    const large = 2n ** 60n + 1n;
    expect(await limitsOf((command) => take(command).limit('fsize', large, 'unlimited'))).toMatchObject({
      'Max file size': [large, 'unlimited'],
    });
  });

  test("'unlimited' is the kernel's own word", async ({ skip }) => {
    if (own()['Max cpu time']?.[1] !== 'unlimited') skip('the hard limit of processor time is not unlimited here');
    expect(await limitsOf((command) => take(command).limit('cpu', 'unlimited'))).toMatchObject({
      'Max cpu time': ['unlimited', 'unlimited'],
    });
  });

  test('several limits hold together', async () => {
    const limits = await limitsOf((command) => take(command).maxCoreSize(0).maxFiles(64).limit('cpu', 100, 200));
    expect(limits).toMatchObject({
      'Max core file size': [0n, 0n],
      'Max open files': [64n, 64n],
      'Max cpu time': [100n, 200n],
    });
  });

  test('a limit of no open files comes after the descriptors, which the program has', async () => {
    // The program itself can open nothing, not even its libraries: that it answers at all is the proof.
    const { exitCode } = await take(new Command('sh', '-c', ':'))
      .limit('nofile', 0)
      .run({ check: false });
    expect(exitCode).not.toBe(0);
  });

  test('more open files than the kernel ever allows are a failure of that step, and say which', async () => {
    expect(await launchFailure(take(new Command('true')).limit('nofile', 2 ** 40))).toEqual({
      step: 'prlimit',
      errno: 'EPERM',
      sentence: `this process may not set the limit of nofile to 1099511627776 (hard 1099511627776) (prlimit: EPERM). The kernel of this machine allows ${readFileSync('/proc/sys/fs/nr_open', 'utf8').trim()} at most (/proc/sys/fs/nr_open).`,
    });
  });
});

test('nobody may not raise a hard limit, and hears so', async ({ skip }) => {
  needsNobody(skip);
  needsProgram(skip, 'prlimit');
  const failure = await inParent(
    async ({ Command: Program }) =>
      new Program('true')
        .limit('cpu', 100, 'unlimited')
        .run()
        .then(
          () => undefined,
          (error: unknown) => String(error),
        ),
    undefined,
    { through: ['prlimit', '--cpu=5000:5000', ...asNobody] },
  );
  expect(failure).toBe(
    'LaunchError: Cannot start `true`: this process may not set the limit of cpu to 100 (hard unlimited) (prlimit: EPERM). Run as root, or with the capability CAP_SYS_RESOURCE.',
  );
});

/** How Node is started by a shell with a soft limit of 300: the shell lives on, or raises it and becomes Node. */
const starters = [
  ['a parent with that limit', 'ulimit -Sn 300; ulimit -Hn 900; "$@"; exit $?'],
  // The parent of Node is then the first shell, whose soft limit Node never had.
  [
    'a script that has said another one',
    'ulimit -Sn 300; ulimit -Hn 900; sh -c \'ulimit -Sn 600; exec "$@"\' sh "$@"; exit $?',
  ],
] as const;

// As from child_process, which is asked beside it: Node keeps no note of the limit that it found and raised.
test.for(
  [...lanes.map(([lane]) => lane), 'portable'].flatMap((way) => starters.map((starter) => [way, ...starter] as const)),
)('%s: a program gets the limit of open files that Node has raised, and no guess, from %s', async ([way, , script]) => {
  const { own, ofChildProcess, ofProgram } = await inParent(
    async ({ Command: Program }, asked) => {
      const { readFileSync: read } = process.getBuiltinModule('node:fs');
      const { execFileSync: run } = process.getBuiltinModule('node:child_process');
      const command = new Program('cat', '/proc/self/limits').outputBuffer();
      if (asked === 'helper') command.clearCaps();
      if (asked === 'hook-runner') command.preExecHook(() => 0);
      const limits = (text: string) => /^Max open files +(\d+) +(\d+)/m.exec(text)?.slice(1);
      return {
        own: limits(read('/proc/self/limits', 'utf8')),
        ofChildProcess: limits(run('cat', ['/proc/self/limits'], { encoding: 'utf8' })),
        ofProgram: limits((await command.run()).stdout),
      };
    },
    way,
    { through: ['sh', '-c', script, 'sh'], env: { VIRCOMMAND_ENGINE: way === 'portable' ? 'portable' : 'native' } },
  );
  expect(own).toEqual(['900', '900']);
  expect(ofChildProcess).toEqual(own);
  expect(ofProgram).toEqual(own);
});

test.for(lanes)(
  "in the lane %s, a limit of open files that this process was given later is the program's too",
  async ([lane], { skip }) => {
    needsProgram(skip, 'prlimit');
    const limits = await inParent(async ({ Command: Program }, asked) => {
      const { execFileSync: run } = process.getBuiltinModule('node:child_process');
      run('prlimit', ['--nofile=500:900', '--pid', String(process.pid)]);
      const command = new Program('sh', '-c', 'ulimit -Sn; ulimit -Hn').outputBuffer();
      if (asked === 'helper') command.clearCaps();
      if (asked === 'hook-runner') command.preExecHook(() => 0);
      return [(await command.run()).stdout, run('sh', ['-c', 'ulimit -Sn; ulimit -Hn'], { encoding: 'utf8' })];
    }, lane);
    expect(limits).toEqual(['500\n900\n', '500\n900\n']);
  },
);

test("a soft limit of open files that was said is the program's, whoever started Node", async () => {
  const soft = await inParent(
    async ({ Command: Program }) =>
      (await new Program('sh', '-c', 'ulimit -Sn; ulimit -Hn').limit('nofile', 256, 900).outputBuffer().run()).stdout,
    undefined,
    { through: ['sh', '-c', starters[1][1], 'sh'] },
  );
  expect(soft).toBe('256\n900\n');
});

test('the instrument reads what prlimit sets', ({ skip }) => {
  needsProgram(skip, 'prlimit');
  expect(
    limitsIn(execFileSync('prlimit', ['--cpu=77:88', 'cat', '/proc/self/limits'], { encoding: 'utf8' })),
  ).toMatchObject({ 'Max cpu time': [77n, 88n] });
});

// The kernel sends SIGXCPU at the soft limit, and SIGKILL at the hard one: nobody need look for a stranger.
test.each([
  ['SIGXCPU', 1, 2, 'all of the processor time'],
  ['SIGKILL', 1, 1, '1 s of the 1 s of processor time'],
] as const)(
  'a program that was ended by %s at its limit of processor time is told so',
  async (signal, soft, hard, used) => {
    const busy = new Command('sh', '-c', 'while :; do :; done').limit('cpu', soft, hard);
    const { message } = await rejection(ExitError, busy.run());
    expect(message.replace(/after [\d.]+ m?s/, 'after 1 s').replace(/used [\d.]+ m?s/, 'used 1 s')).toBe(
      `\`sh -c 'while :; do :; done'\` was ended by ${signal} after 1 s. It had used ${used} that limit('cpu') gives it.`,
    );
  },
);
