import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Command, engineInfo } from 'vircommand';
import { readProc } from '../helpers/native.js';
import { plain, Sitting } from '../helpers/terminals.js';
import { eventually, isRunning } from '../helpers/tools.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** Where the compiled examples are: inside the repository, so that 'vircommand' is the built package. */
let compiled: string;
beforeAll(async () => {
  mkdirSync(join(root, '.cache'), { recursive: true });
  compiled = mkdtempSync(join(root, '.cache/examples-'));
  const { exitCode, stdout } = await new Command(
    process.execPath,
    tsc,
    '-p',
    'tsconfig.examples.json',
    '--outDir',
    compiled,
  )
    .workingDirectory(root)
    .outputBuffer()
    .run({ check: false });
  expect(exitCode, stdout).toBe(0);
});
afterAll(() => rmSync(compiled, { recursive: true }));

/** The only directory that an example may write to. It is empty again when the example has ended. */
let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'vircommand-examples-'));
});
afterEach(() => rmSync(scratch, { recursive: true }));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(example: string, { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {}): Ended {
  const script = join(compiled, `${example}.js`);
  return spawnSync(process.execPath, ['--enable-source-maps', script, ...args], {
    cwd: scratch,
    env: { ...process.env, TMPDIR: scratch, ...env },
    encoding: 'utf8',
    timeout: 25_000,
  });
}

function expectSuccess({ status, stdout, stderr }: Ended): string {
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(readdirSync(scratch)).toEqual([]);
  return stdout;
}

/** A daemon that has ended may still have its number, until init asks for it. */
function expectEnded(pid: number): void {
  expect(pid, 'there was one').toBeGreaterThan(1);
  expect(isRunning(pid)).toBe(false);
}

/** The processes whose command line is that one. */
const pidsWith = (cmdline: string): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && readProc(`/proc/${pid}/cmdline`) === cmdline);

/** Whether dnsmasq is installed. */
const dnsmasq = ['/usr/sbin', '/usr/local/sbin', ...(process.env['PATH'] ?? '').split(':')].some((directory) => {
  try {
    return readdirSync(directory).includes('dnsmasq');
  } catch {
    return false;
  }
});

