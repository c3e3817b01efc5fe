import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { inspect } from 'node:util';
import { Command, ExitError, LaunchError, OutputBuffer, OutputError, Terminal, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { lanes, needsRoot, NOBODY, readProc, useNativeEngine } from '../helpers/native.js';
import { Sitting } from '../helpers/terminals.js';
import {
  DEADLINE_MS,
  eventually,
  FOREVER,
  hasProgram,
  isRunning,
  NOWHERE,
  processStat,
  rejection,
  sh,
  useDirectory,
  withVariables,
} from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

const CTRL_C = '\x03';
const CTRL_Z = '\x1a';
const CTRL_BACKSLASH = '\x1c';

/** Starts a script at a terminal, and sits down there. */
async function sit(script: string, ...args: string[]) {
  const child = await sh(script, ...args)
    .terminal()
    .runAsync();
  return { child, sitting: new Sitting(child) };
}

/** How many terminals this process has open. */
const openTerminals = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^\/dev\/(?:ptmx|pts\/)/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // It was closed meanwhile: that of the directory itself.
      return false;
    }
  }).length;

describe.for(lanes)('in the lane %s, a program', ([, take]) => {
  test('has a terminal at 0, 1 and 2 that controls a session of its own, with the size that was said before it runs, and nothing else', async () => {
    const script =
      'tty; tty <&1; tty <&2; stty size; : </dev/tty && echo controlled; ps -o sid=,pgid=,tpgid= -p $$; ls /proc/$$/fd; echo $$';
    const { stdout } = await take(sh(script)).terminal({ columns: 132, rows: 43 }).outputBuffer().run();
    const [tty = '', out, err, size, controlled, ids = '', ...rest] = stdout.split('\r\n');
    expect(tty).toMatch(/^\/dev\/pts\/\d+$/);
    expect([out, err, size, controlled]).toEqual([tty, tty, '43 132', 'controlled']);
    const pid = rest.at(-2);
    expect(ids.trim().split(/ +/)).toEqual([pid, pid, pid]);
    expect(rest.join(' ').trim().split(/\s+/)).toEqual(['0', '1', '2', pid]);
  });

  test('has 80 columns and 24 rows where nothing was said, as the VT100 had', async () => {
    const { stdout } = await take(new Command('stty', 'size')).terminal().outputBuffer().run();
    expect(stdout).toBe('24 80\r\n');
  });

  test('that cannot be executed leaves no terminal behind', async () => {
    const before = openTerminals();
    const error = await rejection(LaunchError, take(new Command(NOWHERE)).terminal().runAsync());
    expect(error.step).toBe('execve');
    expect(openTerminals()).toBe(before);
  });
});

