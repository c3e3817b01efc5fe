import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { Command } from 'vircommand';
import { expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { inParent, needsProgram, outputOf, useNativeEngine } from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

const native = loadNative();
const helper = typeof native === 'string' ? '' : native.helper;

/** What the helper reports of a file that is to be a plan. */
function reportOf(bytes: Buffer): { status: number | null; failed: number; step: number; errno: number } {
  writeFileSync(path('plan'), bytes);
  const plan = openSync(path('plan'), 'r');
  const report = openSync(path('report'), 'w');
  const { status } = spawnSync(helper, ['3', '4'], { stdio: ['ignore', 'ignore', 'ignore', plan, report] });
  closeSync(plan);
  closeSync(report);
  const told = readFileSync(path('report'));
  return { status, failed: told.readInt32LE(0), step: told.readInt32LE(4), errno: told.readInt32LE(8) };
}

test('the helper makes no system call but those that read its plan and perform it: it has no C library to begin', async ({
  skip,
}) => {
  needsProgram(skip, 'strace');
  const through = ['strace', '-ff', '-qq', '-e', 'signal=none', '-o', path('trace')];
  const pid = await inParent(
    async ({ Command: Program }) => {
      const child = await new Program('/bin/true').clearCaps().runAsync();
      await child.wait();
      return child.pid;
    },
    undefined,
    { through },
  ).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
  const calls = Array.from(readFileSync(path(`trace.${pid}`), 'utf8').matchAll(/^(\w+)\(/gm), ([, name = '']) => name);
  const begins = calls.indexOf('execve') + 1;
  const own = calls.slice(begins, calls.indexOf('execve', begins) + 1);
  expect(own.filter((name, index) => name !== own[index - 1])).toEqual([
    'fcntl',
    'fstat',
    'pread64',
    'prctl',
    'capset',
    'rt_sigprocmask',
    'rt_sigaction',
    'write',
    'rt_sigaction',
    'execve',
  ]);
});

test('a plan that is larger than the memory with which the helper begins is performed as any other', async () => {
  const words = Array.from({ length: 12 }, (_, index) => String.fromCharCode(97 + index).repeat(100_000));
  const told = await outputOf(
    new Command('sh', '-c', 'printf "%s." "${#}" "${1}" "${12}"', 'sh', ...words).clearCaps(),
  );
  expect(told).toBe(`12.${words.at(0) ?? ''}.${words.at(-1) ?? ''}.`);
});

test('the helper that somebody starts by hand says what it is, and does nothing', () => {
  const { status, stderr } = spawnSync(helper, [], { encoding: 'utf8' });
  expect(status).toBe(125);
  expect(stderr).toBe(
    'This program is a part of vircommand, which starts it to change privileges. It is of no use by itself.\n',
  );
});

test('the helper that cannot have its plan reports that no step was performed, and why', () => {
  const { EPROTO } = constants.errno;
  for (const bytes of [Buffer.alloc(0), Buffer.from('not a plan'), Buffer.alloc(200_000, 0xff)])
    expect(reportOf(bytes)).toEqual({ status: 127, failed: 1, step: -1, errno: EPROTO });
  // Descriptors that are not there: nobody can be told.
  expect(spawnSync(helper, ['98', '99']).status).toBe(127);
});
