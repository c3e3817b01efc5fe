import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { useDirectory } from '../helpers/tools.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

test.for(['vircommand', 'vircommand/testing'])('%s is the same by import and by require', (name) => {
  const imported = node('--input-type=module', '-e', `console.log(Object.keys(await import('${name}')).sort().join())`);
  const required = node('--input-type=commonjs', '-e', `console.log(Object.keys(require('${name}')).sort().join())`);
  const names = (list: string) =>
    list
      .trim()
      .split(',')
      .filter((key) => key !== '__esModule' && key !== 'module.exports');
  expect(names(imported)).not.toEqual([]);
  expect(names(required)).toEqual(names(imported));
});

describe('TypeScript', () => {
  const path = useDirectory();

  test.for([
    ['commonjs', 'node10'],
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
  ] as const)(
    'with the module kind %s, types are found by a CommonJS program, which then runs',
    ([module, moduleResolution]) => {
      mkdirSync(path('node_modules/@types'), { recursive: true });
      symlinkSync(root, path('node_modules/vircommand'));
      for (const name of ['@types/node', 'undici-types'])
        symlinkSync(`${root}/node_modules/${name}`, path(`node_modules/${name}`));
      writeFileSync(path('package.json'), '{ "type": "commonjs" }');
      writeFileSync(
        path('program.ts'),
        `import { Command } from 'vircommand';
       import { dryRun } from 'vircommand/testing';
       async function main(): Promise<void> {
         const text: string = (await new Command('echo', typeof dryRun).outputBuffer().run()).stdout;
         process.stdout.write(text);
       }
       void main();`,
      );
      const compilerOptions = {
        strict: true,
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        types: ['node'],
        module,
        moduleResolution,
      };
      writeFileSync(path('tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
      const compiled = spawnSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`], {
        cwd: path(),
        encoding: 'utf8',
      });
      expect(compiled.stdout).toBe('');
      expect(execFileSync(process.execPath, [path('program.js')], { encoding: 'utf8' })).toBe('function\n');
    },
  );
});

test('the lock file names no registry but the public one', () => {
  const lock = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')) as {
    packages: Record<string, { resolved?: string }>;
  };
  const addresses = Object.values(lock.packages).flatMap(({ resolved }) => resolved ?? []);
  expect(addresses.filter((address) => !address.startsWith('https://registry.npmjs.org/'))).toEqual([]);
});
