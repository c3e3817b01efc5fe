import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { inParent, type Library, root, useNativeEngine } from '../helpers/native.js';
import { eventually, isRunning, useDirectory, useProcesses } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();
const started = useProcesses();

// Node 20 and 22 have the flag by its first name too.
const PERMISSION = Number.parseInt(process.versions.node, 10) < 24 ? '--experimental-permission' : '--permission';

/** Has a parent run under Node's permission model. It may read everything, and load the addon. */
const allowing = (...flags: string[]) => allowingOnly('--allow-fs-read=*', ...flags);

/** The same for a parent that may read no more than it is told. */
const allowingOnly = (...flags: string[]) => {
  const words = [PERMISSION, '--no-warnings', '--allow-addons', ...flags];
  return { through: ['sh', '-c', `node=$1; shift; exec "$node" ${words.join(' ')} "$@"`, 'sh'] };
};

/** How commands of all kinds end, and how `child_process` does. */
async function tell({ Command, PidFile }: Library, directory: string) {
  const told = async (work: () => unknown): Promise<unknown> => {
    try {
      return (await work()) ?? 'done';
    } catch (error) {
      const { name, errno, message, cause } = error as Error & {
        errno?: string;
        cause?: { code?: string; permission?: string };
      };
      return { name, errno, message, code: cause?.code, permission: cause?.permission };
    }
  };
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  return {
    nodes: await told(() => spawnSync('true').status),
    run: await told(async () => (await new Command('true').run()).exitCode),
    runSync: await told(() => new Command('true').runSync().exitCode),
    helper: await told(async () => (await new Command('true').clearCaps().run()).exitCode),
    hook: await told(async () => (await new Command('true').preExecHook(() => 0).run()).exitCode),
    daemon: await told(async () => {
      const { pid } = await new Command('sleep', '600').daemonize().run();
      process.kill(pid, 'SIGKILL');
    }),
    output: await told(async () => (await new Command('echo').outputFile(`${directory}/output`).run()).exitCode),
    pidFile: await told(async () => {
      const { pid } = await new Command('sleep', '600').pidFile(`${directory}/pid`).daemonize().run();
      process.kill(pid, 'SIGKILL');
    }),
    cgroup: await told(async () => (await new Command('true').cgroup('/sys/fs/cgroup').run()).exitCode),
    acquire: await told(async () => {
      (await PidFile.acquire(`${directory}/lock`)).release();
    }),
    exec: await told(() => new Command('/nowhere/program').exec()),
  };
}

describe("Node's permission model, as child_process and fs obey it", () => {
  test('with child processes allowed, commands run; files that may not be written are refused, whoever would write them', async () => {
    const { cgroup, ...told } = await inParent(tell, path(), allowing('--allow-child-process'));
    const denied = (what: string) =>
      expect.objectContaining({ code: 'ERR_ACCESS_DENIED', errno: 'ERR_ACCESS_DENIED', message: what }) as unknown;
    expect(told).toEqual({
      nodes: 0,
      run: 0,
      runSync: 0,
      helper: 0,
      hook: 0,
      daemon: 'done',
      output: denied(
        `Cannot start \`echo\`: '${path('output')}' cannot be opened for writing: Node's permission model does not allow it (open: ERR_ACCESS_DENIED). Start Node with \`--allow-fs-read\` or \`--allow-fs-write\` for it.`,
      ),
      pidFile: denied(
        `Pidfile '${path('pid')}' cannot be written, since Node's permission model does not allow it (open: ERR_ACCESS_DENIED). Start Node with \`--allow-fs-read\` and \`--allow-fs-write\` for it.`,
      ),
      acquire: denied(
        `Pidfile '${path('lock')}' cannot be written, since Node's permission model does not allow it (open: ERR_ACCESS_DENIED). Start Node with \`--allow-fs-read\` and \`--allow-fs-write\` for it.`,
      ),
      exec: expect.objectContaining({ errno: 'ENOENT' }) as unknown,
    });
    // Where there is no control group of version 2 at that place, that is said first.
    expect(['ERR_ACCESS_DENIED', undefined]).toContain((cgroup as { errno?: string }).errno);
    expect(cgroup).toHaveProperty('message');
    expect(['output', 'pid', 'lock'].filter((name) => existsSync(path(name)))).toEqual([]);
  });

  test('what may not be read does not hinder engineInfo(), nor a released program that goes on writing', async () => {
    const readable = [root, realpathSync(join(root, 'node_modules')), '/bin', '/usr', realpathSync(process.execPath)];
    const [engine, pid] = await inParent(
      async ({ Command, engineInfo }, directory) => {
        const script = 'until [ -e "$0/gone" ]; do sleep 0.01; done; seq 1 100000 >&2; echo $? >"$0/told"';
        const child = await new Command('/bin/sh', '-c', script, directory).runAsync();
        return [engineInfo().engine, child.release()] as const;
      },
      path(),
      allowingOnly('--allow-child-process', ...readable.map((one) => `--allow-fs-read=${one}`)),
    );
    started(pid);
    expect(engine).toBe('native');
    writeFileSync(path('gone'), '');
    await eventually('it has ended', () => !isRunning(pid));
    expect(readFileSync(path('told'), 'utf8')).toBe('0\n');
  });

  test('with the files allowed as well, everything runs', async () => {
    const told = await inParent(tell, path(), allowing('--allow-child-process', `--allow-fs-write=${path()}/*`));
    expect(told).toMatchObject({ output: 0, pidFile: 'done', acquire: 'done' });
  });

  test.for(['native', 'portable'])(
    'without child processes, no command is started by the %s engine',
    async (engine) => {
      const { nodes, acquire, ...told } = await inParent(tell, path(), {
        ...allowing(),
        env: { VIRCOMMAND_ENGINE: engine },
      });
      // The instrument: this is what child_process does.
      expect(nodes).toMatchObject({ message: expect.stringContaining('restricted') as string });
      for (const [kind, failure] of Object.entries(told)) {
        expect(failure, kind).toMatchObject({
          name: 'LaunchError',
          errno: 'ERR_ACCESS_DENIED',
          code: 'ERR_ACCESS_DENIED',
          permission: 'ChildProcess',
          message: expect.stringMatching(
            /: Node's permission model allows this process no child processes \(execve: ERR_ACCESS_DENIED\)\. Start Node with `--allow-child-process`\.$/,
          ) as string,
        });
      }
      expect(acquire).toHaveProperty('message');
    },
  );
});
