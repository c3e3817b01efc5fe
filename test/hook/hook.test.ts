import { execFileSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runInThisContext } from 'node:vm';
import { type AnyCommand, Command, ExitError, LaunchError, UsageError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { children, eventually, isRunning, rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { targetsOf } from '../helpers/daemons.js';
import {
  bits,
  fieldsOf,
  inParent,
  needsProgram,
  needsRoot,
  NOBODY,
  outputOf,
  root,
  statusOf,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

const daemon = () => new Command('sleep', '600').daemonize();
const sh = (script: string, ...words: string[]) => new Command('sh', '-c', script, ...words);

/** The pid that holds a lock on a file, as the kernel lists it. */
function lockHolder(file: string): number | undefined {
  const { ino } = statSync(file);
  const line = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .find((row) => row.includes(`:${ino} `) && row.includes('POSIX'));
  return line === undefined ? undefined : Number(line.trim().split(/\s+/)[4]);
}

/** What this process has open. */
const descriptors = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // The descriptor of the listing itself.
    }
  });

/** Gives a command a descriptor of a file of its own, by which every process of its launch is known. */
function marked<C extends AnyCommand>(command: C): { command: C; holders: () => string[] } {
  const file = path('mark');
  const fd = openSync(file, 'w');
  onTestFinished(() => closeSync(fd));
  const holds = (pid: string): boolean => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((number) => readlinkSync(`/proc/${pid}/fd/${number}`) === file);
    } catch {
      return false; // It is gone, or a thread of the kernel, which has no descriptors.
    }
  };
  return {
    command: command.preserveFd(fd),
    holders: () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid) && holds(pid)),
  };
}

class Preparing {
  prepare(file: string): void {
    process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
  }
}

// ---------------------------------------------------------------- what a hook is

