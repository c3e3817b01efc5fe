import { statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ExitError, LaunchError } from 'vircommand';
import { dryRun, running } from 'vircommand/testing';
import { convertImage, createImage, mountAt, virtualSize, volumes } from '../../examples/drivers/storage.js';
import { hasProgram, rejection, useDirectory } from '../helpers/tools.js';

const path = useDirectory();

describe('in a dry run', () => {
  test('an image is made, and its size is read', async () => {
    using dry = dryRun({ strict: true, respond: () => ({ stdout: '{ "virtual-size": 1073741824 }' }) });
    await createImage('/images/a b.qcow2', '1G');
    expect(await virtualSize('/images/a b.qcow2')).toBe(1_073_741_824);
    expect(dry.commands).toEqual([
      "qemu-img create -q -f qcow2 '/images/a b.qcow2' 1G",
      "qemu-img info --output json '/images/a b.qcow2'",
    ]);
  });

  test('the progress of a conversion is told, however its pieces are cut', async () => {
    const seen: number[] = [];
    const qemu = running({ stdout: '    (0.00/100%)\r    (12.' });
    using _dry = dryRun({ strict: true, respond: () => qemu });
    const converted = convertImage('/a', '/b', (percent) => {
      seen.push(percent);
      if (percent === 0) qemu.write('50/100%)\r');
      else if (percent < 100) qemu.write('    (100.00/100%)\r');
      else qemu.end({ stdout: '\n' });
    });
    await converted;
    expect(seen).toEqual([0, 12.5, 100]);
  });

  test('a conversion is given up, and one that fails is an error with the words of qemu-img', async () => {
    const abort = new AbortController();
    const qemu = running();
    {
      using _dry = dryRun({ strict: true, respond: () => qemu });
      const converted = convertImage('/a', '/b', () => undefined, abort.signal);
      abort.abort();
      expect(await rejection(ExitError, converted)).toMatchObject({ reason: 'aborted' });
      expect(qemu.signals).toEqual(['SIGTERM']);
    }
    using _dry = dryRun({ respond: () => ({ exitCode: 1, stderr: 'qemu-img: No space left on device\n' }) });
    expect(
      (
        await rejection(
          ExitError,
          convertImage('/a', '/b', () => undefined),
        )
      ).message,
    ).toContain('No space left');
  });

  test('a group without volumes, one that is not there, and lvs that is not there', async () => {
    {
      using _dry = dryRun({ respond: () => ({ stdout: '  one\n  two\n' }) });
      expect(await volumes('group')).toEqual(['one', 'two']);
    }
    {
      using _dry = dryRun({ respond: () => ({ exitCode: 5, stderr: '  Volume group "group" not found\n' }) });
      expect(await volumes('group')).toEqual([]);
    }
    using _dry = dryRun({ respond: () => ({ fail: { step: 'path-search', errno: 'ENOENT' } }) });
    expect((await rejection(LaunchError, volumes('group'))).message).toContain("no executable named 'lvs' in PATH");
  });

  test('what is mounted is read', async () => {
    const answer = { filesystems: [{ source: 'tmpfs', fstype: 'tmpfs' }] };
    using dry = dryRun({
      respond: ({ argv }) => (argv.at(-1) === '/run' ? { stdout: JSON.stringify(answer) } : { exitCode: 1 }),
    });
    expect([await mountAt('/run'), await mountAt('/nowhere')]).toEqual([
      { source: 'tmpfs', fstype: 'tmpfs' },
      undefined,
    ]);
    expect(dry.commands[0]).toBe('findmnt --json --output SOURCE,FSTYPE --mountpoint /run');
  });
});

describe('with the programs themselves', () => {
  test('findmnt knows what is mounted at /proc', async ({ skip }) => {
    skip(!hasProgram('findmnt'), 'findmnt is not installed');
    expect(await mountAt('/proc')).toMatchObject({ fstype: 'proc' });
    expect(await mountAt('/proc/self')).toBe(undefined);
  });

  test('qemu-img makes and converts an image', async ({ skip }) => {
    skip(!hasProgram('qemu-img'), 'qemu-img is not installed');
    await createImage(path('a'), '16M');
    expect(await virtualSize(path('a'))).toBe(16 * 1024 * 1024);
    const seen: number[] = [];
    writeFileSync(path('raw'), Buffer.alloc(1024 * 1024, 1));
    await convertImage(path('raw'), path('b'), (percent) => seen.push(percent));
    expect([seen.at(-1), statSync(path('b')).size > 0]).toEqual([100, true]);
    await rejection(ExitError, virtualSize(path('absent')));
  });
});
