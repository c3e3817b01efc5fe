import { existsSync, readFileSync } from 'node:fs';
import { type AnyCommand, Command, LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { children, eventually, isRunning, rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { sleeper } from '../helpers/daemons.js';
import { useNativeEngine } from '../helpers/native.js';
import { descriptors, marked, sh, useOpenEngine } from './tools.js';

useNativeEngine();
useOpenEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

interface Failure {
  readonly title: string;
  readonly command: (base: AnyCommand) => AnyCommand;
  /** What follows the command in the message. */
  readonly sentence: string;
  readonly cause?: { readonly name: string; readonly message: string; readonly stack: RegExp };
  /** Where a daemon's parent knows less. */
  readonly ofDaemon?: string;
}

const failures: readonly Failure[] = [
  {
    title: 'returns a number that is not 0',
    command: (base) => base.preExecHook(() => 3),
    sentence: 'its pre-exec hook returned 3. Only 0, or nothing, lets the program run.',
  },
  {
    title: 'resolves to something else',
    command: (base) => base.preExecHook((async () => ({ ok: true })) as unknown as () => number),
    sentence: 'its pre-exec hook returned an object. Only 0, or nothing, lets the program run.',
  },
  {
    title: 'throws',
    command: (base) =>
      base.preExecHook(function bridge() {
        throw new Error('the bridge virbr0 is missing.');
      }),
    sentence: 'its pre-exec hook failed: the bridge virbr0 is missing.',
    cause: {
      name: 'Error',
      message: 'the bridge virbr0 is missing.',
      stack: /^Error: the bridge virbr0 is missing\.\n +at bridge \(pre-exec-hook:\d+:\d+\)/,
    },
  },
  {
    title: 'names what stands outside of its source',
    command: (base) => {
      const q = 3;
      return base.preExecHook(() => q);
    },
    sentence:
      "its pre-exec hook failed: ReferenceError: q is not defined. Only the hook's source reaches the child: pass q as opaque, the second argument of preExecHook(), or import it in the hook.",
  },
  {
    title: 'leaves no descriptor for the steps after it',
    command: (base) =>
      base.preExecHook(() => {
        const { openSync } = process.getBuiltinModule('node:fs');
        try {
          for (;;) openSync('/dev/null', 'r');
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
        }
      }),
    sentence:
      'its pre-exec hook failed: ProcessError: no descriptor or no memory is left for the steps after it (memfd_create: EMFILE); close what it has opened.',
  },
  {
    title: 'throws an error of another kind',
    command: (base) => base.preExecHook((opaque: unknown) => (opaque as { call: () => number }).call()),
    sentence: "its pre-exec hook failed: TypeError: Cannot read properties of undefined (reading 'call').",
    cause: {
      name: 'TypeError',
      message: "Cannot read properties of undefined (reading 'call')",
      stack: /^TypeError: .*\n +at pre-exec-hook:\d+:\d+/,
    },
  },
  {
    title: 'throws what is no error',
    command: (base) =>
      base.preExecHook(() => {
        throw { reason: 'none' }; // eslint-disable-line @typescript-eslint/only-throw-error -- hooks do
      }),
    sentence: "its pre-exec hook failed: { reason: 'none' }.",
  },
  {
    title: 'rejects',
    command: (base) =>
      base.preExecHook(async () => process.getBuiltinModule('node:fs').promises.readFile('/nowhere') as Promise<never>),
    sentence: "its pre-exec hook failed: ENOENT: no such file or directory, open '/nowhere'.",
  },
  {
    title: 'leaves something to the event loop that throws',
    command: (base) =>
      base.preExecHook(
        () =>
          new Promise<void>(() => {
            setTimeout(() => {
              throw new Error('too late');
            }, 1);
          }),
      ),
    sentence: 'its pre-exec hook failed: too late.',
  },
  {
    title: 'leaves a promise that rejects to nobody',
    command: (base) =>
      base.preExecHook(
        () =>
          new Promise<void>((resolve) => {
            void Promise.reject(new Error('unheard'));
            setTimeout(resolve, 1000);
          }),
      ),
    sentence: 'its pre-exec hook failed: unheard.',
  },
  {
    title: 'waits for what never comes',
    command: (base) => base.preExecHook(() => new Promise<void>(() => undefined)),
    sentence: 'the promise of its pre-exec hook never settled, and there was nothing left to wait for.',
  },
  {
    title: 'calls process.exit(0)',
    command: (base) => base.preExecHook(() => process.exit(0)),
    sentence: 'its pre-exec hook ended its own process, with code 0. A hook that is done returns.',
  },
  {
    title: 'calls process.exit(3)',
    command: (base) => base.preExecHook(() => process.exit(3)),
    sentence: 'its pre-exec hook ended its own process, with code 3. A hook that is done returns.',
  },
  {
    title: 'ends its process by SIGKILL',
    command: (base) =>
      base.preExecHook(() => {
        process.kill(process.pid, 'SIGKILL');
        for (;;);
      }),
    sentence: 'the process of its pre-exec hook was ended by SIGKILL.',
    ofDaemon: 'the process of its pre-exec hook died.',
  },
  {
    title: 'goes past all that Node does at an exit',
    command: (base) =>
      base.preExecHook(() => (process as unknown as { reallyExit(code: number): never }).reallyExit(0)),
    sentence: 'the process of its pre-exec hook exited with code 0.',
    ofDaemon: 'the process of its pre-exec hook died.',
  },
  {
    title: 'has a source that is no expression',
    command: (base) => Command.fromSpec({ ...base.spec(), preExecHook: { source: 'not (' } }),
    sentence: 'the source of its pre-exec hook cannot be read: SyntaxError: Unexpected end of input.',
  },
  {
    title: 'has a source that is no function',
    command: (base) => Command.fromSpec({ ...base.spec(), preExecHook: { source: '42' } }),
    sentence: 'the source of its pre-exec hook is no function. Write `(opaque) => …`, or a function.',
  },
  {
    title: 'is a module that is missing',
    command: (base) => base.preExecHook(new URL('file:///nowhere/hook.js')),
    sentence:
      "the module of its pre-exec hook, 'file:///nowhere/hook.js', cannot be loaded: Cannot find module '/nowhere/hook.js'.",
  },
  {
    title: 'is a module that throws',
    command: (base) => base.preExecHook(new URL("data:text/javascript,throw new RangeError('no')")),
    sentence:
      "the module of its pre-exec hook, 'data:text/javascript,throw new RangeError('no')', cannot be loaded: RangeError: no.",
  },
  {
    title: 'is a module without a default export',
    command: (base) => base.preExecHook(new URL('data:text/javascript,export const hook = 0')),
    sentence:
      "the module of its pre-exec hook, 'data:text/javascript,export const hook = 0', has no function as its default export. Write `export default (opaque) => …` in it.",
  },
  {
    title: 'closes a descriptor of the program',
    command: (base) => base.preExecHook(() => process.getBuiltinModule('node:fs').closeSync(1)),
    sentence: 'its pre-exec hook closed descriptor 1, which is not its own.',
  },
];

describe('a hook that fails means that the program never runs, and leaves nothing: one that', () => {
  test.for(failures)('$title', async ({ command, sentence, cause }) => {
    const before = descriptors();
    const { command: base, holders } = marked(sh('echo >"$0"', path('ran')).outputBuffer(), path('mark'));
    const error = await rejection(LaunchError, command(base).run({ check: false }));
    const mark = descriptors().filter((entry) => entry.endsWith(path('mark')));
    expect(error.message.replace(/^Cannot start `sh -c .*?`: /, '')).toBe(sentence);
    expect([error.step, error.errno, error.syscall, error.reason]).toEqual(['hook', undefined, undefined, undefined]);
    if (cause !== undefined) {
      expect(error.cause).toMatchObject({ name: cause.name, message: cause.message });
      expect((error.cause as Error).stack).toMatch(cause.stack);
    }
    expect([existsSync(path('ran')), holders(), children()]).toEqual([false, [], []]);
    expect(descriptors().filter((entry) => !mark.includes(entry))).toEqual(before);
  });

  test.for(failures)('$title, of a daemon', async ({ command, sentence, ofDaemon }) => {
    const { command: base, holders } = marked(sh('echo >"$0"', path('ran')).daemonize(), path('mark'));
    const error = await rejection(LaunchError, command(base).pidFile(path('pid')).run());
    expect([error.step, error.message.replace(/^Cannot start `sh -c .*?`: /, '')]).toEqual([
      'hook',
      ofDaemon ?? sentence,
    ]);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), existsSync(path('pid')), children()]).toEqual([false, false, []]);
  });

  test('fails with runAsync() and runSync() as well', async () => {
    const command = () => new Command('true').preExecHook(() => 1);
    const sentence = 'Cannot start `true`: its pre-exec hook returned 1. Only 0, or nothing, lets the program run.';
    expect((await rejection(LaunchError, command().runAsync())).message).toBe(sentence);
    expect(() => command().runSync()).toThrow(sentence);
    expect(children()).toEqual([]);
  });

  test.for(['run', 'daemon'])('closes the descriptor by which it would be heard: %s', async (kind) => {
    const { command, holders } = marked(sh('echo >"$0"', path('ran')), path('mark'));
    if (kind === 'daemon') command.daemonize().pidFile(path('pid'));
    const error = await rejection(
      LaunchError,
      command
        .preExecHook(() => {
          const { closeSync: shut, readlinkSync: lead } = process.getBuiltinModule('node:fs');
          const report = Number(process.argv[3]);
          if (!lead(`/proc/self/fd/${report}`).startsWith('pipe:')) throw new Error('This is not the report.');
          shut(report);
        })
        .run(),
    );
    expect([error.step, error.message]).toEqual(['hook', expect.not.stringContaining('not the report')]);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), children()]).toEqual([false, []]);
  });

  test('leaves a process behind that holds the output, which nobody waits for', async () => {
    const error = await rejection(
      LaunchError,
      new Command('true')
        .outputBuffer()
        .waitForOutputEnd()
        .preExecHook((file: string) => {
          const left = process
            .getBuiltinModule('node:child_process')
            .spawn('sleep', ['600'], { stdio: ['ignore', 'inherit', 'ignore'], detached: true });
          process.getBuiltinModule('node:fs').writeFileSync(file, String(left.pid));
          return 1;
        }, path('told'))
        .run(),
    );
    keep(Number(readFileSync(path('told'), 'utf8')));
    expect(error.step).toBe('hook');
    expect(isRunning(Number(readFileSync(path('told'), 'utf8')))).toBe(true);
  });

  test.for<[string, () => AnyCommand]>([
    ['', () => new Command('true')],
    [', of a daemon, which leaves no pidfile', () => sleeper().pidFile(path('pid'))],
  ])('is told where Node itself cannot be executed%s', async ([, command]) => {
    const node = process.execPath;
    process.execPath = '/nowhere/node';
    const failed = rejection(
      LaunchError,
      command()
        .preExecHook(() => 0)
        .run(),
    ).finally(() => {
      process.execPath = node;
    });
    const error = await failed;
    expect([error.step, error.errno]).toEqual(['hook', 'ENOENT']);
    expect(error.message).toMatch(/`: it could not run its pre-exec hook \(hook: ENOENT\)\.$/);
    expect([existsSync(path('pid')), children()]).toEqual([false, []]);
  });

  test.for<[string, (command: Command) => Command, string]>([
    ['the program is missing', () => new Command('/nowhere'), 'execve'],
    ['the directory is missing', (command) => command.workingDirectory('/nowhere'), 'chdir'],
    ['a limit is refused', (command) => command.limit('nofile', 2 ** 40), 'prlimit'],
  ])('a step that fails after the hook is an error with its own name: %s', async ([, change, step]) => {
    const hook = (file: string): void => process.getBuiltinModule('node:fs').writeFileSync(file, 'hook');
    const error = await rejection(LaunchError, change(new Command('true')).preExecHook(hook, path('told')).run());
    expect([error.step, readFileSync(path('told'), 'utf8'), children()]).toEqual([step, 'hook', []]);
  });

  test('a step that fails after the hook removes the pidfile', async () => {
    const error = await rejection(
      LaunchError,
      new Command('/nowhere')
        .daemonize()
        .pidFile(path('pid'))
        .preExecHook(() => 0)
        .run(),
    );
    expect([error.step, existsSync(path('pid'))]).toEqual(['execve', false]);
  });
});
