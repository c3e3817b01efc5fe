import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { Command, CommandError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { asNobody, inParent, needsNobody, needsProgram, needsRoot, NOBODY } from '../helpers/native.js';
import { rejection, useDirectory, writeProgram } from '../helpers/tools.js';
import { objectFile, smallBinary } from './elf.js';
import type { EngineUnderTest } from './engine.js';

type Path = (name?: string) => string;

const TRUE = realpathSync('/bin/true');

/** A command that fails, and all that is said of it after the command's own words. */
interface Failure {
  readonly title: string;
  readonly command: (path: Path) => Command;
  readonly sentence: (path: Path) => string;
}

const script = (path: Path, content: string, mode?: number): string => writeProgram(path('script'), content, mode);

const failures: readonly Failure[] = [
  {
    title: 'an interpreter without its x bit',
    command: (path) => new Command(script(path, `#!${writeProgram(path('inner'), '#!/bin/sh\n', 0o644)}\n`)),
    sentence: (path) =>
      `the interpreter of '${path('script')}', '${path('inner')}', is not executable (execve: EACCES). Run \`chmod +x\` on the interpreter.`,
  },
  {
    title: 'an interpreter that is a directory',
    command: (path) => new Command(script(path, `#!${path()}\n`)),
    sentence: (path) =>
      `the interpreter of '${path('script')}', '${path()}', is a directory (execve: EACCES). Mend the first line of the script.`,
  },
  {
    title: 'an interpreter whose interpreter is missing',
    command: (path) => new Command(script(path, `#!${writeProgram(path('inner'), '#!/nowhere/sh\n')}\n`)),
    sentence: (path) =>
      `the interpreter of '${path('inner')}', '/nowhere/sh', does not exist (execve: ENOENT). '${path('script')}' needs '${path('inner')}'. Mend the first line of the script, or install the interpreter.`,
  },
  {
    title: 'an interpreter that is text',
    command: (path) => new Command(script(path, `#!${writeProgram(path('inner'), 'echo\n')}\n`)),
    sentence: (path) =>
      `the interpreter of '${path('script')}', '${path('inner')}', has no '#!' line and is not a binary of this machine (execve: ENOEXEC). Mend the first line of the script, or the interpreter.`,
  },
  {
    title: 'an interpreter below a file',
    command: (path) => new Command(script(path, `#!${writeProgram(path('inner'), '')}/sh\n`)),
    sentence: (path) =>
      `a part of the path '${path('inner/sh')}' is not a directory (execve: ENOTDIR). Mend the first line of the script.`,
  },
  {
    title: 'Windows line endings, of which the kernel takes the first half for a part of the name',
    command: (path) => new Command(script(path, '#!/bin/sh\r\necho\r\n')),
    sentence: (path) =>
      String.raw`the interpreter of '${path('script')}', '/bin/sh\r', does not exist (execve: ENOENT). The script has Windows line endings; take the '\r' away, as ${'`'}sed -i 's/\r$//'${'`'} does.`,
  },
  {
    title: 'a first line that is too long',
    command: (path) => new Command(script(path, `#!/${'x'.repeat(300)}\n`)),
    sentence: (path) =>
      `the first line of '${path('script')}' is too long: the kernel reads 255 bytes of it, and the interpreter's path does not end there (execve: ENOEXEC). Name the interpreter by a shorter path, such as a symbolic link, or by '#!/usr/bin/env NAME'.`,
  },
  {
    title: 'a first line that names no interpreter',
    command: (path) => new Command(script(path, '#!\n')),
    sentence: (path) =>
      `the first line of '${path('script')}', '#!', names no interpreter (execve: ENOEXEC). Begin it with '#!/bin/sh', or name its interpreter as the program.`,
  },
  {
    title: 'scripts that interpret each other in a circle',
    command: (path) => new Command(script(path, `#!${path('script')}\n`)),
    sentence: (path) =>
      `the interpreter of '${path('script')}' is a script itself, and so are more interpreters after it than the kernel follows (execve: ELOOP). Name a binary as the interpreter.`,
  },
  {
    title: 'a byte order mark',
    command: (path) => new Command(script(path, '\ufeff#!/bin/sh\n')),
    sentence: (path) =>
      `'${path('script')}' begins with a byte order mark, and not with '#!' (execve: ENOEXEC). Save it without the mark.`,
  },
  {
    title: 'an empty file',
    command: (path) => new Command(script(path, '')),
    sentence: (path) =>
      `'${path('script')}' is empty (execve: ENOEXEC). Install it anew; a script that does nothing holds the line '#!/bin/sh'.`,
  },
  {
    title: 'a FIFO',
    command: (path) => {
      execFileSync('mkfifo', ['-m', '755', path('fifo')]);
      return new Command(path('fifo'));
    },
    sentence: (path) => `'${path('fifo')}' is a FIFO (execve: EACCES).`,
  },
  {
    title: 'a binary of another machine, for which no #! line would help',
    command: (path) =>
      new Command(writeProgram(path('tool'), smallBinary(process.arch === 'arm64' ? 'x86-64' : 'aarch64'))),
    sentence: (path) =>
      `'${path('tool')}' is a binary for ${process.arch === 'arm64' ? 'x86-64' : 'ARM of 64 bits'}, which this machine does not execute (execve: ENOEXEC). Install the program that is built for this machine.`,
  },
  {
    title: 'a program of another system',
    command: (path) => new Command(writeProgram(path('tool.exe'), 'MZ\x90\0')),
    sentence: (path) =>
      `'${path('tool.exe')}' is a program for Windows (execve: ENOEXEC). Install the program that is built for Linux.`,
  },
  {
    title: 'an object file',
    command: (path) => new Command(writeProgram(path('tool.o'), objectFile(path('marker')))),
    sentence: (path) =>
      `'${path('tool.o')}' is an object file or a core dump, and no program (execve: ENOEXEC). Link it first.`,
  },
  {
    title: 'a binary that was cut in a download',
    command: (path) => new Command(writeProgram(path('tool'), readFileSync(TRUE).subarray(0, 100))),
    sentence: (path) =>
      `'${path('tool')}' is a binary that is cut short or damaged (execve: ENOEXEC). Install or copy it anew.`,
  },
  {
    title: 'a binary without its x bit, which no interpreter would read',
    command: (path) => new Command(writeProgram(path('tool'), readFileSync(TRUE), 0o644)),
    sentence: (path) => `'${path('tool')}' is not executable (execve: EACCES). Run \`chmod +x\` on it.`,
  },
  {
    title: 'one argument that is too long',
    command: () => new Command(TRUE, 'x', 'y'.repeat(200_000)),
    sentence: () =>
      'the argument 2 takes 200000 bytes, and the kernel takes 131071 of one argument or variable (execve: E2BIG). Hand the data over with inputBuffer() or in a file.',
  },
  {
    title: 'one variable that is too long, of which the value is not said',
    command: () => new Command(TRUE).env('BIG', 'y'.repeat(200_000)),
    sentence: () =>
      'the variable BIG takes 200004 bytes, and the kernel takes 131071 of one argument or variable (execve: E2BIG). Hand the data over with inputBuffer() or in a file.',
  },
  {
    title: 'arguments that are too long together',
    command: () => new Command(TRUE, ...new Array<string>(100).fill('y'.repeat(100_000))).envClear(),
    sentence: () =>
      `the arguments and variables take ${100 * 100_009 + TRUE.length + 9} bytes, more than the kernel allows (execve: E2BIG). Hand the data over with inputBuffer() or in a file. All together may take a quarter of the stack limit (\`ulimit -s\`), and 6 MiB at most.`,
  },
  {
    title: 'a path with an argument behind it',
    command: () => new Command('/bin/ls -l  /tmp'),
    sentence: () =>
      "'/bin/ls -l  /tmp' does not exist (execve: ENOENT). Arguments are separate values: new Command('/bin/ls', '-l', '/tmp').",
  },
  {
    title: 'a name with a path behind it',
    command: () => new Command('ls -l /tmp'),
    sentence: () =>
      `'${process.cwd()}/ls -l /tmp' does not exist (execve: ENOENT). Arguments are separate values: new Command('ls', '-l', '/tmp').`,
  },
  {
    title: "a path below '~', which only a shell reads",
    command: () => new Command('~/bin/tool'),
    sentence: () =>
      `'${process.cwd()}/~/bin/tool' does not exist (execve: ENOENT). No shell reads '~': name the whole path, which begins with homedir() of node:os.`,
  },
  {
    title: 'a path with a variable, which only a shell reads',
    command: () => new Command('$HOME/bin/tool'),
    sentence: () =>
      `'${process.cwd()}/$HOME/bin/tool' does not exist (execve: ENOENT). No shell reads '$': name the whole path.`,
  },
  {
    title: 'a missing path with a blank in it, of which the first word is no program either',
    command: (path) => new Command(path('My Programs/tool')),
    sentence: (path) => `'${path('My Programs/tool')}' does not exist (execve: ENOENT).`,
  },
  {
    title: 'characters that drive a terminal, in a path and an argument',
    command: (path) => new Command(path('\x1b[31mred\r\n\x07'), '\u202etxt.exe', '\x9b2J'),
    sentence: (path) => String.raw`'${path()}/\x1b[31mred\r\n\x07' does not exist (execve: ENOENT).`,
  },
];

export function execSentenceContract({ name }: EngineUnderTest): void {
  describe('an exec that fails is told with its cause, and with a way out that helps:', () => {
    const path = useDirectory();

    test.for(failures)('$title', async ({ command, sentence }) => {
      const { message } = await rejection(CommandError, command(path).run());
      expect(message.replace(/^Cannot start `[^`]*`: /, '')).toBe(sentence(path));
      expect(message).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    });

    test.each([
      ['ls -l', "new Command('ls', '-l')"],
      ['git commit -m "a b"', "new Command('git', 'commit', '-m', 'a b')"],
      [String.raw`cat a\ b 'c d'`, "new Command('cat', 'a b', 'c d')"],
      ['ls | wc -l', "new Command('sh', '-c', 'ls | wc -l')"],
      ['A=1 B= ls -l', "new Command('ls', '-l').envInherit().env('A', '1').env('B', '')"],
    ])('a program that is a whole line is told the call that was meant: %s', async (line, call) => {
      const { message } = await rejection(CommandError, new Command(line).run());
      expect(message.replace(/ PATH \(.*?\)/, ' PATH ()')).toMatch(
        /^Cannot start `.*`: no executable named '.*' in PATH \(\)\. /,
      );
      expect(message).toMatch(/\. Arguments are separate values: .*\.$/);
      expect(message).toContain(`: ${call}.`);
    });

    /** What a command that another process makes is told, by another user or behind a mount. */
    const toldIn = (
      through: readonly string[],
      argv: readonly string[],
      options: { as?: number; PATH?: string } = {},
    ) =>
      inParent(
        async ({ Command: Program }, [words, as]) => {
          const command = Program.fromArgv(words);
          if (as !== null) command.uid(as).gid(as).groups([]);
          const error = await command.run().catch((e: unknown) => e as Error);
          return error instanceof Error ? error.message.replace(/^.*?`: /, '') : 'it ran';
        },
        [argv, options.as ?? null] as const,
        {
          through,
          env: { VIRCOMMAND_ENGINE: name, ...(options.PATH === undefined ? {} : { PATH: options.PATH }) },
        },
      );

    /** What mounts a file system from which nothing is executed, for one process and what it starts. */
    const withNoexec = (directory: string, script: string): readonly string[] => [
      'unshare',
      '-m',
      'sh',
      '-c',
      `mount -t tmpfs -o noexec none "$1" && ${script} && shift && exec "$@"`,
      'sh',
      directory,
    ];

    test.for([
      [
        'a script',
        `printf '#!/bin/sh\\n' >"$1/tool" && chmod +x "$1/tool"`,
        'Move it to another file system, or name its interpreter as the program.',
      ],
      ['a binary', `cp ${TRUE} "$1/tool"`, 'Move it to another file system, or mount that one with exec.'],
    ] as const)('%s on a file system that is mounted with noexec', async ([, make, wayOut], { skip }) => {
      needsRoot(skip);
      needsProgram(skip, 'unshare');
      mkdirSync(path('a mount'));
      const told = await toldIn(withNoexec(path('a mount'), make), [path('a mount/tool')]);
      expect(told).toBe(
        `'${path('a mount/tool')}' lies on a file system from which nothing may be executed, since '${path('a mount')}' is mounted with noexec (execve: EACCES). ${wayOut}`,
      );
    });

    test('a program of PATH on a file system that is mounted with noexec', async ({ skip }) => {
      needsRoot(skip);
      needsProgram(skip, 'unshare');
      mkdirSync(path('bin'));
      const told = await toldIn(withNoexec(path('bin'), `cp ${TRUE} "$1/tool"`), ['tool'], {
        PATH: `${path('bin')}:/bin`,
      });
      expect(told).toBe(
        `'tool' stands in PATH, but not as an executable ('${path('bin/tool')}'): '${path('bin/tool')}' lies on a file system from which nothing may be executed, since '${path('bin')}' is mounted with noexec. Move it to another file system, or mount that one with exec.`,
      );
    });

    const CLOSED = 'The user that the program runs as needs the permission x on it.';

    test.for([
      ['by its own name', 'closed/below/tool'],
      ['behind a symbolic link to a file', 'link-to-tool'],
      ['behind a symbolic link to a directory', 'link-to-below/tool'],
    ] as const)(
      'a closed directory on the way is named, and not the x bit of the file: %s',
      async ([, file], { skip }) => {
        needsNobody(skip);
        mkdirSync(path('closed/below'), { recursive: true });
        copyFileSync(TRUE, path('closed/below/tool'));
        symlinkSync('closed/below/tool', path('link-to-tool'));
        symlinkSync('closed/below', path('link-to-below'));
        chmodSync(path('closed'), 0o700);
        const sentence = `the directory '${path('closed')}' on the way to '${path(file)}' cannot be entered (execve: EACCES). ${CLOSED}`;
        expect(await toldIn(asNobody, [path(file)])).toBe(sentence);
        // The same where this process may go there, and the program may not.
        expect(await toldIn([], [path(file)], { as: NOBODY })).toBe(sentence);
      },
    );

    test('a file that others may execute, and this user may not', async ({ skip }) => {
      needsNobody(skip);
      writeProgram(path('tool'), readFileSync(TRUE), 0o700);
      const sentence = `'${path('tool')}' may not be executed by the user ${NOBODY} (execve: EACCES). Give that user the permission x on it.`;
      expect(await toldIn(asNobody, [path('tool')])).toBe(sentence);
      expect(await toldIn([], [path('tool')], { as: NOBODY })).toBe(sentence);
    });

    if (name === 'portable') {
      test('a script that may be executed and not read', async ({ skip }) => {
        needsNobody(skip);
        writeProgram(path('tool'), 'echo\n', 0o711);
        expect(await toldIn(asNobody, [path('tool')])).toBe(
          `'${path('tool')}' is no binary, and a script must be readable for whoever runs it (execve: EACCES). Run \`chmod +r\` on it.`,
        );
      });
    }
  });
}
