import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';
import {
  bits,
  fieldsOf,
  inParent,
  lanes,
  needsProgram,
  statusOf,
  useNativeEngine,
  type Library,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

const SETS = ['SigBlk', 'SigIgn', 'SigCgt', 'SigPnd', 'ShdPnd'] as const;

/** The bits of signals, as `/proc/PID/status` has them. */
const bitsOf = (...numbers: number[]): bigint => numbers.reduce((set, number) => set | (1n << BigInt(number - 1)), 0n);

const { SIGPIPE, SIGTERM, SIGURG, SIGUSR1, SIGUSR2 } = constants.signals;

describe.for(lanes)('in the lane %s', ([, take]) => {
  test('no signal is blocked, ignored or caught in the program', async () => {
    const status = await statusOf(take);
    expect(SETS.map((set) => [set, bits(status[set])])).toEqual(SETS.map((set) => [set, 0n]));
  });

  test('a signal that this process catches is at its default in the program', async () => {
    const listener = () => undefined;
    process.on('SIGUSR2', listener);
    try {
      const status = await statusOf(take);
      expect(bits(status['SigCgt'])).toBe(0n);
      const { signal } = await take(new Command('sh', '-c', 'kill -USR2 $$; sleep 600')).run({ check: false });
      expect(signal).toBe('SIGUSR2');
    } finally {
      process.off('SIGUSR2', listener);
    }
  });
});

/** Makes signals of this process ignored and blocked, starts a program in each lane, and tells of the signals of all four. */
async function tellSignals({ Command: Program }: Library, hindrance: string) {
  try {
    process.dlopen({ exports: {} }, hindrance);
  } catch {
    // It is no addon; but it was loaded, and has done its work.
  }
  const lines = (text: string) =>
    Array.from(text.matchAll(/^(Sig(?:Blk|Ign)):\s*(\w+)/gm), ([, name = '', set = '']) => [name, set]);
  const parent = Object.fromEntries(
    lines(process.getBuiltinModule('node:fs').readFileSync('/proc/self/status', 'utf8')),
  ) as Record<string, string>;
  const fast = await new Program('cat', '/proc/self/status').outputBuffer().run();
  const slow = await new Program('cat', '/proc/self/status').clearCaps().outputBuffer().run();
  const hooked = await new Program('cat', '/proc/self/status')
    .preExecHook(() => 0)
    .outputBuffer()
    .run();
  const failed = await new Program('/nowhere').run().then(
    () => 'ran',
    (error: unknown) => (error as { step: string }).step,
  );
  const after = Object.fromEntries(
    lines(process.getBuiltinModule('node:fs').readFileSync('/proc/self/status', 'utf8')),
  ) as Record<string, string>;
  return {
    parent,
    after,
    failed,
    children: [fast, slow, hooked].map(({ stdout }) => Object.fromEntries(lines(stdout)) as Record<string, string>),
  };
}

test('signals that this process ignores and blocks are at their defaults and free in the program, and as before in this process', async ({
  skip,
}) => {
  needsProgram(skip, 'cc');
  execFileSync('cc', [
    '-shared',
    '-fPIC',
    '-o',
    path('hinder.so'),
    fileURLToPath(new URL('../programs/hinder-signals.c', import.meta.url)),
  ]);
  const { parent, after, failed, children } = await inParent(tellSignals, path('hinder.so'));
  // The instrument: the parent does ignore and block them.
  const ignored = bitsOf(SIGURG, SIGUSR1, SIGPIPE, 40);
  expect(bits(parent['SigIgn']) & ignored).toBe(ignored);
  expect(bits(parent['SigBlk'])).toBe(bitsOf(SIGUSR2, SIGTERM, 41));
  expect(children.map(({ SigIgn, SigBlk }) => [bits(SigIgn), bits(SigBlk)])).toEqual([
    [0n, 0n],
    [0n, 0n],
    [0n, 0n],
  ]);
  expect([bits(after['SigIgn']) & ignored, after['SigBlk'], failed]).toEqual([ignored, parent['SigBlk'], 'execve']);
});

test('a program that writes into a closed pipe ends by SIGPIPE, which Node ignores', async () => {
  expect(bits(fieldsOf(readFileSync('/proc/self/status', 'utf8'))['SigIgn']) & bitsOf(SIGPIPE)).toBe(bitsOf(SIGPIPE));
  const child = await new Command('yes').outputPipe().runAsync();
  child.stdout.destroy();
  expect((await child.wait({ check: false })).signal).toBe('SIGPIPE');
});

test('SIGUSR1, which Node keeps for its debugger, ends a program that does nothing about it', async () => {
  const { signal, rawStatus } = await new Command('sh', '-c', 'kill -USR1 $$; sleep 600').run({ check: false });
  expect([signal, rawStatus]).toEqual(['SIGUSR1', SIGUSR1]);
});
