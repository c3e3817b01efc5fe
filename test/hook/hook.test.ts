import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { runInThisContext } from 'node:vm';
import { Command, LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { rejection, useDirectory } from '../helpers/tools.js';
import { inParent, useNativeEngine } from '../helpers/native.js';
import { sh } from './tools.js';

useNativeEngine();
const path = useDirectory();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

class Preparing {
  prepare(file: string): void {
    process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
  }
}

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
