import { once } from 'node:events';
import { existsSync, fstatSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  Command,
  type Descriptor,
  DescriptorError,
  listenTcp,
  listenUnix,
  openTap,
  pipePair,
  socketPair,
  UnsupportedError,
} from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inParent, needsProgram, needsRoot, useNativeEngine } from '../helpers/native.js';
import { sh, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const flagsOf = (fd: number): number =>
  Number.parseInt(/^flags:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8);
const umaskOf = (mask: number): void => {
  const before = process.umask(mask);
  onTestFinished(() => {
    process.umask(before);
  });
};
const kept = <T extends Disposable>(descriptor: T): T => {
  onTestFinished(() => {
    descriptor[Symbol.dispose]();
  });
  return descriptor;
};

const makers: [string, () => Descriptor][] = [
  ['listenUnix()', () => kept(listenUnix(path('socket')))],
  ['listenTcp()', () => kept(listenTcp(0, '127.0.0.1'))],
  ['pipePair()', () => kept(pipePair()).readEnd],
  ['socketPair()', () => kept(socketPair()).first],
];

describe.each(makers)('a descriptor of %s', (_, make) => {
  test('blocks, is closed on exec, and is no stream of this process', () => {
    const { fd } = make();
    expect([flagsOf(fd) & O_NONBLOCK, flagsOf(fd) & O_CLOEXEC]).toEqual([0, O_CLOEXEC]);
  });

  test('is open until it is closed, and then has no number; to close it again closes nobody else', () => {
    const descriptor = make();
    const { fd } = descriptor;
    descriptor.close();
    expect([descriptor.fd, existsSync(`/proc/self/fd/${fd}`)]).toEqual([-1, false]);
    const { readEnd, writeEnd } = kept(pipePair());
    descriptor.close();
    expect([readEnd, writeEnd].map((end) => fstatSync(end.fd).isFIFO())).toEqual([true, true]);
  });

  test('blocks in the program, which has it and nothing else; here it stays open unless it is given away', async () => {
    const descriptor = make();
    const command = sh('grep flags /proc/self/fdinfo/9').outputBuffer();
    const { stdout } = await command.passFd(descriptor, { as: 9 }).run();
    expect(Number.parseInt(/\d+/.exec(stdout)?.[0] ?? '', 8) & O_NONBLOCK).toBe(0);
    expect(descriptor.fd).toBeGreaterThan(2);
    await new Command('true').transferFd(descriptor).run();
    expect(descriptor.fd).toBe(-1);
  });

  test('is not made in a dry run, which gives another', () => {
    const dry = dryRun();
    try {
      expect(readlinkSync(`/proc/self/fd/${make().fd}`)).toBe('/dev/null');
      expect(existsSync(path('socket'))).toBe(false);
    } finally {
      dry[Symbol.dispose]();
    }
  });
});

describe('listenUnix()', () => {
  // systemd's SocketMode= is exact, too.
  test.each([0o600, 0o660, 0o777, 0])('has the mode that is said, whatever the umask: %o', (mode) => {
    umaskOf(0o077);
    kept(listenUnix(path('socket'), { mode }));
    expect(lstatSync(path('socket')).mode & 0o777).toBe(mode);
  });

  test('has the mode that the umask leaves where none is said', () => {
    umaskOf(0o027);
    kept(listenUnix(path('socket')));
    expect(lstatSync(path('socket')).mode & 0o777).toBe(0o750);
  });

  test('listens at once; the program accepts, and its socket stays when ours is closed', async () => {
    const socket = kept(listenUnix(path('socket')));
    const client = connect(path('socket'));
    await once(client, 'connect');
    const script = `require('node:net')
      .createServer((client) => client.end(process.env.LISTEN_FDS + ' served'))
      .listen({ fd: 3 });`;
    const program = await new Command(process.execPath, '-e', script).listenFds(socket).runAsync();
    socket.close();
    expect(await text(client)).toBe('1 served');
    expect(existsSync(path('socket'))).toBe(true);
    await program.free();
  });

  test('does not take the place of a file, and leaves none behind where it fails', () => {
    writeFileSync(path('socket'), 'text');
    expect(() => listenUnix(path('socket'))).toThrow(DescriptorError);
    expect(() => listenUnix(path('socket'))).toThrow(
      `No socket can listen at '${path('socket')}' (bind: EADDRINUSE). Remove the file if no process listens there any more, or choose another path.`,
    );
    expect(readFileSync(path('socket'), 'utf8')).toBe('text');
    mkdirSync(path('directory'));
    expect(() => listenUnix(path('missing/socket'))).toThrow('(bind: ENOENT).');
  });

  test('takes a name without a file', () => {
    const name = `vircommand-test-${process.pid}`;
    kept(listenUnix(`\0${name}`));
    // Every NUL of such a name is printed as '@': there is one.
    expect(readFileSync('/proc/net/unix', 'utf8')).toMatch(new RegExp(` @${name}$`, 'm'));
  });

  test.each<[string, () => unknown, string]>([
    ['no path', () => listenUnix(''), "listenUnix(''): the path is a text, with no NUL but at its beginning."],
    ['a number', () => listenUnix(3 as never), 'listenUnix(3): the path is a text, with no NUL but at its beginning.'],
    ['a mode that is none', () => listenUnix('/x', { mode: 0o1777 }), 'the mode is a number from 0 to 0o777.'],
    ['a backlog that is none', () => listenUnix('/x', { backlog: -1 }), 'the backlog is a whole number from 0.'],
    [
      'a path that is too long',
      () => listenUnix(`/${'x'.repeat(107)}`),
      'the path has 108 bytes, and that of a socket 107 at most',
    ],
    ['a port that is none', () => listenTcp(65_536), 'a port is a whole number from 0 to 65535.'],
    ['a name', () => listenTcp(1, 'example.org'), "an address is written in digits, as '127.0.0.1' or '::1'."],
    [
      'a long name',
      () => openTap('x'.repeat(16)),
      "the name of an interface has 1 to 15 bytes, and no space, '/' or ':'.",
    ],
  ])('and the others refuse %s', (_, call, message) => {
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
  });
});

describe('listenTcp()', () => {
  test('tells the port that was free, and listens there', async () => {
    const socket = kept(listenTcp(0, 'localhost'));
    const client = connect(socket.port, socket.host);
    await once(client, 'connect');
    client.destroy();
    expect([socket.host, socket.port > 0]).toEqual(['127.0.0.1', true]);
  });

  test('serves every address where none is said', async () => {
    const socket = kept(listenTcp(0));
    const client = connect(socket.port, '127.0.0.1');
    await once(client, 'connect');
    client.destroy();
  });

  test('is refused a port that somebody has', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    expect(() => listenTcp(port, '127.0.0.1')).toThrow(
      `No socket can listen at 127.0.0.1 port ${port} (bind: EADDRINUSE).`,
    );
    server.close();
  });
});

