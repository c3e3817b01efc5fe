import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import { Command, LaunchError, UsageError } from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { fixture, NOWHERE, rejection, sh, useDirectory } from '../helpers/tools.js';

/** How many random maps are tried. Each starts a program. */
const MAPS = 60;

/** How many descriptors a random map has to draw from. */
const SOURCES = 6;

const isOpen = (fd: number): boolean => existsSync(`/proc/self/fd/${fd}`);

const O_CLOEXEC = 0o2000000;

/** The descriptors that this process was started with and that its programs inherit too, unless the engine closes them. */
const inherited = readdirSync('/proc/self/fd')
  .map(Number)
  .filter((fd) => fd > 2 && !closesOnExec(fd));

function closesOnExec(fd: number): boolean {
  try {
    return (
      (Number.parseInt(/^flags:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8) &
        O_CLOEXEC) !==
      0
    );
  } catch {
    // It was the one by which the list was read.
    return true;
  }
}

/** Where the descriptors of a program lead, by number; the one by which the listing reads its directory is left out. */
async function descriptorsOf(command: (program: Command) => Command): Promise<Map<number, string>> {
  const { stdout } = await command(new Command('ls', '-l', '/proc/self/fd'))
    .outputBuffer()
    .run();
  const lines = Array.from(
    stdout.matchAll(/ (\d+) -> (.*)$/gm),
    ([, fd, target = '']) => [Number(fd), target] as const,
  );
  return new Map(lines.filter(([, target]) => !/^\/proc\/\d+\/fd$/.test(target)));
}