describe('an example', () => {
  const files = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts') && !file.startsWith('dns'));

  test.for(files)('%s has fewer than 40 lines', (file) => {
    expect(
      readFileSync(join(root, 'examples', file), 'utf8')
        .trimEnd()
        .split('\n').length,
    ).toBeLessThan(40);
  });

  test.for(files)('%s is tested here', (file) => {
    expect(readFileSync(import.meta.filename, 'utf8')).toContain(`run('${file.replace(/\.ts$/, '')}'`);
  });

  test('a hook script gets arguments and input, and its refusal is told', () => {
    expect(expectSuccess(run('hook-script'))).toBe(
      'domain web-1: start (begin, -), and its description begins with <domain>\nThe hook said no with code 3: no migration on Sundays\n',
    );
  });

  test("a hook prepares the program in the program's own process, and its refusal is told", () => {
    const stdout = expectSuccess(run('hook'));
    if (engineInfo().engine === 'portable') {
      expect(stdout).toContain('the portable engine cannot do preExecHook()');
      return;
    }
    const [, pid] = /^web-1 runs in process (\d+), with the umask 0027$/m.exec(stdout) ?? [];
    expect(stdout).toContain(`web-1 is prepared in process ${String(pid)}, as user ${String(process.geteuid?.())}\n`);
    expect(stdout).toMatch(
      /^Cannot start `sh -c .* web-2`: its pre-exec hook failed: the domain web-2 has no license\.$/m,
    );
  });

  test('capture reads text, bytes, the two ends of a long output, and an exit code', () => {
    const stdout = expectSuccess(run('capture'));
    expect(stdout).toContain('sort read 19 bytes and wrote:\nthird\nsecond\nfirst\n');
    expect(stdout).toMatch(/^Four random bytes, not text: [0-9a-f]{8}$/m);
    expect(stdout).toContain('seq wrote 588895 bytes');
    expect(stdout).toContain("The failed step is 'path-search': Cannot start `no-such-program`");
  });

  test('interleave keeps the order of two streams', () => {
    const stdout = expectSuccess(run('interleave'));
    expect(stdout).toContain('line 2 on standard error\nline 3 on standard output\nline 3 on standard error\n');
    expect(stdout).toContain('After a second run the buffer holds 153 bytes');
  });

  test('timeout and abort end programs, and say why', () => {
    const stdout = expectSuccess(run('timeout-and-abort'));
    expect(stdout).toMatch(
      /^Timeout \(timeout\): .* did not finish within 500 ms\. It ignored SIGTERM for [\d.]+ m?s and was ended by SIGKILL\.$/m,
    );
    expect(stdout).toMatch(
      /^Abort signal \(aborted\): `sleep 60` was aborted after [\d.]+ m?s: the user closed the window\. It was ended by SIGTERM\.$/m,
    );
    expect(stdout).toMatch(/^Process \d+ ended with its block\.$/m);
  });

  test('descriptors are passed, given away and swapped', () => {
    const stdout = expectSuccess(run('pass-descriptor'));
    expect(stdout).toMatch(/^The program wrote to its descriptor 9, our \d+: color = blue$/m);
    expect(stdout).toContain('the log is still open, and the config is closed');
  });

  test('privileges are given away by root, or the program says why not', () => {
    const stdout = expectSuccess(run('privileges'));
    if (process.geteuid?.() !== 0) {
      expect(stdout).toContain('Only root can give privileges away: run this as root.\n');
    } else if (engineInfo().engine === 'portable') {
      expect(stdout).toContain('the portable engine cannot do umask()');
    } else {
      const { uid, gid } = new Command('true')
        .user('nobody')
        .plan()
        .steps.reduce(
          (ids, step) =>
            step.step === 'setuid' ? { ...ids, uid: step.id } : step.step === 'setgid' ? { ...ids, gid: step.id } : ids,
          { uid: -1, gid: -1 },
        );
      const fields = Object.fromEntries(
        Array.from(stdout.matchAll(/^(\w+):\s+(.*?)\s*$/gm), ([, name, value]) => [name, value]),
      );
      expect(fields).toMatchObject({
        Umask: '0027',
        Uid: Array<number>(4).fill(uid).join('\t'),
        Gid: Array<number>(4).fill(gid).join('\t'),
        CapPrm: '0000000000000400',
        CapBnd: '0000000000000400',
        CapAmb: '0000000000000400',
        NoNewPrivs: '1',
      });
      expect(stdout).toMatch(/^Max open files +64 +64 /m);
      expect(stdout).toMatch(/^Max core file size +0 +0 /m);
    }
    expect(stdout).toMatch(/^Of this process nothing has changed: Umask:\s+\d+$/m);
  });

  test('a network has its dnsmasq, which is reloaded and started anew', ({ skip }) => {
    skip(!dnsmasq, 'dnsmasq is not installed');
    const stdout = expectSuccess(run('network'));
    expect(stdout).toMatch(
      /^dnsmasq runs as a daemon: vircommand\.test is 192\.0\.2\.7\nIt was reloaded: vircommand\.test is 192\.0\.2\.8\nIt was started anew: process \d+\n$/,
    );
    expectEnded(Number(/process (\d+)/.exec(stdout)?.[1]));
  });

  /** What a machine tells of its start, up to its log. */
  function expectMachine(stdout: string): void {
    if (engineInfo().engine === 'portable') {
      expect(stdout).toContain('the portable engine cannot do umask()');
      return;
    }
    expect(stdout).toMatch(
      /^The hook wrote \{"name":"web-1","pid":(\d+)\}\.\nProcess \1 stands before its program: the log holds 0 bytes\.\nIt runs, with the nice value 5\.\nIts log:\n/,
    );
    expectEnded(Number(/^Process (\d+)/m.exec(stdout)?.[1]));
  }

  test('a machine is prepared before its program runs, with a stand-in for QEMU', () => {
    const stdout = expectSuccess(run('machine', { args: ['--stand-in'] }));
    expectMachine(stdout);
    if (engineInfo().engine === 'native') expect(stdout).toContain('\nweb-1 is up\nweb-1: no KVM\n');
  });

  test('the same with QEMU itself', ({ skip }) => {
    skip(!existsSync('/usr/bin/qemu-system-x86_64'), 'qemu-system-x86_64 is not installed');
    expectMachine(expectSuccess(run('machine')));
  });

  test('100 jobs run, 8 at once', () => {
    expect(expectSuccess(run('jobs'))).toBe('All are done.\n');
  });

  test('the first job that fails is the error of all, and the others are ended', () => {
    const { status, stderr } = run('jobs', { args: ['no-time'] });
    expect(status).toBe(1);
    expect(stderr).toMatch(/sleep: invalid time interval .no-time./);
    expect(readdirSync(scratch)).toEqual([]);
  });

  const { why } = engineInfo();
  test.for(['native', 'portable'])(
    'Ctrl-C at a terminal ends the jobs that run, and leaves the terminal as it was (%s engine)',
    async (engine, { skip }) => {
      const before = process.env['VIRCOMMAND_ENGINE'];
      process.env['VIRCOMMAND_ENGINE'] = 'native';
      onTestFinished(() => {
        if (before === undefined) delete process.env['VIRCOMMAND_ENGINE'];
        else process.env['VIRCOMMAND_ENGINE'] = before;
      });
      if (engineInfo().engine !== 'native') skip(`the terminal here is one of the native engine: ${why}`);
      // No other process of this machine sleeps for so long.
      const mark = `600.${process.pid}${engine.length}`;
      const jobs = (): number[] => pidsWith(`sleep\0${mark}\0`);
      const shell = 'trap : INT; stty -g; VIRCOMMAND_ENGINE=$1 $2 $3 $4; echo "code $?"; stty -g; echo end';
      const words = [engine, process.execPath, join(compiled, 'jobs.js'), mark];
      const sitting = new Sitting(await new Command('sh', '-c', shell, 'sh', ...words).terminal().runAsync());
      await eventually('8 run', () => jobs().length === 8);
      sitting.type('\x03');
      await sitting.until(/end\r\n/);
      expect(jobs()).toEqual([]);
      const [modes, ...lines] = plain(sitting.all).trimEnd().split('\n');
      expect(lines.slice(-4)).toEqual(['Stopped.', 'code 130', modes, 'end']);
      // The cursor was hidden, and is to be seen again.
      expect(sitting.all.lastIndexOf('\x1b[?25h')).toBeGreaterThan(sitting.all.lastIndexOf('\x1b[?25l'));
      expect(sitting.all).toContain('\x1b[?25l');
    },
  );

  test('a dry run records commands and answers them', () => {
    const stdout = expectSuccess(run('dry-run'));
    expect(stdout).toContain('  /usr/sbin/ip link add virbr7 type bridge\n');
    expect(stdout).toContain('The driver gave up after 1 command.');
  });
});