describe('a hook', () => {
  test('runs in the process that becomes the program: the pid is the same', async () => {
    const child = await sh('echo $$')
      .outputBuffer()
      .preExecHook((file: string, { pid }) => {
        process.getBuiltinModule('node:fs').writeFileSync(file, `${process.pid} ${pid}`);
      }, path('told'))
      .runAsync();
    const { stdout } = await child.wait();
    expect([stdout, readFileSync(path('told'), 'utf8')]).toEqual([`${child.pid}\n`, `${child.pid} ${child.pid}`]);
  });

  test("as on libvirt's page: hook(opaque), and non-zero means that the program is not run", async () => {
    function hook(opaque: { file: string; answer: number }): number {
      process.getBuiltinModule('node:fs').appendFileSync(opaque.file, 'hook\n');
      return opaque.answer;
    }
    const command = (answer: number) =>
      sh('echo program >>"$0"', path('told')).preExecHook(hook, { file: path('told'), answer });
    await command(0).run();
    expect((await rejection(LaunchError, command(1).run())).step).toBe('hook');
    expect((await rejection(LaunchError, command(-1).run())).step).toBe('hook');
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\nprogram\nhook\nhook\n');
  });

  test('may be async: the program waits for it', async () => {
    await sh('echo program >>"$0"', path('told'))
      .preExecHook(async (file: string) => {
        await process.getBuiltinModule('node:timers/promises').setTimeout(20);
        await process.getBuiltinModule('node:fs').promises.appendFile(file, 'hook\n');
      }, path('told'))
      .run();
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\nprogram\n');
  });

  test('gets its opaque as a structured clone: Map, Set, Date, bytes, bigint, circles', async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const opaque = {
      file: path('told'),
      map: new Map([['a', 1n]]),
      set: new Set([2]),
      date: new Date(86_400_000),
      bytes: Buffer.from('höök'),
      words: Uint16Array.of(1, 65_535),
      circle,
      none: null,
    };
    await new Command('true')
      .preExecHook(({ file, map, set, date, bytes, words, circle: round, none }: typeof opaque) => {
        const seen = [
          map.get('a') === 1n,
          set.has(2),
          date.toISOString(),
          Buffer.isBuffer(bytes) && bytes.toString(),
          words instanceof Uint16Array && words[1],
          round.self === round,
          none,
        ];
        process.getBuiltinModule('node:fs').writeFileSync(file, JSON.stringify(seen));
      }, opaque)
      .run();
    expect(JSON.parse(readFileSync(path('told'), 'utf8'))).toEqual([
      true,
      true,
      '1970-01-02T00:00:00.000Z',
      'höök',
      65_535,
      true,
      null,
    ]);
  });

  test('gets its opaque as it was at the call, however large', async () => {
    const opaque = { file: path('told'), bytes: Buffer.alloc(5_000_000, 'x'), word: 'before' };
    const command = new Command('true').preExecHook(({ file, bytes, word }: typeof opaque) => {
      process
        .getBuiltinModule('node:fs')
        .writeFileSync(file, `${word} ${bytes.length} ${bytes.every((byte) => byte === 120)}`);
    }, opaque);
    opaque.word = 'after';
    await command.run();
    await command.clone().run();
    expect(readFileSync(path('told'), 'utf8')).toBe('before 5000000 true');
  });

  test.for<[string, unknown]>([
    ['an arrow function', (file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'ran')],
    ['an async arrow function', async (file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'ran')],
    [
      'an arrow function that ends in a comment',
      runInThisContext("(file) => process.getBuiltinModule('node:fs').writeFileSync(file, 'ran') // done"),
    ],
    [
      'a function without a name',
      function (file: string) {
        process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
      },
    ],
    [
      'a named function',
      function named(file: string) {
        process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
      },
    ],
    [
      'an async function',
      async function (file: string) {
        process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
      },
    ],
    [
      'a method',
      {
        prepare(file: string) {
          process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
        },
      }.prepare,
    ],
    [
      'an async method',
      {
        async prepare(file: string) {
          process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
        },
      }.prepare,
    ],
    [
      'a method whose name is a word of the language',
      {
        if(file: string) {
          process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
        },
      }.if,
    ],
    [
      'a method whose name is a text',
      {
        'a b'(file: string) {
          process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
        },
      }['a b'],
    ],
    ['a method of a class', new Preparing().prepare],
  ])('may be %s', async ([, hook]) => {
    await new Command('true').preExecHook(hook as (file: string) => void, path('told')).run();
    expect(readFileSync(path('told'), 'utf8')).toBe('ran');
  });

  test('may be a module, ES or CommonJS, whose default export is the function', async () => {
    writeFileSync(
      path('hook.mjs'),
      `import { appendFileSync } from 'node:fs';\nexport default async (file) => appendFileSync(file, 'es ');\n`,
    );
    writeFileSync(path('hook.cjs'), `module.exports = (file) => require('node:fs').appendFileSync(file, 'cjs ');\n`);
    for (const name of ['hook.mjs', 'hook.cjs'])
      await new Command('true').preExecHook(pathToFileURL(path(name)), path('told')).run();
    expect(readFileSync(path('told'), 'utf8')).toBe('es cjs ');
  });

  test('may import files from its directory, which is that of this process', async () => {
    mkdirSync(path('app'));
    writeFileSync(path('app/part.mjs'), "export const word = 'imported';\n");
    const answer = await inParent(async ({ Command: Program }, directory) => {
      process.chdir(directory);
      const hook =
        "async (file) => { const { word } = await import('./part.mjs'); process.getBuiltinModule('node:fs').writeFileSync(file, word + ' ' + process.cwd()); }";
      await Program.fromSpec({
        ...new Program('true').spec(),
        preExecHook: { source: hook.replace('(file)', `(file = ${JSON.stringify(`${directory}/told`)})`) },
      }).run();
      return process.getBuiltinModule('node:fs').readFileSync('told', 'utf8');
    }, path('app'));
    expect(answer).toBe(`imported ${path('app')}`);
  });

  test('has the environment of this process, without what is meant for this Node alone; the program has its own', async () => {
    const own = {
      FOR_ALL: 'yes',
      NODE_OPTIONS: '--no-deprecation',
      NODE_CHANNEL_FD: '99',
      NODE_UNIQUE_ID: '1',
      NODE_V8_COVERAGE: path('coverage'),
      NODE_DEBUG: 'module',
    };
    const told = await inParent(
      async ({ Command: Program }, { variables, file }) => {
        Object.assign(process.env, variables);
        const { stdout, stderr } = await new Program('env')
          .env('ONLY', 'this')
          .outputBuffer()
          .errorBuffer()
          .preExecHook((at: string) => {
            process.getBuiltinModule('node:fs').writeFileSync(at, JSON.stringify(process.env));
          }, file)
          .run();
        return {
          stdout,
          stderr,
          hook: JSON.parse(process.getBuiltinModule('node:fs').readFileSync(file, 'utf8')) as Record<string, string>,
        };
      },
      { variables: own, file: path('told') },
    );
    expect([told.stdout, told.stderr]).toEqual(['ONLY=this\n', '']);
    expect(Object.keys(own).filter((name) => name in told.hook)).toEqual(['FOR_ALL']);
    expect(existsSync(path('coverage'))).toBe(false);
  });

  test('is told in the plan and by explain(), with the steps after it in their order', () => {
    const command = new Command('true')
      .umask(0)
      .maxFiles(9)
      .listenFds(2)
      .preExecHook(() => 0);
    const plan = command.plan();
    expect([plan.lane, plan.steps.map(({ step }) => step)]).toEqual([
      'hook-runner',
      ['sigaction', 'dup2', 'close_range', 'umask', 'hook', 'listen_pid', 'prlimit', 'sigprocmask', 'execve'],
    ]);
    expect(command.explain()).toMatch(/^ {2}lane +hook runner: .*$/m);
    expect(command.explain()).toMatch(/^ +5\. +hook +runs a function$/m);
  });
});

