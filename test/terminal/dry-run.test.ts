import { text } from 'node:stream/consumers';
import { Command, pipeline, Terminal, UsageError } from 'vircommand';
import { dryRun, running } from 'vircommand/testing';
import { describe, expect, test } from 'vitest';

describe('in a dry run, a program with a terminal', () => {
  test('reads what is typed, and writes what is read from child.terminal, to both outputs', async () => {
    const shell = running({
      stdout: '$ ',
      onInput: (typed, program) => {
        program.write(`${typed.trim()}\r\n`);
        program.writeError('oops\r\n');
        return typed.startsWith('exit') ? { exitCode: 5 } : undefined;
      },
    });
    using dry = dryRun({ respond: () => shell });
    const child = await new Command('bash').terminal({ rows: 9 }).runAsync();
    expect(child.terminal).toBeInstanceOf(Terminal);
    expect(child.terminal.resize(100, 30).setRawMode(true).rows).toBe(30);
    const all = text(child.terminal);
    child.terminal.write('ls\r');
    child.terminal.write('exit\r');
    expect((await child.wait({ check: false })).exitCode).toBe(5);
    expect(await all).toBe('$ ls\r\noops\r\nexit\r\noops\r\n');
    expect(dry.commands).toEqual(['bash']);
  });

  test('has its words captured by run(), in one', async () => {
    using _dry = dryRun({ respond: () => ({ stdout: 'out\n', stderr: 'err\n' }) });
    expect((await new Command('ls').terminal().outputBuffer().run()).stdout).toBe('out\nerr\n');
  });

  test('is as any other with inheritTerminal()', async () => {
    using _dry = dryRun({ respond: () => ({ exitCode: 0 }) });
    expect((await new Command('vi').inheritTerminal().run()).exitCode).toBe(0);
    expect(new Command('vi').inheritTerminal().runSync().exitCode).toBe(0);
  });
});

test('explain() tells of a terminal', () => {
  const own = new Command('/bin/sh').terminal().explain();
  expect(own).toContain('0 ← a terminal of its own, for the caller');
  expect(own).toMatch(/tiocsctty +the terminal controls its session/);
  expect(new Command('/bin/sh').terminal().outputBuffer().explain()).toContain(
    '1 ← a terminal of its own, for a buffer',
  );
  const inherited = new Command('/bin/sh').inheritTerminal().explain();
  expect(inherited).toContain('0 ← descriptor 0 of this process, same number');
  expect(inherited).toMatch(/tcsetpgrp +a process group of its own, in the foreground/);
});

test('a terminal in a pipeline, or in runSync(), is a mistake that says what to do', () => {
  const problems = (run: () => unknown): string[] => {
    try {
      run();
    } catch (error) {
      if (error instanceof UsageError) return error.mistakes.map(({ call, problem }) => `${call}: ${problem}`);
      throw error;
    }
    return [];
  };
  expect(problems(() => pipeline(new Command('a').terminal(), new Command('b').inheritTerminal()).runSync())).toEqual([
    'terminal(…): a stage has the pipes of its neighbours; start it alone, and join it by child.terminal',
    'inheritTerminal(): the terminal has one process group in its foreground, and each stage is started by itself; run the whole line by a shell',
  ]);
  expect(problems(() => new Command('a').terminal().runSync())).toEqual([
    'runSync(): the event loop serves a terminal, and this call holds it; use run()',
  ]);
});
