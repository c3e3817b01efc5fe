import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, killTree } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { end, eventually, FOREVER, isRunning, processStat, useProcesses } from '../helpers/tools.js';
import { inParent, needsProgram, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const started = useProcesses();

/** Starts a command whose program prints the pids of what it has started, and gives it with these. */
async function tree(command: Command, count: number): Promise<{ child: { pid: number }; pids: number[] }> {
  const child = await command.outputPipe().runAsync();
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += String(chunk)));
  const pids = await eventually('all have told their pids', () => {
    const told = text.match(/^\d+$/gm) ?? [];
    return told.length === count && text.endsWith('\n') && told.map(Number);
  });
  return { child, pids: pids.map(started) };
}

const sh = (script: string): Command => new Command('sh', '-c', script);
const SLEEP = `sleep ${FOREVER}`;
/** An orphan: its parent ends at once. And one that leaves the session as well. */
const ORPHAN = `(${SLEEP} & echo $!)`;
const STRAY = `(setsid ${SLEEP} & echo $!)`;

describe('killTree', () => {
  test("walks from the root down, and misses what is nobody's child any more", async () => {
    const { child, pids } = await tree(sh(`${SLEEP} & echo $!; ${ORPHAN}; wait`), 2);
    const [below = 0, orphan = 0] = pids;
    const { level, ended, survivors } = await killTree(child);
    expect({ level, survivors }).toEqual({ level: 'walk', survivors: [] });
    expect([...ended].sort()).toEqual([child.pid, below].sort());
    expect(isRunning(orphan)).toBe(true);
  });

  test.each([
    ['session', (command: Command) => command.newSession()],
    ['process group', (command: Command) => command.processGroup()],
  ])('a command in a %s of its own is ended with its orphans and with those that left it', async (_of, lead) => {
    const { child, pids } = await tree(lead(sh(`${ORPHAN}; setsid sh -c 'echo $$; exec ${SLEEP}' & wait`)), 2);
    const { level, ended, survivors } = await killTree(child);
    expect({ level, survivors }).toEqual({ level: 'group', survivors: [] });
    expect(ended).toEqual(expect.arrayContaining([child.pid, ...pids]));
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('a session is ended also when the one that led it is gone', async () => {
    const { child, pids } = await tree(sh(ORPHAN).newSession(), 1);
    await eventually('the leader is gone', () => !isRunning(child.pid));
    expect(pids.map(isRunning)).toEqual([true]);
    expect(await killTree(child.pid)).toEqual({ level: 'group', ended: pids, survivors: [] });
  });

  test('a daemon is ended with its session, which the process in the middle has made', async () => {
    const { pid } = await sh(`(${SLEEP} &); exec ${SLEEP}`).daemonize().run();
    started(pid);
    const session = processStat(pid)!.session;
    expect(session).not.toBe(pid);
    // The orphan has the daemon's session, and no parent in it.
    const { level, ended } = await eventuallyTwo(session).then(() => killTree(pid));
    expect(level).toBe('group');
    expect(ended).toHaveLength(2);
  });

  test('a group that a stranger leads is left alone: its members need not descend from it', async ({ skip }) => {
    needsProgram(skip, 'bash');
    // A shell with job control puts both ends of a pipe into one group, which the first of them leads.
    const shell = spawn('bash', ['-c', `set -m; ${SLEEP} | ${SLEEP} & wait`], { stdio: 'ignore', detached: true });
    started(shell.pid!);
    const groups = await eventually('both ends are there', () => {
      const rows = childrenOf(shell.pid!);
      return rows.length === 2 && rows.every(({ group }) => group !== shell.pid) && rows;
    });
    for (const { pid } of groups) started(pid);
    const leader = groups.find(({ pid, group }) => pid === group)!;
    const other = groups.find(({ pid, group }) => pid !== group)!;
    expect(await killTree(leader.pid)).toEqual({ level: 'walk', ended: [leader.pid], survivors: [] });
    expect(isRunning(other.pid)).toBe(true);
  });

  test('ends a tree that forks without pause', async () => {
    const { child } = await tree(
      sh(`echo $$; f() { while :; do sh -c 'sleep 0.01' & sleep 0.005; done; }; f & f & f & wait`).newSession(),
      1,
    );
    const { level, survivors } = await killTree(child);
    expect({ level, survivors }).toEqual({ level: 'group', survivors: [] });
    await eventually('nobody is left in its session', () => inSession(child.pid).length === 0);
  });

  test('what it ends is told to whoever waits for it', async () => {
    const child = await new Command('sleep', FOREVER).runAsync();
    const status = child.wait({ check: false });
    await killTree(child);
    expect((await status).signal).toBe('SIGKILL');
    const other = spawn('sleep', [FOREVER]);
    const exit = once(other, 'exit');
    await killTree(other.pid!);
    expect(await exit).toEqual([null, 'SIGKILL']);
  });

  test('where orphans are adopted, those are found that were seen below the root before they lost their parent', async () => {
    const told = await inParent(async ({ adoptOrphans, Command: Program, killTree: endTree }) => {
      const adoption = adoptOrphans();
      const { once: event } = process.getBuiltinModule('node:events');
      const { readFileSync: read } = process.getBuiltinModule('node:fs');
      // The one in the middle prints the pid of its child, and waits for a line before it ends.
      const child = await new Program('sh', '-c', 'exec 3<&0; (sleep 600 & echo $!; read go <&3); echo gone; sleep 600')
        .inputPipe()
        .outputPipe()
        .runAsync();
      const orphan = Number(String(((await event(child.stdout as NodeJS.EventEmitter, 'data')) as Buffer[])[0]));
      const runs = () => /\) [^ZX] /.test(read(`/proc/${orphan}/stat`, 'latin1'));
      // A look comes with the end of any child.
      const { setTimeout: delay } = process.getBuiltinModule('node:timers/promises');
      await new Program('true').run();
      await delay(300);
      child.stdin.write('go\n');
      await event(child.stdout as NodeJS.EventEmitter, 'data');
      const isOurs =
        Number(
          read(`/proc/${orphan}/stat`, 'latin1')
            .replace(/^.*\) /s, '')
            .split(' ')[1],
        ) === process.pid;
      const ranBefore = runs();
      const { level, ended } = await endTree(child);
      adoption[Symbol.dispose]();
      return { isOurs, ranBefore, level, found: ended.includes(orphan) };
    });
    expect(told).toEqual({ isOurs: true, ranBefore: true, level: 'walk', found: true });
  });
});