// ---------------------------------------------------------------- mistakes

describe('a hook that cannot be one is a mistake', () => {
  class Private {
    #prepare(): number {
      return 0;
    }
    get prepare(): () => number {
      return this.#prepare;
    }
  }
  const STAND =
    'the source of this function cannot stand by itself (it is an accessor, or a private method); wrap it in a function of its own';

  test.for<[string, () => unknown, string]>([
    ['a class', () => Preparing, 'a class cannot be called; give a function'],
    [
      'a generator',
      () =>
        function* () {
          yield 0;
        },
      'a generator does nothing when it is called; give a function, or an async function',
    ],
    [
      'an async generator',
      () =>
        async function* () {
          yield 0;
        },
      'a generator does nothing when it is called; give a function, or an async function',
    ],
    ['a private method', () => new Private().prepare, STAND],
    [
      'an accessor',
      () =>
        Object.getOwnPropertyDescriptor(
          {
            get prepare() {
              return 0;
            },
          },
          'prepare',
        )?.get,
      STAND,
    ],
    [
      'a bound function',
      () => (() => 0).bind(null),
      'the function has no source (it is bound, or built in); wrap it in one of its own',
    ],
  ])('%s', async ([, make, problem]) => {
    const error = await rejection(UsageError, new Command('true').preExecHook(make() as () => number).run());
    expect(error.message).toBe(`Mistake in \`true\`: preExecHook(function): ${problem}.`);
  });

  test('a function that speaks of native code is no built-in one', async () => {
    await new Command('true').preExecHook(() => ('[native code]' === String(0) ? 1 : 0)).run();
  });

  test('an opaque that cannot be copied', async () => {
    const error = await rejection(UsageError, new Command('true').preExecHook(() => 0, { call: () => 0 }).run());
    expect(error.message).toBe(
      'Mistake in `true`: preExecHook(function): its second argument cannot be copied into another process: it holds a function, a symbol, or another thing of this process alone.',
    );
  });

  test('an opaque that a spec has lost: it is said again, and the hook with it', async () => {
    const hook = (file: string): void => process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
    const spec = new Command('true').preExecHook(hook, path('told')).spec();
    const again = Command.fromSpec(JSON.parse(JSON.stringify(spec)) as typeof spec);
    const error = await rejection(UsageError, again.clone().run());
    expect(error.message).toBe(
      'Mistake in `true`: fromSpec(…): the hook was said with a second argument, which no spec holds; say preExecHook() again, with both.',
    );
    await again.preExecHook(hook, path('told')).run();
    expect(readFileSync(path('told'), 'utf8')).toBe('ran');
  });

  test('a daemon takes a timeout only with a hook', async () => {
    await rejection(UsageError, daemon().timeout(1000).run());
    keep(
      (
        await daemon()
          .timeout(20_000)
          .preExecHook(() => 0)
          .run()
      ).pid,
    );
  });
});

// ---------------------------------------------------------------- failures

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
    const { command: base, holders } = marked(sh('echo >"$0"', path('ran')).outputBuffer());
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
    const { command: base, holders } = marked(sh('echo >"$0"', path('ran')).daemonize());
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
    const { command, holders } = marked(sh('echo >"$0"', path('ran')));
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
    [', of a daemon, which leaves no pidfile', () => daemon().pidFile(path('pid'))],
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

// ---------------------------------------------------------------- what reaches the program

