import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Command, LaunchError, type StepName } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { inParent } from '../helpers/native.js';
import { foreignElf, objectFile, withMissingLoader } from './elf.js';
import { NOWHERE, rejection, sh, useDirectory, withVariables, writeProgram } from '../helpers/tools.js';

interface FailedStart {
  readonly title: string;
  readonly command: () => Command;
  readonly step: StepName;
  readonly errno: string;
  readonly path: string;
  /** What stands in the message, between the command and the errno. */
  readonly sentence: string;
}

/** The ways for a start to fail that files can bring about, each in a directory of its own. */
function failedStarts(path: (name?: string) => string): readonly FailedStart[] {
  const script = (content: string, mode?: number): Command => new Command(writeProgram(path('script'), content, mode));
  return [
    {
      title: 'a bare name that is not in PATH',
      command: () => new Command('no-such-program'),
      step: 'path-search',
      errno: 'ENOENT',
      path: 'no-such-program',
      sentence: "no executable named 'no-such-program' in PATH ('",
    },
    {
      title: 'a path where nothing is',
      command: () => new Command(path('absent')),
      step: 'execve',
      errno: 'ENOENT',
      path: path('absent'),
      sentence: `'${path('absent')}' does not exist`,
    },
    {
      title: 'a symbolic link to nothing',
      command: () => {
        symlinkSync(NOWHERE, path('link'));
        return new Command(path('link'));
      },
      step: 'execve',
      errno: 'ENOENT',
      path: path('link'),
      sentence: `'${path('link')}'`,
    },
    {
      title: 'a symbolic link to itself',
      command: () => {
        symlinkSync(path('link'), path('link'));
        return new Command(path('link'));
      },
      step: 'execve',
      errno: 'ELOOP',
      path: path('link'),
      sentence: `'${path('link')}' goes through too many symbolic links`,
    },
    {
      title: 'a path through a file',
      command: () => {
        writeFileSync(path('file'), '');
        return new Command(path('file/tool'));
      },
      step: 'execve',
      errno: 'ENOTDIR',
      path: path('file/tool'),
      sentence: `a part of the path '${path('file/tool')}' is not a directory`,
    },
    {
      title: 'a name that is too long',
      command: () => new Command(path('x'.repeat(300))),
      step: 'execve',
      errno: 'ENAMETOOLONG',
      path: path('x'.repeat(300)),
      sentence: 'is too long',
    },
    {
      title: 'a file without the permission to execute it',
      command: () => script('#!/bin/sh\n', 0o644),
      step: 'execve',
      errno: 'EACCES',
      path: path('script'),
      sentence: `'${path('script')}' is not executable`,
    },
    {
      title: 'a directory in the place of the program',
      command: () => new Command(path()),
      step: 'execve',
      errno: 'EACCES',
      path: path(),
      sentence: `'${path()}' is a directory`,
    },
    {
      title: 'a script whose interpreter is missing',
      command: () => script(`#!${NOWHERE}/sh -e\necho never\n`),
      step: 'execve',
      errno: 'ENOENT',
      path: path('script'),
      sentence: `the interpreter of '${path('script')}', '${NOWHERE}/sh', does not exist`,
    },
    {
      title: 'a working directory that is missing',
      command: () => sh('exit 0').workingDirectory(path('absent')),
      step: 'chdir',
      errno: 'ENOENT',
      path: path('absent'),
      sentence: `the working directory '${path('absent')}' does not exist`,
    },
    {
      title: 'a working directory that is a file',
      command: () => {
        writeFileSync(path('file'), '');
        return sh('exit 0').workingDirectory(path('file'));
      },
      step: 'chdir',
      errno: 'ENOTDIR',
      path: path('file'),
      sentence: `the working directory '${path('file')}' is not a directory`,
    },
    {
      title: 'a missing working directory and a missing program, of which the directory comes first',
      command: () => new Command(path('absent')).workingDirectory(path('missing')),
      step: 'chdir',
      errno: 'ENOENT',
      path: path('missing'),
      sentence: `the working directory '${path('missing')}' does not exist`,
    },
    {
      title: 'an input file that is missing',
      command: () => sh('exit 0').inputFile(path('absent')),
      step: 'open',
      errno: 'ENOENT',
      path: path('absent'),
      sentence: `'${path('absent')}' cannot be opened for reading`,
    },
    {
      title: 'an output file in a directory that is missing',
      command: () => sh('exit 0').outputFile(path('absent/log')),
      step: 'open',
      errno: 'ENOENT',
      path: path('absent/log'),
      sentence: `'${path('absent/log')}' cannot be opened for writing`,
    },
    {
      title: 'an error file that is a directory',
      command: () => sh('exit 0').outputFile(path('log')).errorFile(path()),
      step: 'open',
      errno: 'EISDIR',
      path: path(),
      sentence: `'${path()}' cannot be opened for writing: it is a directory`,
    },
  ];
}

