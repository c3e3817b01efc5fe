import { constants } from 'node:os';
import { type Check, Command, ExitError, type RunResult } from 'vircommand';
import { describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { exists, FOREVER, inBatches, rejection, sh } from '../helpers/tools.js';

const AT_ONCE = 8;

/** The signals that end a process that does not catch them. */
const deadly: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGUSR2',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
  'SIGSTKFLT',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGPWR',
  'SIGSYS',
];

const harmless: readonly NodeJS.Signals[] = ['SIGCHLD', 'SIGCONT', 'SIGURG', 'SIGWINCH'];

const stopping: readonly NodeJS.Signals[] = ['SIGTSTP', 'SIGTTIN', 'SIGTTOU'];

const numberOf = (signal: NodeJS.Signals): number => constants.signals[signal];

/** The signal's number in a raw status, without the flag that tells of a core file. */
const signalOf = (rawStatus: number): number => rawStatus & 0x7f;

export function statusContract(engine: EngineUnderTest): void {
  describe('how a program ends', () => {
    test('every exit code comes back exactly, and no signal with it', async () => {
      const codes = Array.from({ length: 256 }, (_, code) => code);
      const results = await inBatches(AT_ONCE, codes, (code) => sh(`exit ${code}`).run({ check: false }));
      expect(results.map(({ exitCode, signal, rawStatus }) => ({ exitCode, signal, rawStatus }))).toEqual(
        codes.map((code) => ({ exitCode: code, signal: null, rawStatus: code << 8 })),
      );
    });

    test('every deadly signal comes back exactly, and no exit code with it', async () => {
      const results = await inBatches(AT_ONCE, deadly, (signal) =>
        sh(`kill -${numberOf(signal)} $$`).run({ check: false }),
      );
      expect(
        results.map(({ exitCode, signal, rawStatus }) => ({
          exitCode,
          signal,
          number: signalOf(rawStatus),
          code: rawStatus >> 8,
        })),
      ).toEqual(deadly.map((signal) => ({ exitCode: null, signal, number: numberOf(signal), code: 0 })));
    });

    // Python and systemd know such codes too: SuccessExitStatus=.
    describe('exit codes that are no error', () => {
      const ends = async (command: Command, check?: Check): Promise<string> => {
        const waits: (() => Promise<RunResult>)[] = [
          () => command.run({ check }),
          async () => (await command.runAsync()).wait({ check }),
          ...(engine.name === 'native' ? [async () => Promise.resolve(command.runSync({ check }))] : []),
        ];
        const told = await Promise.all(
          waits.map((wait) => wait().then(({ exitCode, signal }) => String(exitCode ?? signal), (error: unknown) => (error as ExitError).reason)),
        ); // prettier-ignore
        expect(new Set(told).size, told.join()).toBe(1);
        return told[0] ?? '';
      };

      test.for<[string, () => Command, Check | undefined, string]>([
        ['are those of check()', () => sh('exit 1').check([0, 1]), undefined, '1'],
        ['are 0 only if it is among them', () => sh('exit 0').check([1]), undefined, 'exit-code'],
        ['are no others', () => sh('exit 2').check([0, 1]), undefined, 'exit-code'],
        ['are those of the option', () => sh('exit 5'), [0, 5], '5'],
        ['are those of the option rather than of the command', () => sh('exit 1').check([1]), [0, 5], 'exit-code'],
        ['are 0 alone again', () => sh('exit 1').check([1]), true, 'exit-code'],
        ['are all with false', () => sh('exit 9').check(false), undefined, '9'],
        ['and signals with false', () => sh('kill -9 $$').check(false), undefined, 'SIGKILL'],
        ['but no signal', () => sh('kill -TERM $$').check([0, 143, 15]), undefined, 'signal'],
        ['but no timeout', () => sh(`exec sleep ${FOREVER}`).timeout(50).check(false), [0, 143], 'timeout'],
      ])('%s', async ([, command, check, end]) => {
        expect(await ends(command(), check)).toBe(end);
      });

      test('where 0 is none of them, the error says so', async () => {
        const error = await rejection(ExitError, sh('exit 0').check([1]).run());
        expect(error.message).toMatch(/^`sh -c 'exit 0' sh` exited with code 0 after .*, which check does not take\.$/);
      });
    });

    test('a signal that is harmless by default ends nothing', async () => {
      const results = await inBatches(AT_ONCE, harmless, (signal) =>
        sh(`kill -${numberOf(signal)} $$; exit 7`).run({ check: false }),
      );
      expect(results.map(({ exitCode, signal }) => [exitCode, signal])).toEqual(harmless.map(() => [7, null]));
    });

    // A shell cannot catch a signal that was ignored when it started, so this also shows that none is.
    test('every signal that can be caught is caught by a program that wants to', async () => {
      const catchable = [...deadly, ...harmless, ...stopping].filter((signal) => signal !== 'SIGKILL');
      const results = await inBatches(AT_ONCE, catchable, (signal) =>
        sh(`trap 'exit 42' ${numberOf(signal)}; kill -${numberOf(signal)} $$; exit 1`).run({ check: false }),
      );
      expect(results.map(({ exitCode }, index) => [catchable[index], exitCode])).toEqual(
        catchable.map((signal) => [signal, 42]),
      );
    });

    test('a program starts with no signal blocked, ignored or caught', async () => {
      const { stdout } = await sh('exec cat /proc/self/status').outputBuffer().run();
      const masks = Array.from(stdout.matchAll(/^Sig(Blk|Ign|Cgt):\t(\w+)$/gm), ([, name, mask]) => [
        name,
        Number.parseInt(mask ?? '', 16),
      ]);
      expect(masks).toEqual([
        ['Blk', 0],
        ['Ign', 0],
        ['Cgt', 0],
      ]);
    });

    test('a real-time signal comes back by its place above SIGRTMIN', async ({ skip }) => {
      if (!engine.tellsRealTimeSignals) skip('child_process tells of no real-time signal, as docs/engines.md says');
      const result = await sh('kill -35 $$').run({ check: false });
      expect(result).toMatchObject({ exitCode: null, signal: 'SIGRTMIN+1', rawStatus: 35 });
    });

    test('a real-time signal can be sent', async () => {
      await using child = await new Command('sleep', FOREVER).runAsync();
      expect(child.signal('SIGRTMIN+1')).toBe(true);
      await child.wait({ check: false });
      expect(exists(child.pid)).toBe(false);
    });

    test.for([
      [
        'an exit code',
        'echo the reason >&2; exit 3',
        'exit-code',
        /^`sh -c .*` exited with code 3 after .*\.\n\nthe reason$/,
      ],
      [
        'a signal',
        'echo the reason >&2; kill -TERM $$',
        'signal',
        /^`sh -c .*` was ended by SIGTERM after .*\.\n\nthe reason$/,
      ],
    ] as const)('%s is an ExitError unless check is false', async ([, script, reason, message]) => {
      const error = await rejection(ExitError, sh(script).run());
      expect(error).toMatchObject({ code: 'ERR_COMMAND_EXIT', reason });
      expect(error.message).toMatch(message);
      const { exitCode, signal } = await sh(script).run({ check: false });
      expect(error.result).toMatchObject({ exitCode, signal });
    });
  });
}