describe("of a hook's work, the program", () => {
  const LIST = 'for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink $fd)"; done';

  /** The descriptors of a shell that lists its own, less those that it opens for that. */
  const listed = async (command: Command): Promise<string[]> =>
    (await outputOf(command))
      .trim()
      .split('\n')
      .filter((line) => !/^\d+ (\/dev\/null|pipe:.*|\/usr.*|)$/.test(line));

  test('has the umask', async () => {
    expect(
      (await statusOf((command) => command.umask(0o077).preExecHook(() => void process.umask(0o027))))['Umask'],
    ).toBe('0027');
  });

  test('has the directory', async () => {
    expect(await outputOf(new Command('pwd').preExecHook((to: string) => process.chdir(to), path()))).toBe(
      `${path()}\n`,
    );
  });

  test('has none of the descriptors that it opened, in whatever way', async () => {
    const opened = await listed(
      sh(LIST).preExecHook((file: string) => {
        const { openSync: open } = process.getBuiltinModule('node:fs');
        for (let count = 0; count < 10; count += 1) open(file, 'a+');
        process.getBuiltinModule('node:net').createServer().listen(`${file}.socket`);
      }, path('opened')),
    );
    expect(opened).toEqual([]);
    expect(existsSync(path('opened'))).toBe(true);
  });

  test('has none either that a library in the hook opened without care', async ({ skip }) => {
    needsProgram(skip, 'cc');
    execFileSync('cc', [
      '-shared',
      '-fPIC',
      '-o',
      path('leak.so'),
      fileURLToPath(new URL('../programs/leak-descriptor.c', import.meta.url)),
    ]);
    const seen = await listed(
      sh(LIST).preExecHook(
        ({ library, file }: { library: string; file: string }) => {
          try {
            process.dlopen({ exports: {} }, library);
          } catch {
            // It is no addon; but it was loaded, and has done its work.
          }
          const { readdirSync: list, readlinkSync: lead, writeFileSync: write } = process.getBuiltinModule('node:fs');
          write(
            file,
            String(
              list('/proc/self/fd').some((fd) => {
                try {
                  return lead(`/proc/self/fd/${fd}`) === '/dev/full';
                } catch {
                  return false;
                }
              }),
            ),
          );
        },
        { library: path('leak.so'), file: path('told') },
      ),
    );
    expect([readFileSync(path('told'), 'utf8'), seen]).toEqual(['true', []]);
  });

  test('has the descriptors that it was passed, at their numbers, and those that keepFd() names', async () => {
    const fd = openSync(path('passed'), 'w+');
    try {
      const seen = await listed(
        sh(LIST)
          .passFd(fd, { as: 3 })
          .passFd(fd, { as: 17 })
          .preExecHook((file: string, child) => {
            const { openSync: open, writeFileSync: write } = process.getBuiltinModule('node:fs');
            const fds = Array.from({ length: 10 }, () => open(`${file}.kept`, 'w+'));
            child.keepFd(fds[4] ?? -1);
            write(file, String(fds[4]));
          }, path('told')),
      );
      expect(seen).toEqual(
        expect.arrayContaining([
          `3 ${path('passed')}`,
          `17 ${path('passed')}`,
          `${readFileSync(path('told'), 'utf8')} ${path('told')}.kept`,
        ]),
      );
      expect(seen).toHaveLength(3);
    } finally {
      closeSync(fd);
    }
  });

  test.for([-1, 1.5, 900, 'x'])('keepFd(%s) of what is not open fails the hook', async (fd) => {
    const error = await rejection(
      LaunchError,
      new Command('true').preExecHook((given: number, child) => child.keepFd(given), fd as number).run(),
    );
    expect(error.message).toBe(
      `Cannot start \`true\`: its pre-exec hook failed: TypeError: keepFd(${typeof fd === 'string' ? `'${fd}'` : fd}): this is no open descriptor of the hook's; give it the number that openSync() gave.`,
    );
  });

  test('gives what the hook itself starts none of the descriptors that it was passed', async () => {
    const fd = openSync(path('passed'), 'w+');
    try {
      await new Command('true')
        .passFd(fd, { as: 5 })
        .passFd(fd, { as: 300 })
        .preExecHook((file: string) => {
          const { stdout } = process
            .getBuiltinModule('node:child_process')
            .spawnSync('sh', ['-c', 'ls -l /proc/self/fd'], { encoding: 'utf8' });
          process.getBuiltinModule('node:fs').writeFileSync(file, stdout);
        }, path('told'))
        .run();
      expect(
        Array.from(readFileSync(path('told'), 'utf8').matchAll(/ (\d+) -> /g), ([, number]) => Number(number)),
      ).toEqual([0, 1, 2, 3]);
    } finally {
      closeSync(fd);
    }
  });

  test('has its standard streams as they were, though Node sets pipes not to block', async () => {
    const O_NONBLOCK = 0o4000;
    const nonblocking = (text: string): boolean[] =>
      Array.from(
        text.matchAll(/^flags:\s*(\d+)$/gm),
        ([, flags = '']) => (Number.parseInt(flags, 8) & O_NONBLOCK) !== 0,
      );
    const child = await sh('cat /proc/$$/fdinfo/0 /proc/$$/fdinfo/1 /proc/$$/fdinfo/2')
      .inputPipe()
      .outputPipe()
      .errorPipe()
      .preExecHook(() => {
        process.stdin.resume();
        process.stdin.pause();
        process.stdout.write('hook\n');
        process.stderr.write('hook\n');
        const { readFileSync: read } = process.getBuiltinModule('node:fs');
        // The instrument: Node has changed at least one of them.
        const flags = [0, 1, 2].map((fd) =>
          Number.parseInt(/^flags:\s*(\d+)$/m.exec(read(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8),
        );
        if (!flags.some((bits) => (bits & 0o4000) !== 0)) throw new Error('Node has changed nothing');
      })
      .runAsync();
    let output = '';
    for await (const chunk of child.stdout) output += String(chunk);
    await child.wait();
    expect(output).toMatch(/^hook\n/);
    expect(nonblocking(output)).toEqual([false, false, false]);
  });

  test('has signals at their defaults and free, whatever the hook has done to them', async () => {
    const status = await statusOf((command) =>
      command.preExecHook(() => {
        for (const signal of ['SIGTERM', 'SIGUSR2', 'SIGPIPE', 'SIGHUP'] as const) process.on(signal, () => undefined);
      }),
    );
    expect(['SigIgn', 'SigBlk', 'SigCgt'].map((set) => bits(status[set]))).toEqual([0n, 0n, 0n]);
  });

  test('reads the input that was meant for it', async () => {
    expect(await outputOf(new Command('cat').inputBuffer('input').preExecHook(() => 0))).toBe('input');
    expect(
      new Command('cat')
        .inputBuffer('input')
        .outputBuffer()
        .preExecHook(() => 0)
        .runSync().stdout,
    ).toBe('input');
  });

  test("has LISTEN_PID right, and none of the hook's variables", async () => {
    const child = await sh('echo $$ $LISTEN_PID $LISTEN_FDS $SAID')
      .listenFds(2)
      .outputBuffer()
      .preExecHook(() => {
        process.env['SAID'] = 'x';
      })
      .runAsync();
    expect((await child.wait()).stdout).toBe(`${child.pid} ${child.pid} 1\n`);
  });
});

// ---------------------------------------------------------------- privileges and limits

describe('a hook comes before', () => {
  test("limits: they are the program's only", async () => {
    const limit = '^Max (?:open files|core file size) +(\\d+|unlimited)';
    const seen = await outputOf(
      sh('cat /proc/self/limits')
        .maxFiles(64)
        .maxCoreSize(0)
        .preExecHook(
          ({ file }: { file: string }) => {
            process
              .getBuiltinModule('node:fs')
              .writeFileSync(file, process.getBuiltinModule('node:fs').readFileSync('/proc/self/limits'));
          },
          { file: path('told') },
        ),
    );
    const read = (text: string) => Array.from(text.matchAll(new RegExp(limit, 'gm')), ([, value]) => value);
    expect(read(seen)).toEqual(['0', '64']);
    expect(read(readFileSync(path('told'), 'utf8'))).toEqual(read(readFileSync('/proc/self/limits', 'utf8')));
  });

  test('ids and capabilities: it runs as root, and the program does not', async ({ skip }) => {
    needsRoot(skip);
    const hook = (file: string): void =>
      process
        .getBuiltinModule('node:fs')
        .writeFileSync(file, process.getBuiltinModule('node:fs').readFileSync('/proc/self/status'));
    const status = fieldsOf(
      await outputOf(
        new Command('cat', '/proc/self/status')
          .user('nobody')
          .allowCap('CAP_NET_RAW')
          .noNewPrivileges()
          .preExecHook(hook, path('told')),
      ),
    );
    const before = fieldsOf(readFileSync(path('told'), 'utf8'));
    const own = fieldsOf(readFileSync('/proc/self/status', 'utf8'));
    expect([status['Uid'], status['CapEff'], status['CapBnd'], status['NoNewPrivs']]).toEqual([
      [NOBODY, NOBODY, NOBODY, NOBODY].join('\t'),
      '0000000000002000',
      '0000000000002000',
      '1',
    ]);
    expect(['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs'].map((name) => before[name])).toEqual(
      ['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs'].map((name) => own[name]),
    );
  });

  test('its handshake: runAsync() resolves when the hook is done, and the program waits', async () => {
    const command = sh('echo program >>"$0"', path('told'))
      .requireHandshake()
      .preExecHook((file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'hook\n'), path('told'));
    const child = await command.runAsync();
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\n');
    await child.handshakeWait();
    expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).toMatch(/^vircommand-helper/);
    await child.handshakeNotify();
    await child.wait();
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\nprogram\n');
  });

  test('its handshake, and fails before it', async () => {
    const error = await rejection(
      LaunchError,
      new Command('true')
        .requireHandshake()
        .preExecHook(() => 5)
        .runAsync(),
    );
    expect([error.step, children()]).toEqual(['hook', []]);
  });

  test('the end of the parent is looked for: with dieWithParent() the program of an orphan does not run', async () => {
    const { pid } = await inParent(
      async ({ Command: Program }, { ready, ran }) => {
        const { existsSync: there } = process.getBuiltinModule('node:fs');
        const launch = new Program('touch', ran)
          .dieWithParent()
          .preExecHook(async (file: string) => {
            const { writeFileSync: write } = process.getBuiltinModule('node:fs');
            const parent = process.ppid;
            write(`${file}.new`, String(process.pid));
            process.getBuiltinModule('node:fs').renameSync(`${file}.new`, file);
            while (process.ppid === parent) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
          }, ready)
          .runAsync();
        launch.catch(() => undefined);
        while (!there(ready)) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        const told = { pid: Number(process.getBuiltinModule('node:fs').readFileSync(ready, 'utf8')) };
        process.stdout.write(`\nRESULT ${JSON.stringify(told)}\n`, () => process.kill(process.pid, 'SIGKILL'));
        return new Promise<typeof told>(() => undefined);
      },
      { ready: path('ready'), ran: path('ran') },
    );
    keep(pid);
    await eventually('the orphan has ended', () => !isRunning(pid));
    expect(existsSync(path('ran'))).toBe(false);
  });
});

// ---------------------------------------------------------------- time

describe('a hook that hangs', () => {
  const hang = (): void => {
    for (;;);
  };
  const SENTENCE =
    'Cannot start `sh -c \'echo >"$0"\' PATH`: its pre-exec hook was not done within 100 ms, and was ended by SIGKILL.';
  const program = () => sh('echo >"$0"', path('ran'));
  const shown = (error: Error): string => error.message.replace(path('ran'), 'PATH');

  test.for<[string, (command: Command) => Promise<unknown>]>([
    ['run()', (command) => command.run()],
    ['runAsync()', (command) => command.runAsync()],
    ['runSync()', async (command) => command.runSync()],
    ['a handshake', (command) => command.requireHandshake().runAsync()],
    ['run() of a daemon', (command) => command.daemonize().pidFile(path('pid')).run()],
  ])('obeys timeout(), in %s', async ([, run]) => {
    const { command, holders } = marked(program());
    const error = await rejection(LaunchError, run(command.timeout(100).preExecHook(hang)));
    expect([error.step, error.reason, shown(error)]).toEqual(['hook', 'timeout', SENTENCE]);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), existsSync(path('pid')), children()]).toEqual([false, false, []]);
  });

  test.for<[string, (command: Command) => Promise<unknown>]>([
    ['run()', (command) => command.run()],
    ['runAsync()', (command) => command.runAsync()],
    ['run() of a daemon', (command) => command.daemonize().pidFile(path('pid')).run()],
  ])('obeys abortSignal(), in %s', async ([, run]) => {
    const controller = new AbortController();
    const { command, holders } = marked(program());
    const started = run(
      command.abortSignal(controller.signal).preExecHook((file: string) => {
        process.getBuiltinModule('node:fs').writeFileSync(file, 'hook');
        for (;;);
      }, path('told')),
    );
    const failed = rejection(LaunchError, started);
    await eventually('the hook runs', () => existsSync(path('told')));
    const reason = new Error('the window was closed');
    controller.abort(reason);
    const error = await failed;
    expect([error.step, error.reason, error.cause]).toEqual(['hook', 'aborted', reason]);
    expect(error.message).toMatch(/: it was aborted while its pre-exec hook ran: the window was closed\.$/);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), existsSync(path('pid')), children()]).toEqual([false, false, []]);
  });

  test('takes its time from that of the program: timeout() counts from the launch', async () => {
    const HOOK_MS = 3000;
    const TIMEOUT_MS = 4000;
    const command = new Command('sleep', '600')
      .timeout(TIMEOUT_MS)
      .preExecHook((ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)), HOOK_MS);
    const { reason, result } = await rejection(ExitError, command.run());
    expect(reason).toBe('timeout');
    expect(result.durationMs).toBeLessThan(HOOK_MS + TIMEOUT_MS);
  });

  test('does not outlive this process, if it ends in order', async () => {
    const pid = await inParent(async ({ Command: Program }, file) => {
      const launch = new Program('sleep', '600')
        .preExecHook((at: string) => {
          const { writeFileSync: write, renameSync } = process.getBuiltinModule('node:fs');
          write(`${at}.new`, String(process.pid));
          renameSync(`${at}.new`, at);
          for (;;);
        }, file)
        .run();
      launch.catch(() => undefined);
      while (!process.getBuiltinModule('node:fs').existsSync(file))
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      setImmediate(() => process.exit(0));
      return Number(process.getBuiltinModule('node:fs').readFileSync(file, 'utf8'));
    }, path('told'));
    keep(pid);
    await eventually('the hook has ended', () => !isRunning(pid));
  });
});

