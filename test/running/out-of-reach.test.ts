import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { asNobody, inParent, needsNobody, needsProgram } from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

/** Longer than the time it is given, and short enough to wait for: the program cannot be ended. */
const LIFE_S = 1;

/** What became of a run, and of the descriptors of this process. */
interface Told {
  readonly name: string;
  readonly reason?: string;
  readonly sent?: boolean;
  readonly exitCode?: number | null;
  readonly isGone: boolean;
  readonly newDescriptors: number;
}

// A program that takes other ids than its parent's is out of the parent's reach. subprocess.run(timeout=…) of Python waits for
// its end then, and child_process reports EPERM by an 'error' event and goes on waiting.
describe.each(['native', 'portable'] as const)('on the %s engine a program that may not be signaled', (engine) => {
  const path = useDirectory();

  test('is waited for, and its end told as what it should have been', { timeout: 60_000 }, async ({ skip }) => {
    needsNobody(skip);
    needsProgram(skip, 'setpriv');
    const asRoot = path('setpriv');
    copyFileSync(execFileSync('sh', ['-c', 'command -v setpriv'], { encoding: 'utf8' }).trim(), asRoot);
    chmodSync(asRoot, 0o4755);
    const isSetUid = execFileSync(asNobody[0]!, [...asNobody.slice(1), asRoot, '--reuid=0', 'id', '-u'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    if (isSetUid.trim() !== '0') skip('the directory for temporary files is mounted without set-uid programs');
    const told = await inParent(
      async ({ Command, engineInfo }, { asRoot, life }) => {
        const { readdirSync, existsSync } = process.getBuiltinModule('node:fs');
        const open = () => readdirSync('/proc/self/fd').length;
        const program = (script: string) => new Command(asRoot, '--reuid=0', 'sh', '-c', `${script}; exit 3`);
        const sleep = () => program(`exec 2>&-; sleep ${life}`);
        const tell = async (name: string, work: () => unknown): Promise<Told> => {
          const before = open();
          const error = (await Promise.resolve()
            .then(work)
            .then(
              () => ({}),
              (reason: unknown) => reason,
            )) as { reason?: string; message?: string; result?: { pid: number; exitCode: number | null } };
          // What closes in a turn of the event loop of its own, be it this run's or the one's before, is waited for, and not for ever.
          const deadline = performance.now() + 5000;
          while (open() !== before && performance.now() < deadline)
            await new Promise((resolve) => setImmediate(resolve));
          return {
            name,
            reason: error.reason ?? error.message ?? 'none',
            exitCode: error.result?.exitCode ?? null,
            isGone: error.result !== undefined && !existsSync(`/proc/${error.result.pid}`),
            newDescriptors: open() - before,
          };
        };
        // What a first run opens for all that follow stays open. What it closes is closed before anything is counted.
        const settled = async () => {
          for (let last = -1, quiet = 0; quiet < 20;) {
            await new Promise((resolve) => setImmediate(resolve));
            const now = open();
            quiet = now === last ? quiet + 1 : 0;
            last = now;
          }
        };
        const first = await new Command('true').outputPipe().runAsync();
        await new Promise((resolve) => first.stdout.resume().once('close', resolve));
        await first.wait();
        if (engineInfo().engine === 'native') new Command('true').runSync();
        await settled();
        const all = [
          await tell('timeout', () => sleep().timeout(200).run()),
          await tell('abort signal', () => sleep().abortSignal(AbortSignal.timeout(200)).run()),
          await tell('abort()', async () => {
            const child = await program(`echo; sleep ${life}`).outputPipe().runAsync();
            await new Promise((resolve) => child.stdout.once('data', resolve));
            await child.abort();
            child.stdout.destroy();
            await child.wait();
          }),
          await tell('output limit', () =>
            program(`printf '%s' 1234567890; sleep ${life}`).outputBuffer().outputLimit(5, 'kill').run(),
          ),
        ];
        if (engineInfo().engine !== 'native') return all;
        return [
          ...all,
          await tell('sync timeout', () => sleep().timeout(200).runSync()),
          await tell('sync output limit', () =>
            program(`printf '%s' 1234567890; sleep ${life}`).outputBuffer().outputLimit(5, 'kill').runSync(),
          ),
        ];
      },
      { asRoot, life: LIFE_S },
      { through: asNobody, env: { VIRCOMMAND_ENGINE: engine } },
    );
    const row = (name: string, reason: string): Told => ({
      name,
      reason,
      exitCode: 3,
      isGone: true,
      newDescriptors: 0,
    });
    expect(told).toEqual([
      row('timeout', 'timeout'),
      row('abort signal', 'aborted'),
      row('abort()', 'aborted'),
      row('output limit', 'output-limit'),
      ...(engine === 'native' ? [row('sync timeout', 'timeout'), row('sync output limit', 'output-limit')] : []),
    ]);
  });
});
