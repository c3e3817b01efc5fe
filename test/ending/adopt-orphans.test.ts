import { spawnSync } from 'node:child_process';
import type { Cluster } from 'node:cluster';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { adoptOrphans, UnsupportedError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { inParent, needsProgram, needsRoot, parentWords, resultIn, root, useNativeEngine } from '../helpers/native.js';

useNativeEngine();

const library = new URL('../../dist/index.js', import.meta.url).href;

describe('adoptOrphans', () => {
  test('an orphan becomes a child of this process, is reaped at its end, and its end is told', async () => {
    const told = await inParent(async ({ adoptOrphans: adopt, Command }) => {
      const { once: event } = process.getBuiltinModule('node:events');
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      const { existsSync } = process.getBuiltinModule('node:fs');
      const published: number[] = [];
      subscribe('vircommand:adopted', (message) => published.push((message as { pid: number }).pid));
      const ends: Record<string, unknown>[] = [];
      const emitter = new (process.getBuiltinModule('node:events').EventEmitter)();
      const adoption = adopt({
        onEnd: ({ pid, command, exitCode, signal, coreDumped }) => {
          ends.push({ pid, command, exitCode, signal, coreDumped });
          emitter.emit('end');
        },
      });
      const orphan = async (script: string) => {
        const end = event(emitter, 'end');
        const child = await new Command('sh', '-c', `(${script}) & echo $!`).outputPipe().runAsync();
        const [pid] = (await event(child.stdout as NodeJS.EventEmitter, 'data')) as [Buffer];
        child.stdout.destroy();
        await child.wait();
        // Nobody tells of the end but the library: this process must be kept alive by somebody else.
        const alive = setInterval(() => undefined, 1000);
        await end;
        clearInterval(alive);
        return Number(String(pid));
      };
      const pids = [
        await orphan('sleep 0.2; exit 7'),
        await orphan('sleep 0.2; kill -9 $(exec sh -c "echo \\$PPID")'),
        await orphan('exec setsid sleep 0.2'),
      ];
      adoption[Symbol.dispose]();
      return { pids, published, ends, left: pids.filter((pid) => existsSync(`/proc/${pid}`)) };
    });
    const [exited = 0, killed = 0, session = 0] = told.pids;
    expect(told.ends).toMatchObject([
      { pid: exited, exitCode: 7, signal: null, coreDumped: false },
      { pid: killed, exitCode: null, signal: 'SIGKILL', coreDumped: false },
      { pid: session, exitCode: 0, signal: null, coreDumped: false },
    ]);
    expect(told.published).toEqual(told.pids);
    expect(told.left).toEqual([]);
  });

  test('a daemon is reaped at once, and is told with its command', async () => {
    const told = await inParent(async ({ adoptOrphans: adopt, Command }) => {
      const alive = setInterval(() => undefined, 1000);
      let pid = 0;
      const end = await new Promise<{ pid: number; command: string | undefined; exitCode: number | null }>(
        (resolve) => {
          adopt({ onEnd: resolve });
          void new Command('sh', '-c', 'sleep 0.2; exit 5')
            .env('SECRET', 'x')
            .daemonize()
            .run()
            .then((daemon) => {
              pid = daemon.pid;
            });
        },
      );
      clearInterval(alive);
      return { isItsPid: end.pid === pid, command: end.command, exitCode: end.exitCode };
    });
    expect(told).toEqual({ isItsPid: true, command: "sh -c 'sleep 0.2; exit 5'", exitCode: 5 });
  });

  test('no argument of a process is told that this thread has not launched: there may be a secret among them', async () => {
    const told = await inParent(async ({ adoptOrphans: adopt, Command }, libraryUrl) => {
      const { Worker: Thread } = process.getBuiltinModule('node:worker_threads');
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      const alive = setInterval(() => undefined, 1000);
      const ends: { command: string | undefined }[] = [];
      subscribe('vircommand:adopted', (event) => ends.push(event as { command: string | undefined }));
      const seen = new Promise<void>((resolve) => {
        let count = 0;
        adopt({
          onEnd: () => {
            count += 1;
            if (count === 3) resolve();
          },
        });
      });
      const worker = new Thread(
        `import(${JSON.stringify(libraryUrl)}).then(({ Command }) =>
          new Command('sh', '-c', 'sleep 1.5').secretArg('hunter2').daemonize().run());`,
        { eval: true },
      );
      await new Command('sh', '-c', 'sleep 1.5').secretArg('hunter2').daemonize().run();
      await new Command('sh', '-c', 'sleep 1.5 & : hunter2').run();
      // A look comes with the end of any child, and sees the orphans.
      await new Promise((resolve) => setTimeout(resolve, 500));
      await new Command('true').run();
      await seen;
      clearInterval(alive);
      await worker.terminate();
      return { commands: ends.map(({ command }) => command).sort(), text: JSON.stringify(ends) };
    }, library);
    expect(told.commands).toEqual(['sh', "sh -c 'sleep 1.5' '***'", 'sleep']);
    expect(told.text).not.toContain('hunter2');
  });

  test('it is off before and after, and calls may overlap', async () => {
    const told = await inParent(async ({ adoptOrphans: adopt, Command }) => {
      const { readFileSync: read } = process.getBuiltinModule('node:fs');
      const isAdopted = async () => {
        const { stdout } = await new Command('sh', '-c', 'sleep 0.3 >/dev/null 2>&1 & echo $!').outputBuffer().run();
        return (
          Number(
            read(`/proc/${Number(stdout)}/stat`, 'latin1')
              .replace(/^.*\) /s, '')
              .split(' ')[1],
          ) === process.pid
        );
      };
      const seen = [await isAdopted()];
      const one = adopt();
      const other = adopt();
      seen.push(await isAdopted());
      one[Symbol.dispose]();
      one[Symbol.dispose]();
      seen.push(await isAdopted());
      other[Symbol.dispose]();
      seen.push(await isAdopted());
      // What was adopted meanwhile is still reaped, and then nothing of it is left.
      const { setTimeout: delay } = process.getBuiltinModule('node:timers/promises');
      for (let turn = 0; turn < 200 && process.listenerCount('SIGCHLD') > 0; turn += 1) await delay(20);
      const children = process
        .getBuiltinModule('node:fs')
        .readdirSync('/proc')
        .map(Number)
        .filter((pid) => {
          try {
            return (
              pid > 0 &&
              read(`/proc/${pid}/stat`, 'latin1')
                .replace(/^.*\) /s, '')
                .split(' ')[1] === String(process.pid)
            );
          } catch {
            // It has ended meanwhile.
            return false;
          }
        });
      return { seen, listeners: process.listenerCount('SIGCHLD'), children };
    });
    expect(told).toEqual({ seen: [false, true, true, false], listeners: 0, children: [] });
  });

  test('whoever started a child keeps its exit code, under load: Node, a cluster, workers, execa and this library', async () => {
    const told = await inParent(
      async ({ adoptOrphans: adopt, Command }, { cwd, from }) => {
        const child = process.getBuiltinModule('node:child_process');
        const { Worker: Thread } = process.getBuiltinModule('node:worker_threads');
        const { createRequire } = process.getBuiltinModule('node:module');
        const cluster = process.getBuiltinModule('node:cluster') as unknown as Cluster;
        const { promisify } = process.getBuiltinModule('node:util');
        const { execa } = createRequire(`${cwd}/package.json`)('execa') as {
          execa: (file: string, args: string[], options: object) => Promise<{ exitCode?: number }>;
        };
        let orphans = 0;
        adopt({ onEnd: () => (orphans += 1) });

        const code = (n: number): number => 1 + (n % 200);
        const script = (n: number): string => `sleep 1 & (exit ${code(n)})`;
        const ways: Record<string, (n: number) => Promise<number | null | undefined>> = {
          spawn: (n) =>
            new Promise((resolve) => child.spawn('sh', ['-c', script(n)], { stdio: 'ignore' }).on('exit', resolve)),
          detached: (n) =>
            new Promise((resolve) =>
              child.spawn('sh', ['-c', script(n)], { stdio: 'ignore', detached: true }).on('exit', resolve),
            ),
          execFile: (n) =>
            promisify(child.execFile)('sh', ['-c', `(exit ${code(n)})`]).then(
              () => 0,
              (error: unknown) => (error as { code?: number }).code,
            ),
          spawnSync: async (n) => child.spawnSync('sh', ['-c', script(n)], { stdio: 'ignore' }).status,
          execa: (n) =>
            execa('sh', ['-c', script(n)], { reject: false, stdio: 'ignore' }).then(({ exitCode }) => exitCode),
          run: (n) => new Command('sh', '-c', script(n)).run({ check: false }).then(({ exitCode }) => exitCode),
          runSync: async (n) => new Command('sh', '-c', script(n)).runSync({ check: false }).exitCode,
          released: async (n) => {
            const started = await new Command('sh', '-c', script(n)).runAsync();
            started.release();
            return (await started.wait({ check: false })).exitCode;
          },
        };
        const wrong: string[] = [];
        const rounds = Array.from({ length: 25 }, (_, n) => n);
        const inMain = rounds.map(async (n) => {
          for (const [way, run] of Object.entries(ways)) {
            const got = await run(n);
            if (got !== code(n)) wrong.push(`${way} ${n}: ${String(got)}`);
          }
        });
        // A worker whose event loop is held for longer than dead children of unknown origin are left alone.
        const inWorker = (held: boolean) =>
          new Promise<void>((resolve, reject) => {
            const text = `
              const child = require('node:child_process');
              const { parentPort } = require('node:worker_threads');
              const hold = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
              import(${JSON.stringify(from)}).then(async ({ Command }) => {
                const exits = [];
                for (let n = 0; n < 10; n += 1) {
                  exits.push(new Promise((resolve) => child.spawn('sh', ['-c', '(exit ' + (n + 1) + ')'], { stdio: 'ignore' }).on('exit', resolve)));
                  exits.push(new Command('sh', '-c', '(exit ' + (n + 1) + ')').run({ check: false }).then(({ exitCode }) => exitCode));
                }
                await null;
                ${held ? 'hold();' : ''}
                parentPort.postMessage(await Promise.all(exits));
              });`;
            const worker = new Thread(text, { eval: true, execArgv: [] });
            worker.on('message', (codes: number[]) => {
              codes.forEach((got, at) => {
                if (got !== 1 + Math.floor(at / 2)) wrong.push(`worker ${at}: ${got}`);
              });
            });
            worker.on('error', reject).on('exit', () => resolve());
          });
        const inCluster = new Promise<void>((resolve) => {
          cluster.setupPrimary({ exec: '/dev/null', execArgv: ['-e', 'process.exit(9)'] });
          cluster.fork().on('exit', (got) => {
            if (got !== 9) wrong.push(`cluster: ${got}`);
            resolve();
          });
        });
        const forked = new Promise<void>((resolve) => {
          child.fork('/dev/null', { execArgv: ['-e', 'process.exit(8)'] }).on('exit', (got) => {
            if (got !== 8) wrong.push(`fork: ${String(got)}`);
            resolve();
          });
        });
        await Promise.all([...inMain, inWorker(false), inWorker(true), inCluster, forked]);
        const { setTimeout: delay } = process.getBuiltinModule('node:timers/promises');
        for (let turn = 0; turn < 400 && orphans < 7 * rounds.length; turn += 1) await delay(20);
        return { wrong, orphans, expected: 7 * rounds.length };
      },
      { cwd: root, from: library },
    );
    expect(told.wrong).toEqual([]);
    // Each script but that of execFile leaves an orphan behind.
    expect(told.orphans).toBe(told.expected);
  });

  test('a listener that throws takes nothing from the others', async () => {
    const told = await inParent(async ({ adoptOrphans: adopt, Command }) => {
      const errors: string[] = [];
      process.on('uncaughtException', (error) => errors.push(error.message));
      const alive = setInterval(() => undefined, 1000);
      const end = new Promise<void>((resolve) => {
        adopt({
          onEnd: () => {
            throw new Error('mine');
          },
        });
        adopt({ onEnd: () => resolve() });
      });
      await new Command('sh', '-c', 'sleep 0.1 &').run();
      await end;
      clearInterval(alive);
      return errors;
    });
    expect(told).toEqual(['mine']);
  });

  test('is refused on the portable engine and in a worker, with the reason', async () => {
    process.env['VIRCOMMAND_ENGINE'] = 'portable';
    try {
      expect(() => adoptOrphans()).toThrow(UnsupportedError);
      expect(() => adoptOrphans()).toThrow(
        'The portable engine cannot do adoptOrphans(), because Node has no call that makes a process adopt orphans. Leave the call out, or use an engine that can: see docs/engines.md.',
      );
    } finally {
      process.env['VIRCOMMAND_ENGINE'] = 'native';
    }
    const worker = new Worker(
      `import(${JSON.stringify(library)}).then(({ adoptOrphans }) => { try { adoptOrphans(); } catch (error) { require('node:worker_threads').parentPort.postMessage(error.message); } });`,
      { eval: true, execArgv: [] },
    );
    expect((await once(worker, 'message'))[0]).toBe(
      'The native engine cannot do adoptOrphans(), because a worker hears no signals; the main thread can adopt. Leave the call out, or use an engine that can: see docs/engines.md.',
    );
    await worker.terminate();
  });
});

