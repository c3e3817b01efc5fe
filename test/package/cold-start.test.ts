import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { root } from '../helpers/native.js';
import { hasProgram, useDirectory } from '../helpers/tools.js';

const native = loadNative();
const path = useDirectory();
const base = root.replace(/\/$/, '');
const index = `${base}/dist/index.js`;

/** Packages, and the only files of `src` that may name them, other than for their types. */
const MAY_LOAD: Readonly<Record<string, readonly string[]>> = {
  execa: ['engine/portable/load-execa.ts'],
  pidtree: ['ending/numbered-tree.ts'],
  printj: ['text/printf.ts'],
  'printj/printj.mjs': ['bundled/dependencies.ts'],
  'signal-exit': ['bundled/dependencies.ts', 'ending/owned-children.ts', 'terminal/foreground.ts'],
  'signal-exit/signals': ['bundled/dependencies.ts'],
};

/** Modules of Node that an import takes none of: each loads a dozen others, which are no part of Node's snapshot. */
const LATE = ['child_process', 'crypto', 'dgram', 'fs/promises', 'http', 'net', 'stream', 'v8', 'vm', 'worker_threads'];

/** The packages that a text loads: by `import`, `import()`, `require()`, or `dependency()`. Types are none. */
function packagesIn(text: string): string[] {
  const found: string[] = [];
  const note = (node: ts.Node | undefined): void => {
    if (node !== undefined && ts.isStringLiteral(node) && !/^(\.|\/$|node:)/.test(node.text)) found.push(node.text);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && node.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword)
      note(node.moduleSpecifier);
    if (ts.isExportDeclaration(node) && !node.isTypeOnly) note(node.moduleSpecifier);
    if (ts.isCallExpression(node) && /^import$|require|^dependency$/i.test(node.expression.getText()))
      note(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('a.ts', text, ts.ScriptTarget.Latest, true));
  return found;
}

