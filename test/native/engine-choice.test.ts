import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { Command, engineInfo, UnsupportedError } from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import { rejection, useDirectory } from '../helpers/tools.js';
import { inParent, root, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();
afterEach(() => {
  process.env['VIRCOMMAND_ENGINE'] = 'native';
});
const path = useDirectory();

/** Copies the built package, with or without its addon, and gives the path of its entry. */
function copyPackage(name: string, addon: 'vircommand.node' | 'vircommand-helper' | 'both' | 'none'): string {
  const built = 'src/native/build/Release';
  mkdirSync(path(`${name}/${built}`), { recursive: true });
  cpSync(`${root}/dist`, path(`${name}/dist`), { recursive: true });
  cpSync(`${root}/package.json`, path(`${name}/package.json`));
  symlinkSync(`${root}/node_modules`, path(`${name}/node_modules`));
  for (const file of addon === 'both' ? ['vircommand.node', 'vircommand-helper'] : addon === 'none' ? [] : [addon]) {
    cpSync(`${root}/${built}/${file}`, path(`${name}/${built}/${file}`));
  }
  return path(`${name}/dist/index.js`);
}

/** Runs a program in each lane, and tells the engine and all that the parent printed. */
async function tellEngine({ Command: Program, engineInfo: info }: Library) {
  const { engine, why } = info();
  const outcome = await new Program('echo', 'hello')
    .outputBuffer()
    .run()
    .then(
      ({ stdout }) => stdout,
      (error: unknown) => String(error),
    );
  return { engine, why, outcome };
}

describe('the choice of the engine', () => {
  test('the variable asks for the native one', () => {
    expect(engineInfo()).toMatchObject({ engine: 'native', why: 'VIRCOMMAND_ENGINE asks for it' });
  });

  test.for([undefined, ''])('without the variable (%o), it is the native one where the addon was loaded', (value) => {
    if (value === undefined) Reflect.deleteProperty(process.env, 'VIRCOMMAND_ENGINE');
    else process.env['VIRCOMMAND_ENGINE'] = value;
    expect(engineInfo()).toMatchObject({ engine: 'native', why: 'the addon was loaded' });
  });

  test('it is read at each launch', async () => {
    expect((await new Command('true').outputBuffer().run()).resourceUsage).toBeDefined();
    process.env['VIRCOMMAND_ENGINE'] = 'portable';
    expect(engineInfo()).toMatchObject({ engine: 'portable', why: 'VIRCOMMAND_ENGINE asks for it' });
    expect((await new Command('true').outputBuffer().run()).resourceUsage).toBeUndefined();
  });

  test('another word refuses every launch, and names the words that it may be', async () => {
    process.env['VIRCOMMAND_ENGINE'] = 'turbo';
    const { why, message } = await rejection(UnsupportedError, new Command('true').run());
    expect(why).toMatch(/^VIRCOMMAND_ENGINE is 'turbo'.* 'native' and 'portable'/);
    expect(message).toContain(why);
    expect(engineInfo().why).toBe(why);
  });

  test('explain() shows the engine and the lane', () => {
    expect(new Command('true').explain()).toMatch(
      /^ {2}engine +native: VIRCOMMAND_ENGINE asks for it\n {2}lane +shared memory/m,
    );
    expect(new Command('true').clearCaps().explain()).toMatch(/^ {2}lane +helper/m);
  });
});

describe('a package without an addon that works', () => {
  test.for<[string, Parameters<typeof copyPackage>[1]]>([
    ['no addon', 'none'],
    ['no helper', 'vircommand.node'],
  ])('%s: the portable engine takes over, and says why, and prints nothing', async ([, addon]) => {
    const library = copyPackage('copy', addon);
    const told = await inParent(tellEngine, undefined, { library, env: { VIRCOMMAND_ENGINE: '' } });
    expect(told).toEqual({
      engine: 'portable',
      why: `no addon was built for linux on ${process.arch}`,
      outcome: 'hello\n',
    });
  });

  test('an addon that cannot be loaded: the same, with the reason of the loader', async () => {
    const library = copyPackage('copy', 'both');
    rmSync(path('copy/src/native/build/Release/vircommand.node'));
    cpSync(`${root}/package.json`, path('copy/src/native/build/Release/vircommand.node'));
    const told = await inParent(tellEngine, undefined, { library, env: { VIRCOMMAND_ENGINE: '' } });
    expect(told).toMatchObject({ engine: 'portable', outcome: 'hello\n' });
    expect(told.why).toMatch(/^the addon could not be loaded: .*invalid ELF header/);
  });

  test('who asks for the native engine is refused, with the reason', async () => {
    const library = copyPackage('copy', 'none');
    const { outcome } = await inParent(tellEngine, undefined, { library });
    expect(outcome).toMatch(/^UnsupportedError: .*no addon was built for linux/);
  });

  test('a helper that is gone since is a failure that names it, and not the program', async () => {
    const library = copyPackage('copy', 'both');
    const failure = await inParent(
      async ({ Command: Program }, helper) => {
        process.getBuiltinModule('node:fs').rmSync(helper);
        return new Program('true')
          .clearCaps()
          .run()
          .then(
            () => 'ran',
            (error: unknown) => String(error),
          );
      },
      path('copy/src/native/build/Release/vircommand-helper'),
      { library },
    );
    expect(failure).toContain('vircommand-helper');
  });
});

test('two copies of the library in one process get along', async () => {
  const library = copyPackage('copy', 'both');
  const told = await inParent(async ({ Command: Program }, other) => {
    const { Command: Other } = (await process.getBuiltinModule('node:module').createRequire('/')(other)) as {
      Command: typeof Program;
    };
    if ((Other as unknown) === Program) throw new Error('It is the same copy.');
    const programs = Array.from({ length: 40 }, (_, index) =>
      new (index % 2 === 0 ? Program : Other)('sh', '-c', `echo ${index}; exit ${index}`).outputBuffer(),
    );
    const results = await Promise.all(programs.map((program) => program.run({ check: false })));
    return results.map(({ exitCode, stdout }) => `${String(exitCode)} ${stdout}`);
  }, library);
  expect(told).toEqual(Array.from({ length: 40 }, (_, index) => `${index} ${index}\n`));
});
