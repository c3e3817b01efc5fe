import { existsSync, readdirSync } from 'node:fs';
import { inspect } from 'node:util';
import { adoptOrphans, Command, killPainfully, killTree, pidAbort, PidFile, pidWait } from 'vircommand';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { FOREVER, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

const boom = (): never => {
  throw new Error('boom');
};

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Values that no function here takes for anything. */
const odd: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['1.5', 1.5],
  ['2 ** 31', 2 ** 31],
  ['-(2 ** 31)', -(2 ** 31)],
  ['2 ** 32 + 2', 2 ** 32 + 2],
  ['a bigint', 123n],
  ['true', true],
  ['a symbol', Symbol('x')],
  ['an object', {}],
  ['an object without a prototype', Object.create(null)],
  ['a list', [123]],
  ['a function', () => 123],
  ['detached bytes', detached()],
  ['a revoked proxy', revoked()],
  ['an object that throws when it is looked at', Object.defineProperty({}, 'pid', { get: boom, enumerable: true })],
  ['an object that throws when it is printed', { [inspect.custom]: boom, toString: boom, [Symbol.toPrimitive]: boom }],
  [
    'an object whose class throws',
    {
      get [Symbol.toStringTag]() {
        return boom();
      },
    },
  ],
];

const pids = [...odd, ['a numeric string', '123'], ['an empty string', '']] as const;
const paths = [...odd, ['an empty string', ''], ['a NUL', 'a\0b'], ['a number', 7]] as const;

/** What a call throws or rejects with. */
async function mistakeOf(act: () => unknown): Promise<unknown> {
  try {
    return { resolved: await act() };
  } catch (error) {
    return error;
  }
}

