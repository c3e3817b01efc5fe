import { Command, UnsupportedError, UsageError } from 'vircommand';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { rejection, useDirectory, withVariables, writeProgram } from '../helpers/tools.js';

const printEnvironment = (): Command => new Command('/usr/bin/env', '-0');

/** The environment that a program was given, in its order. */
async function environmentOf(command: Command): Promise<string[]> {
  const { stdout } = await command.outputBuffer().run();
  return stdout.split('\0').slice(0, -1);
}

export function environmentContract(engine: EngineUnderTest): void {
  describe('environment', () => {
    const path = useDirectory();

    test('a program inherits exactly the environment of this process', async () => {
      await withVariables({ VC_ONE: 'é = "quoted"\nline', VC_EMPTY: '' }, async () => {
        const mine = Object.entries(process.env).map(([name, value]) => `${name}=${String(value)}`);
        expect((await environmentOf(printEnvironment())).sort()).toEqual(mine.sort());
      });
    });

    test('a variable that is set before the launch, and after the command was made, is inherited', async () => {
      const command = printEnvironment();
      await withVariables({ VC_LATE: 'yes' }, async () => {
        expect(await environmentOf(command)).toContain('VC_LATE=yes');
      });
    });

    test.for<[string, (command: Command) => Command]>([
      ['with nothing to wait for', (command) => command],
      ['with a file that is opened first', (command) => command.inputFile('/dev/null')],
    ])('what a program inherits is what is set when run() is called, %s', async ([, add]) => {
      await withVariables({ VC_CHANGING: 'at the call' }, async () => {
        const environment = environmentOf(add(printEnvironment()));
        process.env['VC_CHANGING'] = 'after the call';
        expect(await environment).toContain('VC_CHANGING=at the call');
      });
    });

    test.for<[string, (command: Command) => Command, string[]]>([
      ['env()', (command) => command.env('A', '1'), ['A=1']],
      ['env() with a value that holds everything', (command) => command.env('A', ' =\n\'"$é'), ['A= =\n\'"$é']],
      ['envString()', (command) => command.envString('A=b=c'), ['A=b=c']],
      ['envFormat()', (command) => command.envFormat('A', '%03d', 7), ['A=007']],
      ['envPass() of a variable that is set', (command) => command.envPass('VC_SET'), ['VC_SET=set here']],
      ['envPass() of a variable that is not set', (command) => command.envPass('VC_UNSET'), []],
      ['envPass() of both', (command) => command.envPass('VC_UNSET', 'VC_SET'), ['VC_SET=set here']],
      ['envPass() of an empty variable', (command) => command.envPass('VC_BLANK'), ['VC_BLANK=']],
      ['envClear()', (command) => command.envClear(), []],
      ['envClear() after others', (command) => command.env('A', '1').envClear().env('B', '2'), ['B=2']],
      [
        'envXdg()',
        (command) => command.envXdg('/v'),
        ['XDG_DATA_HOME=/v/.local/share', 'XDG_CACHE_HOME=/v/.cache', 'XDG_CONFIG_HOME=/v/.config'],
      ],
      ['a variable set again', (command) => command.env('A', '1').env('B', '2').env('A', '3'), ['A=3', 'B=2']],
      [
        'a variable called __proto__',
        (command) => command.env('__proto__', 'x').env('constructor', 'y'),
        ['__proto__=x', 'constructor=y'],
      ],
    ])('%s gives the program exactly that, in that order', async ([, set, expected]) => {
      await withVariables({ VC_SET: 'set here', VC_BLANK: '', VC_UNSET: undefined }, async () => {
        expect(await environmentOf(set(printEnvironment()))).toEqual(expected);
      });
    });

    // As `{ ...process.env, A: '1' }` in child_process and `os.environ | {…}` in Python.
    test('envInherit() keeps all variables, as they are at the call, and what is said is added or takes their place', async () => {
      const command = printEnvironment().env('VC_SET', 'anew').envInherit().env('VC_MORE', '1');
      await withVariables({ VC_SET: 'set here', VC_SETTER: 'é', VC_MORE: undefined }, async () => {
        const mine = Object.entries({ ...process.env, VC_SET: 'anew', VC_MORE: '1' });
        const expected = mine.map(([name, value]) => `${name}=${value}`);
        expect((await environmentOf(command)).sort()).toEqual(expected.sort());
        expect(await environmentOf(printEnvironment().envInherit().envClear().env('A', '1'))).toEqual(['A=1']);
        expect(String(command)).toBe('VC_SET=anew VC_MORE=1 /usr/bin/env -0');
      });
    });

    // As in child_process, where a variable whose value is undefined is left out.
    test('env() without a value sets nothing, and closes the environment all the same', async () => {
      expect(await environmentOf(printEnvironment().env('VC_SET', undefined).env('A', '1'))).toEqual(['A=1']);
      expect(await environmentOf(printEnvironment().env('VC_SET', undefined))).toEqual([]);
    });

    // child_process adds this variable to every environment that does not name it.
    test('NODE_V8_COVERAGE goes where it is said, and nowhere else', async () => {
      await withVariables({ NODE_V8_COVERAGE: '/tmp/coverage' }, async () => {
        expect(await environmentOf(printEnvironment().envClear())).toEqual([]);
        expect(await environmentOf(printEnvironment().env('A', '1'))).toEqual(['A=1']);
        expect(await environmentOf(printEnvironment().envPass('NODE_V8_COVERAGE'))).toEqual([
          'NODE_V8_COVERAGE=/tmp/coverage',
        ]);
      });
    });

    test('envPassCommon() passes LC_ALL=C and the common variables that are set, and no other', async () => {
      const common = {
        LD_LIBRARY_PATH: undefined,
        LD_PRELOAD: undefined,
        HOME: '/h',
        USER: 'u',
        LOGNAME: undefined,
        TMPDIR: '/t',
        VC_OTHER: 'x',
      };
      const search = process.env['PATH'] ?? '';
      await withVariables(common, async () => {
        expect(await environmentOf(printEnvironment().envPassCommon())).toEqual([
          'LC_ALL=C',
          `PATH=${search}`,
          'HOME=/h',
          'USER=u',
          'TMPDIR=/t',
        ]);
      });
    });

    // child_process reads the object that process.env is at the call: own and inherited names, everything as text.
    describe('an object in the place of process.env', () => {
      const real = process.env;
      afterEach(() => {
        process.env = real;
      });
      const inherited: [string, (env: NodeJS.ProcessEnv) => NodeJS.ProcessEnv][] = [
        ['a copy', (env) => ({ ...env })],
        ['a copy that is frozen', (env) => Object.freeze({ ...env })],
        ['a proxy of a copy', (env) => new Proxy({ ...env }, {})],
        ['an object that inherits from another', (env) => Object.create({ ...env }) as NodeJS.ProcessEnv],
        [
          'a proxy of the real one that hides a name',
          (env) =>
            new Proxy(real, {
              ownKeys: () => Object.keys(env),
              has: (_target, name) => name in env,
              get: (_target, name) => env[String(name)],
              getOwnPropertyDescriptor: (_target, name) =>
                name in env
                  ? { configurable: true, enumerable: true, writable: true, value: env[String(name)] }
                  : undefined,
            }),
        ],
      ];

      test.for(inherited)('is what a program inherits: %s', async ([, replace]) => {
        await withVariables({ VC_SECRET: 'secret', VC_OLD: 'old' }, async () => {
          const { VC_SECRET: _hidden, ...rest } = real;
          onTestFinished(() => {
            for (const name of ['VC_SECRET', 'VC_OLD']) Reflect.deleteProperty(real, name);
          });
          process.env = replace({ ...rest, VC_OLD: 'new', VC_NEW: 'here' });
          const environment = await environmentOf(printEnvironment());
          expect(environment.filter((entry) => entry.startsWith('VC_')).sort()).toEqual(['VC_NEW=here', 'VC_OLD=new']);
          expect(environment).toContain(`PATH=${String(real['PATH'])}`);
          expect(await environmentOf(printEnvironment().inputFile('/dev/null'))).toEqual(environment);
          expect(await environmentOf(printEnvironment().envPass('VC_OLD', 'VC_SECRET'))).toEqual(['VC_OLD=new']);
          process.env = real;
        });
      });

      test('counts from the moment on, and no longer than it stands there', async () => {
        const command = printEnvironment();
        process.env = { ...real, VC_NEW: 'here' };
        expect(await environmentOf(command.clone())).toContain('VC_NEW=here');
        process.env['VC_NEW'] = 'changed';
        expect(await environmentOf(command.clone())).toContain('VC_NEW=changed');
        process.env = real;
        expect((await environmentOf(command.clone())).filter((entry) => entry.startsWith('VC_NEW='))).toEqual([]);
      });

      test('has its values as text, and what is none is a mistake', async () => {
        const odd = (value: unknown): NodeJS.ProcessEnv => ({ VC_ODD: value }) as NodeJS.ProcessEnv;
        for (const [value, text] of [
          [5, '5'],
          [true, 'true'],
          [null, 'null'],
        ]) {
          process.env = odd(value);
          expect(await environmentOf(printEnvironment())).toEqual([`VC_ODD=${String(text)}`]);
          expect(await environmentOf(printEnvironment().envPass('VC_ODD'))).toEqual([`VC_ODD=${String(text)}`]);
        }
        process.env = odd(undefined);
        expect(await environmentOf(printEnvironment())).toEqual([]);
        for (const value of ['a\0b', Symbol('odd')]) {
          process.env = odd(value);
          const error = await rejection(UsageError, printEnvironment().run());
          expect(error.message).toContain("process.env['VC_ODD']: the value");
          await rejection(UsageError, printEnvironment().envPass('VC_ODD').run());
        }
      });

      test('has the PATH that is searched', async () => {
        writeProgram(path('tool'), '#!/bin/sh\necho found\n');
        process.env = { PATH: path() };
        expect((await new Command('tool').outputBuffer().run()).stdout).toBe('found\n');
      });
    });

    test('a value is that of the call, not that of the launch', async () => {
      const command = await withVariables({ VC_SET: 'then' }, async () => printEnvironment().envPass('VC_SET'));
      expect(await environmentOf(command)).toEqual(['VC_SET=then']);
    });

    test('bytes that are no UTF-8 arrive as they are, or are refused', async () => {
      const command = printEnvironment()
        .env('A', new Uint8Array([0xff, 0xfe]))
        .outputBuffer({ encoding: 'buffer' });
      if (engine.passesBytes) expect((await command.run()).stdout).toEqual(Buffer.from([0x41, 0x3d, 0xff, 0xfe, 0]));
      else
        expect(await rejection(UnsupportedError, command.run())).toMatchObject({ feature: 'env', engine: engine.name });
    });

    test('the program is looked for in the PATH of this process, not in its own', async () => {
      writeProgram(path('tool'), '#!/bin/sh\necho "found with PATH=$PATH"\n');
      await withVariables({ PATH: path() }, async () => {
        const { stdout } = await new Command('tool').env('PATH', '/somewhere').outputBuffer().run();
        expect(stdout).toBe('found with PATH=/somewhere\n');
      });
      await withVariables({ PATH: '/usr/bin' }, async () => {
        await expect(new Command('tool').env('PATH', path()).run()).rejects.toMatchObject({
          step: 'path-search',
          errno: 'ENOENT',
        });
      });
    });
  });
}