describe('child.terminal', () => {
  test('is what is typed, with its echo, and what the program writes to either output', async () => {
    const child = await sh('read name; echo "hello $name"; echo oops >&2').terminal().runAsync();
    expect(child.terminal).toBeInstanceOf(Terminal);
    expect([child.stdin, child.stdout, child.stderr]).toEqual([null, null, null]);
    child.terminal.write('world\r');
    expect(await text(child.terminal)).toBe('world\r\nhello world\r\noops\r\n');
    expect((await child.wait()).exitCode).toBe(0);
  });

  test('is null where no terminal was asked for', async () => {
    const child = await new Command('true').runAsync();
    expect(child.terminal).toBeNull();
    await child.wait();
  });

  test('passes on a password that is typed without echo', async () => {
    const { child, sitting } = await sit(
      'stty -echo; printf "password: "; read p; stty echo; echo; echo "${#p} characters"',
    );
    await sitting.until(/password: $/);
    sitting.type('hunter2\r');
    await sitting.until(/7 characters\r\n/);
    await child.wait();
    expect(sitting.all).not.toContain('hunter2');
  });

  test.each([
    ['Ctrl-C', CTRL_C, 'SIGINT'],
    ['Ctrl-\\', CTRL_BACKSLASH, 'SIGQUIT'],
  ] as const)('sends the program in the foreground a signal by %s', async (_name, key, signal) => {
    // No core file is wanted of SIGQUIT.
    const child = await new Command('sleep', FOREVER).maxCoreSize(0).terminal().runAsync();
    child.terminal.write(key);
    expect((await child.wait({ check: false })).signal).toBe(signal);
  });

  test('stops the program by Ctrl-Z, where it is not the leader of an orphaned group, as a shell with jobs shows', async () => {
    const child = await new Command('bash', '--norc', '--noprofile', '-i')
      .env('PATH', process.env['PATH'])
      .env('PS1', 'ready> ')
      .terminal()
      .runAsync();
    const sitting = new Sitting(child);
    await sitting.until(/ready> $/);
    sitting.type(`sleep ${FOREVER}\r`);
    const job = await eventually('the shell has started its job', () =>
      readdirSync('/proc')
        .map(Number)
        .find((pid) => pid > 0 && processStat(pid)?.parent === child.pid && processStat(pid)?.group === pid),
    );
    await eventually('the job sleeps', () => processStat(job)?.state === 'S');
    sitting.type(CTRL_Z);
    await sitting.until(/Stopped[^]*ready> $/);
    expect(processStat(job)?.state).toBe('T');
    sitting.type('kill %1; fg\r');
    await sitting.until(/Terminated[^]*ready> $/);
    sitting.type('exit 3\r');
    expect((await child.wait({ check: false })).exitCode).toBe(3);
  });

  test('tells the program its new size by SIGWINCH', async () => {
    const { child, sitting } = await sit('trap "stty size" WINCH; echo ready; while :; do read line && exit; done');
    await sitting.until(/ready\r\n/);
    expect(child.terminal.resize(100, 50)).toBe(child.terminal);
    await sitting.until(/50 100\r\n/);
    expect([child.terminal.columns, child.terminal.rows]).toEqual([100, 50]);
    sitting.type('\r');
    await child.wait();
  });

  test('takes the largest size that there is, and nothing that is none', async () => {
    const { child, sitting } = await sit('read line; stty size');
    for (const [columns, rows] of [
      [0, 1],
      [1, 65_536],
      [1.5, 1],
      ['80', 24],
      [NaN, 1],
      [-1, 1],
    ] as [number, number][])
      expect(() => child.terminal.resize(columns, rows)).toThrow(TypeError);
    expect(() => child.terminal.resize(0, 1)).toThrow(
      'resize(0, 1): columns and rows are whole numbers from 1 to 65535.',
    );
    child.terminal.resize(65_535, 65_535);
    sitting.type('\r');
    await sitting.until(/65535 65535\r\n/);
    await child.wait();
    expect(child.terminal.resize(1, 1).columns).toBe(1);
  });

  test('passes every byte as it is in raw mode, and puts the modes back that it had', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const child = await sh('head -c 256; stty -a | grep -o -e "[-]*icanon" -e "[-]*opost" | tr "\\n" " "; read end')
      .terminal()
      .runAsync();
    child.terminal.setRawMode(true);
    expect(child.terminal.isRaw).toBe(true);
    child.terminal.write(bytes);
    const chunks: Buffer[] = [];
    child.terminal.on('data', (chunk: Buffer) => chunks.push(chunk));
    await eventually('the modes are told', () => Buffer.concat(chunks).length >= 256 + '-opost -icanon '.length);
    const all = Buffer.concat(chunks);
    expect(all.subarray(0, 256)).toEqual(bytes);
    expect(all.subarray(256).toString()).toBe('-opost -icanon ');
    child.terminal.setRawMode(false).write('end\r');
    await child.wait();
    expect(() => child.terminal.setRawMode('yes' as never)).toThrow(TypeError);
  });

  test('ends the input of a program in line mode by end(), as Ctrl-D does: behind a whole line, and in the midst of one', async () => {
    for (const input of ['b\na\n', 'b\na', 'b\ra\r']) {
      const child = await sh('stty -echo; echo ready; exec sort').terminal().runAsync();
      const sitting = new Sitting(child);
      await sitting.until(/ready\r\n/);
      child.terminal.end(input);
      await sitting.until(/a\r\nb\r\n/);
      await child.wait();
    }
  });

  test('takes a stream that is piped into it, and ends with it', async () => {
    const child = await sh('stty -echo; echo ready; exec wc -l').terminal().runAsync();
    const sitting = new Sitting(child);
    await sitting.until(/ready\r\n/);
    await pipeline(Readable.from(['a\n', 'b\n', 'c\n']), child.terminal, { end: true });
    await sitting.until(/3\r\n/);
    await child.wait();
  });

  test('holds a program that writes 10 MB for a reader that is slow, and loses nothing', async () => {
    const MEGABYTES = 10;
    const child = await sh(`stty raw; exec head -c ${MEGABYTES}000000 /dev/zero`).terminal().runAsync();
    let most = 0;
    let total = 0;
    for await (const chunk of child.terminal as AsyncIterable<Buffer>) {
      total += chunk.length;
      most = Math.max(most, child.terminal.readableLength);
      if (total % 17 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(total).toBe(MEGABYTES * 1_000_000);
    // Two pieces of what is read at once, and the mark of Node.
    expect(most).toBeLessThan(200_000);
    await child.wait();
  });

  test('takes 1 MB of input, and holds what is written for a program that reads late', async () => {
    const data = randomBytes(1_000_000);
    const child = await sh('stty raw -echo; echo ready; read -r go </dev/null; sleep 0.2; head -c 1000000 | sha256sum')
      .terminal()
      .runAsync();
    const sitting = new Sitting(child);
    await sitting.until(/ready/);
    const written = new Promise((resolve) => child.terminal.write(data, resolve));
    await sitting.until(new RegExp(createHash('sha256').update(data).digest('hex')));
    await written;
    await child.wait();
  });

  test('has all that a program wrote right before its end, also where nobody read it by then', async () => {
    const child = await sh('stty raw; head -c 10000 /dev/zero; exit 5').terminal().runAsync();
    expect((await child.wait({ check: false })).exitCode).toBe(5);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await buffer(child.terminal)).toHaveLength(10_000);
  });

  test('goes on where the program closes its terminal and opens it again', async () => {
    const { child, sitting } = await sit('exec 0<&- 1>&- 2>&-; sleep 0.1; exec 1>/dev/tty; echo back');
    await sitting.until(/back\r\n/);
    expect((await child.wait()).exitCode).toBe(0);
  });

  test('loses what is typed to a program that has ended, and that is no error', async () => {
    const child = await new Command('true').terminal().runAsync();
    await child.wait();
    const errors: unknown[] = [];
    child.terminal.on('error', (error) => errors.push(error));
    await new Promise<void>((resolve) => child.terminal.write('too late\r', () => resolve()));
    child.terminal.resume();
    await eventually('it is closed', () => child.terminal.closed);
    child.terminal.write('far too late\r');
    await new Promise((resolve) => setImmediate(resolve));
    expect(errors).toEqual([]);
  });

  test('prints as one line', async () => {
    const child = await new Command('cat').terminal({ rows: 5 }).runAsync();
    expect(inspect(child.terminal)).toBe('Terminal { 80 columns, 5 rows, open }');
    await child.free();
    expect(inspect(child.terminal)).toBe('Terminal { 80 columns, 5 rows, ended }');
  });
});