interface Row {
  readonly pid: number;
  readonly group: number;
}

const inProc = (): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && isRunning(pid));
const childrenOf = (parent: number): Row[] =>
  inProc().flatMap((pid) =>
    processStat(pid)?.parent === parent ? [{ pid, group: processStat(pid)?.group ?? 0 }] : [],
  );
const inSession = (session: number): number[] => inProc().filter((pid) => processStat(pid)?.session === session);
const eventuallyTwo = (session: number): Promise<number[]> =>
  eventually('two are in the session', () => {
    const pids = inSession(session).map(started);
    return pids.length === 2 && pids;
  });

// ---------------------------------------------------------------- control groups

/** Makes a control group below one where that may be done, or says why it cannot be. */
function makeGroup(skip: (why: string) => never): string {
  const mount = / (\/\S*) \S+ - cgroup2 /.exec(
    readFileSync('/proc/self/mountinfo', 'utf8').replaceAll('\n', ' \n '),
  )?.[1];
  if (mount === undefined) return skip('no cgroup v2 is mounted here');
  const directory = join(mount, `vircommand-test-${process.pid}-${Math.random().toString(36).slice(2)}`);
  try {
    mkdirSync(directory);
  } catch (error) {
    return skip(`no control group can be made here: ${(error as Error).message}`);
  }
  onTestFinished(async () => {
    await eventually('the group is empty', () => {
      try {
        for (const pid of readFileSync(join(directory, 'cgroup.procs'), 'utf8').match(/\d+/g) ?? []) end(Number(pid));
        rmdirSync(directory);
        return true;
      } catch {
        // Who was ended has not left it yet.
        return false;
      }
    });
  });
  if (!existsSync(join(directory, 'cgroup.kill'))) return skip('this kernel has no cgroup.kill');
  return directory;
}

