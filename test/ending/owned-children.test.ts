import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { temporaryDirectory } from '../helpers/temporary.js';

const library = new URL('../../dist/index.js', import.meta.url).href;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Whether a process runs: a zombie does not. */
function runs(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Waits for an event that nobody announces: the end of a process that is not our child. */
async function untilGone(pid: number): Promise<void> {
  while (runs(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
}

interface Parent {
  /** The numbers that it printed: pids of what it started. */
  readonly pids: readonly number[];
  signal(name: NodeJS.Signals): void;
  /** How it ended: its exit code, or its signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** A process of its own that uses the built library. It prints `ready` and the pids of its children on a line. */
async function parent(code: string): Promise<Parent> {
  const text = `import { Command, engineInfo } from ${JSON.stringify(library)};
    const sleeper = () => new Command('sleep', '1000');
    const ready = (...pids) => new Promise((done) => process.stdout.write('ready ' + pids.join(' ') + '\\n', done));
    ${code}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('ready')) continue;
    const pids = line.split(' ').slice(1).map(Number);
    onTestFinished(() => {
      for (const pid of [...pids, child.pid!]) if (runs(pid)) process.kill(pid, 'SIGKILL');
    });
    return {
      pids,
      signal: (name) => child.kill(name),
      ended: exit.then(([exitCode, signal]) => signal ?? exitCode ?? -1),
    };
  }
  throw new Error(`the parent ended before it was ready: ${String(await exit)}`);
}

// systemd gives a service TimeoutStopSec= before SIGKILL; here a program is given what its sequence says.
describe.each(['native', 'portable'] as const)('on the %s engine a child with a stop sequence', (engine) => {
  /** A parent of a program that says when it has its trap, and tidies up in longer than it takes to be killed without a sequence. */
  const withTidier = (sequence: string, mark: string, end: string): Promise<Parent> =>
    parent(`
      process.env.VIRCOMMAND_ENGINE = '${engine}';
      const script = 'trap "sleep 0.3; echo tidy > \\$0; exit 0" TERM INT; echo ready; while :; do sleep 0.01; done';
      const child = await new Command('sh', '-c', script, ${JSON.stringify(mark)}).stopSequence(${sequence}).outputPipe().runAsync();
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await ready(child.pid);
      ${end}`);

  test.each([
    ['SIGINT', "[['SIGTERM', 4000]]"],
    ['SIGTERM', "[['SIGINT', 4000], ['SIGKILL', 0]]"],
  ] as const)('has the time to tidy up when its parent is ended by %s', async (signal, sequence) => {
    const mark = join(temporaryDirectory(), 'mark');
    const { pids, signal: send, ended } = await withTidier(sequence, mark, '');
    send(signal);
    expect(await ended).toBe(signal);
    // Its end was waited for, so nothing of it comes later.
    expect(pids.map(runs)).toEqual([false]);
    expect(readFileSync(mark, 'utf8')).toBe('tidy\n');
  });

  test('has the time to tidy up when its parent calls process.exit()', async () => {
    const mark = join(temporaryDirectory(), 'mark');
    const { pids, ended } = await withTidier("[['SIGTERM', 4000]]", mark, 'process.exit(7);');
    expect(await ended).toBe(7);
    expect(pids.map(runs)).toEqual([false]);
    expect(readFileSync(mark, 'utf8')).toBe('tidy\n');
  });

  test('is ended by SIGKILL after the last step, or after 5 s, whatever it ignores', async () => {
    const { pids, signal, ended } = await parent(`
      process.env.VIRCOMMAND_ENGINE = '${engine}';
      const stubborn = async (sequence) => {
        const child = await new Command('sh', '-c', "trap '' TERM; echo; exec sleep 1000").stopSequence(sequence).outputPipe().runAsync();
        await new Promise((resolve) => child.stdout.once('data', resolve));
        return child.pid;
      };
      await ready(await stubborn([['SIGTERM', 50]]), await stubborn([['SIGTERM', 3_600_000]]));`);
    signal('SIGTERM');
    expect(await ended).toBe('SIGTERM');
    await Promise.all(pids.map(untilGone));
  });
});

describe('a child ends with its parent, which', () => {
  test.each([
    ['calls process.exit', 'process.exit(7)', 7],
    ['throws', "throw new Error('uncaught')", 1],
    ['rejects', "Promise.reject(new Error('unhandled'))", 1],
  ])('%s', async (_how, code, status) => {
    const { pids, ended } = await parent(`
      const children = await Promise.all([sleeper().runAsync(), sleeper().runAsync()]);
      await ready(...children.map(({ pid }) => pid));
      process.stdin.once('data', () => undefined).unref();
      ${code};`);
    expect(pids).toHaveLength(2);
    expect(await ended).toBe(status);
    await Promise.all(pids.map(untilGone));
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('is ended by %s', async (signal) => {
    const { pids, signal: send, ended } = await parent('const { pid } = await sleeper().runAsync(); await ready(pid);');
    expect(pids.map(runs)).toEqual([true]);
    send(signal);
    expect(await ended).toBe(signal);
    await Promise.all(pids.map(untilGone));
  });

  // Node itself goes on after a signal that `process.once()` has a listener for, and so does a process that uses child_process.
  test.each(['native', 'portable'])(
    'hears of a signal by process.once() and goes on, be it before the first launch or after it, and ends by the next one (%s engine)',
    async (engine) => {
      const { pids, signal, ended } = await parent(`
        process.env.VIRCOMMAND_ENGINE = '${engine}';
        const heard = [];
        process.once('SIGINT', () => heard.push(1));
        const [child, other] = [await sleeper().runAsync(), await sleeper().runAsync()];
        process.once('SIGTERM', () => heard.push(2));
        for (const name of ['SIGINT', 'SIGTERM']) {
          const before = heard.length;
          process.kill(process.pid, name);
          while (heard.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        await child.abort();
        await ready(other.pid, ...heard);`);
      expect(pids.slice(1)).toEqual([1, 2]);
      expect(runs(pids[0]!)).toBe(true);
      signal('SIGINT');
      expect(await ended).toBe('SIGINT');
      await untilGone(pids[0]!);
    },
  );

  test('runs it with run(), and is ended by SIGTERM', async () => {
    const { signal, ended, pids } = await parent(`
      const { channel } = await import('node:diagnostics_channel');
      channel('vircommand:launch').subscribe(({ pid }) => setImmediate(() => void ready(pid)));
      await sleeper().run();`);
    signal('SIGTERM');
    expect(await ended).toBe('SIGTERM');
    await Promise.all(pids.map(untilGone));
  });

  test('ends one that ignores SIGTERM all the same', async () => {
    const { pids, ended } = await parent(`
      const child = await new Command('sh', '-c', 'trap "" TERM; echo; while :; do sleep 1; done').outputPipe().runAsync();
      child.stdout.once('data', () => void ready(child.pid).then(() => process.exit(0)));`);
    expect(await ended).toBe(0);
    await Promise.all(pids.map(untilGone));
  });
});

describe('outlives its parent', () => {
  test.each([
    ['a child that was released', 'const pid = (await sleeper().runAsync()).release();'],
    ['a daemon', 'const { pid } = await sleeper().daemonize().run();'],
  ])('%s', async (_what, code) => {
    const { pids, ended } = await parent(`${code}
      const owned = await sleeper().runAsync();
      await ready(pid, owned.pid);
      process.exit(0);`);
    expect(await ended).toBe(0);
    const [free, owned] = pids;
    await untilGone(owned!);
    expect(runs(free!)).toBe(true);
  });

  test('a released child, which does not keep the parent from ending', async () => {
    const { pids, ended } = await parent('await ready((await sleeper().runAsync()).release());');
    expect(await ended).toBe(0);
    expect(pids.map(runs)).toEqual([true]);
  });
});

describe('the parent is left as it was found:', () => {
  const HANDLERS = `const handlers = () => [...'exit beforeExit uncaughtException unhandledRejection SIGTERM SIGINT SIGHUP SIGQUIT SIGCHLD'.split(' ')]
    .reduce((sum, name) => sum + process.listenerCount(name), 0);`;

  test('handlers of signals are there only while something runs', async () => {
    const { pids, ended } = await parent(`${HANDLERS}
      const counts = [handlers()];
      // They stay for a moment, since a series of commands would put them up and down for each.
      const settled = async () => {
        for (let turn = 0; turn < 500 && handlers() > counts[0]; turn += 1) await new Promise((resolve) => setTimeout(resolve, 20));
        return handlers();
      };
      const child = await sleeper().runAsync();
      counts.push(handlers());
      await child.abort();
      counts.push(await settled());
      await new Command('true').run();
      counts.push(await settled());
      await sleeper().daemonize().run().then(({ pid }) => process.kill(pid));
      (await new Command('true').runAsync()).release();
      counts.push(await settled());
      await ready(...counts);`);
    expect(await ended).toBe(0);
    const [before = -1, during = -1, ...after] = pids;
    // The instrument sees a handler where there is one.
    expect(during).toBeGreaterThan(before);
    expect(after).toEqual([before, before, before]);
  });

  test('a child is looked after before anybody hears of it', async () => {
    const { pids } = await parent(`
      const { channel } = await import('node:diagnostics_channel');
      const counts = [process.listenerCount('SIGTERM')];
      channel('vircommand:launch').subscribe(() => counts.push(process.listenerCount('SIGTERM')));
      await new Command('true').run();
      await ready(...counts);`);
    expect(pids).toEqual([0, 1]);
  });

  test('its exit code is its own', async () => {
    const { ended } = await parent(`
      process.exitCode = 5;
      await new Command('false').run({ check: false });
      await new Command('false').run().catch(() => undefined);
      await sleeper().timeout(1).run().catch(() => undefined);
      await ready();`);
    expect(await ended).toBe(5);
  });

  test('a handler of its own for a signal still decides', async () => {
    const { signal, ended, pids } = await parent(`
      process.on('SIGTERM', () => process.exit(9));
      await ready((await sleeper().runAsync()).pid);`);
    signal('SIGTERM');
    expect(await ended).toBe(9);
    await Promise.all(pids.map(untilGone));
  });
});
