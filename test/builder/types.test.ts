import { describe, expect, expectTypeOf, test } from 'vitest';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import {
  type AnyCommand,
  type Captured,
  Child,
  type ChildOf,
  Command,
  type CommandSpec,
  DaemonResult,
  OutputBuffer,
  type Terminal,
  pipeline,
  type ResultOf,
  type RunResult,
} from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { Compiler } from '../package/typescript.js';

/** The compiler checks the types, under `npm run types`; the dry run checks that the values are of them. */
const answer = { respond: () => ({ stdout: 'out', stderr: 'err' }) };

describe('the result has the types that the chain of calls says:', () => {
  test('text where a buffer was asked for', async () => {
    using _dry = dryRun(answer);
    const result = await new Command('x').outputBuffer().errorBuffer().run();
    expectTypeOf(result).toEqualTypeOf<RunResult<string, string>>();
    expect([typeof result.stdout, typeof result.stderr]).toEqual(['string', 'string']);
  });

  test('none where streams of the caller take it, of Node or of the web', async () => {
    using _dry = dryRun(answer);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const child = await new Command('x')
      .inputStream(new Blob(['a']).stream())
      .outputTo(writable)
      .errorTo(process.stderr, { end: false })
      .runAsync();
    const drained = new Response(readable).text();
    expectTypeOf(child.stdin).toEqualTypeOf<null>();
    expectTypeOf(child.stdout).toEqualTypeOf<null>();
    expectTypeOf(child.stderr).toEqualTypeOf<null>();
    await child.wait();
    expect([child.stdin, child.stdout, child.stderr, await drained]).toEqual([null, null, null, 'out']);
    for (const source of [process.stdin, new Response('').body!, Readable.from(['a'])])
      expect(new Command('x').inputStream(source).spec().stdin).toEqual({ from: 'stream' });
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
    const child = await new Command('x').runAsync();
    expectTypeOf(child).toEqualTypeOf<Child>();
    expectTypeOf(child.wait()).resolves.toEqualTypeOf<RunResult>();
    expect(child).toBeInstanceOf(Child);
  });
});

describe('a child has the types that the chain of calls says:', () => {
  test('streams where pipes were asked for, and no others', async () => {
    using _dry = dryRun(answer);
    const child = await new Command('x').inputPipe().outputPipe().errorBuffer().timeout(5).runAsync();
    expectTypeOf(child).toEqualTypeOf<Child<Readable, null, Writable, RunResult<undefined, string>>>();
    child.stdin.end('hello');
    child.stdout.resume();
    const result = await child.wait();
    expectTypeOf(result).toEqualTypeOf<RunResult<undefined, string>>();
    expect([child.stderr, result.stdout, result.stderr]).toEqual([null, undefined, 'err']);
    const other = await new Command('x').errorPipe().runAsync();
    expectTypeOf(other).toEqualTypeOf<
      Child<Readable | null, Readable, Writable | null, RunResult<Captured, undefined>>
    >();
    other.stderr.resume();
    await other.wait();
  });

  test('a terminal where one was asked for, and none known where not', async () => {
    using _dry = dryRun(answer);
    const child = await new Command('x').terminal().runAsync();
    expectTypeOf(child.terminal).toEqualTypeOf<Terminal>();
    child.terminal.resume();
    await child.wait();
    const other = await new Command('x').runAsync();
    expectTypeOf(other.terminal).toEqualTypeOf<Terminal | null>();
    expect(other.terminal).toBeNull();
    await other.wait();
  });

  test('of its result, of that of stop(), and of the exit codes that check takes', async () => {
    using _dry = dryRun({ respond: () => ({ stdout: 'out', exitCode: 1 }) });
    const child = await new Command('x').outputBuffer({ encoding: 'buffer' }).check([0, 1]).runAsync();
    expectTypeOf(child.wait()).resolves.toEqualTypeOf<RunResult<Buffer, Captured, 0 | 1>>();
    expectTypeOf(child.wait({ check: [1, 2] })).resolves.toEqualTypeOf<RunResult<Buffer, Captured, 1 | 2>>();
    expectTypeOf(child.wait({ check: false })).resolves.toEqualTypeOf<RunResult<Buffer>>();
    expectTypeOf(child.stop()).resolves.toEqualTypeOf<RunResult<Buffer>>();
    expect(await child.wait()).toMatchObject({ stdout: Buffer.from('out'), exitCode: 1 });
  });

  test('and is a plain Child for whoever asks no more', async () => {
    using _dry = dryRun(answer);
    const children: Child[] = [
      await new Command('x').outputPipe().inputPipe().runAsync(),
      await new Command('x').outputBuffer().check([0]).runAsync(),
    ];
    expectTypeOf(children[0]!.stdout).toEqualTypeOf<Readable | null>();
    const results = await Promise.all(children.map(async (child) => (child.stdout?.resume(), await child.wait())));
    expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
  });
});