describe('a hang-up', () => {
  test.each([
    ['destroying the terminal', (child: { terminal: Terminal }) => child.terminal.destroy()],
    [
      'leaving a loop over it',
      async (child: { terminal: Terminal }) => {
        for await (const _chunk of child.terminal) break;
      },
    ],
  ] as const)('by %s is SIGHUP for the program, from the kernel', async (_name, hangUp) => {
    const child = await sh(`echo begun; exec sleep ${FOREVER}`).terminal().runAsync();
    await hangUp(child);
    expect((await child.wait({ check: false })).signal).toBe('SIGHUP');
  });

  test('by free() ends a shell that ignores SIGTERM, and its job, by SIGHUP', async () => {
    const { child, sitting } = await sit('trap "" TERM; sleep 600 & echo $!; wait');
    const job = Number(/\d+/.exec(await sitting.until(/\d+\r\n/))?.[0]);
    await child.free();
    expect(await child.wait({ check: false }).catch((error: unknown) => (error as ExitError).result)).toMatchObject({
      signal: 'SIGHUP',
    });
    await eventually('the job has ended', () => !isRunning(job));
  });

  test('waits for a stop sequence that was said, and what the program writes then is read by nobody', async () => {
    const child = await sh('trap "head -c 100000 /dev/zero; exit 7" INT; echo ready; while :; do sleep 0.05; done')
      .stopSequence([['SIGINT', DEADLINE_MS]])
      .terminal()
      .runAsync();
    await new Promise<void>((resolve) =>
      child.terminal.once('data', () => {
        child.terminal.pause();
        child.terminal.removeAllListeners('data');
        resolve();
      }),
    );
    child.terminal.resume();
    await child.free();
    const { result } = await rejection(ExitError, child.wait());
    expect(result.exitCode).toBe(7);
  });

  test('closes all that this process has of the terminal', async () => {
    const before = openTerminals();
    const child = await new Command('sleep', FOREVER).terminal().runAsync();
    expect(openTerminals()).toBe(before + 2);
    await child.free();
    expect(openTerminals()).toBe(before);
  });
});

