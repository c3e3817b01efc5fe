import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { encode, type Operation } from '../../src/wire/encode.js';
import { useDirectory } from '../helpers/tools.js';
import { has, here, sources } from './tools.js';

/**
 * musl and arm64, for which there is no Node on this machine: the C compiles without a warning, and launches plans.
 */
interface Target {
  readonly name: string;
  readonly compiler: string;
  readonly flags: readonly string[];
  /** What runs its programs here. */
  readonly runner: readonly string[];
  /** Whether a child shares its parent's memory there: an emulator of a user's programs makes a plain fork of it. */
  readonly isPossible: '0' | '1';
}

/** Debian's musl-gcc knows no headers of the kernel; other distributions put them beside its own. */
const kernelHeaders = [
  '-idirafter',
  '/usr/include',
  '-idirafter',
  `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
];

const targets: readonly Target[] = [
  { name: 'musl', compiler: 'musl-gcc', flags: kernelHeaders, runner: [], isPossible: '1' },
  { name: 'arm64', compiler: 'aarch64-linux-gnu-gcc', flags: [], runner: ['qemu-aarch64'], isPossible: '0' },
];

const path = useDirectory();
const nodeHeaders = [
  join(dirname(process.execPath), '../include/node'),
  ...Array.from([process.env['npm_config_nodedir'] ?? ''], (directory) => join(directory, 'include/node')),
].find((directory) => existsSync(join(directory, 'node_api.h')));

const FLAGS = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-DNAPI_VERSION=8',
  '-O2',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-fno-strict-aliasing',
  '-I',
  sources,
];

const operations = (...some: Omit<Operation, 'step'>[]): Operation[] =>
  some.map((operation, step) => ({ ...operation, step }));

describe.for(targets)('on $name', ({ compiler, flags, runner, isPossible }) => {
  let missing: string | undefined;
  beforeAll(() => {
    missing = [compiler, ...runner].find((name) => !has(name));
  });

  const build = (): string => {
    const program = join(path(), 'launch_plan');
    const files = ['process/launch.c', 'child/child.c', 'child/decode.c'].map((file) => join(sources, file));
    execFileSync(compiler, [...FLAGS, ...flags, '-static', here('launch_plan.c'), ...files, '-o', program], {
      stdio: 'pipe',
    });
    return program;
  };
  const run = (program: string, ...words: string[]): string => {
    const [file = '', ...args] = [...runner, program, ...words];
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  };
  const write = (file: string, script: string, some: readonly Operation[]): string => {
    const plan = join(path(), 'plan');
    writeFileSync(
      plan,
      encode({
        file,
        argv: ['sh', '-c', script].map((word) => Buffer.from(word)),
        envp: [Buffer.from('A=B')],
        operations: some,
      }),
    );
    return plan;
  };

  test('every source compiles without a warning', ({ skip }) => {
    if (missing !== undefined) skip(`there is no ${missing}`);
    if (nodeHeaders === undefined) skip("Node's headers are not on this machine");
    for (const file of readdirSync(sources, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.c') && !name.startsWith('build/'),
    )) {
      execFileSync(compiler, [...FLAGS, ...flags, '-I', nodeHeaders ?? '', '-fsyntax-only', join(sources, file)], {
        stdio: 'pipe',
      });
    }
  });

  test('a child performs the steps of a plan, or tells which one failed; where memory is not shared, that is seen', ({
    skip,
  }) => {
    if (missing !== undefined) skip(`there is no ${missing}`);
    const program = build();
    expect(run(program, 'possible')).toBe(isPossible);
    if (isPossible === '0') return;
    const good = operations(
      { code: 'sigaction' },
      { code: 'umask', a: 0o27 },
      { code: 'prlimit', a: 9, b: 9, count: 7 },
      { code: 'sigprocmask' },
      { code: 'execve' },
    );
    expect(
      run(program, 'launch', write('/bin/sh', 'test "$A $(umask) $(ulimit -n)" = "B 0027 9" && exit 7', good)),
    ).toBe('0 0 0 7');
    const bad = operations({ code: 'sigaction' }, { code: 'chdir', text: '/nowhere' }, { code: 'execve' });
    expect(run(program, 'launch', write('/bin/sh', 'exit 7', bad))).toBe('1 1 2 0');
    expect(run(program, 'launch', write('/nowhere', '', operations({ code: 'setsid' }, { code: 'execve' })))).toBe(
      '1 1 2 0',
    );
  });

  test('a process performs the steps of a plan, as the helper does', ({ skip }) => {
    if (missing !== undefined) skip(`there is no ${missing}`);
    const program = build();
    const pidFile = join(path(), 'pid');
    const good = operations(
      { code: 'sigaction' },
      { code: 'chdir', text: path() },
      { code: 'umask', a: 0o27 },
      { code: 'pidfile', text: pidFile },
      { code: 'prlimit', a: 50, b: 50, count: 7 },
      { code: 'no_new_privs' },
      { code: 'sigprocmask' },
      { code: 'execve' },
    );
    const script = 'echo $A $(umask) $(ulimit -n) $(pwd) $$';
    const [variable, mask, limit, directory, pid] = run(program, 'take', write('/bin/sh', script, good)).split(' ');
    expect([variable, mask, limit, directory]).toEqual(['B', '0027', '50', path()]);
    expect(readFileSync(pidFile, 'utf8')).toBe(pid);
    expect(
      run(
        program,
        'take',
        write(
          '/bin/sh',
          '',
          operations({ code: 'setgroups', text: [1] }, { code: 'chdir', text: '/nowhere' }, { code: 'execve' }),
        ),
      ),
    ).toMatch(/^1 [01] (1|2)$/);
  });
});
