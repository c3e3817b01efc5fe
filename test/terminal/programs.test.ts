import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { Command } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { plain, Sitting } from '../helpers/terminals.js';
import { DEADLINE_MS, fixture, hasProgram, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

/** A program at a terminal that most programs can draw on; it is not installed everywhere. */
async function at(skip: (why: string) => never, program: string, ...args: string[]) {
  if (!hasProgram(program)) skip(`${program} is not installed`);
  const child = await new Command(program, ...args)
    .envInherit()
    .env('TERM', 'vt100')
    .env('LC_ALL', 'C')
    .terminal()
    .runAsync();
  return { child, sitting: new Sitting(child) };
}

/** The same in the foreground of the terminal of a Node program, which is at one of ours. */
async function inForeground(skip: (why: string) => never, program: string, ...args: string[]) {
  if (!hasProgram(program)) skip(`${program} is not installed`);
  return at(skip, process.execPath, fixture('foreground.js'), 'run', program, ...args);
}

/** Where sshd has its room; without one that is root's, it does not start as root. */
const SSHD_ROOM = '/run/sshd';

/** A server of ssh on the loopback, with keys of its own, and what its client has to be told. */
async function login(skip: (why: string) => never): Promise<string[]> {
  const server = ['/usr/sbin/sshd', '/usr/bin/sshd'].find((file) => existsSync(file));
  if (server === undefined || !hasProgram('ssh') || !hasProgram('ssh-keygen'))
    skip('sshd, ssh and ssh-keygen are not installed');
  const { uid, username } = userInfo();
  if (uid === 0 && !existsSync(SSHD_ROOM)) {
    mkdirSync(SSHD_ROOM);
    onTestFinished(() => rmdirSync(SSHD_ROOM));
  }
  for (const [key, passphrase] of [
    ['host', ''],
    ['own', 'open sesame'],
  ] as const)
    await new Command('ssh-keygen', '-q', '-t', 'ed25519', '-N', passphrase, '-f', path(key)).run();
  const port = await freePort();
  const options = [`HostKey=${path('host')}`, `AuthorizedKeysFile=${path('own.pub')}`, 'ListenAddress=127.0.0.1', `Port=${port}`, 'StrictModes=no', 'UsePAM=no', 'PidFile=none', 'PermitRootLogin=yes']; // prettier-ignore
  const sshd = await new Command(server)
    .args('-D', '-e', '-f', '/dev/null', ...options.flatMap((option) => ['-o', option]))
    .errorPipe()
    .runAsync();
  onTestFinished(() => sshd.free());
  await sshd.waitForLine(/^Server listening/, { from: 'stderr', within: DEADLINE_MS });
  const settings = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'IdentitiesOnly=yes', 'PreferredAuthentications=publickey']; // prettier-ignore
  return ['-F', 'none', '-p', String(port), '-i', path('own'), ...settings.flatMap((one) => ['-o', one]), `${username}@127.0.0.1`]; // prettier-ignore
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe.each([
  ['a terminal of its own', at, ''],
  ["the foreground of a Node program's terminal", inForeground, 'end: 0'],
] as const)('at %s,', (_name, begin, last) => {
  test('less shows a page, goes to the last one, and quits', async ({ skip }) => {
    writeFileSync(path('lines'), Array.from({ length: 500 }, (_, line) => `line ${line}\n`).join(''));
    const { child, sitting } = await begin(skip, 'less', path('lines'));
    await sitting.until(/line 5\r/);
    expect(plain(sitting.all)).not.toContain('line 499');
    sitting.type('G');
    await sitting.until(/line 499/);
    sitting.type('q');
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('vi takes a text, and writes it into its file', async ({ skip }) => {
    const { child, sitting } = await begin(skip, 'vi', '-u', 'NONE', path('note'));
    await sitting.until(/note[^]*~/);
    sitting.type('ihello from the keyboard\x1b');
    await sitting.until(/keyboard/);
    sitting.type(':wq\r');
    expect((await child.wait()).exitCode).toBe(0);
    expect(readFileSync(path('note'), 'utf8')).toBe('hello from the keyboard\n');
    expect(sitting.all).toContain(last);
  });

  test('top draws its table, and quits by its key', async ({ skip }) => {
    const { child, sitting } = await begin(skip, 'top', '-d', '60');
    await sitting.until(/PID[^]*COMMAND/);
    sitting.type('q');
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('script(1) has a terminal within a terminal', async ({ skip }) => {
    const { child, sitting } = await begin(
      skip,
      'script',
      '-q',
      '-c',
      'tty; stty size; read word; echo "word: $word"',
      path('typescript'),
    );
    await sitting.until(/\/dev\/pts\/\d+\r\n24 80\r\n/);
    sitting.type('inner\r');
    await sitting.until(/word: inner/);
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('ssh asks for a passphrase, passes on keys and the size of the terminal, and gives the exit code', async ({
    skip,
  }) => {
    const words = await login(skip);
    const remote = 'stty size; while read word && test "$word" != end; do echo "word: $word"; stty size; done; tty';
    const { child, sitting } = await begin(skip, 'ssh', ...words, '-t', remote);
    await sitting.until(/passphrase for key [^]*: /);
    sitting.type('open sesame\r');
    await sitting.until(/\r\n24 80\r\n/);
    sitting.type('typed\r');
    await sitting.until(/word: typed\r\n24 80\r\n/);
    sitting.terminal.resize(100, 30);
    for (let told = ''; !told.includes('\r\n30 100\r\n');) {
      sitting.type('size\r');
      told = await sitting.until(/word: size\r\n\d+ \d+\r\n/);
    }
    sitting.type('end\r');
    await sitting.until(/\/dev\/pts\/\d+\r\n/);
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
    expect(sitting.all).not.toContain('sesame');
  });

  test('su asks nobody who is root, and gives a shell to the user', async ({ skip }) => {
    if (process.geteuid?.() !== 0) skip('only root is not asked for a password');
    const { child, sitting } = await begin(
      skip,
      'su',
      '-s',
      '/bin/sh',
      '-c',
      'id -un; tty; read word; echo "word: $word"',
      'nobody',
    );
    await sitting.until(/nobody\r\n\/dev\/pts\/\d+\r\n/);
    sitting.type('typed\r');
    await sitting.until(/word: typed/);
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });
});
