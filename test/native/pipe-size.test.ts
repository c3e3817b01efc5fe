import { readdirSync, readFileSync } from 'node:fs';
import { Command, LaunchError, pipeline } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { rejection, sh } from '../helpers/tools.js';
import { asNobody, inParent, needsNobody, useNativeEngine } from '../helpers/native.js';

useNativeEngine();

const sizesScript = `
import fcntl, json, os, sys
def size(fd):
    try: return fcntl.fcntl(fd, 1032) # F_GETPIPE_SZ
    except OSError: return -1
os.write(2, (json.dumps([size(int(fd)) for fd in sys.argv[1:]]) + "\\n").encode())`;

/** Prints to its standard error how much the pipes at those descriptors hold, and -1 for what is none. */
const tellSizes = (...fds: number[]): Command => new Command('python3', '-c', sizesScript, ...fds);

const sizes = (text: string): unknown => JSON.parse(text);
const KiB = 1024;
const openFds = (): number => readdirSync('/proc/self/fd').length;

/** What the kernel makes of F_SETPIPE_SZ, as Python's fcntl() shows it: a page at least, and a power of two. */
const rounded: readonly (readonly [number, number])[] = [
  [1, 4 * KiB],
  [4 * KiB, 4 * KiB],
  [5000, 8 * KiB],
  [64 * KiB, 64 * KiB],
  [1024 * KiB, 1024 * KiB],
];

describe('pipeSize()', () => {
  test.each(rounded)('of %i is one of %i for all three streams that pass through this process', async (said, given) => {
    const captured = tellSizes(0, 1, 2).inputBuffer('x').outputBuffer().errorBuffer().pipeSize(said);
    expect(sizes((await captured.run()).stderr)).toEqual([given, given, given]);
    expect(sizes(captured.runSync().stderr)).toEqual([given, given, given]);
    const streamed = tellSizes(0, 1, 2).inputPipe().outputPipe().errorBuffer().pipeSize(said);
    await using child = await streamed.runAsync();
    expect(sizes((await child.wait()).stderr)).toEqual([given, given, given]);
    const unclaimed = tellSizes(1, 2).errorBuffer().pipeSize(said);
    expect(sizes((await unclaimed.run()).stderr)).toEqual([given, given]);
  });

  test('leaves alone what is no pipe, and is not said where it is undefined', async () => {
    const command = tellSizes(0, 1, 2).inputFile('/dev/null').outputFile('/dev/null').errorBuffer();
    expect(
      sizes(
        (
          await command
            .clone()
            .pipeSize(4 * KiB)
            .run()
        ).stderr,
      ),
    ).toEqual([-1, -1, 4 * KiB]);
    expect(sizes((await command.pipeSize(undefined).run()).stderr)).toEqual([-1, -1, 64 * KiB]);
  });

  test.each([
    ['keeps it while much is captured', 64 * KiB, 64 * KiB],
    ['would be a megabyte else', undefined, 1024 * KiB],
  ])('%s', async (_what, said, given) => {
    const busy = sh('head -c 20000000 /dev/zero; "$@"', 'python3', '-c', sizesScript, '1').outputBuffer({
      encoding: 'buffer',
    });
    const { stdout, stderr } = await busy.errorBuffer().pipeSize(said).run();
    expect([stdout.length, sizes(stderr)]).toEqual([20_000_000, [given]]);
  });

  test('reaches a daemon, and a program that the helper starts', async () => {
    const command = (): Command => tellSizes(2).pipeSize(8 * KiB);
    const daemon = await command().daemonize().errorPipe().run();
    let text = '';
    for await (const chunk of daemon.stderr) text += String(chunk);
    expect(sizes(text)).toEqual([8 * KiB]);
    await using child = await command().requireHandshake().errorPipe().runAsync();
    await child.handshakeWait();
    await child.handshakeNotify();
    for await (const line of child.lines({ from: 'stderr' })) expect(sizes(line)).toEqual([8 * KiB]);
    await child.wait();
  });

  const three = (first?: number, second?: number, third?: number) =>
    pipeline(
      tellSizes(1).errorBuffer().pipeSize(first),
      sh('"$@"; exec cat', 'python3', '-c', sizesScript, '0', '1').errorBuffer().pipeSize(second),
      tellSizes(0).errorBuffer().pipeSize(third),
    );
  test.each([
    [
      [undefined, undefined, undefined],
      [64, 64, 64, 64],
    ],
    [
      [4, undefined, undefined],
      [4, 4, 64, 64],
    ],
    [
      [undefined, 8, undefined],
      [8, 8, 8, 8],
    ],
    [
      [undefined, undefined, 128],
      [64, 64, 128, 128],
    ],
    // The larger one counts.
    [
      [16, 8, 32],
      [16, 16, 32, 32],
    ],
    [
      [8, 16, 4],
      [16, 16, 16, 16],
    ],
  ])('of %j KiB for the stages of a pipeline gives both ends of its pipes %j', async (said, given) => {
    const line = three(...(said.map((size) => size && size * KiB) as []));
    for (const { stages } of [await line.run(), line.runSync()]) {
      const told = stages.flatMap(({ stderr }) => sizes(String(stderr)));
      expect(told).toEqual(given.map((size) => size * KiB));
    }
  });

  test('has explain() tell it', () => {
    expect(new Command('true').outputBuffer().pipeSize(5000).explain()).toContain(
      '1 ← a pipe for a buffer, of 5000 bytes or more',
    );
  });
});

