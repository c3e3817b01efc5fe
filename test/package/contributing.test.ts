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
    const knows = (file: string): boolean =>
      /no_new_privs|noNewPrivileges/i.test(readFileSync(`${root}/src/${file}`, 'utf8'));
    expect(table).toHaveLength(6);
    expect(new Set(sources.filter(knows).map((file) => `src/${file}`))).toEqual(new Set(table));
  });
});
