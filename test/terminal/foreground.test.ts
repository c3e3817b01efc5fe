import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { plain, Sitting } from '../helpers/terminals.js';
import { eventually, fixture, FOREVER, isRunning, NOWHERE, processStat, sh } from '../helpers/tools.js';

useNativeEngine();

/*
 * The library tests itself: a program of Node's sits at a terminal of ours, and runs another one in its foreground. Below it is a shell:
 * bash with jobs, or sh without, in whose own group Node is then.
 */

const CTRL_C = '\x03';
const CTRL_Z = '\x1a';

const words = (...argv: string[]): string => argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
const node = (way: string, ...argv: string[]): string =>
  words(process.execPath, fixture('foreground.js'), way, ...argv);

/** A shell with jobs, at its prompt. */
async function withJobs() {
  const child = await new Command('bash', '--norc', '--noprofile', '-i')
    .envInherit()
    .env('PS1', 'ready> ')
    .env('TERM', 'dumb')
    .terminal({ columns: 1000 })
    .runAsync();
  const sitting = new Sitting(child);
  await sitting.until(/ready> $/);
  /** Has the program come back into the foreground: it is there when its group is. */
  const bringBack = async (pid: number): Promise<void> => {
    sitting.type('fg\r');
    await eventually('the program is in the foreground', () => foregroundOf(child.pid) === pid);
  };
  return { sitting, bringBack };
}

/** The pid that a program tells as it begins. */
const begun = async (sitting: Sitting): Promise<number> =>
  Number(/begun (\d+)/.exec(await sitting.until(/begun \d+\r?\n/))?.[1]);

/** A line of a shell without jobs, which reads a word from the terminal at the end: that takes the foreground. */
async function withoutJobs(line: string) {
  const child = await sh(`${line}; echo "code: $?"; read word && echo "word: $word"`)
    .terminal({ columns: 1000 })
    .runAsync();
  return { child, sitting: new Sitting(child) };
}

/** The group in the foreground of the terminal that a process has. */
const foregroundOf = (pid: number): number =>
  Number(
    readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')[5],
  );

