import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

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

test('the lock file names no registry but the public one', () => {
  const lock = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')) as {
    packages: Record<string, { resolved?: string }>;
  };
  const addresses = Object.values(lock.packages).flatMap(({ resolved }) => resolved ?? []);
  expect(addresses.filter((address) => !address.startsWith('https://registry.npmjs.org/'))).toEqual([]);
});
