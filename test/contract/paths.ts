import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import {
  Command,
  type CommandSpec,
  LaunchError,
  PidFile,
  PidFileError,
  UnsupportedError,
  UsageError,
} from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { inParent, needsRoot } from '../helpers/native.js';
import { end, eventually, rejection, sh, STRANGER, useDirectory, writeProgram } from '../helpers/tools.js';

const outputOf = async (command: Command): Promise<string> => (await command.outputBuffer().run()).stdout;

/** The 8 bits of each character: `ÿ` is a byte that no UTF-8 has. */
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

export function pathContract(engine: EngineUnderTest): void {
  const home = process.cwd();
  afterEach(() => {
    process.chdir(home);
  });

  describe('a path of bytes that are no UTF-8', () => {
    const path = useDirectory();
    /** A path in the directory, whose last part is such bytes. A file called `…ÿ` in UTF-8 lies beside it. */
    const odd = (name: string): Buffer => bytes(`${path()}/${name}\xff`);
    const alike = (name: string): string => `${path()}/${name}ÿ`;
    const echo = (word: string): string => `#!/bin/sh\necho ${word}\n`;

    /** Runs a command, which an engine that takes no bytes refuses. */
    async function runs(command: Command, feature: string): Promise<string | undefined> {
      if (engine.passesBytes) return await outputOf(command);
      const error = await rejection(UnsupportedError, command.run());
      expect(error).toMatchObject({ feature, engine: engine.name });
      expect(error.message).toContain('not UTF-8');
      return undefined;
    }

    // Python's subprocess runs the file; child_process takes no bytes.
    test('names the program with those bytes, and no other', async () => {
      writeFileSync(odd('tool'), echo('the bytes'));
      chmodSync(odd('tool'), 0o755);
      writeProgram(alike('tool'), echo('another'));
      expect(await runs(new Command(odd('tool')), 'new Command')).toBe(engine.passesBytes ? 'the bytes\n' : undefined);
    });

    test('names the directory that a program is in', async () => {
      mkdirSync(odd('bin'));
      const tool = Buffer.concat([odd('bin'), bytes('/tool')]);
      writeFileSync(tool, echo('the bytes'));
      chmodSync(tool, 0o755);
      mkdirSync(alike('bin'));
      writeProgram(`${alike('bin')}/tool`, echo('another'));
      expect(await runs(new Command(tool), 'new Command')).toBe(engine.passesBytes ? 'the bytes\n' : undefined);
    });

    test('names the working directory', async () => {
      mkdirSync(odd('dir'));
      writeFileSync(Buffer.concat([odd('dir'), bytes('/file')]), 'the bytes');
      mkdirSync(alike('dir'));
      writeFileSync(`${alike('dir')}/file`, 'another');
      const command = new Command('cat', 'file').workingDirectory(odd('dir'));
      expect(await runs(command, 'workingDirectory')).toBe(engine.passesBytes ? 'the bytes' : undefined);
    });

    test('names files that are read and written', async () => {
      writeFileSync(odd('in'), 'the bytes');
      for (const name of ['in', 'out', 'err']) writeFileSync(alike(name), 'another');
      await sh('cat; echo error >&2').inputFile(odd('in')).outputFile(odd('out')).errorFile(odd('err')).run();
      expect(readFileSync(odd('out'), 'utf8')).toBe('the bytes');
      expect(readFileSync(odd('err'), 'utf8')).toBe('error\n');
      await sh('cat; echo more').inputFile('/dev/null').outputFile(odd('out'), { append: true }).run();
      expect(readFileSync(odd('out'), 'utf8')).toBe('the bytesmore\n');
      for (const name of ['in', 'out', 'err']) expect(readFileSync(alike(name), 'utf8')).toBe('another');
    });

    test('names one file of both outputs, which share it', async () => {
      await sh('echo one; echo two >&2; echo three').outputFile(odd('log')).errorFile(odd('log')).run();
      expect(readFileSync(odd('log'), 'utf8')).toBe('one\ntwo\nthree\n');
    });

    test('may be written as the address of a file', async () => {
      writeFileSync(odd('in'), 'the bytes');
      expect(await outputOf(new Command('cat').inputFile(new URL(`${pathToFileURL(path('in')).href}%FF`)))).toBe(
        'the bytes',
      );
    });

    test('names the pidfile of a daemon', async () => {
      const pidFile = odd('pid');
      const daemon = await new Command('sleep', '600').daemonize().pidFile(pidFile).run();
      try {
        expect(readFileSync(pidFile, 'latin1').trim()).toBe(String(daemon.pid));
        expect(daemon.pidFile).toBe(`${path('pid')}\\xff`);
        expect(await PidFile.read(pidFile)).toBe(daemon.pid);
        expect(await PidFile.readIfAlive(pidFile, Buffer.from('sleep'))).toBe(daemon.pid);
        using met = await PidFile.open(pidFile, { program: 'sleep' });
        expect(met?.pid).toBe(daemon.pid);
        expect(
          await rejection(PidFileError, new Command('sleep', '600').daemonize().pidFile(pidFile).run()),
        ).toMatchObject({
          heldBy: daemon.pid,
          path: `${path('pid')}\\xff`,
        });
      } finally {
        end(daemon.pid);
      }
    });

    test('is not left behind as a pidfile of a daemon that could not be started', async () => {
      if (!engine.passesBytes) return;
      await rejection(LaunchError, new Command('/nowhere').daemonize().pidFile(odd('pid')).run());
      expect(() => readFileSync(odd('pid'))).toThrow('ENOENT');
    });

    test('comes back from the JSON of the spec', () => {
      const command = new Command(odd('tool'))
        .workingDirectory(odd('dir'))
        .inputFile(odd('in'))
        .outputFile(odd('out'))
        .errorFile(odd('err'), { append: true })
        .cgroup(odd('group'));
      const spec = JSON.parse(JSON.stringify(command.spec())) as CommandSpec;
      expect(Command.fromSpec(spec).spec()).toEqual(command.spec());
      expect(structuredClone(command.spec())).toEqual(command.spec());
      expect(spec.workingDirectory).toEqual({ base64: odd('dir').toString('base64') });
    });

    test('stands in messages and in explain() with its odd bytes as escapes', async () => {
      const missing = await rejection(
        LaunchError,
        new Command('true').inputFile(Buffer.concat([Buffer.from(path('é-in')), bytes('\xff')])).run(),
      );
      expect(missing).toMatchObject({ step: 'open', path: `${path('é-in')}\\xff` });
      const plan = new Command('true').workingDirectory(odd('dir')).outputFile(odd('out')).explain();
      expect(plan).toContain(`${path('dir')}\\xff`);
      expect(plan).toContain(`write '${path('out')}\\xff' anew`);
      if (!engine.passesBytes) return;
      await expect(new Command(odd('tool')).run()).rejects.toMatchObject({
        step: 'execve',
        errno: 'ENOENT',
        path: `${path('tool')}\\xff`,
      });
      await expect(new Command('true').workingDirectory(odd('dir')).run()).rejects.toMatchObject({
        step: 'chdir',
        errno: 'ENOENT',
        path: `${path('dir')}\\xff`,
      });
      const twice = await rejection(UsageError, new Command('true').pidFile(odd('pid')).run());
      expect(twice.message).toContain(`pidFile('${path('pid')}\\xff')`);
    });
  });

  // As with child_process, whose child is in the directory itself, whatever it is called.
  describe('a path that begins in the directory of this process', () => {
    const path = useDirectory();
    const moved = (name: string): string => path(`app.old/${name}`);

    /** Makes this process stand in a directory that another one is like. */
    function makeBoth(): void {
      for (const [directory, word] of [
        ['app', 'the directory itself'],
        ['other', 'another'],
      ] as const) {
        mkdirSync(path(directory));
        mkdirSync(path(`${directory}/sub`));
        writeFileSync(path(`${directory}/in`), word);
        writeFileSync(path(`${directory}/sub/in`), word);
        writeProgram(path(`${directory}/tool`), `#!/bin/sh\necho ${word}; cat in\n`);
      }
      process.chdir(path('app'));
      expect(process.cwd()).toBe(path('app')); // Node remembers it.
    }

    /** Makes this process stand in a directory that is renamed then; another one has its old name. */
    function moveAway(): void {
      makeBoth();
      swap();
    }

    const itself = 'the directory itself';

    test.for<[string, (command: Command) => Command]>([
      ['', (command) => command],
      [', also where files are opened', (command) => command.errorFile('log')],
    ])('means that directory, though another one has its old name by now%s', async ([, add]) => {
      moveAway();
      expect(await outputOf(add(new Command('./tool')))).toBe(`${itself}\n${itself}`);
      expect(await outputOf(add(new Command('./tool').workingDirectory('sub')))).toBe(`${itself}\n${itself}`);
      expect(await outputOf(add(new Command('cat', 'in').workingDirectory('./sub')))).toBe(itself);
      expect(await outputOf(add(new Command('cat').inputFile('in')))).toBe(itself);
      await add(new Command('./tool').outputFile('out')).run();
      expect(readFileSync(moved('out'), 'utf8')).toBe(`${itself}\n${itself}`);
    });

    /** Calls for a launch that waits until something is done, since its input is a FIFO that nobody has opened for writing. */
    async function meanwhile<T>(launch: (fifo: string) => Promise<T>, act: () => void): Promise<T> {
      const fifo = path('fifo');
      execFileSync('mkfifo', [fifo]);
      const launched = launch(fifo);
      act();
      const [outcome] = await Promise.all([launched, open(fifo, 'w').then((writer) => writer.close())]);
      return outcome;
    }

    /** Renames the directory that this process is in, and has another one in its place. */
    function swap(): void {
      renameSync(path('app'), path('app.old'));
      renameSync(path('other'), path('app'));
    }

    // Nobody leads the child elsewhere between the call and the exec, as a shell's `cd` and `./tool` leave it no time for that.
    test('means that directory, though it is renamed while the files of the launch are opened', async () => {
      makeBoth();
      const output = await meanwhile(
        (fifo) => outputOf(new Command('./tool').workingDirectory('sub').inputFile(fifo)),
        swap,
      );
      expect(output).toBe(`${itself}\n${itself}`);
    });

    test('means that directory for a daemon and its pidfile, though it is renamed meanwhile', async () => {
      makeBoth();
      for (const directory of ['app', 'other'])
        writeProgram(path(`${directory}/service`), `#!/bin/sh\necho ${directory}; exec sleep 600\n`);
      const daemon = await meanwhile(
        (fifo) => new Command('./service').inputFile(fifo).outputFile('log').pidFile('service.pid').daemonize().run(),
        swap,
      );
      try {
        expect(readFileSync(moved('service.pid'), 'utf8').trim()).toBe(String(daemon.pid));
        expect(existsSync(path('app/service.pid'))).toBe(false);
        await eventually('it has written', () => readFileSync(moved('log'), 'utf8') !== '');
        expect(readFileSync(moved('log'), 'utf8')).toBe('app\n');
      } finally {
        end(daemon.pid);
      }
    });

    test('means no other directory where that one is removed meanwhile', async () => {
      for (const directory of ['app', 'other']) mkdirSync(path(directory));
      for (const name of ['tool', 'service']) writeProgram(path(`other/${name}`), '#!/bin/sh\necho another\n');
      const remove = (): void => {
        rmdirSync(path('app'));
        renameSync(path('other'), path('app'));
      };
      process.chdir(path('app'));
      const launched = meanwhile(
        (fifo) => new Command('./tool').workingDirectory(path()).inputFile(fifo).run(),
        remove,
      );
      expect(await rejection(LaunchError, launched)).toMatchObject({ step: 'execve', errno: 'ENOENT' });
    });

    test('means no other directory where that one was removed before', async () => {
      mkdirSync(path('gone'));
      mkdirSync(path('there'));
      writeProgram(path('there/tool'), '#!/bin/sh\necho another\n');
      const name = `vircommand-${process.pid}.pid`;
      process.chdir(path('gone'));
      rmdirSync(path('gone'));
      expect(await rejection(LaunchError, new Command('./tool').workingDirectory(path('there')).run())).toMatchObject({
        step: 'execve',
        errno: 'ENOENT',
        path: './tool',
      });
      expect(await rejection(LaunchError, new Command('bin/true').daemonize().run())).toMatchObject({
        step: 'execve',
        errno: 'ENOENT',
        path: 'bin/true',
      });
      try {
        const daemon = new Command('sleep', '600').daemonize().pidFile(name).run();
        daemon.then(({ pid }) => end(pid)).catch(() => undefined);
        expect(await rejection(PidFileError, daemon)).toMatchObject({ errno: 'ENOENT', path: name });
        expect(existsSync(`/${name}`)).toBe(false);
      } finally {
        rmSync(`/${name}`, { force: true });
      }
    });

    test('means that directory for a daemon too, which leaves it', async () => {
      moveAway();
      writeProgram(moved('service'), '#!/bin/sh\necho "$PWD"; exec sleep 600\n');
      const daemon = await new Command('./service').outputFile('log').pidFile('service.pid').daemonize().run();
      end(daemon.pid);
      expect(readFileSync(moved('service.pid'), 'utf8').trim()).toBe(String(daemon.pid));
      expect(daemon.pidFile).toBe(moved('service.pid'));
      expect(readFileSync(moved('log'), 'utf8')).toMatch(/^(?:\/\n)?$/);
    });

    test('works where the name of that directory is no UTF-8', async () => {
      const directory = bytes(`${path()}/d\xff`);
      mkdirSync(directory);
      mkdirSync(Buffer.concat([directory, bytes('/sub')]));
      writeFileSync(Buffer.concat([directory, bytes('/in')]), 'the bytes');
      const tool = Buffer.concat([directory, bytes('/tool')]);
      writeFileSync(tool, '#!/bin/sh\ncat\n');
      chmodSync(tool, 0o755);
      const link = path('link');
      symlinkSync(directory, link);
      process.chdir(link);
      await new Command('./tool').inputFile('in').outputFile('out').run();
      expect(readFileSync(Buffer.concat([directory, bytes('/out')]), 'utf8')).toBe('the bytes');
      expect(await outputOf(new Command('./tool').inputBuffer('fed'))).toBe('fed');
      expect(await outputOf(sh('cat ../in').workingDirectory('sub'))).toBe('the bytes');
      if (engine.passesBytes)
        expect(await outputOf(new Command('./tool').workingDirectory('sub').inputFile('in'))).toBe('the bytes');
    });

    test('is not needed where that directory was removed', async () => {
      mkdirSync(path('gone'));
      process.chdir(path('gone'));
      expect(process.cwd()).toBe(path('gone'));
      rmdirSync(path('gone'));
      expect(await outputOf(new Command('echo', 'runs'))).toBe('runs\n');
      expect(await outputOf(sh('pwd -P').workingDirectory(path()))).toBe(`${path()}\n`);
      expect(await rejection(LaunchError, new Command('./tool').run())).toMatchObject({
        step: 'execve',
        errno: 'ENOENT',
        path: './tool',
      });
      expect(await rejection(LaunchError, new Command('true').outputFile('log').run())).toMatchObject({
        step: 'open',
        errno: 'ENOENT',
        path: 'log',
      });
      expect(await rejection(LaunchError, new Command('true').workingDirectory('sub').run())).toMatchObject({
        step: 'chdir',
        errno: 'ENOENT',
        path: 'sub',
      });
    });

    // In Python and with child_process, too, a failure is that of the start, and an end that nobody waits for ends nobody.
    test('is not needed to tell of failures, nor to outlive them, where that directory was removed', async () => {
      const told = await inParent(
        async ({ Command }, directory) => {
          const { rmdirSync } = process.getBuiltinModule('node:fs');
          process.chdir(directory);
          rmdirSync(directory);
          const failure = (command: InstanceType<typeof Command>): Promise<unknown> =>
            command.run().then(
              () => 'ran',
              (error: unknown) => {
                const { name, step, errno } = error as LaunchError;
                return [name, step, errno];
              },
            );
          const failures = [
            await failure(new Command('/nowhere/tool')),
            await failure(new Command('/bin/true').workingDirectory('/nowhere')),
            await failure(new Command('/bin/true', 'x'.repeat(200_000))),
          ];
          const piped = (): InstanceType<typeof Command> => new Command('sleep', '600').inputPipe().outputPipe();
          for (const child of [await piped().runAsync(), await piped().daemonize().run()]) {
            for (const stream of [child.stdin, child.stdout]) {
              const closed = new Promise((resolve) => stream?.once('error', () => undefined).once('close', resolve));
              stream?.destroy(new Error('of the caller'));
              await closed;
            }
            process.kill(child.pid, 'SIGKILL');
            if ('wait' in child) failures.push(await child.wait().catch((error: unknown) => [(error as Error).name]));
          }
          const daemon = await new Command('sleep', '600').daemonize().run();
          process.kill(daemon.pid, 'SIGKILL');
          const isRunning = (): boolean =>
            !/^State:\s+[ZX]/m.test(
              process.getBuiltinModule('node:fs').readFileSync(`/proc/${daemon.pid}/status`, 'latin1'),
            );
          try {
            while (isRunning()) await new Promise((resolve) => setTimeout(resolve, 5));
          } catch {
            // It has been reaped.
          }
          // What is rejected, and handled by nobody, comes to this process's end within a turn of the event loop.
          for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
          return failures;
        },
        path(),
        { env: { VIRCOMMAND_ENGINE: engine.name } },
      );
      expect(told).toEqual([
        ['LaunchError', 'execve', 'ENOENT'],
        ['LaunchError', 'chdir', 'ENOENT'],
        ['LaunchError', 'execve', 'E2BIG'],
        ['ExitError'],
      ]);
      mkdirSync(path());
    });

    test('means the directory of the call, not one that this process enters while the command is started', async () => {
      mkdirSync(path('first'));
      mkdirSync(path('second'));
      writeFileSync(path('first/in'), 'first');
      writeFileSync(path('second/in'), 'second');
      writeProgram(path('first/tool'), '#!/bin/sh\ncat\n');
      writeProgram(path('second/tool'), '#!/bin/sh\necho wrong\n');
      process.chdir(path('first'));
      const run = new Command('./tool').inputFile('in').outputFile('out').run();
      process.chdir(path('second'));
      await run;
      expect(readFileSync(path('first/out'), 'utf8')).toBe('first');
      process.chdir(path('first'));
      const inside = new Command('cat', 'in').errorFile('log').outputBuffer().run();
      process.chdir(path('second'));
      expect((await inside).stdout).toBe('first');
      process.chdir(path('first'));
      const launched = new Command('sleep', '600').outputFile('log').pidFile('pid').daemonize().run();
      process.chdir(path('second'));
      const daemon = await launched;
      end(daemon.pid);
      expect([daemon.pidFile, readFileSync(path('first/pid'), 'utf8')]).toEqual([path('first/pid'), `${daemon.pid}`]);
      expect([existsSync(path('first/log')), existsSync(path('second/log'))]).toEqual([true, false]);
    });

    test('works below a directory that is closed to the program and to us', async ({ skip }) => {
      needsRoot(skip);
      mkdirSync(path('closed'));
      mkdirSync(path('closed/open'));
      writeFileSync(path('closed/open/in'), 'reached');
      writeProgram(path('closed/open/tool'), '#!/bin/sh\ncat\n');
      process.chdir(path('closed/open'));
      chmodSync(path('closed'), 0o700);
      expect(await outputOf(new Command('./tool').uid(STRANGER).gid(STRANGER).inputBuffer('fed'))).toBe('fed');
      process.seteuid?.(STRANGER);
      try {
        expect(() => realpathSync(path('closed/open'))).toThrow('EACCES');
        expect(await outputOf(new Command('cat').inputFile('in'))).toBe('reached');
      } finally {
        process.seteuid?.(0);
      }
    });
  });
}
