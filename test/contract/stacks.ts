import { openSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommandError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { FOREVER, NOWHERE, rejection, useDirectory, writeProgram } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

const HERE = basename(fileURLToPath(import.meta.url));

/** As `fs.promises` and every async function have it: the stack of an error names who awaits, however late the error came. */
export function stackContract({ name }: EngineUnderTest): void {
  describe('the stack of an error names the file that waits for it:', () => {
    const path = useDirectory();
    const missing = (): Command => new Command(writeProgram(path('script'), `#!${NOWHERE}\n`));
    const sleep = (): Command => new Command('sleep', FOREVER);

    const ways: readonly (readonly [title: string, way: () => Promise<unknown>])[] = [
      ['a launch', async () => await missing().run()],
      ['a launch that is not waited for', async () => await missing().runAsync()],
      ['a launch of a daemon', async () => await missing().daemonize().run()],
      ['a launch with a file to open first', async () => await missing().inputFile('/dev/null').run()],
      ['a file that is missing', async () => await missing().inputFile(NOWHERE).run()],
      ['a launch that is given a descriptor', async () => await missing().transferFd(openSync('/dev/null', 'r')).run()],
      ['a name that PATH does not have', async () => await new Command('no-such-program').run()],
      ['a mistake', async () => await sleep().timeout(-1).run()],
      ['an exit code', async () => await new Command('false').run()],
      ['an exit code of a child', async () => await (await new Command('false').runAsync()).wait()],
      ['a timeout', async () => await sleep().timeout(1).run()],
      [
        'an abort',
        async () => {
          const child = await sleep().runAsync();
          await child.abort();
          await child.wait();
        },
      ],
    ];
    const nativeWays: typeof ways = [
      ['a launch through the helper', async () => await missing().clearCaps().run()],
      [
        'a launch with a hook',
        async () =>
          await missing()
            .preExecHook(() => 0)
            .run(),
      ],
      [
        'a hook that says no',
        async () =>
          await missing()
            .preExecHook(() => 1)
            .run(),
      ],
      [
        'a daemon with a hook',
        async () =>
          await missing()
            .preExecHook(() => 0)
            .daemonize()
            .run(),
      ],
      [
        'a handshake',
        async () => {
          const child = await missing().requireHandshake().runAsync();
          await child.handshakeWait();
          await child.handshakeNotify();
        },
      ],
      [
        'a handshake that a step before it fails',
        async () => {
          const child = await new Command('true').workingDirectory(NOWHERE).requireHandshake().runAsync();
          await child.handshakeWait();
        },
      ],
    ];
    test.for(name === 'native' ? [...ways, ...nativeWays] : ways)('%s', async ([, way]) => {
      const limit = Error.stackTraceLimit;
      const { stack } = await rejection(CommandError, way());
      expect(stack).toContain(HERE);
      expect(Error.stackTraceLimit).toBe(limit);
    });
  });
}
