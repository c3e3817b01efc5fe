import { existsSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Command, ExitError } from 'vircommand';
import { dryRun, type PlayedProgram, running } from 'vircommand/testing';
import { edit, runJobs } from '../../examples/drivers/cli.js';
import { eventually, FOREVER, rejection, sh, useDirectory } from '../helpers/tools.js';

const path = useDirectory();

describe('in a dry run', () => {
  function playing() {
    const jobs: PlayedProgram[] = [];
    const dry = dryRun({
      strict: true,
      respond: () => {
        jobs.push(running());
        return jobs.at(-1);
      },
    });
    return { dry, jobs };
  }
  const commands = Array.from({ length: 5 }, (_, index) => new Command('convert', index));

  test('so many jobs run at a time, and each end is told', async () => {
    const { dry, jobs } = playing();
    using _dry = dry;
    const done: number[] = [];
    const all = runJobs(commands, 2, (count) => done.push(count));
    for (let index = 0; index < 5; index += 1) {
      await eventually('the job runs', () => jobs.length > index);
      expect(jobs.filter(({ isRunning }) => isRunning).length).toBeLessThanOrEqual(2);
      jobs[index]?.exit();
    }
    expect((await all).map(({ command }) => command)).toEqual(dry.commands);
    expect([done, process.listenerCount('SIGINT')]).toEqual([[1, 2, 3, 4, 5], process.listenerCount('SIGINT')]);
  });

  test('the first that fails ends the others, and no more is begun', async () => {
    const { dry, jobs } = playing();
    using _dry = dry;
    const all = rejection(
      ExitError,
      runJobs(commands, 2, () => undefined),
    );
    await eventually('two run', () => jobs.length === 2);
    jobs[1]?.exit(3);
    expect(await all).toMatchObject({ reason: 'exit-code', result: { exitCode: 3 } });
    expect([jobs.length, jobs[0]?.signals]).toEqual([2, ['SIGTERM']]);
  });

  test('an editor may say that nothing was saved', async () => {
    {
      using dry = dryRun({ respond: () => ({ exitCode: 1 }) });
      expect(await edit('/etc/my file', 'code --wait')).toBe(false);
      expect(dry.argv).toEqual([['sh', '-c', 'exec code --wait "$1"', 'sh', '/etc/my file']]);
    }
    using _dry = dryRun({ respond: () => ({ signal: 'SIGSEGV' }) });
    await rejection(ExitError, edit('/etc/my file'));
  });
});

describe('with real programs', () => {
  test('jobs run, and Ctrl-C ends all of them', async () => {
    const results = await runJobs(
      [1, 2, 3].map((code) => sh('echo "$1"', String(code)).outputBuffer()),
      2,
      () => undefined,
    );
    expect(results.map(({ stdout }) => stdout)).toEqual(['1\n', '2\n', '3\n']);
    const slow = Array.from({ length: 3 }, (_, index) => sh(`: >"$1"; exec sleep ${FOREVER}`, path(String(index))));
    const all = rejection(
      ExitError,
      runJobs(slow, 2, () => undefined),
    );
    await eventually('two run', () => existsSync(path('0')) && existsSync(path('1')));
    process.emit('SIGINT');
    expect(await all).toMatchObject({ reason: 'aborted', message: /interrupted/ });
    expect(existsSync(path('2'))).toBe(false);
  });

  test('an editor gets the file', async () => {
    writeFileSync(path('a b'), '');
    expect(await edit(path('a b'), 'test -f')).toBe(true);
    expect(await edit(path('absent'), 'test -f')).toBe(false);
  });
});
