import { mkdirSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Command, LaunchError } from 'vircommand';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rejection, useDirectory, withVariables, writeProgram } from '../helpers/tools.js';

const outputOf = async (command: Command): Promise<string> => (await command.outputBuffer().run()).stdout;

export function pathSearchContract(): void {
  describe('the search in PATH', () => {
    const path = useDirectory();
    const home = process.cwd();

    beforeEach(() => {
      mkdirSync(path('first'));
      mkdirSync(path('second'));
    });
    afterEach(() => {
      process.chdir(home);
    });

    /** Makes programs that tell their own name, and looks for `tool` along a PATH of names in the directory. */
    const search = <T>(entries: readonly string[], work: () => Promise<T>): Promise<T> =>
      withVariables(
        { PATH: entries.map((entry) => (entry === '' || entry.startsWith('.') ? entry : path(entry))).join(':') },
        work,
      );
    const tool = (directory: string, mode?: number): string =>
      writeProgram(path(`${directory}/tool`), `#!/bin/sh\necho ${directory}\n`, mode);

    test('takes the first executable of that name', async () => {
      tool('first');
      tool('second');
      await search(['first', 'second'], async () => expect(await outputOf(new Command('tool'))).toBe('first\n'));
      await search(['second', 'first'], async () => expect(await outputOf(new Command('tool'))).toBe('second\n'));
    });

    test.for<[string, () => unknown]>([
      ['a directory of that name', () => mkdirSync(path('first/tool'))],
      ['a file of that name that is not executable', () => tool('first', 0o644)],
      ['an entry that does not exist', () => undefined],
    ])('goes past %s', async ([, stand]) => {
      stand();
      tool('second');
      await search(['first', 'absent', 'second'], async () => {
        expect(await outputOf(new Command('tool'))).toBe('second\n');
        expect(new Command('tool').plan().tried).toEqual([path('first/tool'), path('absent/tool')]);
      });
    });

    test('goes past an entry that is a file', async () => {
      writeFileSync(path('file'), '');
      tool('second');
      await search(['file', 'second'], async () => expect(await outputOf(new Command('tool'))).toBe('second\n'));
    });

    test.for([[''], ['.'], ['./first'], ['..']])(
      'does not look into an empty or relative entry: %j',
      async ([entry = '']) => {
        writeProgram(path('tool'), '#!/bin/sh\necho wrong\n');
        tool('first');
        process.chdir(entry === '..' ? path('second') : path());
        await search([entry, 'second'], async () => {
          const error = await rejection(LaunchError, new Command('tool').run());
          expect(error).toMatchObject({ step: 'path-search', errno: 'ENOENT', tried: [path('second/tool')] });
        });
        process.chdir(home);
      },
    );

    test('does not look into the working directory of the program', async () => {
      tool('first');
      await search(['second'], async () => {
        await expect(new Command('tool').workingDirectory(path('first')).run()).rejects.toMatchObject({
          step: 'path-search',
        });
      });
    });

    test('tells EACCES, and the files in the way, where the name is there but not executable', async () => {
      tool('second', 0o644);
      await search(['first', 'second'], async () => {
        const error = await rejection(LaunchError, new Command('tool').run());
        expect(error).toMatchObject({
          step: 'path-search',
          errno: 'EACCES',
          path: 'tool',
          tried: [path('second/tool')],
        });
        expect(error.message).toContain(`'tool' stands in PATH, but not as an executable ('${path('second/tool')}')`);
      });
    });

    test('looks into /bin and /usr/bin where there is no PATH', async () => {
      await withVariables({ PATH: undefined }, async () => {
        expect(new Command('sh').binaryPath()).toBe('/bin/sh');
        expect(await outputOf(new Command('sh', '-c', 'echo here'))).toBe('here\n');
      });
    });

    test('is not made for a name with a slash, which means a path from the directory of this process', async () => {
      tool('first');
      mkdirSync(path('elsewhere'));
      process.chdir(path());
      await search(['first'], async () => {
        expect(await outputOf(new Command('./first/tool').workingDirectory(path('elsewhere')))).toBe('first\n');
        expect(await outputOf(new Command('first/tool'))).toBe('first\n');
        await expect(new Command('./tool').run()).rejects.toMatchObject({
          step: 'execve',
          errno: 'ENOENT',
          path: path('tool'),
          tried: [],
        });
      });
      process.chdir(home);
      expect(await outputOf(new Command(relative(home, path('first/tool'))))).toBe('first\n');
    });

    test('is made anew for each run', async () => {
      const command = new Command('tool').outputBuffer();
      await search(['first', 'second'], async () => {
        tool('second');
        expect((await command.run()).stdout).toBe('second\n');
        tool('first');
        expect((await command.run()).stdout).toBe('first\n');
      });
    });
  });
}
