import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ExitError, LaunchError } from 'vircommand';
import { dryRun, type PlayedProgram, running } from 'vircommand/testing';
import { backUp, usersLike } from '../../examples/drivers/pipeline.js';
import { rejection, useDirectory } from '../helpers/tools.js';

describe('in a dry run', () => {
  test('the stages are recorded in their order, and what one writes is what the next reads', async () => {
    const read: string[] = [];
    using dry = dryRun({
      strict: true,
      respond({ argv: [program] }, input) {
        read.push(input);
        return { stdout: program === 'sha256sum' ? 'abc  -\n' : `${program as string}(${input})` };
      },
    });
    expect(await backUp('/image', '/copy')).toBe('abc');
    expect(dry.commands).toEqual(['cat -- /image', 'gzip -1', 'tee -- /copy', 'sha256sum']);
    expect(read).toEqual(['', 'cat()', 'gzip(cat())', 'tee(gzip(cat()))']);
  });

  test('a stage that cannot be launched ends those before it', async () => {
    const first: PlayedProgram = running();
    using _dry = dryRun({
      respond: ({ argv }) => (argv[0] === 'cat' ? first : { fail: { step: 'execve', errno: 'ENOENT' } }),
    });
    const error = await rejection(LaunchError, backUp('/image', '/copy'));
    expect([error.stage, first.isRunning, first.signals]).toEqual([1, false, ['SIGTERM']]);
  });

  test('that nobody matches is no error, and that grep fails is one', async () => {
    let exitCode = 1;
    using _dry = dryRun({ respond: ({ argv }) => (argv[0] === 'grep' ? { exitCode } : {}) });
    expect(await usersLike('nobody-at-all')).toEqual([]);
    exitCode = 2;
    expect((await rejection(ExitError, usersLike('['))).stage).toBe(1);
  });
});

describe('with real programs', () => {
  const path = useDirectory();

  test('a backup holds the image, and its checksum is that of what was written', async () => {
    writeFileSync(path('image'), Buffer.alloc(5_000_000, 'an image\n'));
    const sum = await backUp(path('image'), path('copy'));
    expect(execFileSync('sha256sum', [path('copy')], { encoding: 'utf8' })).toContain(sum);
    const copied = gunzipSync(readFileSync(path('copy')));
    expect(copied.equals(Buffer.alloc(5_000_000, 'an image\n'))).toBe(true);
  });

  test('the stage that failed is told, with its own words', async () => {
    const error = await rejection(ExitError, backUp(path('image'), path('copy')));
    expect([error.stage, error.message.endsWith('No such file or directory')]).toEqual([0, true]);
  });

  test('users are found, or none', async () => {
    writeFileSync(path('passwd'), 'b:1\nab:2\nc:3\n');
    expect(await usersLike('b', path('passwd'))).toEqual(['ab', 'b']);
    expect(await usersLike('x', path('passwd'))).toEqual([]);
  });
});
