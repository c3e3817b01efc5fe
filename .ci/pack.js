// Packs the library's files into one, vircommand.js, and each entry is names of it: a process that imports the library opens 2 files
// and not 90, which takes a fraction of the time, and works where few descriptors are left. What other packages bring stays outside.
// The types come from tsc, a file each.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

/**
 * Modules of Node that are no part of its snapshot, and that an import of this library shall not pay for. In what is packed, each of
 * them is loaded when the first of its functions is called. Classes of them come from src/spec/late.ts.
 */
const LATE = [
  'node:child_process',
  'node:crypto',
  'node:fs/promises',
  'node:net',
  'node:stream',
  'node:tty',
  'node:v8',
  'node:vm',
  'node:worker_threads',
];

/**
 * Takes Node's modules from `require()`. To import one as an ES module, Node reads each of its properties, and has loaded a dozen
 * others by then: WebCrypto, MIME types, promises of timers.
 */
const builtins = (late) => ({
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace, kind }) =>
      kind !== 'import-statement' || namespace === 'loader' || path === 'node:module'
        ? { path, external: true }
        : { path, namespace: 'builtin', sideEffects: false },
    );
    onResolve({ filter: /^load$/ }, () => ({ path: 'load', namespace: 'loader' }));
    // Node 22.0 to 22.2 have no getBuiltinModule().
    onLoad({ filter: /^/, namespace: 'loader' }, () => ({
      contents: `import { createRequire as requireFrom } from 'node:module';
        export const load = process.getBuiltinModule ?? requireFrom('/');`,
    }));
    onLoad({ filter: /^/, namespace: 'builtin' }, ({ path }) => ({
      contents: late.includes(path) ? callsOf(path) : valuesOf(path),
    }));
  },
});

const valuesOf = (path) =>
  [
    `import { load } from 'load';`,
    `const it = /* @__PURE__ */ load('${path}');`,
    ...namesOf(path).map((name) => `export const ${name} = /* @__PURE__ */ (() => it.${name})();`),
  ].join('\n');

function callsOf(path) {
  const names = namesOf(path);
  const other = names.find((name) => /^[A-Z]|^is[A-Z]\w*Thread$|^constants$/.test(name));
  if (other !== undefined)
    throw new Error(
      `'${other}' of ${path} is no function, and would be loaded at once: take it from src/spec/late.ts.`,
    );
  return [
    `import { load } from 'load';`,
    `let it;`,
    ...names.map((name) => `export const ${name} = (...values) => (it ??= load('${path}')).${name}(...values);`),
  ].join('\n');
}

/** The names that the sources import from a module. */
function namesOf(module) {
  const names = new Set();
  for (const file of readdirSync(join(root, 'src'), { recursive: true }).filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(root, 'src', file), 'utf8');
    for (const [, list, from] of text.matchAll(/^import \{([^}]*)\} from '(node:[^']*)';$/gm))
      if (from === module)
        for (const item of list.split(',')) {
          const name = item.trim().replace(/ as .*/s, '');
          if (name !== '' && !name.startsWith('type ')) names.add(name);
        }
  }
  return Array.from(names).sort();
}

const options = {
  absWorkingDir: root,
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: 'warning',
  chunkNames: 'bundled/[name]-[hash]',
  plugins: [builtins(LATE)],
  // Those of the checkout lead to the types of a package, which are no code.
  tsconfigRaw: { compilerOptions: { target: 'es2022', verbatimModuleSyntax: true } },
};
/** The names that a file of `src` exports. */
async function exportsOf(name) {
  const { metafile } = await build({ ...options, entryPoints: [`src/${name}.ts`], write: false, sourcemap: false });
  return metafile.outputs[`dist/${name}.js`].exports.sort();
}
const names = { index: await exportsOf('index'), testing: await exportsOf('testing') };

/** What an entry is: names of the one file that has all. */
const entries = {
  'index.js': `export { ${names.index.join(', ')} } from './vircommand.js';\n`,
  'testing.js': `export { ${names.testing.join(', ')} } from './vircommand.js';\n`,
};
const everything = `
  export { ${names.index.join(', ')} } from './src/index.ts';
  export { ${names.testing.join(', ')} } from './src/testing.ts';
  export { provide } from './src/native/dependencies.ts';
  export { bare } from './src/spec/bare.ts';`;

/** The entries for bundlers are files of their own, on top of the others. */
const onTop = {
  name: 'on top',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\// }, ({ path }) => {
      const entry = path.slice('../'.length);
      return { path: entry in entries ? path : '../vircommand.js', external: true };
    });
  },
};

const builds = [
  await build({
    ...options,
    stdin: { contents: everything, resolveDir: root, sourcefile: 'everything.ts' },
    outfile: 'dist/vircommand.js',
    outdir: undefined,
  }),
  await build({
    ...options,
    splitting: true,
    entryPoints: ['src/bundled/index.ts', 'src/bundled/testing.ts'],
    plugins: [onTop],
  }),
  // A program of its own, which every launch with a hook waits for: it shares nothing, and is one file.
  await build({ ...options, entryPoints: ['src/hook/runner.ts'], plugins: [builtins([])] }),
];
for (const [name, content] of Object.entries(entries)) writeFileSync(join(dist, name), content);

// esbuild calls a class that names itself within itself by another name in there, which the class then has: `_Command`. The blank
// keeps every place of the source map.
const packed = join(dist, 'vircommand.js');
let code = readFileSync(packed, 'utf8');
for (const [, name] of code.matchAll(/\bvar (\w+) = class _\1\b/g))
  code = code.replace(new RegExp(`\\b_${name}\\b`, 'g'), `${name} `);
writeFileSync(packed, code);

// What an earlier build has left is not to be published.
const made = new Set([
  ...builds.flatMap(({ metafile }) => Object.keys(metafile.outputs)).map((file) => join(root, file)),
  ...Object.keys(entries).map((name) => join(dist, name)),
]);
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
