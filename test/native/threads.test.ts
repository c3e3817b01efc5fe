import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Command } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { end, eventually, exists, isRunning } from '../helpers/tools.js';
import { inParent, needsRoot, parentWords, root, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();

const library = new URL('../../dist/index.js', import.meta.url).href;

/** Runs scripts in threads at once; each has `Command`, `post` and `data`. Gives what each posted, in order, when all have ended. */
async function inThreads(
  _: Library,
  { scripts, from }: { scripts: readonly string[]; from: string },
): Promise<unknown[][]> {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  return Promise.all(
    scripts.map(
      (script) =>
        new Promise<unknown[]>((resolve, reject) => {
          const code = `
            const { parentPort, workerData: data } = require('node:worker_threads');
            const post = (message) => parentPort.postMessage(message);
            import(${JSON.stringify(from)}).then(async ({ Command }) => { ${script} });`;
          const worker = new Worker(code, { eval: true, execArgv: [], workerData: { exit: true } });
          const posted: unknown[] = [];
          worker.on('message', (message: unknown) => posted.push(message)).on('error', reject);
          worker.on('exit', () => {
            resolve(posted);
          });
        }),
    ),
  );
}

describe('worker threads', () => {
  test("several launch at once, and none gets what is another's", async () => {
    const scripts = Array.from(
      { length: 4 },
      (_, thread) => `
        const runs = Array.from({ length: 25 }, (_, run) => new Command('sh', '-c', 'cat; exit 3').inputBuffer('${thread}-' + run).outputBuffer().run({ check: false }));
        post((await Promise.all(runs)).map(({ stdout, exitCode }) => stdout + ' ' + exitCode));`,
    );
    const told = await inParent(inThreads, { scripts, from: library });
    expect(told).toEqual(scripts.map((_, thread) => [Array.from({ length: 25 }, (_run, run) => `${thread}-${run} 3`)]));
  });

  test('one ends although its child has taken ids that cannot be signaled from here', async ({ skip }) => {
    needsRoot(skip);
    const script = `
      const { Worker } = require('node:worker_threads');
      const { readFileSync } = require('node:fs');
      const code = \`import(${JSON.stringify(library)}).then(async ({ Command }) => {
        const { pid } = await new Command('sleep', '20').uid(65533).gid(65533).groups([]).runAsync();
        require('node:worker_threads').parentPort.postMessage(pid);
      });\`;
      const worker = new Worker(code, { eval: true });
      worker.on('message', async (pid) => {
        await worker.terminate();
        console.log(pid, / [RS] /.test(readFileSync('/proc/' + pid + '/stat', 'utf8')));
        process.exit();
      });`;
    // Root without CAP_KILL may end nobody but root's own.
    const command = new Command(process.execPath, '-e', script).outputBuffer().clearCaps();
    for (const name of ['CAP_SETUID', 'CAP_SETGID', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH'] as const)
      command.allowCap(name);
    const { stdout } = await command.run();
    const [pid, lives] = stdout.trim().split(' ');
    onTestFinished(() => end(Number(pid)));
    expect(lives).toBe('true');
  });

  // Another thread's child holds every descriptor of the process until it executes its program, the helpers' reports included.
  test('launches by the helper all settle, although the children of other threads hold their reports for a moment', async () => {
    const script = `
      let settled = 0;
      process.on('exit', () => post(settled));
      for (let round = 0; round < 40; round += 1) {
        const slow = Array.from({ length: 4 }, () => new Command('true').clearCaps().run());
        const fast = Array.from({ length: 4 }, () => new Command('true').run());
        settled += (await Promise.all([...slow, ...fast])).length;
      }`;
    expect(await inParent(inThreads, { scripts: [script, script, script], from: library })).toEqual([
      [320],
      [320],
      [320],
    ]);
  });

  test('hundreds of launches by the helper at once all settle', async () => {
    const told = await inParent(async ({ Command: Program }) => {
      let settled = 0;
      for (let round = 0; round < 5; round += 1) {
        settled += (await Promise.all(Array.from({ length: 300 }, () => new Program('true').clearCaps().run()))).length;
      }
      return settled;
    });
    expect(told).toBe(1500);
  });

  test('the main thread launches before, during and after', async () => {
    const told = await inParent(async ({ Command: Program }, from) => {
      const { Worker } = process.getBuiltinModule('node:worker_threads');
      const echo = async (word: string) => (await new Program('echo', word).outputBuffer().run()).stdout;
      const first = await echo('before');
      const code = `import(${JSON.stringify(from)}).then(async ({ Command }) => require('node:worker_threads').parentPort.postMessage((await new Command('echo', 'thread').outputBuffer().run()).stdout))`;
      const worker = new Worker(code, { eval: true, execArgv: [] });
      const { once: first1 } = process.getBuiltinModule('node:events');
      const ended = first1(worker, 'exit');
      const [[message], during] = await Promise.all([first1(worker, 'message') as Promise<[string]>, echo('during')]);
      await ended;
      return [first, message, during, await echo('after')];
    }, library);
    expect(told).toEqual(['before\n', 'thread\n', 'during\n', 'after\n']);
  });

  test.for<[string, string]>([
    ['exits', 'process.exit(0)'],
    ['throws', "setImmediate(() => { throw new Error('on purpose'); })"],
    // Then none of its JavaScript runs any more.
    ['is terminated', "post('terminate')"],
  ])(
    'a thread that %s with children alive ends them, reaps them, and leaves the process in order',
    async ([, ending]) => {
      const told = await inParent(
        async ({ Command: Program }, { from, how }) => {
          const { Worker } = process.getBuiltinModule('node:worker_threads');
          const { existsSync, readdirSync } = process.getBuiltinModule('node:fs');
          await new Program('true').run();
          // With its first worker, Node opens what it needs of its standard streams.
          await new Promise((resolve) => new Worker('', { eval: true, execArgv: [] }).on('exit', resolve));
          const before = readdirSync('/proc/self/fd').length;
          const code = `
          import(${JSON.stringify(from)}).then(async ({ Command }) => {
            const quiet = new Command('sleep', '600'), busy = new Command('yes'), slow = new Command('sleep', '600').clearCaps();
            const children = [await quiet.runAsync(), await busy.outputBuffer().outputLimit(1000).runAsync(), await slow.inputPipe().runAsync()];
            require('node:worker_threads').parentPort.postMessage(children.map(({ pid }) => pid));
            const post = (word) => require('node:worker_threads').parentPort.postMessage(word);
            setTimeout(() => { ${how} }, 0);
          });`;
          const worker = new Worker(code, { eval: true, execArgv: [] });
          let pids: number[] = [];
          worker
            .on('error', () => undefined)
            .on('message', (message: number[] | string) => {
              if (typeof message === 'string') void worker.terminate();
              else pids = message;
            });
          await new Promise((resolve) => worker.on('exit', resolve));
          const left = pids.filter((pid) => existsSync(`/proc/${pid}`));
          for (const pid of left) process.kill(pid, 'SIGKILL');
          const { stdout } = await new Program('echo', 'goes on').outputBuffer().run();
          return { started: pids.length, left, leaked: readdirSync('/proc/self/fd').length - before, stdout };
        },
        { from: library, how: ending },
      );
      expect(told).toEqual({ started: 3, left: [], leaked: 0, stdout: 'goes on\n' });
    },
  );

  test('a released child outlives its thread, and is a zombie no longer than until the next launch', async () => {
    const told = await inParent(async ({ Command: Program }, from) => {
      const { Worker } = process.getBuiltinModule('node:worker_threads');
      const { readFileSync } = process.getBuiltinModule('node:fs');
      const code = `
          import(${JSON.stringify(from)}).then(async ({ Command }) => {
            const child = await new Command('sleep', '600').runAsync();
            require('node:worker_threads').parentPort.postMessage(child.release());
          });`;
      const worker = new Worker(code, { eval: true, execArgv: [] });
      const { once: one } = process.getBuiltinModule('node:events');
      const posted = one(worker, 'message') as Promise<[number]>;
      const ended = one(worker, 'exit');
      const [pid] = await posted;
      await ended;
      const state = () => {
        try {
          return readFileSync(`/proc/${pid}/stat`, 'latin1')
            .replace(/^.*\) /s, '')
            .charAt(0);
        } catch {
          // It has been reaped.
          return 'gone';
        }
      };
      const after = state();
      process.kill(pid, 'SIGKILL');
      for (let look = 0; look < 50 && state() !== 'gone'; look += 1) await new Program('true').run();
      return { after, end: state() };
    }, library);
    expect(told.after).toMatch(/[SR]/);
    expect(told.end).toBe('gone');
  });
});

// Node closes the files of a worker that are open at its end, by the numbers that it has given out: a number that was closed
// behind its back would by then be another thread's.
test('in a worker, Node closes what Node has opened, and the addon what the addon has made', async () => {
  const told = await inParent(async (_library, from) => {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    const code = `
      import(${JSON.stringify(from)}).then(async ({ Command }) => {
        for (let run = 0; run < 3; run += 1) {
          new Command('true').inputFile('/dev/null').outputFile('/dev/null').runSync();
          await new Command('true').inputFile('/dev/null').outputFile('/dev/null').run();
          const child = await new Command('true').preExecHook(() => 0).inputPipe().runAsync();
          await child.wait();
        }
        await new Promise((resolve) => setImmediate(resolve));
      });`;
    const worker = new Worker(code, { eval: true, execArgv: [], stderr: true });
    let errors = '';
    worker.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    await new Promise((resolve) => worker.on('exit', resolve));
    return errors;
  }, library);
  expect(told).toBe('');
});

describe('the end of this process', () => {
  test('it comes by itself when all commands have ended', async () => {
    const told = await inParent(async ({ Command: Program }) => {
      await Promise.all([
        new Program('true').run(),
        new Program('cat').inputBuffer('x').outputBuffer().run(),
        new Program('true').clearCaps().run(),
      ]);
      return 'ended';
    });
    expect(told).toBe('ended');
  });

  test.for<[string, string, boolean]>([
    ['process.exit()', 'process.exit(3)', false],
    ['an exception', "throw new Error('on purpose')", false],
    ['the end of its work, with a released child', 'child.release()', true],
  ])('by %s, it takes its children with it, but not the released ones', async ([, ending, survives]) => {
    const [program = '', ...words] = parentWords(async ({ Command: Program }, how) => {
      const child = await new Program('sleep', '600').runAsync();
      process.stdout.write(`PID ${child.pid}\n`);
      // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the ways to end are words of this file
      setImmediate(new Function('child', how).bind(undefined, child) as () => void);
      return child.pid;
    }, ending);
    const parent = spawn(program, words, {
      cwd: root,
      env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    parent.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await once(parent, 'exit');
    const pid = Number(/^PID (\d+)$/m.exec(output)?.[1]);
    onTestFinished(() => {
      end(pid);
    });
    expect(pid).toBeGreaterThan(1);
    if (survives) expect(isRunning(pid)).toBe(true);
    else await eventually('the child has ended with its parent', () => !exists(pid) || !isRunning(pid));
  });
});
