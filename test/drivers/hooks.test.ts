import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { ExitError } from 'vircommand';
import { dryRun, running } from 'vircommand/testing';
import { runHook } from '../../examples/drivers/hooks.js';
import { FOREVER, eventually, isRunning, rejection, useDirectory, writeProgram } from '../helpers/tools.js';

const path = useDirectory();

describe('in a dry run', () => {
  test('a hook is asked with its words and the XML, and may say no', async () => {
    writeProgram(path('qemu'), '#!/bin/sh\n');
    using dry = dryRun({
      strict: true,
      respond: ({ argv }, xml) =>
        argv[2] === 'migrate' ? { exitCode: 3, stderr: 'not on Sundays\n' } : { stdout: `<!-- seen -->${xml}` },
    });
    expect(await runHook(path(), 'qemu', ['web', 'start', 'begin', '-'], '<domain/>')).toBe('<!-- seen --><domain/>');
    expect((await rejection(ExitError, runHook(path(), 'qemu', ['web', 'migrate'], ''))).message).toContain(
      'not on Sundays',
    );
    expect(dry.argv[0]).toEqual([path('qemu'), 'web', 'start', 'begin', '-']);
    expect(dry.specs[0]).toMatchObject({ newSession: true, timeoutMs: 30_000 });
  });

  test('where there is none, nothing is run', async () => {
    writeFileSync(path('lxc'), '', { mode: 0o644 });
    using dry = dryRun({ strict: true });
    expect([await runHook(path(), 'qemu', [], ''), await runHook(path(), 'lxc', [], '')]).toEqual(['', '']);
    expect(dry.commands).toEqual([]);
  });

  test('one that hangs is ended when its time is over', async () => {
    writeProgram(path('qemu'), '#!/bin/sh\n');
    vi.useFakeTimers();
    try {
      const hook = running();
      using _dry = dryRun({ strict: true, respond: () => hook });
      const asked = rejection(ExitError, runHook(path(), 'qemu', [], ''));
      await vi.advanceTimersByTimeAsync(29_999);
      expect(hook.isRunning).toBe(true);
      await vi.advanceTimersByTimeAsync(1);
      expect(await asked).toMatchObject({ reason: 'timeout' });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('with a real hook', () => {
  test('one that hangs ends with what it has started', async () => {
    writeProgram(path('qemu'), `#!/bin/sh\nsleep ${FOREVER} &\necho $! >"$1"\nwait\n`);
    const asked = rejection(ExitError, runHook(path(), 'qemu', [path('below')], '', 3000));
    expect(await asked).toMatchObject({ reason: 'timeout' });
    const below = Number(readFileSync(path('below'), 'utf8'));
    await eventually('what it has started is gone', () => !isRunning(below));
  });
});