// ---------------------------------------------------------------- daemons

describe('the hook of a daemon', () => {
  test('runs in the daemon, which has its pidfile by then, and the lock on it to its end', async () => {
    const { pid } = await daemon()
      .pidFile(path('pid'))
      .preExecHook(
        ({ file, pidFile }: { file: string; pidFile: string }, child) => {
          const { ino } = process.getBuiltinModule('node:fs').statSync(pidFile);
          const lock = process
            .getBuiltinModule('node:fs')
            .readFileSync('/proc/locks', 'utf8')
            .split('\n')
            .find((row) => row.includes(`:${ino} `));
          process
            .getBuiltinModule('node:fs')
            .writeFileSync(
              file,
              JSON.stringify({ pid: child.pid, holder: Number(lock?.trim().split(/\s+/)[4]), cwd: process.cwd() }),
            );
        },
        { file: path('told'), pidFile: path('pid') },
      )
      .run();
    keep(pid);
    expect(JSON.parse(readFileSync(path('told'), 'utf8'))).toEqual({ pid, holder: pid, cwd: '/' });
    expect([readFileSync(path('pid'), 'utf8'), lockHolder(path('pid'))]).toEqual([String(pid), pid]);
    const wanted = ['/dev/null', '/dev/null', '/dev/null', path('pid')].sort();
    await eventually(
      `it has ${wanted.join(', ')} and nothing else`,
      () => targetsOf(pid).sort().join() === wanted.join(),
    );
  });

  test('that dies leaves a pidfile alone that somebody else has taken over', async () => {
    const error = await rejection(
      LaunchError,
      daemon()
        .pidFile(path('pid'))
        .preExecHook((file: string) => {
          process.getBuiltinModule('node:fs').writeFileSync(`${file}.new`, '0'.repeat(String(process.pid).length));
          process.getBuiltinModule('node:fs').renameSync(`${file}.new`, file);
          process.kill(process.pid, 'SIGKILL');
          for (;;);
        }, path('pid'))
        .run(),
    );
    expect([error.step, readFileSync(path('pid'), 'utf8')]).toEqual(['hook', expect.stringMatching(/^0+$/)]);
  });

  test('goes on where the process that launched it is gone', async () => {
    const pid = await inParent(
      async ({ Command: Program }, { ready, told }) => {
        void new Program('sleep', '600')
          .daemonize()
          .preExecHook(
            async ([first, second]: readonly [string, string]) => {
              const { writeFileSync: write, renameSync } = process.getBuiltinModule('node:fs');
              write(`${first}.new`, `${process.pid} ${process.ppid}`);
              renameSync(`${first}.new`, first);
              while (!process.getBuiltinModule('node:fs').existsSync(second))
                await process.getBuiltinModule('node:timers/promises').setTimeout(5);
            },
            [ready, told] as const,
          )
          .run();
        while (!process.getBuiltinModule('node:fs').existsSync(ready))
          await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        const result = Number.parseInt(process.getBuiltinModule('node:fs').readFileSync(ready, 'utf8'), 10);
        process.stdout.write(`\nRESULT ${result}\n`, () => process.kill(process.pid, 'SIGKILL'));
        return new Promise<number>(() => undefined);
      },
      { ready: path('ready'), told: path('told') },
    );
    keep(pid);
    writeFileSync(path('told'), '');
    await eventually(
      'the program runs',
      () => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') === 'sleep\x00600\x00',
    );
  });

  test('with a handshake comes before it', async () => {
    const result = await daemon()
      .pidFile(path('pid'))
      .requireHandshake()
      .preExecHook((file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'hook'), path('told'))
      .run();
    keep(result.pid);
    expect([readFileSync(path('told'), 'utf8'), readFileSync(path('pid'), 'utf8')]).toEqual([
      'hook',
      String(result.pid),
    ]);
    expect(readFileSync(`/proc/${result.pid}/cmdline`, 'utf8')).toMatch(/^vircommand-helper/);
    await result.handshakeNotify();
    expect(readFileSync(`/proc/${result.pid}/cmdline`, 'utf8')).toBe('sleep\x00600\x00');
    expect(lockHolder(path('pid'))).toBe(result.pid);
  });
});

