import { Readable } from 'node:stream';
import { closeSync, openSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type AnyCommand, Command, OutputBuffer, UsageError } from '../../src/index.js';

const prog = () => new Command('prog');
const daemon = () => prog().daemonize();

/** A descriptor of `/dev/null` that is closed when the test has ended. */
function open(): number {
  const fd = openSync('/dev/null', 'r+');
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** The mistakes of a run, which must start nothing: there is no such program. */
async function mistakes(start: () => Promise<unknown>): Promise<string[]> {
  const error = await start().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof UsageError)) throw error instanceof Error ? error : new Error('no mistake was found');
  return error.mistakes.map(({ call, problem }) => `${call}: ${problem}`);
}

const UNREAD = 'run() gives nobody the other end of the pipe; use runAsync(), or a buffer';
const BUFFERS =
  'daemonize(): a daemon outlives the buffers of this process; give it files, with inputFile(), outputFile() and errorFile(), or pipes';

describe('what cannot both be so is refused:', () => {
  const refused: (readonly [() => AnyCommand, string])[] = [
    [
      () => prog().uid(5),
      "uid(5): without gid() the program would keep this process's group; say gid() too, or user(), which knows both",
    ],
    [() => prog().user('root').uid(5), 'uid(5): user() sets uid and gid already; leave one of them out'],
    [() => prog().gid(6).user('root'), 'gid(6): user() sets uid and gid already; leave one of them out'],
    [
      () => prog().newSession().processGroup(),
      'processGroup(): a new session is a new process group already; leave one of newSession() and processGroup() out',
    ],
    [() => prog().inputPipe(), `inputPipe(): ${UNREAD}`],
    [() => prog().outputPipe(), `outputPipe(): ${UNREAD}`],
    [() => prog().errorPipe(), `errorPipe(): ${UNREAD}`],
    [
      () => prog().requireHandshake(),
      'requireHandshake(): with run() nobody could answer, and both sides would wait for ever; use runAsync()',
    ],
    [
      () => prog().pidFile('/run/x.pid'),
      "pidFile('/run/x.pid'): a pidfile is written for a daemon; say daemonize() too",
    ],
    [() => daemon().inputBuffer('x'), BUFFERS],
    [() => daemon().outputBuffer(), BUFFERS],
    [() => daemon().errorBuffer(), BUFFERS],
    [
      () => daemon().workingDirectory('/srv'),
      "workingDirectory('/srv'): a daemon's working directory is '/'; leave the call out, and give it absolute paths",
    ],
    [
      () => daemon().processGroup(),
      'processGroup(): a daemon has a session of its own, and so a process group; leave the call out',
    ],
    [
      () => daemon().dieWithParent(),
      "dieWithParent('SIGKILL'): a daemon outlives its parent; leave out this call or daemonize()",
    ],
  ];
  const IN_ONE = 'a terminal is standard input, output and error in one; leave this call or terminal() out';
  refused.push(
    [
      () => prog().terminal().inheritTerminal(),
      "inheritTerminal(): the program has a terminal of its own, or this process's; leave one of the two calls out",
    ],
    [() => prog().terminal().inputFd(open()), `inputFd(…): ${IN_ONE}`],
    [() => prog().inputFile('/f').terminal(), `inputFile(…): ${IN_ONE}`],
    [() => prog().inputBuffer('x').terminal(), `inputBuffer(…): ${IN_ONE}`],
    [() => prog().outputFd(open()).terminal(), `outputFd(…): ${IN_ONE}`],
    [() => prog().outputFile('/f').terminal(), `outputFile(…): ${IN_ONE}`],
    [() => prog().errorFile('/f').terminal(), `errorFile(…): ${IN_ONE}`],
    [
      () =>
        prog()
          .inputStream(Readable.from(['x']))
          .terminal(),
      `inputStream(…): ${IN_ONE}`,
    ],
    [() => prog().outputTo(process.stdout).terminal(), `outputTo(…): ${IN_ONE}`],
    [() => prog().errorTo(process.stderr).terminal(), `errorTo(…): ${IN_ONE}`],
    [() => prog().errorBuffer().terminal(), `errorBuffer(…): ${IN_ONE}`],
    [() => prog().errorToOutput().terminal(), `errorToOutput(): ${IN_ONE}`],
    [
      () => prog().terminal().waitForOutputEnd(),
      'waitForOutputEnd(): the output of a terminal is taken at the end of the program; leave the call out',
    ],
    [
      () => prog().terminal().pipeSize(4096),
      'pipeSize(4096): a terminal is no pipe, and holds what the kernel lets it hold; leave the call out',
    ],
    [
      () => prog().terminal().processGroup(),
      'processGroup(): a program with a terminal has a session of its own, and so a process group; leave the call out',
    ],
    [
      () => prog().inheritTerminal().newSession(),
      'newSession(): a new session has no terminal; leave one of newSession() and inheritTerminal() out',
    ],
    [
      () => daemon().terminal(),
      'terminal(…): a daemon has no terminal, so that none can take it down; leave out this call or daemonize()',
    ],
    [
      () => daemon().inheritTerminal(),
      'inheritTerminal(): a daemon has no terminal, so that none can take it down; leave out this call or daemonize()',
    ],
    ...[0, 65_536, 1.5, NaN, '80'].map(
      (columns) =>
        [
          () => prog().terminal({ columns: columns as number }),
          `terminal({ columns: ${typeof columns === 'string' ? `'${columns}'` : columns} }): columns and rows are whole numbers from 1 to 65535`,
        ] as const,
    ),
    [
      () => prog().terminal({ height: 5 } as object),
      "terminal({ height: 5 }): there is no option 'height'; the options are { columns, rows }",
    ],
    [() => prog().terminal().terminal(), 'terminal(): this was said before; say it once'],
  );
  for (const [command, mistake] of refused)
    test(mistake, async () => {
      expect(await mistakes(() => command().run())).toEqual([mistake]);
    });

  test('a buffer for a terminal that the caller reads, and a pipe in the place of one', async () => {
    expect(await mistakes(() => prog().terminal().outputBuffer().runAsync())).toEqual([
      'outputBuffer(…): what the program writes is read from child.terminal; leave the call out, or use run()',
    ]);
    expect(await mistakes(() => prog().terminal().outputLimit(9, 'kill').runAsync())).toEqual([
      "outputLimit(9, 'kill'): what the program writes is read from child.terminal, and not counted; leave the call out, or use run()",
    ]);
    const piped = prog().inputPipe().outputPipe().errorPipe().terminal();
    expect(await mistakes(() => piped.runAsync())).toEqual([
      `inputPipe(): ${IN_ONE}`,
      `outputPipe(): ${IN_ONE}`,
      `errorPipe(): ${IN_ONE}`,
    ]);
  });

  test('exec() with a terminal, or with the size of pipes', () => {
    const why = (command: Command): string[] => {
      try {
        return command.exec();
      } catch (error) {
        return (error as UsageError).mistakes.map(({ call, problem }) => `${call}: ${problem}`);
      }
    };
    expect(why(prog().terminal())).toEqual([
      'terminal(…): exec() leaves nobody here to do that; leave the call out, or use run()',
    ]);
    expect(why(prog().pipeSize(4096))).toEqual(['pipeSize(4096): exec() makes no pipes; leave the call out']);
    expect(why(prog().inheritTerminal())).toEqual([
      'inheritTerminal(): the program keeps the terminal of this process, which it takes the place of; leave the call out',
    ]);
  });

  test('runAsync() of a daemon', async () => {
    expect(await mistakes(() => daemon().runAsync())).toEqual([
      'runAsync(): a daemon is not waited for; start it with run(), which resolves when it is running',
    ]);
  });

  test('the same OutputBuffer for both streams of a daemon', async () => {
    const both = new OutputBuffer();
    expect(await mistakes(() => daemon().outputBuffer(both).errorBuffer(both).run())).toEqual([BUFFERS]);
  });

  test.each([
    ['timeout', () => daemon().timeout(5)],
    ['stopSequence', () => daemon().stopSequence([['SIGINT', 5]])],
    ['outputLimit', () => daemon().outputLimit(5)],
    ['waitForOutputEnd', () => daemon().waitForOutputEnd()],
  ] as const)('%s() of a daemon, which nobody could obey', async (method, command) => {
    expect(await mistakes(() => command().run())).toEqual([expect.stringMatching(new RegExp(`^${method}\\(`))]);
  });

  test('several combinations at once, each with its call', async () => {
    const command = prog().uid(5).pidFile('/p').inputPipe().errorPipe().newSession().processGroup().requireHandshake();
    expect((await mistakes(() => command.run())).map((mistake) => mistake.replace(/:.*/, ''))).toEqual([
      'uid(5)',
      'processGroup()',
      "pidFile('/p')",
      'inputPipe()',
      'errorPipe()',
      'requireHandshake()',
    ]);
  });
});

