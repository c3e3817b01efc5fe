import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { orderViolations, readingOrder, roomViolations } from './rooms.js';

const src = fileURLToPath(new URL('../src', import.meta.url));

/** The files of `src` that `text`, the file `name`, imports in any form: types, re-exports and `import()` included. */
function localImports(name: string, text: string): string[] {
  return ts
    .preProcessFile(text)
    .importedFiles.map((imported) => imported.fileName)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => posix.join(posix.dirname(name), specifier).replace(/\.js$/, '.ts'));
}

const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) =>
    join(entry.parentPath, entry.name)
      .slice(src.length + 1)
      .replaceAll(sep, '/'),
  )
  .filter((file) => !file.startsWith('native/build/'));
const typeScriptFiles = files.filter((file) => file.endsWith('.ts'));

test('every file of src lies in a room, and no room is crowded', () => {
  expect(roomViolations(files)).toEqual([]);
});

test('a room with too many files, and a file in no room, are named', () => {
  expect(roomViolations(['a/1.ts', 'a/2.c', 'b/1.ts', 'loose.ts', 'index.ts'], 1)).toEqual([
    "'a' has 2 files, more than 1. Divide it by subject.",
    "'' has 2 files, more than 1. Divide it by subject.",
    "'loose.ts' lies in no room. Put it into the one of its subject.",
  ]);
});

test('a file of src imports only files that stand above it in the reading order', () => {
  const imports = new Map(
    typeScriptFiles.map((file) => [file, localImports(file, readFileSync(join(src, file), 'utf8'))]),
  );
  expect(orderViolations(imports, readingOrder())).toEqual([]);
});

test('every form of import counts', () => {
  const text = `
    import './a.js';
    import { b } from './b.js';
    import type { C } from '../c.js';
    export { d } from './d.js';
    export type { E } from './e.js';
    export * from './f.js';
    type G = import('./g.js').G;
    const h = await import('./h.js');
    import { join } from 'node:path';`;
  expect(localImports('engine/x.ts', text)).toEqual([
    'engine/a.ts',
    'engine/b.ts',
    'c.ts',
    'engine/d.ts',
    'engine/e.ts',
    'engine/f.ts',
    'engine/g.ts',
    'engine/h.ts',
  ]);
});

describe('orderViolations', () => {
  const order = ['a.ts', 'b.ts', 'c.ts'];
  const sound = { 'a.ts': [], 'b.ts': ['a.ts'], 'c.ts': ['a.ts', 'b.ts'] };
  const violations = (changes: Record<string, string[]>, list: readonly string[] = order) =>
    orderViolations(new Map(Object.entries({ ...sound, ...changes })), list);

  test('accepts imports that point upwards', () => {
    expect(violations({})).toEqual([]);
  });

  test('names the file, the import and the way out', () => {
    expect(violations({ 'a.ts': ['c.ts'] })).toEqual([
      "'a.ts' imports 'c.ts', which does not stand above it in test/rooms.ts. " +
        "Move what both need into a file above 'a.ts', or pass it in as an argument.",
    ]);
  });

  test('refuses a file that imports itself', () => {
    expect(violations({ 'b.ts': ['b.ts'] })).toHaveLength(1);
  });

  test('refuses a file that is not listed, an entry without a file, and an entry twice', () => {
    expect(violations({ 'd.ts': ['a.ts'] })).toEqual([
      "'d.ts' is missing in test/rooms.ts. Put it into its room, below everything it imports.",
    ]);
    expect(violations({}, [...order, 'd.ts'])).toEqual([
      "'d.ts' stands in test/rooms.ts, but src has no such file. Remove it there.",
    ]);
    expect(violations({}, [...order, 'a.ts'])).toEqual(["'a.ts' stands twice in test/rooms.ts. Remove one."]);
  });

  test('refuses an import of a file that does not exist', () => {
    expect(violations({ 'b.ts': ['gone.ts'] })).toEqual([
      "'b.ts' imports 'gone.ts', which is no file of src. Correct the path.",
    ]);
  });
});