describe('killTree of a command in a control group', () => {
  // As cgroup.kill is of the kernel, whatever the group is called.
  test('ends all of a group below one whose name is no UTF-8, and of groups below that', async ({ skip }) => {
    const above = makeGroup(skip);
    const directory = Buffer.concat([Buffer.from(`${above}/g`), Buffer.of(0xff)]);
    const below = Buffer.concat([directory, Buffer.from('/below')]);
    const procs = Buffer.concat([below, Buffer.from('/cgroup.procs')]);
    mkdirSync(directory);
    mkdirSync(below);
    onTestFinished(async () => {
      await eventually('the groups are empty', () => {
        try {
          for (const group of [below, directory]) if (existsSync(group)) rmdirSync(group);
          return true;
        } catch {
          // Who was ended has not left it yet.
          return false;
        }
      });
    });
    const { child, pids } = await tree(sh(`${ORPHAN}; ${STRAY}; ${SLEEP}`).cgroup(directory), 2);
    writeFileSync(procs, String(pids[0]));
    const { level, ended, survivors } = await killTree(child);
    expect({ level, survivors }).toEqual({ level: 'cgroup', survivors: [] });
    expect(ended).toEqual(expect.arrayContaining([child.pid, ...pids]));
    expect(pids.filter(isRunning)).toEqual([]);
  });

  // What ignores SIGTERM is ended by the kernel with its group.
  test.for([
    ['asks all of the group, and has the kernel end the rest', `trap '' TERM;`],
    ['asks all of the group, which obeys', ''],
  ])('stop({ tree: true }) %s', async ([, trap], { skip }) => {
    const directory = makeGroup(skip);
    const script = sh(`${trap} ${ORPHAN}; ${STRAY}; ${SLEEP}`)
      .cgroup(directory)
      .stopSequence([['SIGTERM', 200]]);
    const child = await script.outputPipe().runAsync();
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += String(chunk)));
    await eventually('both have told their pids', () => text.match(/^\d+$(?=\n)/gm)?.length === 2);
    const pids = (text.match(/^\d+$/gm) ?? []).map((pid) => started(Number(pid)));
    const result = await child.stop({ tree: true });
    expect(result.tree).toMatchObject({ level: 'cgroup', survivors: [], isComplete: true });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('ends all of the group, wherever it has gone', async ({ skip }) => {
    const directory = makeGroup(skip);
    const { child, pids } = await tree(sh(`${ORPHAN}; ${STRAY}; ${SLEEP}`).cgroup(directory), 2);
    const { level, ended, survivors } = await killTree(child);
    expect({ level, survivors }).toEqual({ level: 'cgroup', survivors: [] });
    expect(ended).toEqual(expect.arrayContaining([child.pid, ...pids]));
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('finds what a root has left that is gone', async ({ skip }) => {
    const directory = makeGroup(skip);
    const { child, pids } = await tree(sh(STRAY).cgroup(directory), 1);
    await eventually('the root is gone', () => !isRunning(child.pid));
    expect(await killTree(child.pid)).toEqual({ level: 'cgroup', ended: pids, survivors: [] });
  });

  test('ends only its tree where a second command went into the same group', async ({ skip }) => {
    const directory = makeGroup(skip);
    const one = await new Command('sleep', FOREVER).cgroup(directory).runAsync();
    const other = await new Command('sleep', FOREVER).cgroup(directory).runAsync();
    expect(await killTree(one)).toEqual({ level: 'walk', ended: [one.pid], survivors: [] });
    expect(isRunning(other.pid)).toBe(true);
    expect(await killTree(other)).toMatchObject({ level: 'walk' });
  });

  test('ends only its tree where a stranger is in the group', async ({ skip }) => {
    const directory = makeGroup(skip);
    const stranger = spawn('sleep', [FOREVER]);
    started(stranger.pid!);
    const child = await new Command('sleep', FOREVER).cgroup(directory).runAsync();
    writeFileSync(join(directory, 'cgroup.procs'), String(stranger.pid));
    expect(await killTree(child)).toEqual({ level: 'walk', ended: [child.pid], survivors: [] });
    expect(isRunning(stranger.pid!)).toBe(true);
  });
});
