import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { buildSync } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { root, useNativeEngine } from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

/** What is bundled. A class of the caller's has a name that the library has too, so a bundler renames one of them. */
const PROGRAM = `
  import { Command, engineInfo, killTree } from 'vircommand';
  class LaunchError extends Error {}
  async function main() {
    const { engine, why } = engineInfo();
    const { stdout } = await new Command('echo').argFormat('%05.1f', 3.14159).outputBuffer().run();
    const error = await new Command('/nowhere/program').run().catch((reason) => reason);
    const mistake = await new Command('true').timeout(-1).run().catch((reason) => reason);
    const child = await new Command('sleep', '600').runAsync();
    const { ended } = await killTree(child);
    await child.wait({ check: false });
    const names = [error.name, mistake.name, new LaunchError('').name];
    console.log(JSON.stringify({ engine, why, stdout, names, hasEnded: ended.includes(child.pid) }));
  }
  main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });`;

const HOOK_PROGRAM = `
  import { Command } from 'vircommand';
  new Command('pwd').preExecHook(() => process.chdir('/')).outputBuffer().run()
    .then(({ stdout }) => stdout, String)
    .then((text) => console.log(JSON.stringify(text)));`;

const WORKS = { stdout: '003.1\n', names: ['LaunchError', 'UsageError', 'Error'], hasEnded: true };

/** Many bundles of ES modules begin so, for the CommonJS packages in them. */
const BANNER = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`;

const kinds: readonly (readonly [kind: string, options: Parameters<typeof buildSync>[0]])[] = [
  ['of ES modules', { format: 'esm', outExtension: { '.js': '.mjs' } }],
  ['of ES modules, minified', { format: 'esm', minify: true, outExtension: { '.js': '.mjs' } }],
  [
    "of ES modules with a 'require' of its own",
    { format: 'esm', banner: { js: BANNER }, outExtension: { '.js': '.mjs' } },
  ],
  ['of CommonJS', { format: 'cjs', outExtension: { '.js': '.cjs' } }],
  ['of CommonJS, minified', { format: 'cjs', minify: true, outExtension: { '.js': '.cjs' } }],
];

/** Bundles the program, with all packages in it, and gives the directory that has nothing but the bundle. */
function bundle(options: Parameters<typeof buildSync>[0], program = PROGRAM): { directory: string; file: string } {
  mkdirSync(path('source/node_modules'), { recursive: true });
  symlinkSync(root, path('source/node_modules/vircommand'));
  writeFileSync(path('source/app.js'), program);
  const extension = options.outExtension?.['.js'] ?? '.js';
  buildSync({
    entryPoints: [path('source/app.js')],
    bundle: true,
    platform: 'node',
    outdir: path('deployed/dist'),
    logLevel: 'error',
    ...options,
  });
  return { directory: path('deployed/dist'), file: path(`deployed/dist/app${extension}`) };
}

const run = (file: string, engine: string): unknown =>
  JSON.parse(
    execFileSync(process.execPath, [file], {
      cwd: dirname(file),
      encoding: 'utf8',
      env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_PATH: '' },
    }),
  );

describe.for(kinds)('a bundle %s', ([, options]) => {
  test('runs on the portable engine where it finds no addon, and says why', () => {
    const { file } = bundle(options);
    expect(run(file, '')).toEqual({
      engine: 'portable',
      why: `no addon for linux on ${process.arch} lies beside the bundle, as prebuilds/, or in a package vircommand that it finds`,
      ...WORKS,
    });
  });

  test('runs on the native engine where the package is installed, and on the portable one if that is asked for', () => {
    const { file } = bundle(options);
    mkdirSync(path('deployed/node_modules'));
    symlinkSync(root, path('deployed/node_modules/vircommand'));
    expect(run(file, '')).toEqual({ engine: 'native', why: 'the addon was loaded', ...WORKS });
    expect(run(file, 'portable')).toMatchObject({ engine: 'portable', ...WORKS });
  });

  test('runs hooks where the package is installed, and refuses them where it is not', () => {
    const { file } = bundle(options, HOOK_PROGRAM);
    expect(run(file, '')).toMatch(/^UnsupportedError: .*child_process runs nothing between fork and exec/);
    mkdirSync(path('deployed/node_modules'));
    symlinkSync(root, path('deployed/node_modules/vircommand'));
    expect(run(file, '')).toBe('/\n');
  });

  test('runs on the native engine where the addon lies beside it', () => {
    const { directory, file } = bundle(options);
    const native = loadNative();
    if (typeof native === 'string') throw new Error(native);
    const place = `${directory}/prebuilds/linux-${process.arch}-glibc`;
    mkdirSync(place, { recursive: true });
    cpSync(native.addon, `${place}/vircommand.node`);
    cpSync(native.helper, `${place}/vircommand-helper`);
    expect(run(file, 'native')).toMatchObject({ engine: 'native', ...WORKS });
  });
});

test("a bundle without the packages that are loaded later, since its bundler does not know the condition 'module', says what helps", () => {
  const program = `
    import { Command } from 'vircommand';
    const problem = (run) => run().catch((error) => error.name + ': ' + error.message);
    problem(() => new Command('true').run()).then(async (first) => {
      const second = await problem(() => new Command('echo').argFormat('%d', 1).run());
      console.log(JSON.stringify([first, second]));
    });`;
  const { file } = bundle({ format: 'cjs', conditions: ['none'], outExtension: { '.js': '.cjs' } }, program);
  const [first, second] = run(file, '') as [string, string];
  const why = (name: string) =>
    `its package ${name} cannot be loaded: Cannot find module '${name}'; install vircommand beside the bundle, or have the bundler follow the condition 'module' of a package's exports`;
  expect(first).toContain(`UnsupportedError: Cannot start \`true\`: ${why('signal-exit')}.`);
  expect(second).toContain(`UsageError: Mistake in \`echo\`: argFormat('%d', 1): ${why('printj')}.`);
  mkdirSync(path('deployed/node_modules'));
  symlinkSync(root, path('deployed/node_modules/vircommand'));
  expect(run(file, '')).toEqual([{}, {}].map(() => expect.anything() as unknown));
});