/** Runs a module of a line or two, and gives the files that it has opened, with the real names of the packages. */
function filesOpened(script: string, engine = ''): string[] {
  // A file for each thread: in a common one, they interrupt each other's lines.
  const traces = path('traces');
  rmSync(traces, { recursive: true, force: true });
  mkdirSync(traces);
  const words = [
    '-ff',
    '-qq',
    '-e',
    'trace=open,openat',
    '-o',
    `${traces}/of`,
    process.execPath,
    '--input-type=module',
    '-e',
    script,
  ];
  const env = { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_OPTIONS: '', NODE_COMPILE_CACHE: '' };
  const { status, stderr } = spawnSync('strace', words, { cwd: path(), encoding: 'utf8', env });
  if (status !== 0) throw new Error(stderr);
  const real = realpathSync(`${base}/node_modules`);
  const trace = readdirSync(traces).map((name) => readFileSync(`${traces}/${name}`, 'utf8'));
  const files = Array.from(trace.join('').matchAll(/^open[^"\n]*"([^"\n]*)".* = \d+$/gm), ([, file = '']) => file);
  return Array.from(new Set(files))
    .flatMap((file) => [real, `${base}/node_modules`, base].flatMap((folder) => inFolder(file, folder)).slice(0, 1))
    .filter((file) => !file.endsWith('package.json'))
    .sort();
}

const inFolder = (file: string, folder: string): string[] =>
  file.startsWith(`${folder}/`) ? [file.slice(folder.length + 1)] : [];

test('a package is loaded by the file that uses it first, and by no import', () => {
  const found: Record<string, string[]> = {};
  for (const file of readdirSync(`${base}/src`, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!file.endsWith('.ts') || file.startsWith('native/build/')) continue;
    for (const name of new Set(packagesIn(readFileSync(join(root, 'src', file), 'utf8'))))
      (found[name] ??= []).push(file);
  }
  expect(found).toEqual(MAY_LOAD);
});

test('every way to load a package is seen, and its types are none', () => {
  const text = `
    import 'a';
    import { b } from 'b';
    import type { C } from 'c';
    export { d } from 'd';
    const e = await import('e');
    const f = require('f');
    const g = requireBeside()('g');
    const h = dependency('h');
    import './i.js';
    import { j } from 'node:fs';
    type K = import('k').K;`;
  expect(packagesIn(text)).toEqual(['a', 'b', 'd', 'e', 'f', 'g', 'h']);
});

describe('the files that are opened', () => {
  const addon = typeof native === 'string' ? [] : [native.addon.slice(base.length + 1)];

  test('by an import are two of the library, the addon, and no other', ({ skip }) => {
    if (!hasProgram('strace')) skip('there is no strace');
    const files = filesOpened(`import ${JSON.stringify(index)};`);
    expect(files).toEqual(['dist/index.js', 'dist/vircommand.js', ...addon]);
  });

  const run = (more = '') => `
    import { Command } from ${JSON.stringify(index)};
    await new Command('/bin/true')${more}.run();`;

  test('by a first run is signal-exit besides, and by a first format printj', ({ skip }) => {
    if (!hasProgram('strace')) skip('there is no strace');
    if (typeof native === 'string') skip(native);
    const expected = [
      'dist/index.js',
      'dist/vircommand.js',
      'signal-exit/dist/cjs/index.js',
      'signal-exit/dist/cjs/signals.js',
      ...addon,
    ].sort();
    expect(filesOpened(run())).toEqual(expected);
    expect(filesOpened(run(`.argFormat('%d', 1)`))).toEqual([...expected, 'printj/printj.js'].sort());
  });

  test('by a first run on the portable engine are those of execa, and none of pidtree and printj', ({ skip }) => {
    if (!hasProgram('strace')) skip('there is no strace');
    const files = filesOpened(run(), 'portable');
    expect(files.filter((file) => file.startsWith('execa/'))).not.toEqual([]);
    expect(files.filter((file) => /^(pidtree|printj)/.test(file))).toEqual([]);
  });
});

test("an import loads none of Node's large modules, and a run that captures text loads no stream", () => {
  const script = `
    const { Command } = await import(${JSON.stringify(index)});
    const large = (names) => names.filter((name) => process.moduleLoadList.includes('NativeModule ' + name));
    const byImport = large(${JSON.stringify(LATE)});
    const { stdout } = await new Command('/bin/echo', 'hello').outputBuffer().run();
    const byRun = large(['stream', 'net', 'child_process', 'crypto']);
    console.log(JSON.stringify({ byImport, byRun, stdout }));`;
  writeFileSync(path('program.mjs'), script);
  const node = (engine: string) =>
    JSON.parse(
      execFileSync(process.execPath, [path('program.mjs')], {
        encoding: 'utf8',
        env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_OPTIONS: '' },
      }),
    ) as unknown;
  expect(node('portable')).toMatchObject({ byImport: [], stdout: 'hello\n' });
  if (typeof native !== 'string') expect(node('native')).toEqual({ byImport: [], byRun: [], stdout: 'hello\n' });
});

// Node itself holds about 19 open, and a run on the native engine takes seven more.
test.for([60, 28])('with %i descriptors, an import and a plain run work', (limit) => {
  const script = `import(${JSON.stringify(index)})
    .then(({ Command }) => new Command('/bin/echo', 'hello').argFormat('%03d', 7).outputBuffer().run())
    .then(({ stdout }) => process._rawDebug(stdout.trim()), (error) => process._rawDebug(error.stack));`;
  const words = ['-c', `ulimit -n ${limit} && exec "$0" -e "$1"`, process.execPath, script];
  expect(spawnSync('sh', words, { encoding: 'utf8' }).stderr).toBe('hello 007\n');
});

test('each class has the name that it is exported by', () => {
  mkdirSync(path('node_modules'));
  symlinkSync(base, path('node_modules/vircommand'));
  const script = `
    const all = { ...await import('vircommand'), ...await import('vircommand/testing') };
    const classes = Object.entries(all).filter(([name, value]) => typeof value === 'function' && /^[A-Z]/.test(name));
    console.log(JSON.stringify(classes.map(([name, value]) => [name, value.name])));`;
  const words = ['--input-type=module', '-e', script];
  const names = JSON.parse(execFileSync(process.execPath, words, { cwd: path(), encoding: 'utf8' })) as string[][];
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter(([exported, own]) => exported !== own)).toEqual([]);
});
