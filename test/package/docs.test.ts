import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { brokenLinks, fragments, isTypeScript, parseMarkdown, tsdocExamples } from './markdown.js';
import { Compiler, type Example } from './typescript.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const filesIn = (directory: string, ending: string) =>
  (existsSync(join(root, directory)) ? readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' }) : [])
    .filter((file) => file.endsWith(ending))
    .map((file) => join(directory, file));
const read = (file: string) => readFileSync(join(root, file), 'utf8');

const documents = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...filesIn('docs', '.md')].filter((file) =>
  existsSync(join(root, file)),
);
const entries = new Map([
  ['vircommand', join(root, 'src/index.ts')],
  ['vircommand/testing', join(root, 'src/testing.ts')],
]);

// Inside the repository, so that 'vircommand' is this package: its source for the compiler, its build when run.
mkdirSync(join(root, '.cache'), { recursive: true });
const cache = mkdtempSync(join(root, '.cache/docs-'));
afterAll(() => rmSync(cache, { recursive: true }));

const compiler = new Compiler(root);
const blocks = documents.flatMap((origin) => parseMarkdown(read(origin)).blocks.map((block) => ({ ...block, origin })));
const examples: Example[] = [...blocks.filter(isTypeScript), ...docCommentExamples()];
const { problems, scripts } = compiler.compile(examples, cache);

/** A block of a document is complete; an example in a doc comment gets everything public imported, unless it imports for itself. */
function docCommentExamples(): Example[] {
  const everything = compiler.importEverything(entries);
  return filesIn('src', '.ts').flatMap((origin) =>
    tsdocExamples(read(origin)).map((example) =>
      /^import /m.test(example.code)
        ? { ...example, origin }
        : // In a block of its own, an example may use a public name for a variable.
          { ...example, origin, prelude: `${everything} {`, postlude: '}' },
    ),
  );
}

test('every ts block and every @example compiles', () => {
  expect(problems).toEqual([]);
});

test('every block of code in JavaScript or TypeScript is marked `ts` or `ts run`, so that it is checked', () => {
  const others = blocks.filter(
    (block) => /^(js|javascript|mjs|typescript|ts)\b/.test(block.info) && !isTypeScript(block),
  );
  expect(others.map((block) => `${block.origin}:${block.line - 1} is marked '${block.info}'.`)).toEqual([]);
});

for (const example of examples.filter(({ info }) => info === 'ts run')) {
  test(`${example.origin}:${example.line} runs`, () => {
    const cwd = mkdtempSync(join(tmpdir(), 'vircommand-docs-'));
    const script = scripts.get(example)!;
    const { status, signal, stderr } = spawnSync(process.execPath, ['--enable-source-maps', script], {
      cwd,
      encoding: 'utf8',
      timeout: 25_000,
    });
    rmSync(cwd, { recursive: true });
    expect({ status, signal }, stderr).toEqual({ status: 0, signal: null });
  });
}

test('every relative link leads to a file and a heading that exist', () => {
  expect(documents.flatMap((file) => brokenLinks(join(root, file), root))).toEqual([]);
});

test('every export, and every public member of an exported class, has a doc comment', () => {
  expect(compiler.undocumented([...entries.values()])).toEqual([]);
});

test('every public method of an exported class has an example', () => {
  expect(compiler.untagged([...entries.values()], 'example')).toEqual([]);
});

test('every method of Command has a category, and those that run it have one of their own', () => {
  expect(compiler.untagged([...entries.values()], 'category', (name) => name === 'Command')).toEqual([]);
  const running = read('src/command.ts').match(/@category Running it\n[^]*?\n {3}\*\/\n {2}(?:async )?\w+/g) ?? [];
  expect(running.map((text) => /\w+$/.exec(text)?.[0])).toEqual(['run', 'runAsync', 'runSync', 'exec']);
});

describe('the checks can fail', () => {
  const scratch = (name: string, text: string) => {
    const file = join(cache, name);
    writeFileSync(file, text);
    return file;
  };

  test('a type error is reported with its line in the document', () => {
    const text = '# Title\n\n```ts\nconst one = 1;\nconst two: string = one;\n```\n';
    const [block] = parseMarkdown(text).blocks;
    expect(compiler.compile([{ ...block!, origin: 'docs/x.md' }], cache).problems).toEqual([
      "docs/x.md:5 Type 'number' is not assignable to type 'string'.",
    ]);
  });

  test('an example in a doc comment is found with its line, fenced or not', () => {
    const source = [
      '/**',
      ' * Adds.',
      ' *',
      ' * @example',
      ' * add(1, 2);',
      ' *',
      ' * add(3, 4);',
      ' * @returns the sum',
      ' */',
      'class A {',
      '  /**',
      '   * @example',
      '   * Words.',
      '   * ```ts run',
      '   * add();',
      '   * ```',
      '   */',
      '}',
    ].join('\n');
    expect(tsdocExamples(source)).toEqual([
      { line: 5, info: 'ts', code: 'add(1, 2);\n\nadd(3, 4);' },
      { line: 15, info: 'ts run', code: 'add();' },
    ]);
  });

  test('a link to a missing file or heading is reported; code and web addresses are not links', () => {
    const file = scratch(
      'links.md',
      [
        '# A `b()` – [c](d): e_f!',
        '## Same',
        '## Same',
        '',
        '[ok](#a-b--c-e_f) [ok](#same-1) [ok](https://example.org/x#y) `[code](gone.md)`',
        '```',
        '[code](gone.md)',
        '```',
        '[bad](gone.md)',
        '[bad](#nothing)',
        '[bad]: links.md#nothing',
      ].join('\n'),
    );
    expect(brokenLinks(file, cache)).toEqual([
      "links.md:1 the link 'd' leads to no file.",
      "links.md:9 the link 'gone.md' leads to no file.",
      "links.md:10 the link '#nothing' names a heading that does not exist.",
      "links.md:11 the link 'links.md#nothing' names a heading that does not exist.",
    ]);
    expect([...fragments(readFileSync(file, 'utf8'))]).toEqual(['a-b--c-e_f', 'same', 'same-1']);
  });

  test('a public method without an example is reported', () => {
    const file = scratch(
      'untagged.ts',
      [
        'export class A {',
        '  /** Does it. */ one(): void {}',
        '  /**\n   * Does it.\n   * @example\n   * new A().two();\n   */ two(): void {}',
        '  #three(): void {}',
        '}',
      ].join('\n'),
    );
    expect(compiler.untagged([file], 'example')).toEqual(['A.one() has no @example.']);
  });

  test('an export or a public member without a doc comment is reported', () => {
    const file = scratch(
      'entry.ts',
      [
        '/** Documented. */',
        'export class A {',
        '  bare(): void {}',
        '  /** Said. */',
        '  said(): void {}',
        '  private hidden = 1;',
        '  #hidden = this.hidden;',
        '  [Symbol.iterator](): unknown { return this.#hidden; }',
        '}',
        'export type B = A;',
      ].join('\n'),
    );
    expect(compiler.undocumented([file]).map((line) => line.replace(/^.*\//, ''))).toEqual([
      "entry.ts:3 'A.bare' has no doc comment.",
      "entry.ts:8 'A.[Symbol.iterator]' has no doc comment.",
      "entry.ts:10 'B' has no doc comment.",
    ]);
  });
});
