import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KillTreeResult } from 'vircommand';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { asNobody, inParent, needsNobody, needsProgram, needsRoot, useNativeEngine } from '../helpers/native.js';
import { fixture, FOREVER, hasProgram, isRunning, processStat, useDirectory, useProcesses } from '../helpers/tools.js';

useNativeEngine();
const started = useProcesses();
const path = useDirectory();

/** What executes the words after it without a /proc. */
const withoutProc = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'];
/** … as nobody, with a /proc that shows nobody's processes alone. */
const hidden = ['unshare', '-m', 'sh', '-c', 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', 'sh', ...asNobody];
/** … and may signal all of them nevertheless. */
const hiddenAndMighty = [...hidden, '--inh-caps=+kill', '--ambient-caps=+kill'];

/** A process of this user, which leads a group, and a second member of that group. */
async function group(): Promise<readonly [leader: number, member: number]> {
  const shell = spawn('sh', ['-c', `sleep ${FOREVER} & echo $!; exec sleep ${FOREVER}`], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  started(shell.pid!);
  const [line] = (await once(shell.stdout, 'data')) as [Buffer];
  return [shell.pid!, started(Number(String(line)))];
}

/** Calls a function of the library elsewhere, and tells what came of it. */
const call = (
  name: 'killTree' | 'killPainfully',
  pid: number,
  options: object,
  through: readonly string[],
  engine: string,
) =>
  inParent(
    async (library, given) => {
      const act = library[given.name] as (pid: number, options?: object) => Promise<unknown>;
      try {
        return { value: (await act(given.pid, given.options)) ?? null };
      } catch (error) {
        const { name: kind, code, pid: about, message } = error as Error & { code?: string; pid?: number };
        return { error: { kind, code, about, message } };
      }
    },
    { name, pid, ...(Object.keys(options).length > 0 ? { options } : {}) },
    { through, env: { VIRCOMMAND_ENGINE: engine } },
  );

describe.each(['native', 'portable'])('what cannot be looked at is not gone, on the %s engine', (engine) => {
  beforeEach(({ skip }) => {
    needsNobody(skip);
    needsProgram(skip, 'unshare');
  });

  test('killTree() without /proc ends the root, and says that it looked no further', async () => {
    const [leader] = await group();
    expect(await call('killTree', leader, {}, withoutProc, engine)).toEqual({
      value: { level: 'root', ended: [leader], survivors: [] },
    });
    expect(isRunning(leader)).toBe(false);
  });

  test('killTree() of a hidden process that may not be signaled tells a survivor', async () => {
    const [leader, member] = await group();
    expect(await call('killTree', leader, {}, hidden, engine)).toEqual({
      value: { level: 'root', ended: [], survivors: [leader] },
    });
    expect([leader, member].map((pid) => processStat(pid)?.state)).toEqual(['S', 'S']);
  });

  test('killTree() of a hidden process that may be signaled ends it', async () => {
    const [leader] = await group();
    expect(await call('killTree', leader, {}, hiddenAndMighty, engine)).toEqual({
      value: { level: 'root', ended: [leader], survivors: [] },
    });
    expect(isRunning(leader)).toBe(false);
  });

  test.each([
    ['without /proc', withoutProc],
    ['with a /proc that hides it', hiddenAndMighty],
  ])('killPainfully({ group: true }) %s resolves when all of the group have ended', async (_where, through) => {
    const [leader, member] = await group();
    expect(await call('killPainfully', leader, { group: true }, through, engine)).toEqual({ value: null });
    expect([leader, member].map(isRunning)).toEqual([false, false]);
  });

  test('killPainfully({ group: true }) of a hidden group that may not be signaled is an error', async () => {
    const [leader, member] = await group();
    expect(await call('killPainfully', leader, { group: true }, hidden, engine)).toEqual({
      error: {
        kind: 'ProcessError',
        code: 'EPERM',
        about: leader,
        message: `Cannot end process ${leader}: it may not be signaled (kill: EPERM).`,
      },
    });
    expect([leader, member].map(isRunning)).toEqual([true, true]);
  });

  test('killPainfully({ group: true }) of a hidden member finds its group, or says that it cannot', async () => {
    const [leader, member] = await group();
    const told = await call('killPainfully', member, { group: true }, hiddenAndMighty, engine);
    if (engine === 'native') {
      expect(told).toEqual({ value: null });
      expect([leader, member].map(isRunning)).toEqual([false, false]);
    } else {
      const message = `Cannot end process ${member}: its process group cannot be found out, because /proc does not show it (open: ENOENT); leave out { group: true }.`;
      expect(told).toEqual({ error: { kind: 'ProcessError', code: 'ENOENT', about: member, message } });
      expect([leader, member].map(isRunning)).toEqual([true, true]);
    }
  });

  test('in a pid namespace with the /proc of another one, no number is taken for a process of it', async () => {
    const told = await inParent(
      async ({ killTree }) => {
        const { spawn: start } = process.getBuiltinModule('node:child_process');
        const child = start('sleep', ['600'], { stdio: 'ignore' });
        const end = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
        const { level, ended, survivors } = await killTree(child.pid!);
        return { level, ended: ended.map((pid) => pid - child.pid!), survivors, end: await end };
      },
      undefined,
      { through: ['unshare', '-p', '-f', '--'], env: { VIRCOMMAND_ENGINE: engine } },
    );
    expect(told).toEqual({ level: 'root', ended: [0], survivors: [], end: 'SIGKILL' });
  });

  test('PidFile.readIfAlive() of a living process whose program may not be seen is an error, as in libvirt', async () => {
    const [leader] = await group();
    writeFileSync(path('pid'), String(leader));
    const told = await inParent(
      async ({ PidFile }, file) => {
        const error = await PidFile.readIfAlive(file, '/bin/sleep').catch((reason: unknown) => reason as Error);
        return error instanceof Error ? { name: error.name, message: error.message } : error;
      },
      path('pid'),
      { through: asNobody, env: { VIRCOMMAND_ENGINE: engine } },
    );
    expect(told).toEqual({
      name: 'PidFileError',
      message: `Pidfile '${path('pid')}' names process ${leader}, and the program of that cannot be seen (readlink: EACCES). Run as its user or as root, or leave the program out.`,
    });
  });
});

describe.each(['pidfd_open', 'pidfd_send_signal'])('in a sandbox that refuses %s()', (refused) => {
  const built = mkdtempSync(join(tmpdir(), 'vircommand-unseen-'));
  const program = join(built, 'refuse-call');
  beforeAll(() => {
    if (hasProgram('cc')) execFileSync('cc', ['-o', program, fixture('refuse-call.c')], { stdio: 'inherit' });
  });
  afterAll(() => {
    rmSync(built, { recursive: true });
  });

  test.for(['EPERM', 'ENOSYS'])('with %s, what is not ended is a survivor or an error', async (errno, { skip }) => {
    if (!hasProgram('cc')) skip('there is no C compiler');
    const through = [program, errno, refused];
    for (const [name, options] of [
      ['killTree', {}],
      ['killPainfully', {}],
      ['killPainfully', { group: true }],
    ] as const) {
      const [leader, member] = await group();
      const told = await call(name, leader, options, through, '');
      const left = [leader, member].filter(isRunning);
      if (name === 'killTree') {
        const { ended, survivors } = (told as { value: KillTreeResult }).value;
        expect([[...ended].sort(), [...survivors].sort()]).toEqual([
          [leader, member].filter((pid) => !left.includes(pid)).sort(),
          [...left].sort(),
        ]);
      } else if ('error' in told) {
        expect(told.error).toMatchObject({ kind: 'ProcessError', code: errno, about: leader });
        expect(left).toContain(leader);
      } else {
        expect(left).toEqual('group' in options ? [] : [member]);
      }
    }
  });
});

test('adoptOrphans() without /proc is an error, since nothing could be reaped', async ({ skip }) => {
  needsRoot(skip);
  needsProgram(skip, 'unshare');
  const told = await inParent(
    async ({ adoptOrphans }) => {
      try {
        return [typeof adoptOrphans()];
      } catch (error) {
        return [(error as Error).name, (error as Error).message];
      }
    },
    undefined,
    { through: withoutProc },
  );
  expect(told).toEqual([
    'ProcessError',
    'The processes of this machine cannot be looked at, because /proc does not show it (open: ENOENT). Mount the /proc of this pid namespace, without hidepid, or run as the same user.',
  ]);
});

// ---------------------------------------------------------------- no descriptor free

/** Has a parent in which few descriptors may be open, so that they are soon used up. */
const few = { through: ['sh', '-c', 'ulimit -n 100 && exec "$@"', 'sh'] };

describe('with no descriptor free', () => {
  test('killTree() tells all that lives as a survivor, or is an error, and leaves nothing stopped', async () => {
    const told = await inParent(
      async ({ killTree }) => {
        const { spawn: start } = process.getBuiltinModule('node:child_process');
        const { openSync, closeSync, readFileSync } = process.getBuiltinModule('node:fs');
        const { once: event } = process.getBuiltinModule('node:events');
        const wrong: unknown[] = [];
        const ways = new Set<string>();
        for (let free = 0; free < 12; free += 1) {
          const child = start('sh', ['-c', 'sleep 600 & echo $!; sleep 600 & echo $!; wait'], {
            stdio: ['ignore', 'pipe', 'ignore'],
          });
          let text = '';
          while (text.split('\n').length < 3) text += String(((await event(child.stdout, 'data')) as [Buffer])[0]);
          const tree = [child.pid!, ...text.trim().split('\n').map(Number)];
          const taken: number[] = [];
          try {
            for (;;) taken.push(openSync('/dev/null', 'r'));
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
          }
          for (const fd of taken.splice(0, free)) closeSync(fd);
          const result = await killTree(child.pid!).catch((error: unknown) => error as { code?: string; name: string });
          for (const fd of taken) closeSync(fd);
          const state = (pid: number): string | undefined => {
            try {
              return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1];
            } catch {
              // It is gone.
              return undefined;
            }
          };
          const isAlive = (pid: number): boolean => !['Z', 'X', undefined].includes(state(pid));
          ways.add('code' in result ? `${result.name} ${result.code ?? ''}` : 'a result');
          if ('survivors' in result && !tree.every((pid) => !isAlive(pid) || result.survivors.includes(pid)))
            wrong.push({ free, result, tree });
          // SIGKILL may be on its way.
          await new Promise((resolve) => setTimeout(resolve, 20));
          if (tree.some((pid) => state(pid) === 'T')) wrong.push({ free, stopped: tree.map(state) });
          for (const pid of tree) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
        }
        return { wrong, ways: Array.from(ways).sort() };
      },
      undefined,
      few,
    );
    expect(told).toEqual({ wrong: [], ways: ['ProcessError EMFILE', 'a result'] });
  });

  test('killPainfully() is an error, and with { group: true } it goes by number', async () => {
    const [leader, member] = await group();
    const told = await inParent(
      async ({ killPainfully }, pid) => {
        const { openSync, closeSync } = process.getBuiltinModule('node:fs');
        const taken: number[] = [];
        try {
          for (;;) taken.push(openSync('/dev/null', 'r'));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
        }
        const error = await killPainfully(pid).catch((reason: unknown) => reason as Error);
        await killPainfully(pid, { group: true });
        for (const fd of taken) closeSync(fd);
        return (error as Error | undefined)?.message;
      },
      leader,
      few,
    );
    expect(told).toBe(`Cannot end process ${leader}: it cannot be held (pidfd_open: EMFILE).`);
    expect([leader, member].map(isRunning)).toEqual([false, false]);
  });

  test('orphans that end meanwhile are reaped when one is free again', async () => {
    const told = await inParent(
      async ({ adoptOrphans, Command: Program }) => {
        const { openSync, closeSync } = process.getBuiltinModule('node:fs');
        const { setTimeout: delay } = process.getBuiltinModule('node:timers/promises');
        const alive = setInterval(() => undefined, 1000);
        let hear: (command: string | undefined) => void = () => undefined;
        const heard = new Promise((resolve) => (hear = resolve));
        const orphans = adoptOrphans({ onEnd: ({ command }) => hear(command) });
        await new Program('sh', '-c', 'sleep 1 &').run();
        // A look comes with the end of any child, and sees the orphan.
        await delay(200);
        await new Program('true').run();
        await delay(200);
        const taken: number[] = [];
        try {
          for (;;) taken.push(openSync('/dev/null', 'r'));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
        }
        await delay(1500);
        for (const fd of taken) closeSync(fd);
        const command = await Promise.race([heard, delay(10_000, 'nothing was heard')]);
        clearInterval(alive);
        orphans[Symbol.dispose]();
        return command;
      },
      undefined,
      few,
    );
    expect(told).toBe('sleep');
  });
});
