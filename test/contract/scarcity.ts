import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { Command, LaunchError, UnsupportedError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { inParent } from '../helpers/native.js';
import {
  fixture,
  hasProgram,
  isRoot,
  nodeFixture,
  rejection,
  sh,
  STRANGER,
  useDirectory,
  writeProgram,
} from '../helpers/tools.js';

/** Room for Node and all that it loads. */
const FEW_DESCRIPTORS = 256;

/** One argument holds 32 pages at most, its NUL included. */
const LONGEST_ARGUMENT = 131_071;

interface Outcome {
  readonly kind: string;
  readonly left: number;
  readonly leaked: number;
  readonly outcome: 'ran' | { readonly name: string; readonly step: string; readonly errno: string };
}

export function scarcityContract(engine: EngineUnderTest): void {
  describe('a start for which the kernel lacks something', () => {
    const path = useDirectory();

    test("is E2BIG for an argument above the kernel's limit, and succeeds at the limit", async () => {
      expect((await new Command('true', 'x'.repeat(LONGEST_ARGUMENT)).run()).exitCode).toBe(0);
      const error = await rejection(LaunchError, new Command('true', 'x'.repeat(LONGEST_ARGUMENT + 1)).run());
      expect(error).toMatchObject({ step: 'execve', errno: 'E2BIG' });
      expect(error.message).toContain(
        `the argument 1 takes ${LONGEST_ARGUMENT + 1} bytes, and the kernel takes ${LONGEST_ARGUMENT} of one argument or variable`,
      );
    });

    test('is E2BIG for arguments that are too long together', async () => {
      const error = await rejection(
        LaunchError,
        new Command('true').args(Array.from({ length: 200 }, () => 'x'.repeat(100_000))).run(),
      );
      expect(error).toMatchObject({ step: 'execve', errno: 'E2BIG' });
      expect(error.message).toMatch(/the arguments and variables take \d+ bytes, more than the kernel allows/);
    });

    test('is EMFILE without descriptors, never anything worse, and loses none', async () => {
      const script = `ulimit -n ${FEW_DESCRIPTORS} && exec "$@"`;
      const { stdout } = await sh(script, process.execPath, fixture('out-of-descriptors.js')).outputBuffer().run();
      const outcomes = JSON.parse(stdout) as Outcome[];
      const strange = outcomes.filter(
        ({ outcome, leaked }) =>
          leaked > 0 || (outcome !== 'ran' && (outcome.name !== 'LaunchError' || outcome.errno !== 'EMFILE')),
      );
      expect(strange).toEqual([]);
      for (const kind of new Set(outcomes.map((outcome) => outcome.kind))) {
        const ran = outcomes.filter((outcome) => outcome.kind === kind).map(({ outcome }) => outcome === 'ran');
        expect([ran[0], ran.at(-1)], `${kind}: with none left, and with enough`).toEqual([false, true]);
      }
    });

    test('names TMPDIR where the directory for temporary files is needed and missing', async () => {
      const told = await inParent(
        async ({ Command, OutputBuffer }) => {
          const both = new OutputBuffer();
          return new Command('true')
            .outputBuffer(both)
            .errorBuffer(both)
            .run()
            .then(
              () => 'ran',
              (error: unknown) => (error as Error).message,
            );
        },
        undefined,
        { env: { VIRCOMMAND_ENGINE: engine.name, TMPDIR: path('missing') } },
      );
      if (engine.name === 'native') expect(told).toBe('ran');
      else expect(told).toMatch(/'[^']*missing'.* TMPDIR \(mkdtemp: ENOENT\)/);
    });

    test('names /dev/null where that is missing', async ({ skip }) => {
      if (!isRoot) return skip('it takes root to mount another /dev');
      const isAllowed = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/dev']).status === 0;
      if (!isAllowed) return skip('no other /dev can be mounted here');
      const told = await inParent(
        async ({ Command }, way) => {
          const command = new Command('true').inputFile('/proc/self/status');
          const work = way === 'native' ? async () => command.exec() : () => command.run();
          return work().then(
            () => ['ran'],
            (error: unknown) => [
              (error as LaunchError).step,
              (error as LaunchError).errno,
              (error as LaunchError).path,
            ],
          );
        },
        engine.name,
        {
          through: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev && exec "$@"', 'sh'],
          env: { VIRCOMMAND_ENGINE: engine.name },
        },
      );
      expect(told).toEqual(['open', 'ENOENT', '/dev/null']);
    });

    test('is EAGAIN above the limit of processes', async ({ skip }) => {
      if (!isRoot) return skip('only root can start a program as a user that nobody has; run the tests as root');
      if (!hasProgram('prlimit')) return skip('prlimit (util-linux) is not installed');
      if (!readableByStranger()) return skip('another user cannot read this checkout');
      const { stdout } = await nodeFixture('out-of-processes.js')
        .uid(STRANGER)
        .gid(STRANGER)
        .groups([])
        .outputBuffer()
        .run();
      const outcome = JSON.parse(stdout) as { message: string };
      expect(outcome).toMatchObject({ name: 'LaunchError', step: 'clone', errno: 'EAGAIN' });
      expect(outcome.message).toContain('the kernel makes no further process for this user');
    });

    test('is EACCES where another user may not enter the working directory, or execute the file', async ({ skip }) => {
      if (!isRoot) return skip('it takes root to start a program as another user');
      mkdirSync(path('closed'));
      writeProgram(path('closed/tool'), '#!/bin/sh\n');
      chmodSync(path('closed'), 0o700);
      const stranger = (command: Command): Command => command.uid(STRANGER).gid(STRANGER).groups([]);
      const program = await rejection(LaunchError, stranger(new Command(path('closed/tool'))).run());
      expect(program).toMatchObject({ step: 'execve', errno: 'EACCES', path: path('closed/tool') });
      const pwd = stranger(new Command('/bin/pwd')).workingDirectory(path('closed'));
      // An engine that would enter it as root refuses to, rather than give the stranger a directory that is closed to it.
      if (!engine.entersDirectoryAsUser) {
        expect(await rejection(UnsupportedError, pwd.run())).toMatchObject({ feature: 'workingDirectory' });
        return;
      }
      const directory = await rejection(LaunchError, pwd.run());
      expect(directory).toMatchObject({ step: 'chdir', errno: 'EACCES', path: path('closed') });
      expect(directory.message).toContain(`the working directory '${path('closed')}' cannot be entered`);
    });
  });
}

function readableByStranger(): boolean {
  try {
    const options = { uid: STRANGER, gid: STRANGER, stdio: 'ignore' } as const;
    execFileSync(
      '/bin/sh',
      ['-c', `test -r "$1" && test -x "$2"`, 'sh', fixture('out-of-processes.js'), process.execPath],
      options,
    );
    return true;
  } catch {
    return false;
  }
}