describe('a grandchild that holds the terminal', () => {
  const holding = 'trap "" HUP; (while [ -e "$1" ]; do sleep 0.02; done; echo late) & exit 0';

  test('is told by outputHeldOpen, and what it writes is still read from child.terminal', async () => {
    const flag = path('flag');
    writeFileSync(flag, '');
    const child = await sh(holding, flag).terminal().runAsync();
    expect((await child.wait()).outputHeldOpen).toBe(true);
    rmSync(flag);
    expect(await text(child.terminal)).toBe('late\r\n');
  });

  test('keeps run() from nothing', async () => {
    const flag = path('flag');
    writeFileSync(flag, '');
    const result = await sh(`echo early; ${holding}`, flag).terminal().outputBuffer().run();
    expect(result).toMatchObject({ stdout: 'early\r\n', outputHeldOpen: true });
  });
});

describe('silence at a terminal', () => {
  const SHORT_MS = 100;
  /** It writes for far longer than that, with far shorter pauses. */
  const LONGER_MS = 1500;
  const speaking = (): Command => sh('for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done').terminal();

  test('stops a program, by run() and runAsync()', async () => {
    const silent = (): Command => sh('echo one; exec sleep "$1"', FOREVER).terminal().silenceTimeout(SHORT_MS);
    expect((await rejection(ExitError, silent().run())).reason).toBe('silence');
    await using child = await silent().runAsync();
    child.terminal?.resume();
    expect((await rejection(ExitError, child.wait())).reason).toBe('silence');
  });

  test('is broken by what comes, by run() and runAsync()', async () => {
    await speaking().silenceTimeout(LONGER_MS).run();
    await using child = await speaking().silenceTimeout(LONGER_MS).runAsync();
    child.terminal?.resume();
    await child.wait();
  });

  test('does not count while the caller lets output lie', async () => {
    await using child = await sh('seq 20000')
      .terminal()
      .silenceTimeout(LONGER_MS / 3)
      .runAsync();
    await new Promise((resolve) => setTimeout(resolve, LONGER_MS));
    const all = await text(child.terminal);
    expect(all.split('\r\n')).toHaveLength(20_001);
    await child.wait();
  });
});

