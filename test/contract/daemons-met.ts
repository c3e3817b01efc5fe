import { execFileSync } from 'node:child_process';
import { chmodSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { Command, killPainfully, PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { asNobody, inParent, needsNobody } from '../helpers/native.js';
import { eventually, FOREVER, isRunning, rejection, sh, useDirectory, useProcesses } from '../helpers/tools.js';

/** Longer than libvirt's first wait: a program that ignores SIGTERM is ended by what was said, or not in the time of a test. */
const GRACE_MS = 50;

// What systemd knows by PIDFile= and MAINPID, and libvirt by virPidFileReadPathIfAlive().
export function daemonsMetContract(engine: { readonly name: 'native' | 'portable' }): void {
  describe('a daemon that one meets again', () => {
    const path = useDirectory();
    const started = useProcesses();
    const file = (): string => path('pid');
    const daemon = async (command = new Command('sleep', FOREVER)) => {
      const result = await command.daemonize().pidFile(file()).run();
      started(result.pid);
      return result;
    };

    test('is found by its pidfile, signaled and waited for', async () => {
      const { pid } = await daemon();
      using handle = await PidFile.open(file());
      expect([handle?.pid, inspect(handle)]).toEqual([pid, `ProcessHandle { pid ${pid} }`]);
      expect(handle?.signal('SIGCONT')).toBe(true);
      expect(handle?.signal('SIGTERM')).toBe(true);
      await handle?.ended;
      expect(isRunning(pid)).toBe(false);
      expect(handle?.signal('SIGTERM')).toBe(false);
      await handle?.stop();
      expect(await PidFile.open(file())).toBeUndefined();
    });

    test('is handed out by its launch as well', async () => {
      const result = await daemon();
      expect(result.process.pid).toBe(result.pid);
      expect(result.process.signal('SIGCONT')).toBe(true);
      await result.process.stop();
      await result.process.ended;
      expect([isRunning(result.pid), result.process.signal('SIGCONT')]).toEqual([false, false]);
    });

    test('hears the signal that it was sent', async () => {
      const script = `trap 'echo again' HUP; trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`;
      const { stdout } = await daemon(sh(script).outputPipe());
      let said = '';
      stdout?.on('data', (chunk) => (said += String(chunk)));
      await eventually('it is ready', () => said === 'ready\n');
      using handle = await PidFile.open(file());
      handle?.signal('SIGHUP');
      await eventually('it has heard', () => said === 'ready\nagain\n');
      await handle?.stop();
      stdout?.destroy();
    });

    test('is stopped by the sequence that is said, and by SIGKILL after it', async () => {
      const script = `trap '' TERM; echo ready; exec sleep ${FOREVER}`;
      const { pid, stdout } = await daemon(sh(script).outputPipe());
      await new Promise((resolve) => stdout?.once('data', resolve));
      stdout?.destroy();
      using handle = await PidFile.open(file());
      await handle?.stop({ sequence: [['SIGTERM', GRACE_MS]], reapMs: 0 });
      expect(isRunning(pid)).toBe(false);
    });

    test('is ended with what it has started', async () => {
      const { pid, stdout } = await daemon(sh(`sleep ${FOREVER} & echo $!; wait`).outputPipe());
      const below = await new Promise<number>((resolve) => stdout?.once('data', (text) => resolve(Number(text))));
      started(below);
      stdout?.destroy();
      using handle = await PidFile.open(file());
      const tree = await handle?.killTree();
      expect(tree?.ended.toSorted()).toEqual([pid, below].toSorted());
      expect(tree).toMatchObject({ survivors: [], isComplete: true });
      expect([isRunning(pid), isRunning(below)]).toEqual([false, false]);
      // It is gone, and an empty list does not say that all is.
      expect((await handle?.killTree())?.ended).toEqual([]);
    });

    test('is let go at the end of a block', async () => {
      const { pid } = await daemon();
      {
        using handle = await PidFile.open(file());
        let hasEnded = false;
        void handle?.ended.then(() => (hasEnded = true));
        handle?.[Symbol.dispose]();
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect([hasEnded, isRunning(pid)]).toEqual([false, true]);
      }
    });

    test('is nobody where there is no file, no process, or another program', async () => {
      expect(await PidFile.open(path('missing'))).toBeUndefined();
      expect(await PidFile.readIfAlive(path('missing'))).toBeUndefined();
      if (engine.name === 'native') expect(await PidFile.readIfLocked(path('missing'))).toBeUndefined();
      for (const text of ['0', '2147483647']) {
        writeFileSync(file(), text);
        expect(await PidFile.open(file())).toBeUndefined();
      }
      const { pid } = await sleeper();
      writeFileSync(file(), String(pid));
      expect(await PidFile.open(file(), { program: 'dnsmasq' })).toBeUndefined();
      writeFileSync(file(), 'junk');
      await rejection(PidFileError, PidFile.open(file()));
    });

    test('is nobody where its number has gone to a process that began after the file was written', async () => {
      const { pid } = await sleeper();
      writeFileSync(file(), String(pid));
      expect((await PidFile.open(file()))?.pid).toBe(pid);
      utimesSync(file(), 1000, 1000);
      expect(await PidFile.open(file())).toBeUndefined();
      // The program tells more than the time.
      expect((await PidFile.open(file(), { program: 'sleep' }))?.pid).toBe(pid);
    });

    test.each([{ program: '' }, { program: 1 }, { programm: 'x' }])('refuses %j', async (options) => {
      await rejection(TypeError, PidFile.open(file(), options as never));
      const { process } = await daemon();
      expect(() => process.signal('SIGNOPE' as never)).toThrow('there is no such signal');
      for (const wrong of [{ reapMs: -1 }, { sequence: [] }, { force: true }])
        await rejection(TypeError, process.stop(wrong as never));
      await rejection(TypeError, killPainfully(process.pid, { reapMs: NaN }));
      expect(isRunning(process.pid)).toBe(true);
    });

    test('that may not be signaled is an error', async ({ skip }) => {
      needsNobody(skip);
      const open = path();
      chmodSync(open, 0o755);
      writeFileSync(file(), '1');
      const told = await inParent(
        async (library, name) => {
          const handle = await library.PidFile.open(name);
          const stopped = await handle
            ?.stop()
            .catch((error: unknown) => [(error as Error).name, (error as { code?: string }).code]);
          try {
            return [handle?.signal('SIGTERM'), stopped];
          } catch (error) {
            return [(error as Error).message, stopped];
          }
        },
        file(),
        { through: asNobody, env: { VIRCOMMAND_ENGINE: engine.name } },
      );
      const syscall = engine.name === 'native' ? 'pidfd_send_signal' : 'kill';
      expect(told).toEqual([
        `Process 1 may not be signaled (${syscall}: EPERM). Run as its user, or as root.`,
        ['ProcessError', 'EPERM'],
      ]);
    });

    const sleeper = async () => {
      const child = await new Command('sleep', FOREVER).runAsync();
      return { pid: started(child.release()) };
    };
  });

  describe('the program of a daemon', () => {
    const path = useDirectory();
    const started = useProcesses();
    const running = async (command: Command): Promise<string> => {
      const child = await command.outputPipe().runAsync();
      await new Promise((resolve) => child.stdout.once('data', resolve));
      child.stdout.destroy();
      writeFileSync(path('pid'), String(started(child.release())));
      return path('pid');
    };
    const script = (name: string, first: string): string => {
      writeFileSync(path(name), `${first}\n`);
      chmodSync(path(name), 0o755);
      return path(name);
    };
    const SHELL = `echo ready; while :; do sleep 0.05; done`;

    test('is a bare name: of its file, or of the one that PATH has', async () => {
      const file = await running(sh(SHELL));
      const real = execFileSync('readlink', ['-f', '/bin/sh'], { encoding: 'utf8' }).trim().replace(/^.*\//, '');
      for (const program of ['sh', real, '/bin/sh']) expect(await PidFile.readIfAlive(file, program)).toBeDefined();
      for (const program of ['slee', 'sleep', './sh', '/sh', SHELL])
        expect(await PidFile.readIfAlive(file, program)).toBeUndefined();
    });

    test('is a bare name also where its file was removed since', async () => {
      execFileSync('cp', [execFileSync('readlink', ['-f', '/bin/sleep'], { encoding: 'utf8' }).trim(), path('napper')]);
      const child = await new Command(path('napper'), FOREVER).runAsync();
      writeFileSync(path('pid'), String(started(child.release())));
      unlinkSync(path('napper'));
      expect(await PidFile.readIfAlive(path('pid'), 'napper')).toBe(child.pid);
    });

    test.each([
      ['with a line for its interpreter', (name: string) => new Command(script(name, `#!/bin/sh -e\n${SHELL}`))],
      ['that is given to its interpreter', (name: string) => new Command('sh', '-u', script(name, SHELL))],
      [
        'that is given by a relative path',
        (name: string) => new Command('sh', script(name, SHELL) && name).workingDirectory(path()),
      ],
    ])('is a script %s', async (_how, command) => {
      const file = await running(command('served'));
      for (const program of ['served', path('served')]) expect(await PidFile.readIfAlive(file, program)).toBeDefined();
      script('other', SHELL);
      for (const program of ['other', path('other'), path('missing')])
        expect(await PidFile.readIfAlive(file, program)).toBeUndefined();
    });

    // A process that has a program's file as its argument does not execute it.
    test('is none that is only an argument', async () => {
      const file = await running(sh(SHELL, '/bin/sleep', 'sleep'));
      for (const program of ['/bin/sleep', 'sleep']) expect(await PidFile.readIfAlive(file, program)).toBeUndefined();
      const binary = execFileSync('readlink', ['-f', '/bin/sleep'], { encoding: 'utf8' }).trim();
      const reader = await running(new Command('tail', '-c', '10', '-f', binary));
      for (const program of [binary, 'sleep']) expect(await PidFile.readIfAlive(reader, program)).toBeUndefined();
    });
  });
}