describe('a pipe that cannot have its size', () => {
  // Without the privilege, Python's fcntl(fd, F_SETPIPE_SZ, size) is EPERM above the limit, and so it is here.
  test('for want of a privilege keeps the program from its start, tells the most that there is, and leaves nothing open', async ({
    skip,
  }) => {
    needsNobody(skip);
    const most = Number(readFileSync('/proc/sys/fs/pipe-max-size', 'utf8'));
    const errors = await inParent(
      async ({ Command: Program, pipeline: join }, size) => {
        const { readdirSync: list } = process.getBuiltinModule('node:fs');
        await new Program('true').run();
        new Program('true').runSync();
        const before = list('/proc/self/fd').length;
        const told: unknown[] = [];
        const tell = (error: unknown): void => {
          const { name, step, errno, syscall, message, stage } = error as Record<string, unknown>;
          told.push({ name, step, errno, syscall, message, stage });
        };
        const large = () => new Program('true').inputBuffer('x').outputBuffer().pipeSize(size);
        await large().run().catch(tell);
        try {
          large().runSync();
        } catch (error) {
          tell(error);
        }
        // The pipe to the stage before it.
        const last = new Program('cat').outputFile('/dev/null').errorFile('/dev/null').pipeSize(size);
        await join(new Program('true'), last).run().catch(tell);
        return { told, left: list('/proc/self/fd').length - before };
      },
      most + 1,
      { through: asNobody },
    );
    const failure = { name: 'LaunchError', step: 'pipe', errno: 'EPERM', syscall: 'fcntl' };
    const why = `: this process may not give a pipe ${most + 1} bytes (fcntl: EPERM). Without the capability CAP_SYS_RESOURCE, the kernel gives ${most} at most (/proc/sys/fs/pipe-max-size).`;
    expect(errors).toEqual({
      told: [
        { ...failure, message: `Cannot start \`true\`${why}` },
        { ...failure, message: `Cannot start \`true\`${why}` },
        { ...failure, stage: 1, message: `Cannot start \`cat\`${why} It is stage 2 of \`true | cat\`.` },
      ],
      left: 0,
    });
  });

  test('since no kernel has so much, is told in the same way', async () => {
    await new Command('true').run();
    const before = openFds();
    const error = await rejection(LaunchError, new Command('true').pipeSize(2 ** 31).run());
    expect([error.step, error.syscall, openFds()]).toEqual(['pipe', 'fcntl', before]);
  });
});