test('pipePair() joins two programs, and can be taken apart in both ways', async () => {
  const pair = kept(pipePair());
  const [readEnd, writeEnd] = pair;
  expect([readEnd, writeEnd]).toEqual([pair.readEnd, pair.writeEnd]);
  const [, { stdout }] = await Promise.all([
    new Command('seq', 1, 200_000).passFd(pair.writeEnd, { as: 1, closeInParent: true }).run(),
    new Command('wc', '-l').passFd(pair.readEnd, { as: 0, closeInParent: true }).outputBuffer().run(),
  ]);
  expect(stdout.trim()).toBe('200000');
});

test('socketPair() goes both ways', async () => {
  const [one, other] = kept(socketPair());
  const asking = sh('echo question; head -n 1 >&3').passFd(one, { as: 1, closeInParent: true });
  const { stdout } = await new Command('stat', '-Lc', '%F', '/dev/fd/0').inputFd(other).outputBuffer().run();
  expect(stdout.trim()).toBe('socket');
  expect(asking.spec().attached).toEqual(['passFd']);
});

test('openTap() makes a device that is gone with its last descriptor', ({ skip }) => {
  needsRoot(skip);
  if (!existsSync('/dev/net/tun')) skip('there is no /dev/net/tun');
  const tap = kept(openTap('vcmd%d'));
  expect(tap.name).toMatch(/^vcmd\d+$/);
  expect(existsSync(`/sys/class/net/${tap.name}`)).toBe(true);
  expect(() => openTap(tap.name)).toThrow(`The tap device '${tap.name}' cannot be opened (ioctl(TUNSETIFF): EBUSY).`);
  tap.close();
  expect(existsSync(`/sys/class/net/${tap.name}`)).toBe(false);
});

test('the descriptors of a worker are closed with it', async ({ skip }) => {
  needsProgram(skip, 'sh');
  const left = await inParent(async () => {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    const { readdirSync } = process.getBuiltinModule('node:fs');
    const count = () => readdirSync('/proc/self/fd').length;
    const start = async () => {
      const worker = new Worker(
        `import('${new URL('dist/index.js', `file://${process.cwd()}/`).href}').then(({ pipePair, socketPair, listenTcp }) => {
          for (let i = 0; i < 20; i++) { pipePair(); socketPair(); listenTcp(0, '127.0.0.1'); }
          process.getBuiltinModule('node:worker_threads').parentPort.postMessage('made');
        });`,
        { eval: true },
      );
      await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
    };
    await start();
    const before = count();
    await start();
    return count() - before;
  });
  expect(left).toBe(0);
});

test('the portable engine refuses them all, by name and with the reason', () => {
  process.env['VIRCOMMAND_ENGINE'] = 'portable';
  onTestFinished(() => {
    process.env['VIRCOMMAND_ENGINE'] = 'native';
  });
  const calls = [
    ['listenUnix', () => listenUnix(path('socket'))],
    ['listenTcp', () => listenTcp(0)],
    ['pipePair', () => pipePair()],
    ['socketPair', () => socketPair()],
    ['openTap', () => openTap('vcmd0')],
  ] as const;
  for (const [feature, call] of calls) {
    expect(call).toThrow(UnsupportedError);
    expect(call).toThrow(expect.objectContaining({ feature, engine: 'portable' }));
  }
});
