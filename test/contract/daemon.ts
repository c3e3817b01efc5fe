import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type AnyCommand, Command, LaunchError, PidFile, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  eventually,
  fixture,
  FOREVER,
  isRunning,
  nodeFixture,
  NOWHERE,
  processStat,
  rejection,
  sh,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';

export function daemonContract(): void {
  describe('a daemon', () => {
    const path = useDirectory();
    const started = useProcesses();

    test('has a session of its own, / as its directory, and /dev/null for streams', async () => {
      const { pid, pidFile, stdin, stdout, stderr } = await new Command('sleep', FOREVER).daemonize().run();
      started(pid);
      expect([pidFile, stdin, stdout, stderr]).toEqual([undefined, null, null, null]);
      expect(processStat(pid)?.session).not.toBe(processStat(process.pid)?.session);
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
      expect(['0', '1', '2'].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))).toEqual([
        '/dev/null',
        '/dev/null',
        '/dev/null',
      ]);
      // The kernel fills it in a moment after the exec has succeeded.
      const words = await eventually('its arguments are there', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
      expect(words).toBe(`sleep\0${FOREVER}\0`);
    });

    test('writes its files, and gets its environment and descriptors, like any program', async () => {
      const { pid } = await sh('echo "out $A"; echo err >&2; pwd')
        .env('A', 'é')
        .outputFile(path('log'))
        .errorFile(path('log'))
        .daemonize()
        .run();
      started(pid);
      await eventually(
        'it has written all',
        () => existsSync(path('log')) && readFileSync(path('log'), 'utf8') === 'out é\nerr\n/\n',
      );
    });

    test('talks through the pipes that were asked for', async () => {
      const daemon = await sh('cat; echo err >&2').inputPipe().outputPipe().errorPipe().daemonize().run();
      started(daemon.pid);
      daemon.stdin.end('said');
      expect(await Promise.all([text(daemon.stdout), text(daemon.stderr)])).toEqual(['said', 'err\n']);
    });

    test('goes on writing its log when the process that started it is gone, even by SIGKILL', async () => {
      const parent = await nodeFixture('start-daemon.js', path('log'), path('go'), path('pid')).outputPipe().runAsync();
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const daemon = started(Number(line));
      parent.signal('SIGKILL');
      expect((await parent.wait({ check: false })).signal).toBe('SIGKILL');
      expect(isRunning(daemon)).toBe(true);
      await sh('touch "$1"', path('go')).run();
      await eventually('it has ended', () => !isRunning(daemon));
      expect(readFileSync(path('log'), 'utf8')).toBe('before\nafter\nerror\n');
    });

    test('outlives the process that started it, which ends without waiting for it', async () => {
      const code = `
        import { Command } from 'vircommand';
        const { pid } = await new Command('sleep', '${FOREVER}').daemonize().run();
        process.stdout.write(String(pid));`;
      const command = new Command(process.execPath, '--input-type=module', '-e', code)
        .workingDirectory(fixture('.'))
        .outputBuffer();
      const daemon = started(Number((await command.run()).stdout));
      expect(isRunning(daemon)).toBe(true);
    });

    test('whose program is missing rejects, and leaves no pidfile', async () => {
      const command = new Command(NOWHERE).daemonize().pidFile(path('pid'));
      expect(await rejection(LaunchError, command.run())).toMatchObject({
        step: 'execve',
        errno: 'ENOENT',
        path: NOWHERE,
      });
      expect(readdirSync(path())).toEqual([]);
    });

    test('whose log cannot be opened rejects, and starts nothing', async () => {
      const command = sh('touch "$1"', path('started')).outputFile(path('absent/log')).daemonize().pidFile(path('pid'));
      expect(await rejection(LaunchError, command.run())).toMatchObject({ step: 'open', errno: 'ENOENT' });
      expect(readdirSync(path())).toEqual([]);
    });

    test.for<[string, (command: AnyCommand) => Promise<unknown>]>([
      ['buffers', (command) => command.outputBuffer().run()],
      ['an input buffer', (command) => command.inputBuffer('x').run()],
      ['runAsync()', (command) => command.runAsync()],
      ['a working directory', (command) => command.workingDirectory('/').run()],
    ])('is refused with %s, and nothing starts', async ([, run]) => {
      await rejection(UsageError, run(sh('touch "$1"', path('started')).daemonize()));
      expect(existsSync(path('started'))).toBe(false);
    });

    test('is known by its pidfile when run() resolves', async () => {
      const { pid, pidFile } = await new Command('sleep', FOREVER).daemonize().pidFile(path('pid')).run();
      started(pid);
      expect([pidFile, readFileSync(path('pid'), 'utf8')]).toEqual([path('pid'), String(pid)]);
      expect(await PidFile.readIfAlive(path('pid'), new Command('sleep').binaryPath())).toBe(pid);
      expect(readdirSync(path()), 'no draft beside it').toEqual(['pid']);
    });
  });
}