describe('a daemon is no program to the compiler:', () => {
  /** A class of a driver, with a call that goes on with the chain. */
  class Server extends Command {
    readonly title = 'a server';
    port(port: number): this {
      return this.arg('--port').arg(port);
    }
  }

  test('its result has the streams of the chain, before and after daemonize()', async () => {
    using _dry = dryRun();
    const daemon = await new Command('x').inputPipe().daemonize().outputPipe().pidFile('/p').clone().run();
    expectTypeOf(daemon).toEqualTypeOf<DaemonResult<Readable, Readable | null, Writable>>();
    daemon.stdin.end();
    daemon.stdout.resume();
    expect(daemon).toBeInstanceOf(DaemonResult);
  });

  test('a class of one’s own keeps its methods', async () => {
    using _dry = dryRun();
    const server = new Server('x').daemonize();
    expectTypeOf(server.title).toEqualTypeOf<string>();
    expectTypeOf(server.port(80).arg('y').clone().run()).resolves.toEqualTypeOf<DaemonResult>();
    expect(await server.run()).toBeInstanceOf(DaemonResult);
  });

  test('what makes one says so, and what takes one says that it takes both', async () => {
    using _dry = dryRun();
    const server = (): Command<'daemon'> => new Command('x').daemonize();
    expectTypeOf(server().run()).resolves.toEqualTypeOf<DaemonResult>();
    const either = (command: AnyCommand) => command.run();
    expectTypeOf(either).returns.resolves.toEqualTypeOf<RunResult | DaemonResult>();
    // @ts-expect-error such a function would hide it
    const hides = (): Command => server();
    // @ts-expect-error nor can a variable hide it
    const hidden: Command = server();
    expect(await Promise.all([hides().run(), hidden.run(), either(server())])).toMatchObject([
      { constructor: DaemonResult },
      { constructor: DaemonResult },
      { constructor: DaemonResult },
    ]);
  });

  test('a program that hides it is refused on the line that does', () => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    mkdirSync(join(root, '.cache'), { recursive: true });
    const directory = mkdtempSync(join(root, '.cache/types-'));
    const code = [
      "import { Command } from 'vircommand';",
      "const server = (): Command => new Command('x').daemonize();",
      'export const code = (await server().run()).exitCode;',
    ].join('\n');
    try {
      const { problems } = new Compiler(root).compile([{ origin: 'newcomer', line: 1, code, info: 'ts' }], directory);
      expect(problems).toEqual([
        expect.stringMatching(
          /^newcomer:2 Type 'AsDaemon<Command<"program">>' is not assignable to type 'Command<"program">'\./,
        ),
      ]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('copies keep the types:', () => {
  const daemon = new Command('x').outputPipe().daemonize();
  const program = new Command('x').outputBuffer();

  test('clone(), of all that was said', () => {
    expectTypeOf(daemon.clone()).toEqualTypeOf<typeof daemon>();
    expectTypeOf(program.clone()).toEqualTypeOf<typeof program>();
    expect(daemon.clone().spec()).toEqual(daemon.spec());
  });

  test('fromSpec(), of what kind of command it is, which a spec out of JSON does not tell the compiler', () => {
    const anySpec = JSON.parse(JSON.stringify(daemon.spec())) as CommandSpec;
    expectTypeOf(Command.fromSpec(daemon.spec())).toEqualTypeOf<Command<'daemon'>>();
    expectTypeOf(Command.fromSpec(program.spec())).toEqualTypeOf<Command>();
    expectTypeOf(Command.fromSpec({ ...program.spec(), nice: 1 })).toEqualTypeOf<Command>();
    expectTypeOf(Command.fromSpec(anySpec)).toEqualTypeOf<AnyCommand>();
    expectTypeOf(daemon.spec()).toExtend<CommandSpec>();
    expectTypeOf(program.spec()).toExtend<CommandSpec>();
    expect(Command.fromSpec(anySpec).spec()).toEqual(daemon.spec());
  });
});

test('a wrapper of any command gives what the command itself gives', async () => {
  using _dry = dryRun(answer);
  const times: string[] = [];
  async function timed<C extends AnyCommand>(command: C): Promise<ResultOf<C>> {
    const result = await command.run();
    times.push(String(command));
    return result;
  }
  async function started<C extends AnyCommand>(command: C): Promise<ChildOf<C>> {
    return await command.runAsync();
  }
  function atHome<C extends AnyCommand>(command: C): C {
    return command.workingDirectory('/home');
  }
  expectTypeOf(timed(new Command('a').outputBuffer())).resolves.toEqualTypeOf<RunResult<string>>();
  expectTypeOf(timed(new Command('b').daemonize())).resolves.toEqualTypeOf<DaemonResult>();
  const child = await started(atHome(new Command('c').outputPipe()));
  expectTypeOf(child.stdout).toEqualTypeOf<Readable>();
  child.stdout.resume();
  await child.wait();
  expect(times.sort()).toEqual(['a', 'b']);
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

describe('a pipeline has the types of its ends:', () => {
  test('the output of the last stage, and the codes that check takes', async () => {
    const all = pipeline(new Command('echo', 'x'), new Command('cat').outputBuffer());
    const result = await all.run();
    expectTypeOf(result.stdout).toEqualTypeOf<string>();
    expectTypeOf(result.exitCode).toEqualTypeOf<number | null>();
    expectTypeOf((await all.run({ check: [0, 1] })).exitCode).toEqualTypeOf<0 | 1>();
    const bytes = await pipeline(new Command('true'), new Command('cat').outputBuffer({ encoding: 'buffer' })).run();
    expectTypeOf(bytes.stdout).toEqualTypeOf<Buffer>();
    expect([result.stdout, bytes.stdout.length]).toEqual(['x\n', 0]);
  });

  test('the streams that its first and last stage were asked for', async () => {
    const running = await pipeline(new Command('cat').inputPipe(), new Command('cat').outputPipe()).runAsync();
    expectTypeOf(running.stdin).toEqualTypeOf<Writable>();
    expectTypeOf(running.stdout).toEqualTypeOf<Readable>();
    expectTypeOf(running.stderr).toEqualTypeOf<Readable | null>();
    running.stdin.end();
    running.stdout.resume();
    expect((await running.wait()).stages.length).toBe(2);
  });

  test('of which a daemon is none', async () => {
    // @ts-expect-error -- a daemon outlives the pipeline.
    const all = pipeline(new Command('true'), new Command('true').daemonize());
    await expect(all.run()).rejects.toThrow('a daemon outlives the pipeline');
  });
});