describe('the lines of a program with a terminal', () => {
  test('are read by lines() and waitForLine() of the child, both outputs in their order', async () => {
    const child = await sh('echo login:; read name; echo "hello $name" >&2; echo bye').terminal().runAsync();
    expect(await child.waitForLine('login', { within: DEADLINE_MS })).toBe('login:');
    child.terminal.write('world\r');
    const lines: string[] = [];
    for await (const line of child.lines()) lines.push(line);
    expect(lines).toEqual(['world', 'hello world', 'bye']);
    await child.wait();
    await child.free();
  });

  test('are read by the loops of a command, and what leaves one early stops the program', async () => {
    const before = openTerminals();
    const lines: string[] = [];
    for await (const line of sh('test -t 1 && echo one; echo two >&2').terminal().lines()) lines.push(line);
    expect(lines).toEqual(['one', 'two']);
    const groups: string[] = [];
    await sh('echo a=1; echo b=2')
      .terminal()
      .runRegex(/(\w)=/, ([name = '']) => void groups.push(name));
    expect(groups).toEqual(['a', 'b']);
    for await (const line of new Command('yes').terminal().lines()) if (line === 'y') break;
    await eventually('all is closed', () => openTerminals() === before);
  });

  test('come from one output only', async () => {
    const words = "both outputs of a program with a terminal are one, and that is 'stdout'; leave the option from out";
    const command = sh('echo one').terminal();
    for (const from of ['stderr', 'both'] as const) {
      const error = await rejection(UsageError, command.lines({ from }).next());
      expect(error.mistakes).toMatchObject([{ call: 'lines()', problem: words }]);
    }
    await using child = await command.runAsync();
    expect(() => child.lines({ from: 'stderr' })).toThrow(words);
  });
});

describe('run() with a terminal', () => {
  test('captures what the program writes, both streams in their order, as text or as bytes', async () => {
    const command = sh('echo one; echo two >&2; echo three').terminal();
    expect((await command.clone().outputBuffer().run()).stdout).toBe('one\r\ntwo\r\nthree\r\n');
    expect((await command.clone().outputBuffer({ encoding: 'buffer' }).run()).stdout).toEqual(
      Buffer.from('one\r\ntwo\r\nthree\r\n'),
    );
    const into = new OutputBuffer();
    await command.outputBuffer(into).run();
    expect(String(into)).toBe('one\r\ntwo\r\nthree\r\n');
  });

  test('captures megabytes, and obeys an output limit', async () => {
    const much = sh('stty raw; head -c 3000000 /dev/zero').terminal().outputBuffer({ encoding: 'buffer' });
    expect((await much.clone().run()).stdout).toHaveLength(3_000_000);
    const { stdout, outputBytes, outputTruncated } = await much.clone().outputLimit(1000).run();
    expect([stdout.length, outputBytes.stdout, outputTruncated]).toEqual([1000, 3_000_000, true]);
    const error = await rejection(ExitError, sh('yes').terminal().outputBuffer().outputLimit(10_000, 'kill').run());
    expect(error.reason).toBe('output-limit');
  });

  test('keeps the last words of what nobody claimed for the error', async () => {
    const error = await rejection(ExitError, sh('echo why >&2; exit 3').terminal().run());
    expect(error.message).toContain('why');
    expect(error.result.stdout).toBeUndefined();
  });

  test('has its text read as any other capture: strictly, in an encoding, without its last newline, cut in a whole character', async () => {
    const bytes = (octal: string): Command => sh('printf "$1"', octal).terminal();
    expect((await bytes('\\344\\366').outputBuffer({ encoding: 'latin1' }).run()).stdout).toBe('äö');
    const wrong = await rejection(OutputError, bytes('a\\344').outputBuffer({ fatal: true }).run());
    expect([wrong.reason, wrong.stream]).toEqual(['not-text', 'stdout']);
    const stripped = await sh('echo a; echo b').terminal().outputBuffer({ stripFinalNewline: true }).run();
    expect([stripped.stdout, stripped.lines]).toEqual(['a\r\nb', ['a', 'b']]);
    const cut = await bytes('na\\303\\257f').outputBuffer().outputLimit(3).run();
    expect([cut.stdout, cut.outputTruncated]).toEqual(['na', true]);
    const ends = await sh('seq 1000').terminal().outputBuffer().outputLimit(10, 'headAndTail').run();
    expect(ends.stdout).toBe(`1\r\n2\r\n[… ${ends.outputBytes.stdout - 10} bytes left out …]\n000\r\n`);
  });

  test('calls back with its lines, and is stopped by what the callback throws', async () => {
    const lines: string[] = [];
    await sh('echo one; echo two >&2; printf three')
      .terminal()
      .onLine((line) => lines.push(line))
      .run();
    expect(lines).toEqual(['one', 'two', 'three']);
    const thrower = sh('echo one; exec sleep "$1"', FOREVER).terminal();
    await expect(
      thrower
        .onLine(() => {
          throw new Error('enough');
        })
        .run(),
    ).rejects.toThrow('enough');
  });

  test.each([
    ['stays in its session', 'sleep "$1" & exec sleep "$1"', 'group'],
    ['leaves it', 'setsid sleep "$1" & exec sleep "$1"', 'group'],
  ])('ends the whole tree at its timeout, also what %s', async (_what, script, level) => {
    // Nothing else sleeps for so long.
    const mark = `600.${process.pid}7`;
    const error = await rejection(
      ExitError,
      sh(`stty -echo; ${script}`, mark).terminal().timeout(300, { tree: true }).run(),
    );
    expect([error.reason, error.result.tree?.level, error.result.tree?.survivors]).toEqual(['timeout', level, []]);
    expect(readdirSync('/proc').filter((pid) => readProc(`/proc/${pid}/cmdline`) === `sleep\0${mark}\0`)).toEqual([]);
  });

  test('ends a program that waits for a key, at its timeout', async () => {
    const error = await rejection(ExitError, sh('read key').terminal().timeout(100).run());
    expect(error.reason).toBe('timeout');
  });
});

