import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { places, roomFor, watchEvents } from '../../src/native/binding.js';
import { loadNative, type Native } from '../../src/native/load.js';
import { stepNames } from '../../src/text/step-names.js';
import { encode } from '../../src/wire/encode.js';
import { useDirectory } from '../helpers/tools.js';
import { seeds } from './plans.js';
import { has, here, setting, sources } from './tools.js';

/** How long random changes are tried; all systematic ones are tried in any case. */
const FUZZ_MS = 1000 * setting('VIRCOMMAND_FUZZ_SECONDS', 3);

/** A seed of zero means another one each time. */
const SEED = setting('VIRCOMMAND_FUZZ_SEED', 1) || Date.now();

const path = useDirectory();

test(
  'whatever is changed in a plan, it is refused, or stays inside its buffer and as it was checked',
  { timeout: FUZZ_MS + 60_000 },
  ({ skip }) => {
    if (!has('cc')) skip('there is no C compiler');
    const program = join(path(), 'decode_fuzz');
    const compile = (...flags: string[]): unknown =>
      execFileSync(
        'cc',
        [
          '-std=gnu11',
          '-O1',
          '-g',
          '-Wall',
          '-Wextra',
          '-Werror',
          ...flags,
          '-I',
          sources,
          here('decode_fuzz.c'),
          join(sources, 'child/decode.c'),
          '-o',
          program,
        ],
        { stdio: 'pipe' },
      );
    try {
      compile('-fsanitize=address,undefined', '-fno-sanitize-recover=all');
    } catch (error) {
      // Without the sanitizers' libraries, only what the program checks itself is seen.
      if (!String((error as { stderr?: Buffer }).stderr).includes('san')) throw error;
      compile();
    }
    const files = Object.entries(seeds).map(([name, bytes]) => {
      writeFileSync(join(path(), name), bytes);
      return join(path(), name);
    });
    const { accepted, refused } = JSON.parse(
      execFileSync(program, [String(SEED), String(FUZZ_MS), ...files], { encoding: 'utf8' }),
    ) as Record<string, number>;
    // Both ways were gone: a decoder that refuses all would prove nothing, and one that accepts all would be no decoder.
    expect(accepted, `seed ${SEED}`).toBeGreaterThan(1000);
    expect(refused, `seed ${SEED}`).toBeGreaterThan(1000);
  },
);