test('what goes together is not refused', () => {
  const command = () => new Command('/prog');
  const modes = [
    command().uid(5).gid(5),
    command().gid(5),
    command().user('root').groups([]),
    command().inputPipe(),
    command().outputPipe().errorToOutput(),
    command().requireHandshake(),
    command().daemonize().outputPipe().inputPipe().errorPipe(),
    command().daemonize().outputFile('/l').errorToOutput().pidFile('/p'),
    command().daemonize().newSession(),
    command().daemonize().requireHandshake(),
  ].map((one) => one.plan().mode);
  expect(modes).toEqual(['run', 'run', 'run', 'async', 'async', 'async', 'daemon', 'daemon', 'daemon', 'daemon']);
});

describe('a number of the program has one source:', () => {
  const rows: readonly (readonly [(command: Command, a: number, b: number) => Command, string])[] = [
    [(c, a) => c.preserveFd(a).preserveFd(a), 'preserveFd(A): it was passed before; each number has one source'],
    [
      (c, a) => c.preserveFd(a).transferFd(a),
      'transferFd(A): preserveFd(A) gives the program a descriptor A already; each number has one source',
    ],
    [
      (c, a, b) => c.preserveFd(a).passFd(b, { as: a }),
      'passFd(B, { as: A }): preserveFd(A) gives the program a descriptor A already; each number has one source',
    ],
    [
      (c, a, b) => c.passFd(a, { as: 70 }).passFd(b, { as: 70 }),
      'passFd(B, { as: 70 }): passFd(A, { as: 70 }) gives the program a descriptor 70 already; each number has one source',
    ],
    [
      (c, a, b) => c.listenFds(a).passFd(b, { as: 3 }),
      'passFd(B, { as: 3 }): listenFds(A) gives the program a descriptor 3 already; each number has one source',
    ],
    [
      (c, a, b) => c.passFd(b, { as: 4 }).listenFds(a, a),
      'passFd(B, { as: 4 }): listenFds(…, A) gives the program a descriptor 4 already; each number has one source',
    ],
  ];
  for (const [build, mistake] of rows)
    test(mistake, async () => {
      // High numbers, which clash with none that is named above.
      const [a, b] = [open(), open()];
      const text = mistake.replaceAll('A', String(a)).replaceAll('B', String(b));
      expect(await mistakes(async () => build(prog(), a, b).plan())).toEqual([text]);
    });

  test('one descriptor can have several numbers, and two can change places', () => {
    const [a, b] = [open(), open()];
    const { descriptors } = new Command('/prog')
      .passFd(a, { as: b })
      .passFd(b, { as: a })
      .passFd(a, { as: 70 })
      .passFd(a, { as: 1 })
      .plan();
    expect(Object.fromEntries(descriptors.slice(3).map(({ childFd, source }) => [childFd, source]))).toEqual({
      [a]: { kind: 'fd', fd: b },
      [b]: { kind: 'fd', fd: a },
      70: { kind: 'fd', fd: a },
    });
    expect(descriptors[1]).toEqual({ childFd: 1, source: { kind: 'fd', fd: a } });
  });
});

