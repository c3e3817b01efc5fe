import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Command, engineInfo, LaunchError, pipeline, type PipelineResult } from 'vircommand';
import { needsRoot, NOBODY, useNativeEngine } from '../helpers/native.js';
import {
  children,
  FOREVER,
  isRunning,
  rejection,
  sh,
  useDirectory,
  withVariables,
  writeProgram,
} from '../helpers/tools.js';

useNativeEngine();

const cat = () => new Command('cat');

describe('stages of the native engine', () => {
  const path = useDirectory();

  test('are all launched in the directory of the call, wherever this process goes next', async () => {
    mkdirSync(path('there'));
    writeProgram(path('there/tool'), '#!/bin/sh\ncat; pwd\n');
    const before = process.cwd();
    onTestFinished(() => {
      process.chdir(before);
    });
    process.chdir(path('there'));
    const tool = () => new Command('./tool');
    const all = pipeline(tool(), tool().umask(0o077), tool().outputBuffer()).run();
    process.chdir('/');
    expect((await all).stdout).toBe(`${path('there')}\n`.repeat(3));
  });

  test.for(['run', 'runSync'] as const)(
    'take other ids, or run a hook, each by itself: %s()',
    async (way, { skip }) => {
      needsRoot(skip);
      const id = (): Command => sh('cat; id -u');
      const all = pipeline(
        id(),
        id().uid(NOBODY).gid(NOBODY).groups([]),
        id().preExecHook(() => void process.umask(0o027)),
        sh('cat; umask')
          .preExecHook(() => void process.umask(0o026))
          .outputBuffer(),
      );
      const result = (await all[way]()) as PipelineResult<string>;
      expect(result.stdout).toBe(`0\n${NOBODY}\n0\n0026\n`);
    },
  );

  test('of which a hook fails are ended, and the hook of another is given up', async () => {
    const slow = cat().preExecHook(async () => {
      await new Promise((resolve) => setTimeout(resolve, 300_000));
    });
    const bad = cat().preExecHook(() => {
      throw new Error('no');
    });
    // The hook of the second lasts longer than a test may.
    const error = await rejection(LaunchError, pipeline(new Command('sleep', FOREVER), slow, bad).run());
    expect([error.stage, error.step]).toEqual([2, 'hook']);
    expect(children().filter(isRunning)).toEqual([]);
  });

  test('are aborted while a hook of one takes its time', async () => {
    const slow = cat().preExecHook(async () => {
      await new Promise((resolve) => setTimeout(resolve, 300_000));
    });
    const all = pipeline(new Command('sleep', FOREVER), slow);
    const error = await rejection(LaunchError, all.abortSignal(AbortSignal.timeout(300)).run());
    expect([error.stage, error.step, error.reason]).toEqual([1, 'hook', 'aborted']);
    const late = await rejection(LaunchError, pipeline(slow.clone(), cat()).timeout(300).run());
    expect([late.stage, late.step, late.reason]).toEqual([0, 'hook', 'timeout']);
  });

  test('wait for FIFOs together: what one opens another may write', async () => {
    await new Command('mkfifo', path('fifo')).run();
    const { stdout } = await pipeline(
      cat().inputFile(path('fifo')),
      sh('echo by the way >"$1"; cat', path('fifo')).outputBuffer(),
    ).run();
    expect(stdout).toBe('by the way\n');
  });
});

test('where there is no mkfifo, the portable engine joins stages by sockets', async () => {
  const { stdout } = await withVariables({ VIRCOMMAND_ENGINE: 'portable', PATH: '/nowhere' }, async () => {
    expect(engineInfo().engine).toBe('portable');
    return pipeline(
      new Command('/bin/sh', '-c', 'echo a; echo b').envClear(),
      new Command('/bin/cat'),
      new Command('/bin/cat').outputBuffer(),
    ).run();
  });
  expect(stdout).toBe('a\nb\n');
});

describe('where the directory of the FIFOs cannot be removed again', () => {
  const path = useDirectory();

  test('the launch fails, and no descriptor is left open', async ({ skip }) => {
    needsRoot(skip);
    mkdirSync(path('kept'));
    try {
      execFileSync('chattr', ['+a', path('kept')], { stdio: 'ignore' });
    } catch {
      skip('this file system has no append-only directories');
    }
    // In such a directory nothing is removed, and it would outlive the test.
    try {
      const run = () =>
        withVariables({ VIRCOMMAND_ENGINE: 'portable', TMPDIR: path('kept') }, () => pipeline(cat(), cat()).run());
      const first = await rejection(LaunchError, run());
      expect([first.step, first.errno]).toEqual(['pipe', 'EPERM']);
      const before = readdirSync('/proc/self/fd').length;
      await rejection(LaunchError, run());
      expect(readdirSync('/proc/self/fd')).toHaveLength(before);
    } finally {
      execFileSync('chattr', ['-a', path('kept')]);
    }
  });
});