describe('the addon', () => {
  let native: Native | undefined;
  let why = '';
  beforeAll(() => {
    const loaded = loadNative();
    if (typeof loaded === 'string') why = loaded;
    else native = loaded;
  });

  const result = new Int32Array(roomFor('launch'));
  const code = (name: (typeof stepNames)[number]): number => stepNames.indexOf(name);

  /** A plan that leaves a mark as soon as any of it is executed: its first operation writes a pidfile, and its program too. */
  const marking = (mark: string): Buffer =>
    encode({
      file: '/bin/sh',
      argv: ['sh', '-c', `: >'${mark}'`].map((word) => Buffer.from(word)),
      envp: [],
      operations: [
        { code: 'pidfile', step: 0, text: mark },
        { code: 'sigprocmask', step: 1 },
        { code: 'execve', step: 2 },
      ],
    });

  /** Where the operations of such a plan begin, and how long each is. */
  const OPERATIONS = 40;
  const OPERATION = 32;

  function expectRefusal(plan: Buffer, mark: string): void {
    result.fill(0);
    expect(() => native?.binding.launch(plan, plan.length, result)).toThrow(
      expect.objectContaining({ code: 'ERR_VIRCOMMAND_PLAN' }) as Error,
    );
    expect(existsSync(mark)).toBe(false);
    expect(Array.from(result)).toEqual(Array.from(result, () => 0));
  }

  test('executes the plan that the next tests break', async ({ skip }) => {
    if (native === undefined) return skip(why);
    const mark = join(path(), 'mark');
    const plan = marking(mark);
    native.binding.launch(plan, plan.length, result);
    const pidfd = result[places.launch.pidfd] ?? -1;
    expect(result[places.launch.failed]).toBe(0);
    expect(existsSync(mark)).toBe(true);
    const { binding } = native;
    await new Promise<void>((resolve) => {
      const told = new Int32Array(roomFor('watch')).fill(-1, 0, places.watch.stderr + 1);
      told[places.watch.pidfd] = pidfd;
      binding.watch(told, undefined, (event) => {
        if (event === watchEvents.end) resolve();
      });
    });
  });

  test('executes nothing of a plan that is too short, by however much', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    const plan = marking(mark);
    for (let length = 0; length < plan.length; length += 1) expectRefusal(plan.subarray(0, length), mark);
  });

  test('executes nothing of a plan that is too long', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    expectRefusal(Buffer.concat([marking(mark), Buffer.alloc(1)]), mark);
  });

  test('executes nothing of a plan whose last operation alone cannot be understood', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    const last = OPERATIONS + 2 * OPERATION;
    // No such number, steps that no child takes, and a plan that would end without a program.
    for (const number of [
      0xffff_ffff,
      stepNames.length,
      code('path-search'),
      code('clone'),
      code('hook'),
      code('sigprocmask'),
    ]) {
      const plan = marking(mark);
      expect(plan.readUInt32LE(last)).toBe(code('execve'));
      plan.writeUInt32LE(number, last);
      expectRefusal(plan, mark);
    }
  });

  test('executes nothing of a plan with a string that begins in what was checked before, the operations above all', ({
    skip,
  }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    const FILE = 24;
    const FIRST_ARGUMENT = 28;
    for (const word of [FILE, FIRST_ARGUMENT]) {
      for (let offset = 0; offset < OPERATIONS + 3 * OPERATION; offset += 1) {
        const plan = marking(mark);
        plan.writeUInt32LE(offset, word);
        expectRefusal(plan, mark);
      }
    }
  });

  test('executes nothing of a plan whose operation carries what its step does not take', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    const refused = [
      // A text in the place of nothing and of numbers, numbers in the place of nothing.
      { code: 'sigaction', step: 1, text: 'text' },
      { code: 'umask', step: 1, text: 'text' },
      { code: 'no_new_privs', step: 1, a: 1 },
      { code: 'setsid', step: 1, b: 1 },
      { code: 'sigprocmask', step: 1, count: 1 },
      // No text where there must be one, and one of another length.
      { code: 'chdir', step: 1 },
      { code: 'chdir', step: 1, text: '/tmp', count: 3 },
      // A directory where no path begins, a path from none, and a directory without a path.
      { code: 'selinux', step: 1, text: 'label', b: 1 },
      { code: 'execve', step: 1, text: 'tool' },
      { code: 'execve', step: 1, b: 1 },
      { code: 'execve', step: 1, b: 1, text: 'tool', count: 3 },
      { code: 'setgroups', step: 1, text: [1], a: 1 },
    ] as const;
    for (const operation of refused) {
      const operations = [{ code: 'pidfile', step: 0, text: mark }, operation, { code: 'execve', step: 2 }] as const;
      expectRefusal(encode({ file: '/bin/true', argv: [Buffer.from('true')], envp: [], operations }), mark);
    }
  });

  test('executes nothing of a plan whose child would write outside of it', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    for (const entry of ['LISTEN_PID', 'LISTEN_PID=', `LISTEN_PID=${'0'.repeat(19)}`, '0'.repeat(40)]) {
      const operations = [
        { code: 'pidfile', step: 0, text: mark },
        { code: 'listen_pid', step: 1, a: 0 },
        { code: 'execve', step: 2 },
      ] as const;
      expectRefusal(
        encode({ file: '/bin/true', argv: [Buffer.from('true')], envp: [Buffer.from(entry)], operations }),
        mark,
      );
    }
  });

  test('executes nothing of a plan whose child would write twice, for the first could take the room of the second', ({
    skip,
  }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    const write = { code: 'listen_pid', step: 1, a: 0 } as const;
    const operations = [{ code: 'pidfile', step: 0, text: mark }, write, write, { code: 'execve', step: 2 }] as const;
    expectRefusal(
      encode({
        file: '/bin/true',
        argv: [Buffer.from('true')],
        envp: [Buffer.from(`LISTEN_PID=${'0'.repeat(20)}`)],
        operations,
      }),
      mark,
    );
  });

  test('executes nothing of a plan that is not of this version', ({ skip }) => {
    if (native === undefined) skip(why);
    const mark = join(path(), 'mark');
    for (const at of [0, 4, 8]) {
      const plan = marking(mark);
      plan.writeUInt32LE(plan.readUInt32LE(at) + 1, at);
      expectRefusal(plan, mark);
    }
  });
});