/** Files that `execve` answers with ENOEXEC. Each would create a marker if a shell were given it. */
const noPrograms: readonly (readonly [
  title: string,
  content: (marker: string, interpreter: string) => string | Uint8Array,
])[] = [
  ['text without #!', (marker) => `touch '${marker}'\n`],
  ['an empty file', () => ''],
  ['#! without an interpreter', (marker) => `#!\ntouch '${marker}'\n`],
  ['a binary of another machine', (marker) => foreignElf(marker)],
  ['an object file', (marker) => objectFile(marker)],
  ['the first bytes of a binary', (marker) => `\x7fELF\ntouch '${marker}'\n`],
  ['a script whose interpreter is text without #!', (marker, interpreter) => `#!${interpreter}\ntouch '${marker}'\n`],
];

export function failedStartContract(): void {
  describe('a start that fails', () => {
    const path = useDirectory();

    for (const { title } of failedStarts(String)) {
      test(`names its step, its errno and its reason: ${title}`, async () => {
        const {
          command,
          step,
          errno,
          path: about,
          sentence,
        } = failedStarts(path).find((start) => start.title === title)!;
        // A PATH without directories that are closed to this user.
        await withVariables({ PATH: `${path()}:/usr/bin:/bin` }, async () => {
          const failing = command();
          const error = await rejection(LaunchError, failing.run());
          expect(error).toMatchObject({ code: 'ERR_COMMAND_LAUNCH', step, errno, path: about });
          expect(error.message).toMatch(/^Cannot start `/);
          expect(error.message).toContain(sentence);
          // Whatever ends are accepted: this program has not run.
          expect(await rejection(LaunchError, failing.run({ check: false }))).toMatchObject({ step, errno });
          expect(await rejection(LaunchError, failing.runAsync())).toMatchObject({ step, errno });
        });
      });
    }

    test.for(noPrograms)('is ENOEXEC for what is no program, and no shell runs it: %s', async ([, content]) => {
      const marker = path('marker');
      const interpreter = writeProgram(path('interpreter'), `touch '${marker}'\n`);
      const file = writeProgram(path('file'), content(marker, interpreter));
      const error = await rejection(LaunchError, new Command(file).workingDirectory(path()).run()).finally(() => {
        expect(existsSync(marker), 'whether a shell has run it').toBe(false);
      });
      expect(error).toMatchObject({ step: 'execve', errno: 'ENOEXEC', path: file });
    });

    test('names the loader that a binary needs and that is missing', async ({ skip }) => {
      const crafted = withMissingLoader(realpathSync('/bin/true'));
      if (crafted === undefined) return skip('/bin/true names no loader here: it is static');
      const file = writeProgram(path('program'), crafted.bytes);
      const error = await rejection(LaunchError, new Command(file).run());
      expect(error).toMatchObject({ step: 'execve', errno: 'ENOENT', path: file });
      expect(error.message).toContain(`the loader of '${file}', '${crafted.loader}', does not exist`);
    });

    test('a directory of the program that cannot be entered is EACCES', async ({ skip }) => {
      mkdirSync(path('closed'));
      writeProgram(path('closed/tool'), '#!/bin/sh\n');
      chmodSync(path('closed'), 0o000);
      const isOpen = existsSync(path('closed/tool'));
      const error = isOpen
        ? undefined
        : await rejection(LaunchError, new Command(path('closed/tool')).run()).finally(() => {
            chmodSync(path('closed'), 0o755);
          });
      if (isOpen) return skip('root enters every directory; run the tests as another user as well');
      expect(error).toMatchObject({ step: 'execve', errno: 'EACCES', path: path('closed/tool') });
    });

    // The number that the engine uses inside itself to hear of a failure may be one of these.
    test('is told whatever number a descriptor is passed as', async () => {
      const fd = openSync(path('passed'), 'w+');
      const outcomes: string[] = [];
      for (let as = 3; as < 64; as += 1) {
        const outcome = await new Command(path('absent'))
          .passFd(fd, { as })
          .run({ check: false })
          .then(
            () => 'resolved',
            (error: unknown) => (error as LaunchError).step,
          );
        if (outcome !== 'execve') outcomes.push(`${as}: ${outcome}`);
      }
      const { size } = fstatSync(fd);
      closeSync(fd);
      expect({ outcomes, size }).toEqual({ outcomes: [], size: 0 });
    });

    // What is below an engine, such as a package or Node itself, may throw what nobody has foreseen: Node tells it as it is, and so do we.
    test('for a reason of its own is told with that reason, and no other is made up', async ({ skip }) => {
      if (process.env['VIRCOMMAND_ENGINE'] !== 'portable') skip('nothing but the kernel is below the native engine');
      const told = await inParent(
        async ({ Command: Program }) => {
          await new Program('true').run();
          // Packages define properties by descriptors that inherit: with this one, none of theirs is valid.
          Object.defineProperty(Object.prototype, 'get', { value: () => 1, configurable: true });
          const error = await new Program('true').run().then(String, (reason: unknown) => reason as LaunchError);
          Reflect.deleteProperty(Object.prototype, 'get');
          return typeof error === 'string' ? error : [error.message, (error.cause as Error).message.replace(/\.$/, '')];
        },
        undefined,
        { env: { VIRCOMMAND_ENGINE: 'portable' } },
      );
      const [message, reason] = told;
      expect(reason).not.toBe('');
      expect(message).toBe(`Cannot start \`true\`: it could not be started: ${reason}.`);
    });
  });
}