describe('a descriptor that was given away', () => {
  test('is closed once, also where the run is refused, and cannot be run with again', async () => {
    const fd = openSync('/dev/null', 'r');
    const command = prog().transferFd(fd).umask(-1);
    expect(await mistakes(() => command.run())).toEqual(['umask(-1): the mask is a whole number from 0 to 0o777']);
    const again = openSync('/dev/null', 'r');
    onTestFinished(() => closeSync(again));
    // The kernel gives out the lowest free number, so the new descriptor is where the old one was.
    expect(again).toBe(fd);
    expect(await mistakes(() => command.run())).toEqual([
      'umask(-1): the mask is a whole number from 0 to 0o777',
      `transferFd(${fd}): an earlier run has given this descriptor away; make a command with a new one for each run`,
    ]);
  });

  test('is known to copies that were made before, too', async () => {
    const command = prog().transferFd(openSync('/dev/null', 'r'));
    const copy = command.clone();
    await expect(command.run()).rejects.toMatchObject({ step: 'path-search' });
    expect(await mistakes(() => copy.run())).toEqual([
      expect.stringContaining('an earlier run has given this descriptor away'),
    ]);
  });

  test('is named by the call that gave it', async () => {
    const fd = openSync('/dev/null', 'r');
    const command = prog().passFd(fd, { as: 0, closeInParent: true });
    await expect(command.run()).rejects.toMatchObject({ step: 'path-search' });
    expect(await mistakes(() => command.run())).toEqual([
      expect.stringContaining(`passFd(${fd}, { as: 0 }): an earlier run`),
    ]);
  });
});
