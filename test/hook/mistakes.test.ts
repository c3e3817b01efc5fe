import { readFileSync } from 'node:fs';
import { Command, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { sleeper } from '../helpers/daemons.js';
import { useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

class Preparing {
  prepare(file: string): void {
    process.getBuiltinModule('node:fs').writeFileSync(file, 'ran');
  }
}

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
    await rejection(UsageError, sleeper().timeout(1000).run());
    keep(
      (
        await sleeper()
          .timeout(20_000)
          .preExecHook(() => 0)
          .run()
      ).pid,
    );
  });
});