describe('the demo', () => {
  function expectStory(stdout: string): void {
    const [, started] = /Process (\d+) is running, and \S+ holds \1\./.exec(stdout) ?? [];
    expect(stdout).toContain('vircommand.test is 192.0.2.7.');
    expect(stdout).toContain(`No process ${started}. No directory`);
    expectEnded(Number(started));
  }

  test('starts dnsmasq, resolves a name through it, and leaves nothing behind', ({ skip }) => {
    skip(!dnsmasq, 'dnsmasq is not installed');
    const stdout = expectSuccess(run('dnsmasq'));
    expect(stdout).toContain('1. dnsmasq is installed.');
    expect(stdout).toContain('config vircommand.test is 192.0.2.7');
    expectStory(stdout);
  });

  test('does the same with the responder', () => {
    const stdout = expectSuccess(run('dnsmasq', { args: ['--responder'] }));
    expect(stdout).toContain('1. dnsmasq is left aside.');
    expect(stdout).toContain('asked for vircommand.test, type 1: 192.0.2.7');
    expectStory(stdout);
  });

  /** A program of the name dnsmasq that comes first in PATH. */
  function withFake(script: string): { env: Record<string, string> } {
    const bin = mkdtempSync(join(tmpdir(), 'vircommand-fake-'));
    fakes.push(bin);
    writeFileSync(join(bin, 'dnsmasq'), script);
    chmodSync(join(bin, 'dnsmasq'), 0o755);
    return { env: { PATH: `${bin}:${process.env['PATH'] ?? ''}:${dirname(process.execPath)}` } };
  }
  const fakes: string[] = [];
  afterEach(() => {
    for (const bin of fakes.splice(0)) rmSync(bin, { recursive: true });
  });

  test('a server that ends at once makes it fail, with the last words of the log', () => {
    const { status, stderr } = run('dnsmasq', withFake('#!/bin/sh\necho "no such option" >&2\nexit 2\n'));
    expect(status).toBe(1);
    expect(stderr).toBe('\nThe demo failed: The server has ended. Its log: no such option\n');
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('a server that never answers makes it fail, and is ended', () => {
    const { status, stdout, stderr } = run('dnsmasq', withFake('#!/bin/sh\nexec sleep 60\n'));
    expect(status).toBe(1);
    expect(stderr).toBe('\nThe demo failed: The server does not answer. Its log: empty\n');
    const [, started] = /Process (\d+) is running/.exec(stdout) ?? [];
    expectEnded(Number(started));
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('a temporary directory that does not exist makes it fail before anything is started', () => {
    const { status, stdout, stderr } = run('dnsmasq', { env: { TMPDIR: join(scratch, 'gone') } });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('The demo failed: ENOENT');
  });
});