export function descriptorContract(engine: EngineUnderTest): void {
  describe('descriptors', () => {
    const path = useDirectory();
    const opened: number[] = [];
    afterEach(() => {
      for (const fd of opened.splice(0)) if (isOpen(fd)) closeSync(fd);
    });
    const open = (name: string): number => {
      const fd = openSync(path(name), 'w+');
      opened.push(fd);
      return fd;
    };

    /** The descriptors of the program, beyond 0, 1 and 2, by the names of their files. */
    async function passed(pass: (command: Command) => Command): Promise<Record<number, string>> {
      const all = await descriptorsOf(pass);
      expect([all.get(0), all.has(1), all.has(2)]).toEqual(['/dev/null', true, true]);
      const own = Array.from(all).filter(
        ([fd, target]) => fd > 2 && (engine.closesInherited || target.startsWith(path()) || !inherited.includes(fd)),
      );
      return Object.fromEntries(own.map(([fd, target]) => [fd, target.slice(path('/').length)]));
    }

    test('a program has 0, 1 and 2, and no descriptor that was not passed', async () => {
      open('open here');
      expect(await passed((command) => command)).toEqual({});
    });

    test('a program has none of the descriptors that this process was given by its own parent', async ({ skip }) => {
      if (!engine.closesInherited)
        return skip(
          'child_process closes what Node opened, and leaves open what Node inherited; docs/engines.md says so',
        );
      const script = 'exec 9</dev/null; "$@"';
      await sh(script, process.execPath, fixture('list-descriptors.js'), path('report'))
        .passFd(open('a'), { as: 200 })
        .run();
      expect(readFileSync(path('report'), 'utf8')).toBe('0 1 2');
    });

    test('preserveFd() gives the same number and leaves it open here', async () => {
      const fd = open('a');
      expect(await passed((command) => command.preserveFd(fd))).toEqual({ [fd]: 'a' });
      expect(readlinkSync(`/proc/self/fd/${fd}`)).toBe(path('a'));
    });

    test.for<[string, (a: number, b: number, c: number) => [number, number][]]>([
      [
        'two that change places',
        (a, b) => [
          [a, b],
          [b, a],
        ],
      ],
      [
        'three that rotate',
        (a, b, c) => [
          [a, b],
          [b, c],
          [c, a],
        ],
      ],
      [
        'three that rotate the other way',
        (a, b, c) => [
          [a, c],
          [c, b],
          [b, a],
        ],
      ],
      [
        'a chain',
        (a, b, c) => [
          [a, b],
          [b, c],
        ],
      ],
      [
        'one at two numbers',
        (a, b) => [
          [a, a],
          [a, b],
        ],
      ],
      ['one in the place of another that is not passed', (a, b) => [[a, b]]],
      [
        'the first number, with a hole above it',
        (a, b) => [
          [a, 3],
          [b, 9],
        ],
      ],
      [
        'numbers above 100',
        (a, b, c) => [
          [a, 100],
          [b, 255],
          [c, 1000],
        ],
      ],
    ])('every assignment works: %s', async ([, assign]) => {
      const fds = [open('a'), open('b'), open('c')] as const;
      const names = new Map(fds.map((fd, index) => [fd, 'abc'[index]]));
      const map = assign(...fds);
      const seen = await passed((command) => map.reduce((so, [fd, as]) => so.passFd(fd, { as }), command));
      expect(seen).toEqual(Object.fromEntries(map.map(([fd, as]) => [as, names.get(fd)])));
    });

    test('3 and 4 change places, whatever they are here', async () => {
      const script = 'exec 3>"$1" 4>"$2"; exec "$3" "$4" "$5"';
      const { stdout } = await sh(
        script,
        path('three'),
        path('four'),
        process.execPath,
        fixture('swap.js'),
        path('seen'),
      )
        .outputBuffer()
        .run();
      expect(stdout).toBe(`${path('four')}\n${path('three')}\n`);
    });

    test('every map of descriptors comes out exactly, and nothing else with it', async () => {
      const fds = Array.from({ length: SOURCES }, (_, index) => open(String(index)));
      // Numbers that are sources too, and numbers that this process or the engine may have in use.
      const target = fc.oneof(
        fc.constantFrom(...fds),
        fc.integer({ min: 3, max: 64 }),
        fc.integer({ min: 3, max: 300 }),
      );
      const maps = fc.uniqueArray(fc.tuple(fc.nat(SOURCES - 1), target), { maxLength: 12, selector: ([, as]) => as });
      await fc.assert(
        fc.asyncProperty(maps, async (map) => {
          const seen = await passed((command) =>
            map.reduce((so, [source, as]) => so.passFd(fds[source] ?? -1, { as }), command),
          );
          expect(seen).toEqual(Object.fromEntries(map.map(([source, as]) => [as, String(source)])));
        }),
        { numRuns: MAPS },
      );
    });

    test('one number for two descriptors is a mistake', async () => {
      const { mistakes } = await rejection(
        UsageError,
        new Command('true').passFd(open('a'), { as: 9 }).passFd(open('b'), { as: 9 }).run(),
      );
      expect(mistakes).toHaveLength(1);
      expect(mistakes[0]?.problem).toContain('each number has one source');
    });

    test('a descriptor that is not open, or no longer, is a mistake', async () => {
      const fd = open('a');
      const command = new Command('true').preserveFd(fd);
      await command.run();
      closeSync(fd);
      expect((await rejection(UsageError, command.run())).mistakes[0]?.problem).toBe(
        `descriptor ${fd} is not open any more`,
      );
      expect((await rejection(UsageError, new Command('true').preserveFd(fd).run())).mistakes[0]?.problem).toContain(
        'is not open in this process',
      );
    });

    test.for<[string, (fd: number) => Promise<unknown>]>([
      ['after a launch', (fd) => new Command('true').transferFd(fd).run()],
      [
        'after a launch that is not waited for',
        async (fd) => (await new Command('true').transferFd(fd).runAsync()).wait(),
      ],
      ['after a failed launch', (fd) => rejection(LaunchError, new Command(NOWHERE).transferFd(fd).run())],
      [
        'after a missing file',
        (fd) => rejection(LaunchError, new Command('true').inputFile(NOWHERE).transferFd(fd).run()),
      ],
      [
        'after a mistake elsewhere',
        (fd) => rejection(UsageError, new Command('true').timeout(-1).transferFd(fd).run()),
      ],
      [
        'after an abort before the start',
        (fd) => rejection(LaunchError, new Command('true').abortSignal(AbortSignal.abort()).transferFd(fd).run()),
      ],
      ['at another number', (fd) => new Command('true').passFd(fd, { as: 77, closeInParent: true }).run()],
      ['as a standard stream', (fd) => new Command('true').passFd(fd, { as: 1, closeInParent: true }).run()],
    ])('a transferred descriptor is closed here %s', async ([, run]) => {
      const fd = open('a');
      await run(fd);
      expect(isOpen(fd)).toBe(false);
    });

    test('a transferred descriptor is open in the program, and gone for a second run', async () => {
      const fd = open('a');
      const command = sh('echo given > /proc/self/fd/$1', String(fd)).transferFd(fd);
      const runs = await Promise.allSettled([command.run(), command.run()]);
      expect(runs.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      expect(readFileSync(path('a'), 'utf8')).toBe('given\n');
      // The number may mean another file by now.
      open('b');
      const { mistakes } = await rejection(UsageError, command.run());
      expect(mistakes[0]?.problem).toContain('an earlier run has given this descriptor away');
      expect(isOpen(opened.at(-1) ?? -1)).toBe(true);
    });

    test('each standard stream can come from each of this process, in every combination', async () => {
      const streams = [open('0'), open('1'), open('2')] as const;
      const child = spawn(process.execPath, [fixture('permute-streams.js'), path('report')], { stdio: [...streams] });
      const [code] = (await once(child, 'exit')) as [number | null];
      expect([code, readFileSync(path('2'), 'utf8')]).toEqual([0, '']);
      const seen = JSON.parse(readFileSync(path('report'), 'utf8')) as Record<string, string>;
      const { inherited, ...combinations } = seen;
      expect(inherited).toBe('012');
      expect(combinations).toEqual(Object.fromEntries(Object.keys(combinations).map((wanted) => [wanted, wanted])));
      expect(Object.keys(combinations)).toHaveLength(27);
    });

    test.for(['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])(
      'a process that was started without %s launches as any other',
      async (closed) => {
        const script = `exec "$1" "$2" "$3" ${closed}`;
        await sh(script, process.execPath, fixture('plain-run.js'), path('report')).run();
        expect(readFileSync(path('report'), 'utf8')).toBe('{"stdout":"/dev/null\\nout\\n","stderr":"err\\n"}');
      },
    );
  });
}