test('the variable TERM is that of this process, or what was said', async () => {
  await withVariables({ TERM: 'vt52' }, async () => {
    const command = sh('echo "$TERM"').terminal().outputBuffer();
    expect((await command.clone().run()).stdout).toBe('vt52\r\n');
    expect((await command.clone().envInherit().env('TERM', 'xterm-256color').run()).stdout).toBe('xterm-256color\r\n');
  });
});

test('a user who gets a terminal owns it, as login(1) has it, and opens it by its name', async ({ skip }) => {
  needsRoot(skip);
  const { stdout } = await sh('stat -L -c %u /proc/self/fd/0; id -u; : <"$(tty)" && echo opened')
    .uid(NOBODY)
    .gid(NOBODY)
    .groups([])
    .terminal()
    .outputBuffer()
    .run();
  expect(stdout.split('\r\n')).toEqual([String(NOBODY), String(NOBODY), 'opened', '']);
});

test('many terminals at once are many terminals, and none stays open', async () => {
  const before = openTerminals();
  const results = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      sh('tty; stty size; echo "$1"', String(index))
        .terminal({ columns: index + 1 })
        .outputBuffer()
        .run(),
    ),
  );
  const ttys = results.map(({ stdout }, index) => {
    const [tty, size, told] = stdout.split('\r\n');
    expect([size, told]).toEqual([`24 ${index + 1}`, String(index)]);
    return tty;
  });
  expect(new Set(ttys).size).toBe(30);
  expect(openTerminals()).toBe(before);
});

test('a terminal that cannot be made is a LaunchError that names the device and what the kernel said, and leaves nothing open', async ({
  skip,
}) => {
  needsRoot(skip);
  if (!hasProgram('unshare')) skip('unshare is not installed');
  const script = `
    const { readdirSync } = await import('node:fs');
    const { Command } = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)});
    const error = await new Command('true').terminal().run().catch((error) => error);
    console.log(JSON.stringify([error.name, error.step, error.errno, error.syscall, error.path, error.message]));`;
  const words = [
    '-m',
    'sh',
    '-c',
    'mount --bind /dev/null /dev/ptmx && exec "$@"',
    'sh',
    process.execPath,
    '--input-type=module',
    '-e',
    script,
  ];
  const { stdout, exitCode } = await new Command('unshare', ...words).outputBuffer().run({ check: false });
  if (exitCode !== 0) skip('this machine lets nobody mount, not even in a namespace of its own');
  expect(JSON.parse(stdout)).toEqual([
    'LaunchError',
    'open',
    'ENOTTY',
    'ioctl(TIOCSPTLCK)',
    '/dev/ptmx',
    "Cannot start `true`: '/dev/ptmx' cannot be opened for a terminal (ioctl(TIOCSPTLCK): ENOTTY).",
  ]);
});
