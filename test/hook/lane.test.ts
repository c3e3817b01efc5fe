import { closeSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { LaunchError } from 'vircommand';
import { expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { children, useDirectory } from '../helpers/tools.js';
import { inParent, needsProgram, needsRoot, NOBODY, root, useNativeEngine } from '../helpers/native.js';
import { descriptors, sh, useOpenEngine } from './tools.js';

useNativeEngine();
useOpenEngine();
const path = useDirectory();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

test('twenty hooks at once each have their own opaque, pid and program', async () => {
  const before = descriptors();
  const results = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const child = await sh('echo $$ $(cat)')
        .inputBuffer(String(index))
        .outputBuffer()
        .preExecHook(
          ({ at, number }: { at: string; number: number }, { pid }) => {
            process.getBuiltinModule('node:fs').writeFileSync(at, `${pid} ${number}\n`);
            return number % 5 === 4 ? 1 : 0;
          },
          { at: path(String(index)), number: index },
        )
        .runAsync()
        .catch((error: unknown) => error as LaunchError);
      if (child instanceof LaunchError) return child.step;
      return (await child.wait()).stdout;
    }),
  );
  expect(results).toEqual(
    results.map((_, index) => (index % 5 === 4 ? 'hook' : readFileSync(path(String(index)), 'utf8'))),
  );
  expect([descriptors(), children()]).toEqual([before, []]);
});

test('no process of a launch with a hook is a plain fork, and ids change in the helper only', async ({ skip }) => {
  needsProgram(skip, 'strace');
  needsRoot(skip);
  await inParent(
    async ({ Command: Program }, nobody) => {
      await new Program('/bin/true')
        .uid(nobody)
        .gid(nobody)
        .preExecHook(() => 0)
        .run();
      await new Program('/bin/true')
        .daemonize()
        .preExecHook(() => 0)
        .run();
      return null;
    },
    NOBODY,
    {
      through: [
        'strace',
        '-ff',
        '-qq',
        '-e',
        'trace=execve,clone,clone3,fork,vfork,setresuid',
        '-e',
        'signal=none',
        '-o',
        path('trace'),
      ],
    },
  ).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
  const traces = readdirSync(path())
    .filter((name) => name.startsWith('trace.'))
    .map((name) => readFileSync(path(name), 'utf8').trim().split('\n'));
  const births = traces
    .flat()
    .filter((line) => /^(clone|clone3|fork|vfork)\(/.test(line) && !line.includes('CLONE_THREAD'));
  expect(births.length).toBeGreaterThanOrEqual(3);
  expect(births.filter((line) => !line.includes('CLONE_VM|') || !line.includes('CLONE_VFORK|'))).toEqual([]);
  const programs = traces.map((lines) =>
    lines
      .map((line) => /^execve\(".*?", \["([^"]+)"/.exec(line)?.[1] ?? /^(setresuid)/.exec(line)?.[1] ?? '')
      .filter((name) => name !== ''),
  );
  expect(programs).toContainEqual(['vircommand-hook', 'vircommand-helper', 'setresuid', '/bin/true']);
});

test("a daemon is signaled only while it holds the other end of its report: after that, its pid may be somebody else's", ({
  skip,
}) => {
  const native = loadNative();
  if (typeof native === 'string') skip(native);
  else {
    const ends = Int32Array.of(-1, -1);
    expect(native.binding.pipe(ends)).toBe(0);
    const [report = -1, held = -1] = ends;
    expect(native.binding.signalDaemon(process.pid, report, 0)).toBe(0);
    closeSync(held);
    expect(native.binding.signalDaemon(process.pid, report, 0)).toBe(-constants.errno.ESRCH);
    closeSync(report);
  }
});

test('a library without its runner, as a bundle has it, refuses hooks, and nothing else', async () => {
  mkdirSync(path('copy/src/native/build'), { recursive: true });
  cpSync(`${root}/dist`, path('copy/dist'), { recursive: true });
  cpSync(`${root}/package.json`, path('copy/package.json'));
  symlinkSync(`${root}/node_modules`, path('copy/node_modules'));
  symlinkSync(`${root}/src/native/build/Release`, path('copy/src/native/build/Release'));
  rmSync(path('copy/dist/hook/runner.js'));
  const told = await inParent(
    async ({ Command: Program }) => {
      const { stdout } = await new Program('echo', 'runs').outputBuffer().run();
      return {
        stdout,
        refusal: await new Program('true')
          .preExecHook(() => 0)
          .run()
          .then(
            () => 'ran',
            (error: unknown) => String(error),
          ),
      };
    },
    undefined,
    { library: path('copy/dist/index.js') },
  );
  expect(told).toEqual({
    stdout: 'runs\n',
    refusal:
      'UnsupportedError: Cannot start `true`: the native engine cannot do preExecHook(), because the file dist/hook/runner.js is missing in the library: ' +
      'a bundle finds it beside itself or in an installed vircommand, and a checkout is built by `npm run build`. Leave the call out, or use an engine that can: see docs/engines.md.',
  });
});
