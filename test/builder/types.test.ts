import { describe, expect, expectTypeOf, test } from 'vitest';
import { type Captured, Child, Command, DaemonResult, OutputBuffer, type RunResult } from 'vircommand';
import { dryRun } from 'vircommand/testing';

/** The compiler checks the types, under `npm run types`; the dry run checks that the values are of them. */
const answer = { respond: () => ({ stdout: 'out', stderr: 'err' }) };

describe('the result has the types that the chain of calls says:', () => {
  test('text where a buffer was asked for', async () => {
    using _dry = dryRun(answer);
    const result = await new Command('x').outputBuffer().errorBuffer().run();
    expectTypeOf(result).toEqualTypeOf<RunResult<string, string>>();
    expect([typeof result.stdout, typeof result.stderr]).toEqual(['string', 'string']);
  });

  test('bytes where bytes were asked for', async () => {
    using _dry = dryRun(answer);
    const result = await new Command('x')
      .outputBuffer({ encoding: 'buffer' })
      .errorBuffer({ encoding: 'hex' })
      .run({ check: false });
    expectTypeOf(result.stdout).toEqualTypeOf<Buffer>();
    expectTypeOf(result.stderr).toEqualTypeOf<string>();
    expect([Buffer.isBuffer(result.stdout), result.stderr]).toEqual([true, '657272']);
  });

  test('whatever calls come before and after', async () => {
    using _dry = dryRun(answer);
    const result = await new Command('x')
      .env('A', 'b')
      .outputBuffer(new OutputBuffer())
      .arg('y')
      .timeout(5)
      .clone()
      .run();
    expectTypeOf(result.stdout).toEqualTypeOf<string>();
    expectTypeOf(result.stderr).toEqualTypeOf<string | Buffer | undefined>();
    expect([result.stdout, result.stderr]).toEqual(['out', undefined]);
  });

  test('anything where the calls were made one by one', async () => {
    using _dry = dryRun(answer);
    const command = new Command('x');
    command.outputBuffer();
    const { stdout } = await command.run();
    expectTypeOf(stdout).toEqualTypeOf<string | Buffer | undefined>();
    expect(stdout).toBe('out');
  });

  test('a DaemonResult for a daemon', async () => {
    using _dry = dryRun();
    const result = await new Command('x').daemonize().pidFile('/p').run();
    expectTypeOf(result).toEqualTypeOf<DaemonResult>();
    expect(result).toBeInstanceOf(DaemonResult);
  });

  test('the exit codes that check takes', async () => {
    using _dry = dryRun({ respond: () => ({ exitCode: 1 }) });
    const said = await new Command('x').check([0, 1]).outputBuffer().run();
    expectTypeOf(said).toEqualTypeOf<RunResult<string, Captured, 0 | 1>>();
    const given = await new Command('x').check([0, 5]).run({ check: [0, 1] });
    expectTypeOf(given.exitCode).toEqualTypeOf<0 | 1>();
    const any = await new Command('x').check([0, 1]).run({ check: false });
    expectTypeOf(any.exitCode).toEqualTypeOf<number | null>();
    expect([said.exitCode, given.exitCode, any.exitCode]).toEqual([1, 1, 1]);
  });

  test('a Child for runAsync(), and a plain result from it', async () => {
    using _dry = dryRun(answer);
    const child = await new Command('x').outputBuffer().runAsync();
    expectTypeOf(child).toEqualTypeOf<Child>();
    expectTypeOf(child.wait()).resolves.toEqualTypeOf<RunResult>();
    expect(child).toBeInstanceOf(Child);
  });
});

test('what is of the wrong type is an error of the compiler, and a mistake', () => {
  const command = new Command('x');
  // @ts-expect-error an argument is not undefined
  command.arg(undefined);
  // @ts-expect-error an object is no argument
  command.args({});
  // @ts-expect-error a capability has a name
  command.allowCap('NET_ADMIN');
  // @ts-expect-error a signal has a name
  command.dieWithParent('TERM');
  // @ts-expect-error a resource has a name
  command.limit('files', 1);
  // @ts-expect-error an encoding has a name
  command.outputBuffer({ encoding: 'utf9' });
  // @ts-expect-error a policy has a name
  command.outputLimit(1, 'spill');
  // @ts-expect-error a descriptor is a number
  command.preserveFd('3');
  expect(() => command.spec()).toThrow(/^\d+ mistakes in `x`/);
});

test('every method of the chain gives back the command itself', () => {
  const command = new Command('x');
  expect(command.arg('a').env('A', 'b').umask(0).daemonize()).toBe(command);
  expectTypeOf(command.arg('a')).toEqualTypeOf<Command>();
});
