import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import fc from 'fast-check';
import { Command, type Lane } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';
import {
  inParent,
  lanes,
  launchFailure,
  needsProgram,
  outputOf,
  useNativeEngine,
  type Library,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** How many random maps each lane takes. Each starts a program, and in one lane another Node before it. */
const MAPS = { 'shared-memory': 120, helper: 120, 'hook-runner': 12 };
const SOURCES = 8;

/** Numbers on which an engine's own descriptors are likely to lie: the lowest free ones, and those above. */
const LOW = 40;

function open(name: string): number {
  const fd = openSync(path(name), 'w+');
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** What each descriptor of a program leads to; the one by which the listing reads its directory is left out. */
async function descriptorsOf(build: (command: Command) => Command): Promise<Record<number, string>> {
  const listing = await outputOf(build(new Command('ls', '-l', '/proc/self/fd')));
  const rows = Array.from(
    listing.matchAll(/ (\d+) -> (.*)$/gm),
    ([, fd, target = '']) => [Number(fd), target] as const,
  );
  return Object.fromEntries(rows.filter(([, target]) => !/^\/proc\/\d+\/fd$/.test(target)));
}

/** The same without the three standard streams, which are always there. */
async function passed(build: (command: Command) => Command): Promise<Record<number, string>> {
  const all = await descriptorsOf(build);
  expect([0, 1, 2].map((fd) => all[fd]?.replace(/\d+/, ''))).toEqual(['/dev/null', 'pipe:[]', 'pipe:[]']);
  const { 0: _input, 1: _output, 2: _error, ...others } = all;
  return others;
}

describe.for(lanes)('in the lane %s', ([lane, take]) => {
  test("a program has three descriptors, and none of the engine's own", async () => {
    expect(await passed(take)).toEqual({});
  });

  test('every random map comes out exactly', async () => {
    const sources = Array.from({ length: SOURCES }, (_, index) => open(String(index)));
    const target = fc.oneof(
      fc.constantFrom(...sources),
      fc.integer({ min: 3, max: LOW }),
      fc.integer({ min: 3, max: 900 }),
    );
    const maps = fc.uniqueArray(fc.tuple(fc.constantFrom(...sources), target), {
      maxLength: 20,
      selector: ([, as]) => as,
    });
    await fc.assert(
      fc.asyncProperty(maps, async (map) => {
        const seen = await passed((command) => map.reduce((so, [fd, as]) => so.passFd(fd, { as }), take(command)));
        expect(seen).toEqual(Object.fromEntries(map.map(([fd, as]) => [as, path(String(sources.indexOf(fd)))])));
      }),
      { numRuns: MAPS[lane] },
    );
  });

  test("every number from 3 on is one that the program can have, also where an engine's own descriptor lies", async () => {
    const fd = open('a');
    const targets = Array.from({ length: LOW }, (_, index) => 3 + index);
    const seen = await passed((command) => targets.reduce((so, as) => so.passFd(fd, { as }), take(command)));
    expect(seen).toEqual(Object.fromEntries(targets.map((as) => [as, path('a')])));
    for (const as of targets)
      expect(await passed((command) => take(command).passFd(fd, { as }))).toEqual({ [as]: path('a') });
  });

  test('a thousand descriptors are turned by one place', async () => {
    const fds = Array.from({ length: 1000 }, (_, index) => openSync(path(String(index)), 'w+'));
    try {
      const seen = await passed((command) =>
        fds.reduce((so, fd, index) => so.passFd(fd, { as: fds[(index + 1) % fds.length] ?? fd }), take(command)),
      );
      expect(seen).toEqual(
        Object.fromEntries(fds.map((_fd, index) => [fds[(index + 1) % fds.length], path(String(index))])),
      );
    } finally {
      for (const fd of fds) closeSync(fd);
    }
  });

  test("the standard streams can be any of this process's descriptors, also the same one", async () => {
    const fd = open('a');
    const command = take(
      new Command('sh', '-c', 'for fd in 0 1 2 7; do readlink /proc/$$/fd/$fd; done >"$0"', path('seen')),
    );
    await command.inputFd(fd).outputFd(fd).errorFd(fd).passFd(fd, { as: 7 }).run();
    expect(readFileSync(path('seen'), 'utf8').trim().split('\n')).toEqual([
      path('a'),
      path('seen'),
      path('a'),
      path('a'),
    ]);
  });

  test('a number that is too large for the limit is a failure of dup2', async () => {
    const highest = Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
    expect(await launchFailure(take(new Command('true')).passFd(open('a'), { as: highest }))).toMatchObject({
      step: 'dup2',
      errno: 'EBADF',
    });
    expect(await passed((command) => take(command).passFd(open('b'), { as: highest - 1 }))).toEqual({
      [highest - 1]: path('b'),
    });
  });

  test('what is passed shares its offset and flags with this process, and does not close on exec', async () => {
    const fd = open('a');
    const text = await outputOf(
      take(new Command('sh', '-c', 'cat /proc/self/fdinfo/9; echo hello >&9')).passFd(fd, { as: 9 }),
    );
    expect(Number.parseInt(/^flags:\t(\d+)$/m.exec(text)?.[1] ?? '', 8) & 0o2000000).toBe(0);
    expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')).toMatch(/^pos:\t6$/m);
  });
});

interface Told {
  readonly own: string[];
  readonly seen: string[];
}

describe('a parent that was started in an unusual way', () => {
  /** Starts a program in the lane, and tells of the descriptors of the parent and of the program. */
  async function tell({ Command: Program }: Library, lane: Lane): Promise<Told> {
    const { readdirSync, closeSync: shut } = process.getBuiltinModule('node:fs');
    const own = readdirSync('/proc/self/fd');
    // Node has opened them again; here they are free while the launch makes its pipes.
    if (process.env['SHUT'] !== undefined) for (const fd of [0, 2]) shut(fd);
    const command = new Program('ls', '-l', '/proc/self/fd').inputBuffer('x').outputBuffer().errorBuffer();
    if (lane === 'helper') command.clearCaps();
    if (lane === 'hook-runner') command.preExecHook(() => 0);
    const { stdout } = await command.run();
    const seen = Array.from(
      stdout.matchAll(/ (\d+) -> (\S+)$/gm),
      ([, fd = '', target = '']) => `${fd} ${target.replace(/:.*/, '')}`,
    );
    // The last one is the directory that is listed.
    return { own, seen: seen.filter((entry) => !entry.endsWith('/fd')) };
  }

  test.for(lanes)(
    'descriptors 40 and 200 that it inherited do not reach the program, in the lane %s',
    async ([lane], { skip }) => {
      needsProgram(skip, 'bash');
      const { own, seen } = await inParent(tell, lane, {
        through: ['bash', '-c', 'exec 40</dev/null 200</dev/null; exec "$@"', 'bash'],
      });
      expect(own).toEqual(expect.arrayContaining(['40', '200']));
      expect(seen).toEqual(['0 pipe', '1 pipe', '2 pipe']);
    },
  );

  test.for(lanes)('with 0, 1 and 2 closed, the program still has its own three, in the lane %s', async ([lane]) => {
    const { seen } = await inParent(tell, lane, { through: ['sh', '-c', 'exec 3>&1; "$@" <&- 2>&-', 'sh'] });
    expect(seen).toEqual(['0 pipe', '1 pipe', '2 pipe']);
  });

  test.for(lanes)(
    'with 0 and 2 free while it launches, the program still has its own three, in the lane %s',
    async ([lane]) => {
      const { seen } = await inParent(tell, lane, { env: { SHUT: 'yes' } });
      expect(seen).toEqual(['0 pipe', '1 pipe', '2 pipe']);
    },
  );

  test.for(lanes)(
    'descriptors above a limit that was lowered since can be passed to numbers below it, in the lane %s',
    async ([lane], { skip }) => {
      needsProgram(skip, 'prlimit');
      const told = await inParent(async ({ Command: Program }, asked) => {
        const { openSync: open2 } = process.getBuiltinModule('node:fs');
        await new Program('true').run();
        const fds = Array.from({ length: 500 }, () => open2('/dev/zero', 'r'));
        const [high = -1, higher = -1] = fds.slice(-2);
        await new Program('prlimit', '--pid', String(process.pid), '--nofile=300').run();
        for (const fd of fds.slice(0, -2)) process.getBuiltinModule('node:fs').closeSync(fd);
        const list = () => {
          const command = new Program('ls', '-l', '/proc/self/fd').outputBuffer();
          if (asked === 'helper') command.clearCaps();
          return asked === 'hook-runner' ? command.preExecHook(() => 0) : command;
        };
        const below = await list().passFd(high, { as: 5 }).passFd(higher, { as: 6 }).run();
        const same = await list().preserveFd(high).run();
        const above = await list()
          .passFd(high, { as: higher })
          .run()
          .then(
            () => 'ran',
            (error: unknown) => (error as { step: string }).step,
          );
        const zeros = (text: string) => Array.from(text.matchAll(/ (\d+) -> \/dev\/zero$/gm), ([, fd]) => Number(fd));
        return { high, below: zeros(below.stdout), same: zeros(same.stdout), above };
      }, lane);
      expect(told.high).toBeGreaterThan(300);
      expect(told).toEqual({ high: told.high, below: [5, 6], same: [told.high], above: 'dup2' });
    },
  );
});

test('the listing shows where a descriptor of this process leads', () => {
  expect(readlinkSync(`/proc/self/fd/${open('a')}`)).toBe(path('a'));
});