// ---------------------------------------------------------------- many, and how

test('twenty hooks at once each have their own opaque, pid and program', async () => {
  const before = descriptors();
  const results = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const child = await sh('echo $$ $(cat)')
        .inputBuffer(String(index))
        .outputBuffer()
        .preExecHook(
          ({ at, number }: { at: string; number: number }, { pid }) => {
            process.getBuiltinModule('node:fs').writeFileSync(at, `${pid} ${number}\n`);
            return number % 5 === 4 ? 1 : 0;
          },
          { at: path(String(index)), number: index },
        )
        .runAsync()
        .catch((error: unknown) => error as LaunchError);
      if (child instanceof LaunchError) return child.step;
      return (await child.wait()).stdout;
    }),
  );
  expect(results).toEqual(
    results.map((_, index) => (index % 5 === 4 ? 'hook' : readFileSync(path(String(index)), 'utf8'))),
  );
  expect([descriptors(), children()]).toEqual([before, []]);
});

test('no process of a launch with a hook is a plain fork, and ids change in the helper only', async ({ skip }) => {
  needsProgram(skip, 'strace');
  needsRoot(skip);
  await inParent(
    async ({ Command: Program }, nobody) => {
      await new Program('/bin/true')
        .uid(nobody)
        .gid(nobody)
        .preExecHook(() => 0)
        .run();
      await new Program('/bin/true')
        .daemonize()
        .preExecHook(() => 0)
        .run();
      return null;
    },
    NOBODY,
    {
      through: [
        'strace',
        '-ff',
        '-qq',
        '-e',
        'trace=execve,clone,clone3,fork,vfork,setresuid',
        '-e',
        'signal=none',
        '-o',
        path('trace'),
      ],
    },
  ).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
  const traces = readdirSync(path())
    .filter((name) => name.startsWith('trace.'))
    .map((name) => readFileSync(path(name), 'utf8').trim().split('\n'));
  const births = traces
    .flat()
    .filter((line) => /^(clone|clone3|fork|vfork)\(/.test(line) && !line.includes('CLONE_THREAD'));
  expect(births.length).toBeGreaterThanOrEqual(3);
  expect(births.filter((line) => !line.includes('CLONE_VM|') || !line.includes('CLONE_VFORK|'))).toEqual([]);
  const programs = traces.map((lines) =>
    lines
      .map((line) => /^execve\(".*?", \["([^"]+)"/.exec(line)?.[1] ?? /^(setresuid)/.exec(line)?.[1] ?? '')
      .filter((name) => name !== ''),
  );
  expect(programs).toContainEqual(['vircommand-hook', 'vircommand-helper', 'setresuid', '/bin/true']);
});

test("a daemon is signaled only while it holds the other end of its report: after that, its pid may be somebody else's", ({
  skip,
}) => {
  const native = loadNative();
  if (typeof native === 'string') skip(native);
  else {
    const ends = Int32Array.of(-1, -1);
    expect(native.binding.pipe(ends)).toBe(0);
    const [report = -1, held = -1] = ends;
    expect(native.binding.signalDaemon(process.pid, report, 0)).toBe(0);
    closeSync(held);
    expect(native.binding.signalDaemon(process.pid, report, 0)).toBe(-constants.errno.ESRCH);
    closeSync(report);
  }
});

test('a library without its runner, as a bundle has it, refuses hooks, and nothing else', async () => {
  mkdirSync(path('copy/src/native/build'), { recursive: true });
  cpSync(`${root}/dist`, path('copy/dist'), { recursive: true });
  cpSync(`${root}/package.json`, path('copy/package.json'));
  symlinkSync(`${root}/node_modules`, path('copy/node_modules'));
  symlinkSync(`${root}/src/native/build/Release`, path('copy/src/native/build/Release'));
  rmSync(path('copy/dist/hook/runner.js'));
  const told = await inParent(
    async ({ Command: Program }) => {
      const { stdout } = await new Program('echo', 'runs').outputBuffer().run();
      return {
        stdout,
        refusal: await new Program('true')
          .preExecHook(() => 0)
          .run()
          .then(
            () => 'ran',
            (error: unknown) => String(error),
          ),
      };
    },
    undefined,
    { library: path('copy/dist/index.js') },
  );
  expect(told).toEqual({
    stdout: 'runs\n',
    refusal:
      'UnsupportedError: Cannot start `true`: the native engine cannot do preExecHook(), because the file dist/hook/runner.js is missing in the library: ' +
      'a bundle finds it in an installed vircommand only, and a checkout is built by `npm run build`. Leave the call out, or use an engine that can: see docs/engines.md.',
  });
});