describe('as PID 1 of a container', () => {
  const asInit = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
  const run = (words: string[]) =>
    spawnSync(words[0]!, words.slice(1), {
      cwd: root,
      env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
      encoding: 'utf8',
      timeout: 25_000,
    });
  const canUnshare = (skip: (why: string) => never): void => {
    needsRoot(skip);
    needsProgram(skip, 'unshare');
    if (spawnSync(asInit[0]!, [...asInit.slice(1), 'true']).status !== 0) skip('no pid namespace can be made here');
  };

  test('orphans of any depth are reaped, and none stays a zombie', ({ skip }) => {
    canUnshare(skip);
    const { stdout, stderr } = run(
      parentWords(
        async ({ adoptOrphans: adopt, Command }) => {
          const { readdirSync, readFileSync: read } = process.getBuiltinModule('node:fs');
          const { setTimeout: delay } = process.getBuiltinModule('node:timers/promises');
          let ends = 0;
          adopt({ onEnd: () => (ends += 1) });
          await Promise.all(
            Array.from({ length: 20 }, () =>
              new Command('sh', '-c', '(sleep 0.1 &); (setsid sleep 0.1 &); sh -c "(sleep 0.1 &) &" &').run(),
            ),
          );
          const others = () =>
            readdirSync('/proc')
              .filter((pid) => /^\d+$/.test(pid) && pid !== '1')
              .map((pid) => {
                try {
                  return read(`/proc/${pid}/stat`, 'latin1');
                } catch {
                  // It has ended meanwhile.
                  return '';
                }
              })
              .filter((text) => text !== '');
          for (let turn = 0; turn < 400 && others().length > 0; turn += 1) await delay(20);
          return { pid: process.pid, left: others(), some: ends > 60 };
        },
        null,
        { through: asInit },
      ),
    );
    expect(resultIn(stdout, stderr)).toEqual({ pid: 1, left: [], some: true });
  });

  test.for([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const)('%s ends it, with the exit code that a shell gives for the signal', ([signal, status], { skip }) => {
    canUnshare(skip);
    const body = `
      import { adoptOrphans } from ${JSON.stringify(library)};
      adoptOrphans();
      setInterval(() => undefined, 1000);
      process.kill(process.pid, ${JSON.stringify(signal)});
      setTimeout(() => process.exit(99), 3000);`;
    expect(run([...asInit, process.execPath, '--input-type=module', '-e', body]).status).toBe(status);
    // The instrument: without it, the kernel keeps the signal from PID 1.
    const bare = body.replace('adoptOrphans();\n', '').replace('3000', '300');
    expect(run([...asInit, process.execPath, '--input-type=module', '-e', bare]).status).toBe(99);
  });
});
