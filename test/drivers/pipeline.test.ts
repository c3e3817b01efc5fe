import { describe, expect, test } from 'vitest';
import { Command, ExitError, LaunchError } from 'vircommand';
import { dryRun, type PlayedProgram, running } from 'vircommand/testing';
import { pipe } from '../../examples/drivers/pipeline.js';
import { rejection, sh } from '../helpers/tools.js';

describe('in a dry run', () => {
  test('what one stage writes is what the next reads', async () => {
    using dry = dryRun({
      strict: true,
      respond({ argv }) {
        if (argv[0] === 'cat') return { stdout: 'an image' };
        let text = '';
        return running({
          onInput: (piece) => {
            text += piece;
            return 'ignore';
          },
          onInputEnd: () => ({ exitCode: 0, stdout: `${argv[0] as string}(${text})` }),
        });
      },
    });
    const results = await pipe(new Command('cat', '/image'), new Command('zstd'), new Command('wc').outputBuffer());
    expect(results.map(({ stdout }) => stdout)).toEqual([undefined, undefined, 'wc(zstd(an image))']);
    expect(dry.commands).toEqual(['cat /image', 'zstd', 'wc']);
  });

  test('a stage that cannot be launched ends those before it', async () => {
    const first: PlayedProgram = running();
    using _dry = dryRun({
      respond: ({ argv }) => (argv[0] === 'cat' ? first : { fail: { step: 'execve', errno: 'ENOENT' } }),
    });
    await rejection(LaunchError, pipe(new Command('cat'), new Command('/usr/bin/zstd')));
    expect([first.isRunning, first.signals]).toEqual([false, ['SIGTERM']]);
  });
});

describe('with real programs', () => {
  test('megabytes come through whole', async () => {
    const [, , last] = await pipe(sh('head -c 5000000 /dev/zero'), sh('gzip | gunzip'), sh('wc -c').outputBuffer());
    expect(String(last?.stdout).trim()).toBe('5000000');
  });

  test('the stage that failed is told, with its own words', async () => {
    const failed = pipe(sh('yes'), sh('head -n 1 >/dev/null; echo "no space" >&2; exit 3').errorBuffer(), sh('cat'));
    const error = await rejection(ExitError, failed);
    expect([error.result.exitCode, error.message.endsWith('no space')]).toEqual([3, true]);
  });
});
