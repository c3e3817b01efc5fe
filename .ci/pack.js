// Packs the library's files into a few: a process that imports it opens 5 files and not 90, which takes a third of the time,
// and works where few descriptors are left. What other packages bring stays outside. The types come from tsc, a file each.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/index.ts', 'src/testing.ts', 'src/hook/runner.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: 'warning',
  // Those of the checkout lead to the types of a package, which are no code.
  tsconfigRaw: { compilerOptions: { target: 'es2022', verbatimModuleSyntax: true } },
});

// What an earlier build has left is not to be published.
const made = new Set(Object.keys(metafile.outputs).map((file) => join(root, file)));
for (const name of readdirSync(dist, { recursive: true })) {
  const file = join(dist, name);
  if (/\.js(\.map)?$/.test(name) && !made.has(file)) rmSync(file, { force: true });
}

// Every Node that this package supports can `require()` an ES module, and this one is: there is one copy of it, however it was
// asked for. But TypeScript's `module: node16` takes only types that say they are CommonJS: those that the entries reach are
// copied into a folder that says so.
const commonjs = join(dist, 'commonjs');
rmSync(commonjs, { recursive: true, force: true });
const reached = new Set(['index.d.ts', 'testing.d.ts']);
for (const name of reached) {
  const text = readFileSync(join(dist, name), 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '');
  for (const [, specifier] of text.matchAll(/(?:from|import\() ?['"](\.[^'"]*)\.js['"]/g))
    reached.add(`${posix.join(posix.dirname(name), specifier)}.d.ts`);
  mkdirSync(dirname(join(commonjs, name)), { recursive: true });
  writeFileSync(join(commonjs, name), text);
}
writeFileSync(join(commonjs, 'package.json'), '{ "type": "commonjs" }\n');
for (const name of ['index', 'testing'])
  writeFileSync(join(commonjs, `${name}.js`), `module.exports = require('../${name}.js');\n`);
