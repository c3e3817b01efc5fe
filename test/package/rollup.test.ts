import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { build } from 'vite';
import { expect, test } from 'vitest';
import { root, useNativeEngine } from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

const IMPORTS = `
  import { Command, engineInfo, killTree } from 'vircommand';
  import { dryRun } from 'vircommand/testing';`;

const BODY = `
  const { engine } = engineInfo();
  const { stdout } = await new Command('echo').argFormat('%05.1f', 3.14159).outputBuffer().run();
  const child = await new Command('sleep', '600').runAsync();
  const { ended } = await killTree(child);
  await child.wait({ check: false });
  const dry = dryRun();
  await new Command('never').run();
  dry[Symbol.dispose]();
  console.log(JSON.stringify({ engine, stdout, hasEnded: ended.includes(child.pid), commands: dry.commands.length }));`;

// In one file, rollup puts what `import()` names behind the application, where an await at its top level would come too early.
const kinds: readonly (readonly [kind: string, program: string, output: { inlineDynamicImports?: true }])[] = [
  ['in several files', `${IMPORTS}${BODY}`, {}],
  ['in one file', `${IMPORTS}async function main() {${BODY}}\nmain();`, { inlineDynamicImports: true }],
];

test.for(kinds)('an application that vite bundles by rollup, %s, runs on both engines', async ([, program, output]) => {
  mkdirSync(path('source/node_modules'), { recursive: true });
  symlinkSync(root, path('source/node_modules/vircommand'));
  writeFileSync(path('source/app.js'), program);
  await build({
    root: path('source'),
    configFile: false,
    logLevel: 'error',
    ssr: { noExternal: true },
    build: { ssr: 'app.js', outDir: path('deployed'), rollupOptions: { output } },
  });
  const file = path('deployed/app.mjs');
  const run = (engine: string) =>
    JSON.parse(
      execFileSync(process.execPath, [file], {
        cwd: path('deployed'),
        encoding: 'utf8',
        env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_PATH: '' },
      }),
    ) as unknown;
  const works = { stdout: '003.1\n', hasEnded: true, commands: 1 };
  expect(run('')).toEqual({ engine: 'portable', ...works });
  mkdirSync(path('node_modules'));
  symlinkSync(root, path('node_modules/vircommand'));
  expect(run('')).toEqual({ engine: 'native', ...works });
});
