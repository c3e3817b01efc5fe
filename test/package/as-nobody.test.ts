import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'vircommand';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  asNobody,
  inParent,
  type Library,
  needsProgram,
  needsRoot,
  NOBODY,
  parentWords,
  root,
} from '../helpers/native.js';
import { FOREVER, isRunning, useDirectory, useProcesses } from '../helpers/tools.js';

/*
 * All that the library does, for a user that owns nothing and may do nothing: uid 65534, from an installed package that root owns
 * and everybody may read, as a service has it. What is right is what child_process, Python's subprocess and `kill` do for such a user.
 */

const path = useDirectory();
const started = useProcesses();
const home = mkdtempSync(join(tmpdir(), 'vircommand-nobody-'));
const library = join(home, 'node_modules/vircommand/dist/index.js');

/** Installs the built package and what it depends on, as `npm install` lays them out, whatever the umask is here. */
beforeAll(() => {
  const copy = (from: string, name: string) => cpSync(`${root}/${from}`, join(home, 'node_modules', name), { recursive: true, dereference: true }); // prettier-ignore
  const copied = new Set<string>();
  const install = (name: string) => {
    if (copied.has(name)) return;
    copied.add(name);
    copy(`node_modules/${name}`, name);
    dependenciesOf(`node_modules/${name}/package.json`).forEach(install);
  };
  for (const part of ['dist', 'package.json']) copy(part, `vircommand/${part}`);
  for (const part of ['vircommand.node', 'vircommand-helper'].map((name) => `src/native/build/Release/${name}`)) {
    if (existsSync(`${root}/${part}`)) copy(part, `vircommand/${part}`);
  }
  dependenciesOf('package.json').forEach(install);
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', home]);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

function dependenciesOf(file: string): string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(`${root}/${file}`, 'utf8')) as { dependencies?: object };
  return Object.keys(dependencies);
}

