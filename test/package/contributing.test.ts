import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { root } from '../helpers/native.js';

const page = readFileSync(`${root}/CONTRIBUTING.md`, 'utf8');
const [, section = ''] = /^## Add a step\n(.*?)^## /ms.exec(page) ?? [];

describe('CONTRIBUTING.md', () => {
  test('names only files and folders that exist', () => {
    const named = Array.from(page.matchAll(/`((?:src|test|docs)\/[\w./-]+)`/g), ([, file = '']) => file);
    expect(named.filter((file) => !existsSync(`${root}/${file}`))).toEqual([]);
  });

  test('tells every source file that knows a step without an argument, and no other; there are six', () => {
    const table = Array.from(section.matchAll(/^\| `(src\/[\w./-]+)` \|/gm), ([, file = '']) => file);
    const sources = readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /^(?!.*\bbuild\/).*\.(ts|c|h)$/.test(file),
    );
    // A name of the kernel's alone is no knowledge of the step.
    const knows = (file: string): boolean =>
      /(?<!PR_SET_)no_new_privs|noNewPrivileges/i.test(readFileSync(`${root}/src/${file}`, 'utf8'));
    expect(table).toHaveLength(6);
    expect(new Set(sources.filter(knows).map((file) => `src/${file}`))).toEqual(new Set(table));
  });
});

describe('the walk of one launch in docs/internals.md', () => {
  const internals = readFileSync(`${root}/docs/internals.md`, 'utf8');
  const [, walk = ''] = /^## One launch\n(.*?)^## /ms.exec(internals) ?? [];
  const files = Array.from(walk.matchAll(/`(src\/[\w./-]+)`/g), ([, file = '']) => file);

  test('visits each file once, from the one that hands out Command to the one that waits for the end', () => {
    expect(files.filter((file) => !existsSync(`${root}/${file}`))).toEqual([]);
    expect(files.filter((file, index) => files.indexOf(file) !== index)).toEqual([]);
    expect(files.slice(0, 2)).toEqual(['src/index.ts', 'src/command.ts']);
    expect(files.length).toBeGreaterThan(20);
  });

  test('finds what it names where it says: `name()` in `file`', () => {
    const named = Array.from(walk.matchAll(/`([\w]+)(?:\(\))?`(?: and `\w+\(\)`)?\s+(?:in|\() ?`(src\/[\w./-]+)`/g));
    expect(named.length).toBeGreaterThan(12);
    const missing = named.filter(
      ([, name = '', file = '']) => !new RegExp(`\\b${name}\\b`).test(readFileSync(`${root}/${file}`, 'utf8')),
    );
    expect(missing.map(([told]) => told)).toEqual([]);
  });
});
