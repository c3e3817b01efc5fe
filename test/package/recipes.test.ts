import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname } from 'node:path';
import { expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { root, useNativeEngine } from '../helpers/native.js';
import { sh, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

/** The lines of docs/engines.md below a mark. */
function recipe(mark: string): string {
  const text = readFileSync(`${root}/docs/engines.md`, 'utf8');
  return new RegExp(`<!-- ${mark} -->\n\`\`\`sh\n(.*?)\`\`\``, 's').exec(text)?.[1] ?? '';
}

/** An application with the library as it is published, and what its recipe makes of it, moved to a folder that has nothing else. */
function make(mark: string, program: string, tools: readonly string[]): string {
  const native = loadNative();
  if (typeof native === 'string') throw new Error(native);
  const place = path(`source/node_modules/vircommand/prebuilds/linux-${process.arch}-glibc`);
  mkdirSync(place, { recursive: true });
  cpSync(native.addon, `${place}/vircommand.node`);
  cpSync(native.helper, `${place}/vircommand-helper`);
  for (const part of ['dist', 'package.json', 'node_modules'])
    symlinkSync(`${root}/${part}`, path(`source/node_modules/vircommand/${part}`));
  writeFileSync(path('source/app.js'), program);
  mkdirSync(path('source/build'));
  const env = { ...process.env, PATH: [...tools, process.env['PATH']].join(delimiter) };
  execFileSync('sh', ['-e', '-c', recipe(mark)], { cwd: path('source'), env, stdio: 'pipe' });
  cpSync(path('source/build'), path('deployed'), { recursive: true });
  rmSync(path('source'), { recursive: true });
  return path('deployed');
}

const PROGRAM = `
  import { Command, engineInfo } from 'vircommand';
  async function main() {
    // An application that starts itself would never come to an end.
    if (process.env.APPLICATION_RUNS !== undefined) process.exit(9);
    process.env.APPLICATION_RUNS = '1';
    const { engine } = engineInfo();
    const run = (command) => command.outputBuffer().run().then(({ stdout }) => stdout, (error) => error.message);
    const plain = await run(new Command('echo').argFormat('%03d', 7));
    const helper = await run(new Command('echo', 'locked').clearCaps());
    const hook = await run(new Command('pwd').preExecHook(() => process.chdir('/')));
    const fifo = process.argv[2] === undefined ? '' : await run(new Command('cat').inputFile(process.argv[2]));
    console.log(JSON.stringify({ engine, plain, helper, hook, fifo }));
  }
  main();`;

const run = (file: string, words: readonly string[], engine: string): unknown =>
  JSON.parse(
    execFileSync(file, words, {
      cwd: dirname(file),
      encoding: 'utf8',
      env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_PATH: '', NODE_OPTIONS: '' },
    }),
  );

const nodeFolder = dirname(process.execPath);

test('three lines make a bundle that has the addon, the helper and the hook runner', () => {
  const folder = make('bundle', PROGRAM, [nodeFolder, `${root}/node_modules/.bin`]);
  expect(run(process.execPath, [`${folder}/app.cjs`], '')).toEqual({
    engine: 'native',
    plain: '007\n',
    helper: 'locked\n',
    hook: '/\n',
    fifo: '',
  });
});

test('a single-executable application runs on both engines, and starts itself a second time for nothing', async ({
  skip,
}) => {
  const bins = postjectFolder();
  if (bins === undefined) return skip('postject is not installed');
  if (!readFileSync(process.execPath).includes('NODE_SEA_FUSE'))
    return skip('this Node was built without single-executable applications');
  const folder = make('single executable', PROGRAM, [nodeFolder, `${root}/node_modules/.bin`, bins]);
  cpSync(`${root}/dist/hook`, `${folder}/dist/hook`, { recursive: true });
  await sh(`mkfifo ${path('fifo')}`).run();
  const hook = expect.stringContaining('this is a single-executable application') as unknown;
  expect(run(`${folder}/app`, [], '')).toEqual({
    engine: 'native',
    plain: '007\n',
    helper: 'locked\n',
    hook,
    fifo: '',
  });
  expect(run(`${folder}/app`, [path('fifo')], 'portable')).toMatchObject({
    engine: 'portable',
    plain: '007\n',
    fifo: expect.stringContaining('open: ENOSYS') as unknown,
  });
});

/** Where the program postject lies. */
function postjectFolder(): string | undefined {
  try {
    return `${dirname(createRequire(`${root}/package.json`).resolve('postject/package.json'))}/../.bin`;
  } catch {
    return undefined;
  }
}