/** It is one sentence that names the call, as the caller wrote it, and what is right. */
async function expectMistake(call: string, wayOut: RegExp, act: () => unknown): Promise<void> {
  const error = await mistakeOf(act);
  expect(error).toBeInstanceOf(TypeError);
  const { name, message } = error as Error;
  expect(name).toBe('TypeError');
  expect(message.startsWith(`${call}(`)).toBe(true);
  expect(message).toMatch(wayOut);
  expect(message).not.toMatch(/Cannot read|Cannot convert|undefined is not|is not a function|destructure|perform '/);
}

describe.each(['native', 'portable'])('odd values on the %s engine', (engine) => {
  beforeEach(() => {
    process.env['VIRCOMMAND_ENGINE'] = engine;
    return () => {
      process.env['VIRCOMMAND_ENGINE'] = 'native';
    };
  });

  test.each(pids)('%s is no pid', async (_words, value) => {
    const pid = value as number;
    await expectMistake('killPainfully', /: a pid is a whole number; read it with PidFile\.read\(\)\.$/, () =>
      killPainfully(pid),
    );
    await expectMistake('killTree', /: a tree starts at a process above 1; give a Child, or its pid\.$/, () =>
      killTree(pid),
    );
    await expectMistake('pidWait', /: a pid is a whole number; give the one of a Child\.$/, () => pidWait(pid));
    await expectMistake('pidAbort', /: a pid is a whole number; give the one of a Child\.$/, () => pidAbort(pid));
  });

  test.each([0, -1, -0, 1, process.pid])('%d is nothing that killTree() could end and tell', async (pid) => {
    expect(await mistakeOf(() => killTree(pid))).toMatchObject({
      message: expect.stringMatching(/^killTree\(-?\d+\): /),
    });
    expect(await mistakeOf(() => killTree({ pid }))).toMatchObject({ message: expect.stringMatching(/^killTree\(/) });
  });

  test.each(paths)('%s is no path of a pidfile', async (_words, value) => {
    const file = value as string;
    const before = readdirSync(path());
    const calls = ['read', 'readIfAlive', 'readIfLocked', 'acquire', 'release', 'forceCleanup', 'remove'] as const;
    for (const name of calls) {
      const wayOut =
        /: give the path of a pidfile, text or bytes that are not empty and hold no NUL; PidFile\.path\(\) makes one\.$/;
      await expectMistake(`PidFile.${name}`, wayOut, () => PidFile[name](file));
    }
    if (value !== '')
      for (const act of [() => PidFile.path(file, 'x'), () => PidFile.path('/run', file)])
        await expectMistake('PidFile.path', /: give a directory and a name, text or bytes without NUL\.$/, act);
    expect(readdirSync(path())).toEqual(before);
  });

  test.each(paths.filter(([, value]) => value !== undefined))('%s is no program', async (_words, value) => {
    const wayOut = /: a program is the path of a file, or left out\.$/;
    await expectMistake('PidFile.readIfAlive', wayOut, () => PidFile.readIfAlive(path('x.pid'), value as string));
  });

  test.each(
    odd.filter(
      ([words]) => !['undefined', 'an object', 'an object without a prototype', 'detached bytes'].includes(words),
    ),
  )('%s is no set of options', async (_words, value) => {
    const options = value as object;
    // Symbols are no options; what has no other properties says nothing.
    if (typeof value === 'object' && value !== null && Object.keys(isRevoked(value) ? { pid: 0 } : value).length === 0)
      return;
    const wayOut =
      /: (options are an object with any of|there is no such option; there are|the options cannot be read; give plain values for): /;
    await expectMistake('killPainfully', wayOut, () => killPainfully(0, options));
    await expectMistake('adoptOrphans', wayOut, () => adoptOrphans(options));
    await expectMistake('PidFile.acquire', /: (options|there is|the options|a pid is)/, () =>
      PidFile.acquire(path('x.pid'), options),
    );
    await expectMistake('PidFile.forceCleanup', wayOut, () => PidFile.forceCleanup(path('x.pid'), options));
    expect(existsSync(path('x.pid'))).toBe(false);
  });

  test.each<readonly [string, RegExp, () => unknown]>([
    [
      'killPainfully',
      /\(0, \{ force: 'yes' \}\): force is true or false\.$/,
      () => killPainfully(0, { force: 'yes' as never }),
    ],
    [
      'killPainfully',
      /\(0, \{ group: 1 \}\): group is true or false\.$/,
      () => killPainfully(0, { group: 1 as never }),
    ],
    [
      'killPainfully',
      /\(0, \{ froce: true \}\): there is no such option; there are: force, group, reapMs\.$/,
      () => killPainfully(0, { froce: true } as never),
    ],
    ['adoptOrphans', /\(\{ onEnd: 'tell' \}\): onEnd is a function\.$/, () => adoptOrphans({ onEnd: 'tell' as never })],
    [
      'PidFile.acquire',
      /'p', \{ signal: 'SIGTERM' \}\): signal is an AbortSignal\.$/,
      () => PidFile.acquire('p', { signal: 'SIGTERM' as never }),
    ],
    [
      'PidFile.acquire',
      /'p', \{ wait: 5000 \}\): wait is true or false\.$/,
      () => PidFile.acquire('p', { wait: 5000 as never }),
    ],
    [
      'PidFile.acquire',
      /'p', \{ pid: -1 \}\): a pid is a whole number from 1 to 2147483647\.$/,
      () => PidFile.acquire('p', { pid: -1 }),
    ],
    [
      'killTree',
      /\(999999, \{ signal: 'SIGTERM' \}\): it takes no options\.$/,
      () => killTree(999_999, { signal: 'SIGTERM' } as never),
    ],
    ['killTree', /\(999999, 'SIGTERM'\): it takes no options\.$/, () => killTree(999_999, 'SIGTERM' as never)],
    [
      'free',
      /\(\{ sequence: \[.*\] \}\): it takes no options\.$/,
      async () => {
        await using child = await new Command('sleep', FOREVER).runAsync();
        await child.free({ sequence: [['SIGINT', 5000]] } as never);
      },
    ],
    [
      'killTree',
      /\(\{ cgroup: '\/x' \}\): it takes no options\.$/,
      async () => {
        await using daemon = await new Command('sleep', FOREVER).daemonize().run();
        try {
          await daemon.process.killTree({ cgroup: '/x' } as never);
        } finally {
          await daemon.process.stop();
        }
      },
    ],
    [
      'PidFile.forceCleanup',
      /'p', \{ force: true \}\): there is no such option; there are: group, reapMs\.$/,
      () => PidFile.forceCleanup('p', { force: true } as never),
    ],
  ])('an option of the wrong kind: %s%o', async (call, wayOut, act) => {
    await expectMistake(call, wayOut, act);
  });

  test('options that stand in a prototype are not heard, and undefined says nothing', async () => {
    const inherited = Object.create({ force: 'yes', group: 1, froce: true }) as object;
    await killPainfully(0, inherited);
    await killPainfully(0, { force: undefined } as never);
  });
});

describe('a signal that there is not', () => {
  let child: Awaited<ReturnType<Command['runAsync']>>;
  beforeAll(async () => {
    child = await new Command('sleep', FOREVER).runAsync();
  });
  afterAll(async () => {
    await child.abort();
  });

  test.each([
    ...odd,
    ['a number', 15],
    ['no name', 'TERM'],
    ['a name in a table', 'constructor'],
    ['another', '__proto__'],
    ['too real', 'SIGRTMIN+31'],
  ] as const)('%s', async (_words, value) => {
    await expectMistake('signal', /: there is no such signal; write its name, as 'SIGTERM'\.$/, () =>
      child.signal(value as 'SIGTERM'),
    );
  });
});

function isRevoked(value: object): boolean {
  try {
    Object.keys(value);
    return false;
  } catch {
    return true;
  }
}
