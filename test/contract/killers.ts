import { Command, ExitError, killPainfully, killTree } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { FOREVER, rejection, sh } from '../helpers/tools.js';

const AFTER = /after [\d.]+ m?s/g;

export function killerContract(): void {
  describe('the error of a program that was ended by SIGKILL', () => {
    const sleep = (): Command => new Command('sleep', FOREVER);
    const told = async (child: { wait(): Promise<unknown> }): Promise<string> =>
      (await rejection(ExitError, child.wait())).message.replaceAll(AFTER, 'after 1 s');

    test.each([
      ['signal()', sleep(), (child) => Promise.resolve(child.signal('SIGKILL'))],
      ['killTree()', sleep(), killTree],
      ['killTree()', sleep().newSession(), ({ pid }) => killTree(pid)],
    ] as readonly [string, Command, (child: Awaited<ReturnType<Command['runAsync']>>) => Promise<unknown>][])(
      'names the call of this process that sent it: %s (%#)',
      async (call, command, kill) => {
        const child = await command.runAsync();
        await kill(child);
        expect(await told(child)).toBe(
          `\`sleep ${FOREVER}\` was ended by SIGKILL after 1 s. This process sent it, by ${call}.`,
        );
      },
    );

    test('sends the reader to the kernel where nothing of this process sent it', async () => {
      expect(await told(await sh('kill -9 $$').runAsync())).toMatch(
        /was ended by SIGKILL after 1 s\. This process did not send it; look for the kernel's out-of-memory report\.$/,
      );
    });

    // A pid comes again: what was sent to the process that had it before says nothing of this one.
    test('does not name what was sent to another process', async () => {
      const other = await sleep().runAsync();
      other.signal('SIGKILL');
      await other.wait({ check: false });
      expect(await told(await sh('kill -9 $$').runAsync())).toContain('This process did not send it');
    });

    test('does not name a call that sent another signal', async () => {
      const child = await sleep().runAsync();
      await killPainfully(child.pid);
      expect(await told(child)).toBe(`\`sleep ${FOREVER}\` was ended by SIGTERM after 1 s.`);
    });

    // 10 ms are libvirt's grace, in which a program can hardly begin to obey.
    test('calls nothing ignored that abort() gave it 10 ms for, and says how long that was', async () => {
      const child = await sh(`trap '' TERM; echo ready; exec sleep ${FOREVER}`).outputPipe().runAsync();
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await child.abort();
      expect(await told(child)).toMatch(
        / was aborted after 1 s\. It was ended by SIGKILL, since SIGTERM had not ended it within 10 ms\.$/,
      );
    });
  });
}