describe('to import the library', () => {
  const importIt = `import(${JSON.stringify(`${root}/dist/index.js`)})`;

  test('takes few descriptors', () => {
    // What Node itself holds open is about 20.
    const words = [
      '-c',
      'ulimit -n 40 && exec "$0" -e "$1"',
      process.execPath,
      `${importIt}.then(() => console.log('imported'))`,
    ];
    expect(execFileSync('sh', words, { encoding: 'utf8' })).toBe('imported\n');
  });

  test.for(['native', 'portable'])(
    'touches no standard stream, and loads none of what the %s engine does not need',
    (engine) => {
      const script = `
      // From Node 22 on, an import of this one asks for the colors of stderr.
      await import('node:util');
      const { writeSync } = await import('node:fs');
      for (const stream of ['stdin', 'stdout', 'stderr'])
        Object.defineProperty(process, stream, { get() { throw new Error('process.' + stream + ' was asked for'); } });
      ${importIt}.then(
        () => writeSync(1, 'imported'),
        (error) => writeSync(1, error.stack));`;
      const env = { ...process.env, VIRCOMMAND_ENGINE: engine };
      expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env })).toBe(
        'imported',
      );
    },
  );

  test('takes neither execa nor pidtree, which the native engine never needs; who needs them is told', () => {
    mkdirSync(path('copy/node_modules'), { recursive: true });
    for (const part of ['dist', 'package.json', 'src']) symlinkSync(`${root}/${part}`, path(`copy/${part}`));
    for (const name of ['printj', 'signal-exit'])
      symlinkSync(`${root}/node_modules/${name}`, path(`copy/node_modules/${name}`));
    for (const name of ['execa', 'pidtree']) {
      mkdirSync(path(`copy/node_modules/${name}`));
      writeFileSync(path(`copy/node_modules/${name}/package.json`), '{ "exports": {} }');
    }
    const script = `
      import { Command } from ${JSON.stringify(path('copy/dist/index.js'))};
      console.log(await new Command('echo', 'hello').outputBuffer().run().then(({ stdout }) => stdout, String));`;
    const words = ['--preserve-symlinks', '--input-type=module', '-e', script];
    const tell = (engine: string) =>
      execFileSync(process.execPath, words, { encoding: 'utf8', env: { ...process.env, VIRCOMMAND_ENGINE: engine } });
    expect(tell('native')).toBe('hello\n\n');
    expect(tell('portable')).toMatch(
      /^UnsupportedError: Cannot start `echo hello`: its package execa cannot be loaded: No "exports" main defined/,
    );
  });
});