/** The child of a process that runs such a program. */
const childOf = (pid: number, name: string): number | undefined =>
  readdirSync('/proc')
    .map(Number)
    .find((one) => {
      try {
        return one > 0 && processStat(one)?.parent === pid && readFileSync(`/proc/${one}/comm`, 'utf8') === `${name}\n`;
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });

describe.each(['run', 'runSync'])('inheritTerminal(), by %s(),', (way) => {
  test('puts the program into the foreground in a group of its own, with our streams, and takes the terminal back at its end', async () => {
    const script = 'ps -o pid=,pgid=,tpgid=,sid= -p $$; tty; tty <&1; tty <&2; read line; echo "line: $line"';
    const { child, sitting } = await withoutJobs(node(way, 'sh', '-c', script));
    const [ids = '', tty, out, err] = (await sitting.until(/\d+(?:.*\r\n){4}/)).split('\r\n');
    const [pid, group, foreground, session] = ids.trim().split(/ +/);
    expect(group).toBe(pid);
    expect(foreground).toBe(pid);
    expect(session).toBe(String(child.pid));
    expect(tty).toMatch(/^\/dev\/pts\//);
    expect([out, err]).toEqual([tty, tty]);
    sitting.type('typed\r');
    await sitting.until(/line: typed\r\nend: 0\r\nmodes: icanon echo\r\nlisteners: 0 0\r\ncode: 0\r\n/);
    sitting.type('back\r');
    await sitting.until(/word: back\r\n/);
    await child.wait();
  });

  test('has Ctrl-C reach the program alone', async () => {
    const { child, sitting } = await withoutJobs(node(way, 'sh', '-c', `echo begun; exec sleep ${FOREVER}`));
    await sitting.until(/begun/);
    sitting.type(CTRL_C);
    await sitting.until(/end: SIGINT[^]*code: 0\r\n/);
    sitting.type('on\r');
    await sitting.until(/word: on\r\n/);
    await child.wait();
  });

  test('gives the prompt to the shell by Ctrl-Z, and the terminal to the program again by fg, with the modes that each had', async () => {
    const { sitting, bringBack } = await withJobs();
    sitting.type(`${node(way, 'sh', '-c', 'stty -echo; echo begun $$; read line; echo "line: $line"; stty echo')}\r`);
    const pid = await begun(sitting);
    sitting.type(CTRL_Z);
    await sitting.until(/Stopped[^]*ready> $/);
    sitting.type('stty -a | grep -o -e "-*echo "\r');
    await sitting.until(/\r\necho [^]*ready> $/);
    const [stopped] = [sitting.all.length];
    await bringBack(pid);
    sitting.type('unseen\r');
    await sitting.until(/line: unseen\r\nend: 0\r\n[^]*ready> $/);
    // What the program had switched off was off again: only what it wrote itself shows the word.
    expect(sitting.all.slice(stopped).split('unseen')).toHaveLength(2);
    sitting.type('exit\r');
  });

  test('lets the program go on in the background by bg, where it is stopped as it reads, and by fg in the foreground', async () => {
    const { sitting, bringBack } = await withJobs();
    sitting.type(`${node(way, 'sh', '-c', 'echo begun $$; sleep 0.5; read line; echo "line: $line"')}\r`);
    const pid = await begun(sitting);
    // A shell that waits in vfork() cannot be stopped, and neither goes on where its child is.
    await eventually('it sleeps', () => childOf(pid, 'sleep'));
    sitting.type(CTRL_Z);
    await sitting.until(/Stopped[^]*ready> $/);
    sitting.type('set -b; bg\r');
    await sitting.until(/&\r\n[^]*Stopped/);
    await bringBack(pid);
    sitting.type('again\r');
    await sitting.until(/line: again\r\nend: 0\r\n[^]*ready> $/);
    sitting.type('exit\r');
  });

  test('puts the modes back where a signal has ended the program, and leaves them where it has ended by itself, as shells do', async () => {
    const killed = await withoutJobs(node(way, 'sh', '-c', 'stty raw -echo; kill -KILL $$'));
    await killed.sitting.until(/end: SIGKILL\r\nmodes: icanon echo\r\n/);
    killed.sitting.type('x\r');
    await killed.child.wait();
    const ended = await withoutJobs(node(way, 'stty', '-echo'));
    await ended.sitting.until(/end: 0\r\nmodes: icanon -echo\r\n/);
    ended.sitting.type('x\r');
    await ended.child.wait();
  });

  test('takes the terminal back where the launch fails', async () => {
    const { child, sitting } = await withoutJobs(node(way, NOWHERE));
    await sitting.until(/error: LaunchError execve\r\ncode: 0\r\n/);
    sitting.type('on\r');
    await sitting.until(/word: on\r\n/);
    await child.wait();
  });

  test('takes nothing where this process has no terminal, and gives the streams', async () => {
    const result = await sh(
      `setsid ${node(way, 'sh', '-c', 'echo here; ps -o pgid=,sid= -p $$; kill -TERM $$')} </dev/null 2>/dev/null`,
    )
      .outputBuffer()
      .run();
    const [here, ids = '', end] = result.stdout.split('\n');
    expect([here, end]).toEqual(['here', 'end: SIGTERM']);
    // It is in the group of Node, which leads the session.
    const [group, session] = ids.trim().split(/ +/);
    expect(group).toBe(session);
  });
});

describe('inheritTerminal()', () => {
  test.each([
    ['exit', /code: 4\r\n/],
    ['throw', /on purpose[^]*code: 1\r\n/],
    ['die', /code: 143\r\n/],
  ])(
    'takes the terminal and its modes back where this process ends by the way %s, and the program with it',
    async (way, end) => {
      const { child, sitting } = await withoutJobs(
        node(way, 'sh', '-c', `stty raw -echo; echo "pid $$"; exec sleep ${FOREVER}`),
      );
      const pid = Number(/pid (\d+)/.exec(await sitting.until(/pid \d+/))?.[1]);
      await sitting.until(end);
      expect(isRunning(pid)).toBe(false);
      sitting.type('on\r');
      // The echo is there as well.
      await sitting.until(/on\r\nword: on\r\n/);
      await child.wait();
    },
  );

  test('takes the terminal from nobody where this process is in its background', async () => {
    const { sitting } = await withJobs();
    sitting.type(`${node('run', 'sh', '-c', 'sleep 0.3; ps -o tpgid=,pgid= -p $$ | sed "s/^/ids /"')} &\r`);
    const [, foreground, group] = /ids +(\d+) +(\d+)/.exec(await sitting.until(/ids +\d+ +\d+/)) ?? [];
    expect(foreground).not.toBe(group);
    await sitting.until(/end: 0\r\n/);
    sitting.type('exit\r');
  });

  test('is a mistake in a worker thread, which is not the process that has the terminal', async () => {
    const source = `
      import { parentPort } from 'node:worker_threads';
      import { Command } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      const tell = (error) => error.mistakes?.map(({ call, problem }) => call + ': ' + problem) ?? String(error);
      const told = [await new Command('true').inheritTerminal().run().then(() => 'ran', tell)];
      try {
        new Command('true').inheritTerminal().runSync();
      } catch (error) {
        told.push(tell(error));
      }
      await new Command('true').run();
      parentPort.postMessage(told);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
    const [told] = (await once(worker, 'message')) as [unknown];
    const mistake =
      'inheritTerminal(): the terminal is that of the process, and a worker thread is not the process; call it in the main thread';
    expect(told).toEqual([[mistake], [mistake]]);
    await worker.terminate();
  });

  test('is a mistake while another program of this process has the terminal', async () => {
    const { child, sitting } = await withoutJobs(node('twice', 'sleep', FOREVER));
    await sitting.until(
      /second: another program of this process has the terminal; wait for its end\r\nend: stopped\r\n/,
    );
    sitting.type('x\r');
    await child.wait();
  });

  test('gives it to the next, after a shell in between has had jobs of its own', async () => {
    const { child, sitting } = await withoutJobs(node('run', 'bash', '--norc', '--noprofile', '-i'));
    await sitting.until(/\$ |# /);
    const shell = await eventually('bash is there', () => {
      const own = childOf(child.pid, 'node') ?? childOf(child.pid, 'MainThread');
      return own === undefined ? undefined : childOf(own, 'bash');
    });
    sitting.type(`sleep ${FOREVER}\r`);
    // A shell that has just forked has not given the signal its default action yet.
    await eventually('its job is in the foreground', () => childOf(shell, 'sleep') === foregroundOf(child.pid));
    sitting.type(CTRL_C);
    sitting.type('exit 3\r');
    await sitting.until(/end: 3\r\n/);
    sitting.type('on\r');
    await sitting.until(/word: on\r\n/);
    await child.wait();
    expect(plain(sitting.all)).not.toContain('Input/output error');
  });
});
