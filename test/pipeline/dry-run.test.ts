import { describe, expect, test, vi } from 'vitest';
import { Command, ExitError, LaunchError, pipeline } from 'vircommand';
import { dryRun, running } from 'vircommand/testing';
import { rejection } from '../helpers/tools.js';

const cat = () => new Command('cat');

describe.each(['run()', 'runSync()'])('a pipeline in a dry run, by %s', (way) => {
  const run = async (all: ReturnType<typeof pipeline>) => Promise.resolve(way === 'run()' ? all.run() : all.runSync());

  test('answers each stage in its order, and gives it what the one before has written', async () => {
    const read: (readonly [unknown, string])[] = [];
    using dry = dryRun({
      respond({ argv: [program] }, input) {
        read.push([program, input]);
        return { stdout: `${program as string} of ${input}`, stderr: 'a word' };
      },
    });
    const { stdout, stages } = await run(
      pipeline(
        new Command('a').env('A', 1).inputBuffer('what was said'),
        new Command('b').errorBuffer(),
        new Command('c').outputBuffer(),
      ),
    );
    expect(read).toEqual([
      ['a', 'what was said'],
      ['b', 'a of what was said'],
      ['c', 'b of a of what was said'],
    ]);
    expect(stdout).toBe('c of b of a of what was said');
    expect(stages.map((stage) => [stage.stdout, stage.stderr])).toEqual([
      [undefined, undefined],
      [undefined, 'a word'],
      [stdout, undefined],
    ]);
    expect(dry.commands).toEqual(['A=1 a', 'b', 'c']);
    expect(dry.specs.map((spec) => [spec.stdin.from, spec.stdout.to])).toEqual([
      ['buffer', 'unclaimed'],
      ['null', 'unclaimed'],
      ['null', 'buffer'],
    ]);
  });

  test('fails as it would in earnest', async () => {
    using _dry = dryRun({
      respond({ argv: [program] }) {
        if (program === 'missing') return { fail: { step: 'path-search', errno: 'ENOENT' } };
        return program === 'broken' ? { exitCode: 3, stderr: 'why' } : { signal: 'SIGPIPE' };
      },
    });
    const ended = await rejection(ExitError, run(pipeline(cat(), new Command('broken'))));
    expect([ended.stage, ended.result.exitCode]).toEqual([1, 3]);
    const launched = await rejection(LaunchError, run(pipeline(cat(), new Command('missing'), cat())));
    expect([launched.stage, launched.step]).toEqual([1, 'path-search']);
  });

  test('stops played stages when its time is over', async () => {
    using _dry = dryRun({ respond: () => running() });
    const error = await rejection(ExitError, run(pipeline(cat(), cat()).timeout(20)));
    expect([error.stage, error.reason, error.pipeline?.stages.map(({ signal }) => signal)]).toEqual([
      0,
      'timeout',
      ['SIGTERM', 'SIGTERM'],
    ]);
  });
});

describe('a pipeline that is played', () => {
  test('passes on what a program writes later, and its end', async () => {
    const source = running({ stdout: 'one ' });
    let text = '';
    const sink = running({
      onInput: (piece) => {
        text += piece;
        return 'ignore';
      },
      onInputEnd: () => ({ exitCode: 0, stdout: `got ${text}` }),
    });
    using _dry = dryRun({ respond: ({ argv: [program] }) => (program === 'source' ? source : sink) });
    const all = await pipeline(new Command('source'), new Command('sink').outputBuffer()).runAsync();
    source.write('two');
    await vi.waitFor(() => {
      expect(text).toBe('one two');
    });
    source.exit();
    expect((await all.wait()).stdout).toBe('got one two');
  });

  test('has its ends for the caller', async () => {
    const program = running({ onInput: (piece) => ({ stdout: piece.toUpperCase() }) });
    using _dry = dryRun({ respond: () => program });
    const all = await pipeline(cat().inputPipe().outputPipe()).runAsync();
    all.stdin.write('word');
    const [piece] = (await new Promise<unknown[]>((resolve) => {
      all.stdout.once('data', (...values: unknown[]) => resolve(values));
    })) as [Buffer];
    expect(String(piece)).toBe('WORD');
    const { stages } = await all.stop();
    expect(stages.map(({ signal }) => signal)).toEqual(['SIGTERM']);
  });
});
