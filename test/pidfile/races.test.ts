import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, PidFile, type PidFileError } from 'vircommand';
import { expect, test } from 'vitest';
import { eventually, FOREVER, isRunning, useDirectory } from '../helpers/tools.js';
import { needsProgram, parentWords, resultIn, root, useNativeEngine } from '../helpers/native.js';
import { lockHolder } from '../helpers/daemons.js';
import { inParents, useHolders } from './tools.js';

useNativeEngine();
const path = useDirectory();
const { keep } = useHolders();

const file = () => path('x.pid');

const PARENTS = 4;
const ROUNDS = 150;
const CLEANUPS = 3;

test('of fifty that want a file at once, from several processes, one gets it, and the others are told its pid', async () => {
  for (const content of [undefined, '2147483647']) {
    const name = path(`race-${content ?? 'new'}`);
    if (content !== undefined) writeFileSync(name, content);
    const told = await inParents(
      5,
      async ({ PidFile: Files }, { race, at, done }) => {
        await process.getBuiltinModule('node:timers/promises').setTimeout(at - Date.now());
        const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => Files.acquire(race)));
        // Who has it keeps it until all have tried.
        const fs = process.getBuiltinModule('node:fs');
        fs.writeFileSync(`${done}/${process.pid}`, '');
        while (fs.readdirSync(done).length < 5) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        return {
          pid: process.pid,
          holders: outcomes.map((outcome) =>
            outcome.status === 'fulfilled' ? 'won' : (outcome.reason as { heldBy?: number }).heldBy,
          ),
        };
      },
      {
        race: name,
        at: Date.now() + 800,
        done: mkdirSync(path(`done-${content ?? 'new'}`), { recursive: true }) ?? '',
      },
    );
    const winners = told.flatMap(({ pid, holders }) => holders.filter((each) => each === 'won').map(() => pid));
    expect(winners).toEqual([Number(readFileSync(name, 'utf8'))]);
    expect(told.flatMap(({ holders }) => holders.filter((each) => each !== 'won'))).toEqual(Array(49).fill(winners[0]));
  }
});

