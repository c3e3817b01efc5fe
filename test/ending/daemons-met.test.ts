import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Command, killPainfully, killTree, PidFile } from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import { inParent, useNativeEngine } from '../helpers/native.js';
import { end, eventually, FOREVER, isRunning, processStat, sh, useDirectory, useProcesses } from '../helpers/tools.js';

useNativeEngine();

const path = useDirectory();
const started = useProcesses();

describe('killTree() of a daemon', () => {
  // The one that asks is not the one that has launched it, as after a restart of a libvirt driver.
  test('that another process has launched finds its orphans in its session', async () => {
    const below = path('below');
    const script = `(sleep ${FOREVER} & echo $! >"$1"); exec sleep ${FOREVER}`;
    const pid = await inParent(
      async (library, { script: text, below: file, pidFile }) => {
        const daemon = await new library.Command('sh', '-c', text, 'sh', file).daemonize().pidFile(pidFile).run();
        return daemon.pid;
      },
      { script, below, pidFile: path('pid') },
    );
    started(pid);
    const orphan = await eventually(
      'its orphan is there',
      () => existsSync(below) && (Number(readFileSync(below, 'utf8')) || undefined),
    );
    started(orphan);
    await eventually('it is an orphan', () => processStat(orphan)?.parent !== pid);
    using handle = await PidFile.open(path('pid'));
    const tree = await handle?.killTree();
    expect(tree).toMatchObject({ level: 'group', survivors: [], isComplete: true });
    expect(tree?.ended.toSorted()).toEqual([pid, orphan].toSorted());
    expect([isRunning(pid), isRunning(orphan)]).toEqual([false, false]);
  });

  test('whose number means another process leaves that one alone', async () => {
    const one = await new Command('sleep', FOREVER).daemonize().run();
    await one.process.stop();
    // The handle is of a process that is gone: whoever has its number is nobody of its tree.
    const tree = await one.process.killTree();
    expect(tree.ended).toEqual([]);
    expect(one.process.signal('SIGTERM')).toBe(false);
  });
});

describe('what killTree() says of itself', () => {
  test('is complete where all was seen, and not where the root had ended and nothing was known of it', async () => {
    const child = await new Command('sleep', FOREVER).runAsync();
    expect((await killTree(child)).isComplete).toBe(true);
    await child.wait({ check: false });
    const again = await killTree(child.pid);
    expect([again.ended, again.isComplete]).toEqual([[], false]);
    // Of a daemon the session is known: nobody is left in it.
    const daemon = await new Command('sleep', FOREVER).daemonize().run();
    await daemon.process.stop();
    expect((await daemon.process.killTree()).isComplete).toBe(true);
  });
});

describe('the wait for a parent to reap', () => {
  test.each([
    ['killPainfully()', (pid: number, reapMs: number) => killPainfully(pid, { reapMs })],
    [
      'stop()',
      async (pid: number, reapMs: number) => {
        writeFileSync(path('pid'), String(pid));
        await (await PidFile.open(path('pid')))?.stop({ reapMs });
      },
    ],
  ])('may be left out: %s', async (_what, stop) => {
    // A parent that never reaps: it is halted.
    const parent = await sh(`sleep ${FOREVER} & echo $!; wait`).outputPipe().runAsync();
    const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (text) => resolve(Number(text))));
    onTestFinished(() => {
      end(pid);
    });
    parent.signal('SIGSTOP');
    await eventually('it is halted', () => processStat(parent.pid)?.state === 'T');
    await stop(pid, 0);
    // It has ended, and there it still is.
    expect(processStat(pid)?.state).toBe('Z');
    await parent.abort();
  });

  // As PID 1 of a container, this process is the parent of its daemons, and nobody else can reap them.
  test('is none for a daemon of ours that has become our child', async ({ skip }) => {
    const asInit = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
    if (spawnSync('unshare', [...asInit.slice(1), 'true']).status !== 0) skip('no pid namespace can be made here');
    const told = await inParent(
      async (library) => {
        const left: boolean[] = [];
        for (const stop of [
          (pid: number) => library.killPainfully(pid, { reapMs: 0 }),
          async (_pid: number, daemon: Awaited<ReturnType<typeof launch>>) => daemon.process.stop({ reapMs: 0 }),
        ]) {
          const daemon = await launch();
          await stop(daemon.pid, daemon);
          try {
            // A zombie takes a signal as well.
            process.kill(daemon.pid, 0);
            left.push(true);
          } catch {
            left.push(false);
          }
        }
        return [process.pid, ...left];

        function launch() {
          return new library.Command('sleep', '600').daemonize().run();
        }
      },
      undefined,
      { through: asInit },
    );
    expect(told).toEqual([1, false, false]);
  });
});

test('a handle of a dry run signals nobody', async () => {
  const child = await new Command('sleep', FOREVER).daemonize().pidFile(path('pid')).run();
  started(child.pid);
  {
    using dry = dryRun();
    const played = await new Command('dnsmasq').daemonize().run();
    expect(played.process.signal('SIGHUP')).toBe(true);
    using real = await PidFile.open(path('pid'));
    real?.signal('SIGKILL');
    await real?.stop();
    await real?.killTree();
    expect(dry.kills.map(({ call, pid, signal }) => [call, pid, signal])).toEqual([
      ['signal', played.pid, 'SIGHUP'],
      ['signal', child.pid, 'SIGKILL'],
      ['stop', child.pid, 'SIGTERM'],
      ['killTree', child.pid, 'SIGKILL'],
    ]);
  }
  expect(isRunning(child.pid)).toBe(true);
  await child.process.stop();
});