describe.each(['native', 'portable'] as const)('as nobody, on the %s engine', (engine) => {
  beforeEach(({ skip }) => {
    needsRoot(skip);
    needsProgram(skip, 'setpriv');
    if (spawnSync(asNobody[0]!, [...asNobody.slice(1), process.execPath, '-e', '0']).status !== 0)
      skip('nobody may not execute node here');
    if (engine === 'native' && !existsSync(join(home, 'node_modules/vircommand/src/native/build/Release')))
      skip('no addon has been built');
    // What nobody may write, and the directory of the test, which is root's.
    mkdirSync(path('own'));
    chownSync(path('own'), NOBODY, NOBODY);
    mkdirSync(path('closed'));
    chmodSync(path('closed'), 0o700);
  });
  const through = { through: asNobody, library, env: { VIRCOMMAND_ENGINE: engine, HOME: '/' } };

  /** What the engine that cannot do a thing says of it, in the place of what the other one gives. */
  const only = (given: unknown, feature: string): unknown =>
    engine === 'native'
      ? given
      : expect.stringMatching(
          new RegExp(`^UnsupportedError: .*he portable engine cannot do ${feature.replace(/[().]/g, '\\$&')}, because`),
        );

  test('all that needs no privilege is done', async () => {
    const told = await inParent(
      async (
        { Command: Program, PidFile, adoptOrphans, engineInfo, killPainfully, killTree, pidAbort, pidWait }: Library,
        own: string,
      ) => {
        const { existsSync: exists, readFileSync: read } = process.getBuiltinModule('node:fs');
        const told = async (work: () => unknown): Promise<unknown> => {
          try {
            return (await work()) ?? 'done';
          } catch (error) {
            return String(error);
          }
        };
        const sleeper = () => new Program('sleep', '600');
        const lives = (pid: number) =>
          exists(`/proc/${pid}`) && !/^State:\s+Z/m.test(read(`/proc/${pid}/status`, 'utf8'));
        return {
          engine: engineInfo().engine,
          run: await told(async () => (await new Program('id', '-u').outputBuffer().run()).stdout),
          files: await told(async () => {
            await new Program('id', '-u').outputFile(`${own}/output`).run();
            return read(`${own}/output`, 'utf8');
          }),
          helper: await told(async () => (await new Program('true').clearCaps().run()).exitCode),
          runSync: await told(() => new Program('id', '-u').outputBuffer().runSync().stdout),
          runAsync: await told(async () => {
            const child = await new Program('cat').inputPipe().outputBuffer().runAsync();
            child.stdin.end('through a pipe');
            return (await child.wait()).stdout;
          }),
          hook: await told(async () => (await new Program('true').preExecHook(() => 0).run()).exitCode),
          timeout: await told(async () => await sleeper().timeout(20).run()),
          abort: await told(async () => {
            const child = await sleeper().runAsync();
            await child.abort();
            return lives(child.pid);
          }),
          pidAbort: await told(async () => {
            const child = await sleeper().runAsync();
            await pidAbort(child.pid);
            return lives(child.pid);
          }),
          pidWait: await told(async () => {
            const child = await new Program('true').runAsync();
            return (await pidWait(child.pid)).exitCode;
          }),
          killTree: await told(async () => {
            const child = await sleeper().runAsync();
            const { ended, survivors, isComplete } = await killTree(child.pid);
            return [ended.length, survivors.length, isComplete];
          }),
          daemon: await told(async () => {
            const { pid } = await sleeper().daemonize().pidFile(`${own}/daemon.pid`).run();
            const alive = (await PidFile.readIfAlive(`${own}/daemon.pid`)) === pid;
            await killPainfully(pid);
            return [alive, lives(pid)];
          }),
          handshake: await told(async () => {
            const daemon = await sleeper().daemonize().requireHandshake().run();
            await daemon.handshakeWait();
            await daemon.handshakeNotify();
            await killPainfully(daemon.pid);
            return lives(daemon.pid);
          }),
          readsOnlyNumbers: Number.isInteger(await told(() => PidFile.read(`${own}/daemon.pid`))),
          pidFilePath: await told(() => PidFile.path(own, 'name')),
          acquire: await told(async () => {
            const lock = await PidFile.acquire(`${own}/lock.pid`);
            const isOurs = (await PidFile.readIfLocked(`${own}/lock.pid`)) === process.pid;
            await PidFile.release(lock);
            return [isOurs, exists(`${own}/lock.pid`)];
          }),
          open: await told(async () => {
            const { pid } = await sleeper().daemonize().pidFile(`${own}/opened.pid`).run();
            const daemon = await PidFile.open(`${own}/opened.pid`);
            await daemon!.stop();
            return lives(pid);
          }),
          forceCleanup: await told(async () => {
            const { pid } = await sleeper().daemonize().pidFile(`${own}/forced.pid`).run();
            try {
              await PidFile.forceCleanup(`${own}/forced.pid`);
              return [lives(pid), exists(`${own}/forced.pid`)];
            } finally {
              if (lives(pid)) await killPainfully(pid);
            }
          }),
          remove: await told(() => PidFile.remove(`${own}/daemon.pid`)),
          adoptOrphans: await told(() => adoptOrphans()[Symbol.dispose]()),
        };
      },
      path('own'),
      through,
    );
    expect(told).toEqual({
      engine,
      run: `${NOBODY}\n`,
      files: `${NOBODY}\n`,
      helper: only(0, 'clearCaps()'),
      runSync: only(`${NOBODY}\n`, 'runSync()'),
      runAsync: 'through a pipe',
      hook: only(0, 'preExecHook()'),
      timeout: 'ExitError: `sleep 600` did not finish within 20 ms. It was ended by SIGTERM.',
      abort: false,
      pidAbort: false,
      pidWait: 0,
      killTree: [1, 0, true],
      daemon: [true, false],
      handshake: only(false, 'requireHandshake()'),
      readsOnlyNumbers: true,
      pidFilePath: path('own/name.pid'),
      acquire: only([true, false], 'PidFile.acquire()'),
      open: false,
      forceCleanup: only([false, false], 'PidFile.forceCleanup()'),
      remove: 'done',
      adoptOrphans: only('done', 'adoptOrphans()'),
    });
  });

  test('exec() executes the program, and where it cannot, the error says so and nothing has changed', async ({
    skip,
  }) => {
    if (engine === 'portable') skip('the portable engine has no exec()');
    const [file, ...words] = parentWords(
      async ({ Command: Program }: Library, closed: string) => {
        try {
          new Program(`${closed}/program`).exec();
        } catch (error) {
          process.stdout.write(`${String(error)}\n`);
        }
        process.stdout.write((await new Program('echo', 'still', 'here').outputBuffer().run()).stdout);
        new Program('id', '-u').exec();
      },
      path('closed'),
      through,
    );
    const { stdout, stderr } = spawnSync(file!, words, { encoding: 'utf8', env: { ...process.env, ...through.env } });
    expect({ stdout, stderr }).toEqual({
      stdout: `LaunchError: Cannot start \`${path('closed/program')}\`: the directory '${path('closed')}' on the way to '${path('closed/program')}' cannot be entered (execve: EACCES). The user that the program runs as needs the permission x on it.\nstill here\n${NOBODY}\n`,
      stderr: '',
    });
  });

  test('what takes a privilege is refused in a sentence that names it, and a stranger lives on', async () => {
    const stranger = started((await new Command('sleep', FOREVER).daemonize().run()).pid);
    const told = await inParent(
      async (
        { Command: Program, PidFile, killPainfully, killTree }: Library,
        { closed, stranger }: { closed: string; stranger: number },
      ) => {
        const told = async (work: () => unknown): Promise<unknown> => {
          try {
            return (await work()) ?? 'done';
          } catch (error) {
            return String(error);
          }
        };
        const run = (build: (command: InstanceType<Library['Command']>) => InstanceType<Library['Command']>) =>
          told(async () => {
            await build(new Program('true')).run();
          });
        return {
          ids: await run((command) => command.uid(0).gid(0)),
          nice: await run((command) => command.nice(-5)),
          score: await run((command) => command.oomScoreAdjust(-1000)),
          directory: await run((command) => command.workingDirectory(closed)),
          output: await run((command) => command.outputFile(`${closed}/output`)),
          input: await run((command) => command.inputFile(`${closed}/input`)),
          daemon: await told(
            async () => (await new Program('sleep', '600').daemonize().pidFile(`${closed}/pid`).run()).pid,
          ),
          read: await told(() => PidFile.read(`${closed}/pid`)),
          acquire: await told(() => PidFile.acquire(`${closed}/pid`)),
          remove: await told(() => PidFile.remove(`${closed}/pid`)),
          killPainfully: await told(() => killPainfully(stranger)),
          killTree: await told(async () => {
            const { ended, survivors } = await killTree(stranger);
            return { ended, survivors };
          }),
        };
      },
      { closed: path('closed'), stranger },
      through,
    );
    expect(isRunning(stranger)).toBe(true);
    const closed = path('closed');
    const pidFile = (action: string) => `PidFileError: Pidfile '${closed}/pid' cannot be ${action}: EACCES).`;
    expect(told).toEqual({
      ids:
        engine === 'native'
          ? 'LaunchError: Cannot start `true`: this process may not take the groups 0 (setgroups: EPERM). Run as root, or with the capability CAP_SETGID.'
          : 'LaunchError: Cannot start `true`: this process may not take the gid 0 (setgid: EPERM). Run as root, or with the capability CAP_SETGID.',
      nice: only(
        'LaunchError: Cannot start `true`: this process may not take the nice value -5 (setpriority: EACCES). Run as root, or with the capability CAP_SYS_NICE.',
        'nice()',
      ),
      score: only(
        'LaunchError: Cannot start `true`: this process may not take the out-of-memory score -1000 (oom_score_adj: EACCES). Run as root, or with the capability CAP_SYS_RESOURCE.',
        'oomScoreAdjust()',
      ),
      directory: `LaunchError: Cannot start \`true\`: the working directory '${closed}' cannot be entered (chdir: EACCES). The user that the program runs as needs the permission x on '${closed}'.`,
      output: `LaunchError: Cannot start \`true\`: '${closed}/output' cannot be opened for writing: permission is denied (open: EACCES).`,
      input: `LaunchError: Cannot start \`true\`: '${closed}/input' cannot be opened for reading: permission is denied (open: EACCES).`,
      daemon: pidFile('written (open'),
      read: pidFile('read (open'),
      acquire: only(pidFile('written (open'), 'PidFile.acquire()'),
      remove: pidFile('removed (unlink'),
      killPainfully: `ProcessError: Cannot end process ${stranger}: it may not be signaled (${engine === 'native' ? 'pidfd_send_signal' : 'kill'}: EPERM).`,
      killTree: { ended: [], survivors: [stranger] },
    });
  });
});