test('starters, owners that release and readers never make two owners, nor one whose path leads elsewhere', async () => {
  const told = await inParents(
    PARENTS,
    async ({ PidFile: Files }, { name, inside, rounds }) => {
      const fs = process.getBuiltinModule('node:fs');
      const found = { owned: 0, refused: 0, wrong: [] as string[] };
      for (let round = 0; round < rounds; round += 1) {
        try {
          const lock = await Files.acquire(name, { wait: round % 3 === 0 });
          found.owned += 1;
          fs.closeSync(fs.openSync(inside, 'wx')); // EEXIST: another owner is inside
          const [seen, locked] = [fs.readFileSync(name, 'utf8'), await Files.readIfLocked(name)];
          if (seen !== String(process.pid) || locked !== process.pid)
            found.wrong.push(`the file of ${process.pid} says ${seen}, ${locked}`);
          fs.unlinkSync(inside);
          lock.release();
        } catch (error) {
          const { heldBy, message } = error as { heldBy?: number; message: string };
          if (heldBy === undefined || heldBy === process.pid) found.wrong.push(message);
          found.refused += 1;
        }
      }
      return found;
    },
    { name: file(), inside: path('inside'), rounds: ROUNDS },
  );
  expect(told.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(told.every(({ owned }) => owned >= ROUNDS / 3)).toBe(true);
  expect(told.some(({ refused }) => refused > 0)).toBe(true);
  expect(readdirSync(path())).toEqual([]);
});

/**
 * Another process that takes the file with each `fcntl()` slowed down, so that the moment before or after the lock becomes
 * long enough to do something in it. Gives what it says in the end, once it has opened the file.
 */
async function slowStarter(
  skip: (why: string) => never,
  inject: 'delay_enter' | 'delay_exit',
): Promise<{ pid: number; end: Promise<unknown> }> {
  needsProgram(skip, 'strace');
  const [program = '', ...words] = parentWords(async ({ PidFile: Files }, name) => {
    process.stdout.write('ready\n');
    await process.getBuiltinModule('node:events').once(process.stdin, 'data');
    process.stdin.destroy();
    return await Files.acquire(name).then(
      () => process.getBuiltinModule('node:fs').readFileSync(name, 'utf8'),
      (error: unknown) => (error as Error).message,
    );
  }, file());
  const starter = spawn(program, words, {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
  });
  const pid = keep(starter.pid ?? expect.fail());
  let output = '';
  starter.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await eventually('it has started', () => output.includes('ready'));
  const tracer = spawn(
    'strace',
    ['-f', '-p', String(pid), '-e', 'trace=fcntl', '-e', `inject=fcntl:${inject}=300000`, '-o', '/dev/null'],
    { stdio: 'ignore' },
  );
  const traced = once(tracer, 'exit');
  const ended = once(starter, 'close');
  await eventually('it is traced', () => {
    if (tracer.exitCode !== null) skip('strace may not attach to a process here');
    return readFileSync(`/proc/${pid}/status`, 'utf8').includes(`TracerPid:\t${tracer.pid ?? -1}\n`);
  });
  starter.stdin.write('go');
  const opened = (task: string) => {
    try {
      return readdirSync(`/proc/${pid}/task/${task}/fd`).some(
        (fd) => readlinkSync(`/proc/${pid}/task/${task}/fd/${fd}`) === file(),
      );
    } catch {
      return false; // The thread, or the descriptor, is gone.
    }
  };
  await eventually('it has opened the file', () => readdirSync(`/proc/${pid}/task`).some(opened));
  return { pid, end: Promise.all([ended, traced]).then(() => resultIn(output, '')) };
}

test('a starter that has locked a file which was removed meanwhile takes the one that the path leads to', async ({
  skip,
}) => {
  const lock = await PidFile.acquire(file());
  const { pid, end: told } = await slowStarter(skip, 'delay_enter');
  lock.release();
  expect(await told).toBe(String(pid));
});

test('a starter whose rival has gone before it could be named takes the file', async ({ skip }) => {
  const lock = await PidFile.acquire(file());
  const { pid, end: told } = await slowStarter(skip, 'delay_exit');
  await delay(50); // It has been refused by now, and is about to ask by whom.
  lock.release();
  expect(await told).toBe(String(pid));
});

test('cleaners of one file at once end its owner once, and all come to an end', async () => {
  for (let round = 0; round < 3; round += 1) {
    const { pid } = await new Command('sleep', FOREVER).daemonize().pidFile(file()).run();
    keep(pid);
    const told = await inParents(
      PARENTS,
      async ({ PidFile: Files }, name) => {
        return await Promise.all(
          [0, 1, 2].map(() =>
            Files.forceCleanup(name).then(
              () => 'done',
              (error: unknown) => (error as Error).message,
            ),
          ),
        );
      },
      file(),
    );
    expect(told.flat()).toEqual(Array(PARENTS * 3).fill('done'));
    expect([isRunning(pid), existsSync(file())]).toEqual([false, false]);
  }
});

test('cleaners and starters at once leave no daemon whose path leads elsewhere', async () => {
  const wish = { name: file(), done: path('done'), cleanups: CLEANUPS };
  const cleaning = inParents(
    2,
    async ({ PidFile: Files }, { name, cleanups }) => {
      const wrong: string[] = [];
      for (let cleaned = 0; cleaned < cleanups;) {
        const there = process.getBuiltinModule('node:fs').existsSync(name);
        await Files.forceCleanup(name).catch((error: unknown) => {
          // It has ended one, and the next has taken the file by then: that one is told.
          if ((error as PidFileError).heldBy === undefined) wrong.push((error as Error).message);
        });
        cleaned += Number(there);
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      }
      return { started: [] as number[], wrong };
    },
    wish,
  ).finally(() => writeFileSync(wish.done, ''));
  const starting = inParents(
    2,
    async ({ Command: Program }, { name, done }) => {
      const started: number[] = [];
      const wrong: string[] = [];
      while (!process.getBuiltinModule('node:fs').existsSync(done)) {
        try {
          started.push((await new Program('sleep', '600').daemonize().pidFile(name).run()).pid);
        } catch (error) {
          const { heldBy, message } = error as PidFileError;
          // A cleaner may end a daemon that has its file already, and not yet its program.
          if (heldBy === undefined && !message.includes('something ended it before it could execute its program'))
            wrong.push(message);
        }
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      }
      return { started, wrong };
    },
    wish,
  );
  const told = (await Promise.all([cleaning, starting])).flat();
  const started = told.flatMap((each) => each.started).map(keep);
  expect(told.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(started.length).toBeGreaterThanOrEqual(CLEANUPS);
  const alive = started.filter(isRunning);
  expect(alive.length).toBeLessThanOrEqual(1);
  if (alive.length === 1)
    expect([readFileSync(file(), 'utf8'), lockHolder(file())]).toEqual([String(alive[0]), alive[0]]);
});
