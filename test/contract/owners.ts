import { once } from 'node:events';
import { closeSync, createWriteStream, existsSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Command, type DescriptorLike, LaunchError, UsageError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NOWHERE, rejection, sh, useDirectory } from '../helpers/tools.js';

/** What an object that owns a descriptor is, after a program was given it. */
interface Owned {
  readonly object: DescriptorLike & object;
  readonly fd: number;
  readonly isClosed: () => boolean;
}

const numberOf = (stream: object): number => (stream as { _handle: { fd: number } })._handle.fd;

/** Objects of a descriptor, as child_process takes some of them; and where it leads in a program. */
const kinds: [string, (path: (name: string) => string) => Promise<Owned>][] = [
  [
    'a FileHandle',
    async (path) => {
      const object = await open(path('file'), 'w+');
      onTestFinished(() => object.close());
      return { object, fd: object.fd, isClosed: () => object.fd === -1 };
    },
  ],
  [
    'a stream of a file',
    async (path) => {
      const object = createWriteStream(path('file'));
      await once(object, 'open');
      onTestFinished(async () => {
        if (!object.closed) await once(object.destroy(), 'close');
      });
      return { object, fd: (object as unknown as { fd: number }).fd, isClosed: () => object.destroyed };
    },
  ],
  [
    'a net.Server',
    async (path) => {
      const object = createServer().listen(path('server'));
      await once(object, 'listening');
      onTestFinished(() => void object.close());
      return { object, fd: numberOf(object), isClosed: () => !object.listening };
    },
  ],
  [
    'a net.Socket',
    async (path) => {
      const server = createServer((client) => client.resume().on('error', () => client.destroy())).listen(
        path('server'),
      );
      await once(server, 'listening');
      const object = connect(path('server'));
      await once(object, 'connect');
      onTestFinished(() => {
        object.destroy();
        server.close();
      });
      return { object, fd: numberOf(object), isClosed: () => object.destroyed };
    },
  ],
  [
    "another child's stream",
    async () => {
      const child = await new Command('cat').inputPipe().outputPipe().runAsync();
      onTestFinished(async () => {
        await child.free();
      });
      const object = child.stdin;
      return { object, fd: numberOf(object), isClosed: () => object.destroyed };
    },
  ],
];

export function ownerContract(): void {
  describe('an object that owns a descriptor:', () => {
    const path = useDirectory();
    /** What a program sees at a number. */
    const seen = (command: Command, fd: number) =>
      command
        .outputBuffer()
        .run()
        .then(({ stdout }) => [stdout.trim(), fd] as const);
    const look = (fd: number) => new Command('stat', '-Lc', '%i', `/proc/self/fd/${fd}`);

    test.each(kinds)(
      '%s is passed at its number, at another, and as a stream, and stays open here',
      async (_, make) => {
        const { object, fd, isClosed } = await make(path);
        const inode = String(fstatSync(fd).ino);
        expect(await seen(look(fd).preserveFd(object), fd)).toEqual([inode, fd]);
        expect(await seen(look(77).passFd(object, { as: 77 }), 77)).toEqual([inode, 77]);
        await new Command('sh', '-c', 'stat -Lc %i /proc/self/fd/2 >"$1"', 'sh', path('err')).errorFd(object).run();
        expect(readFileSync(path('err'), 'utf8').trim()).toBe(inode);
        expect([isClosed(), String(fstatSync(fd).ino)]).toEqual([false, inode]);
      },
    );

    test.each(kinds)('%s that is given away is closed itself: no later close() hits a stranger', async (_, make) => {
      const { object, fd, isClosed } = await make(path);
      await new Command('true').transferFd(object).run();
      expect(isClosed()).toBe(true);
      // The number is free, or somebody else's: a second close of the object does not close that.
      const strangers = Array.from({ length: 30 }, () => openSync('/dev/null', 'r'));
      onTestFinished(() => {
        for (const stranger of strangers) closeSync(stranger);
      });
      if ('close' in object && typeof object.close === 'function') await (object as FileHandle | Server).close();
      if ('destroy' in object) (object as Socket).destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(strangers.map((stranger) => fstatSync(stranger).isCharacterDevice())).not.toContain(false);
      expect(fd).toBeGreaterThan(2);
    });

    test.each(kinds)('%s that is given away is closed by a start that fails, too', async (_, make) => {
      const { object, isClosed } = await make(path);
      await rejection(LaunchError, new Command(NOWHERE).passFd(object, { as: 9, closeInParent: true }).run());
      expect(isClosed()).toBe(true);
    });

    test.each(kinds)('%s is a number in the spec, and is named as attached', async (_, make) => {
      const { object, fd } = await make(path);
      const spec = new Command('true').passFd(object, { as: 9 }).outputFd(object).spec();
      expect(spec).toMatchObject({
        stdout: { to: 'fd', fd },
        descriptors: [{ fd, as: 9 }],
        attached: ['outputFd', 'passFd'],
      });
      expect(JSON.parse(JSON.stringify(spec))).toEqual({ ...spec });
      expect(new Command('true').passFd(fd, { as: 9 }).spec().attached).toBeUndefined();
    });

    test('that was closed since is a mistake, also where its number is open again', async () => {
      const file = await open('/dev/null');
      const { fd } = file;
      const command = new Command('true').passFd(file, { as: 9 });
      const copy = command.clone();
      await file.close();
      const other = openSync('/dev/null', 'r');
      onTestFinished(() => closeSync(other));
      for (const one of [command, copy]) {
        const { mistakes } = await rejection(UsageError, one.run());
        expect(mistakes).toEqual([
          { call: `passFd(${fd}, { as: 9 })`, problem: 'the FileHandle is closed by now, and so is its descriptor' },
        ]);
      }
      const { mistakes } = await rejection(UsageError, new Command('true').inputFd(file).run());
      expect(mistakes).toMatchObject([
        {
          call: 'inputFd(FileHandle)',
          problem: 'the FileHandle has no descriptor: it is not open yet, or closed already',
        },
      ]);
    });

    test('that an earlier run has given away is a mistake', async () => {
      const file = await open('/dev/null');
      const command = new Command('true').transferFd(file);
      await command.run();
      expect((await rejection(UsageError, command.run())).message).toContain(
        'an earlier run has given this descriptor away',
      );
    });

    test('that is said twice is closed once', async () => {
      const file = await open(path('file'), 'w');
      const command = sh('echo out; echo err >&2');
      await command.passFd(file, { as: 1, closeInParent: true }).passFd(file, { as: 2, closeInParent: true }).run();
      expect([file.fd, readFileSync(path('file'), 'utf8')]).toEqual([-1, 'out\nerr\n']);
    });

    test('a server that is given away leaves the file of its socket to the program', async () => {
      const server = createServer().listen(path('server'));
      await once(server, 'listening');
      const inode = fstatSync(numberOf(server)).ino;
      const program = sh('stat -Lc %i /proc/self/fd/5; [ -S "$1" ] && echo there', path('server'));
      const { stdout } = await program.passFd(server, { as: 5, closeInParent: true }).outputBuffer().run();
      expect(stdout).toMatch(new RegExp(`^${inode}\\n`));
      expect([server.listening, existsSync(path('server'))]).toEqual([false, true]);
    });

    test("another child's output is all the next program's: not a byte of it is read here", async () => {
      const writer = await sh('seq 1 200000').outputPipe().runAsync();
      const reader = new Command('wc', '-l').passFd(writer.stdout, { as: 0, closeInParent: true });
      const { stdout } = await reader.outputBuffer().run();
      expect(stdout.trim()).toBe('200000');
      await writer.wait();
    });

    test('the end of a child whose output another program has does not take what is left', async () => {
      const writer = await sh('seq 1 1000').outputPipe().runAsync();
      const command = sh('while [ ! -e "$1" ]; do sleep 0.01; done; wc -l', path('go')).inputFd(writer.stdout);
      const reader = await command.outputBuffer().runAsync();
      await writer.wait();
      await new Promise((resolve) => setTimeout(resolve, 20));
      writeFileSync(path('go'), '');
      writer.stdout.destroy();
      expect((await reader.wait()).stdout.trim()).toBe('1000');
    });

    test('a stream that was read from already is a mistake: the program would miss that', async () => {
      const writer = await sh('echo early; exec sleep 600').outputPipe().runAsync();
      onTestFinished(async () => {
        await writer.free();
      });
      while (writer.stdout.readableLength === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const { mistakes } = await rejection(UsageError, new Command('cat').inputFd(writer.stdout).run());
      expect(mistakes[0]?.problem).toBe(
        "6 bytes have been read from the child's stream already, which the program would miss; pass it before this process reads from it, or read them",
      );
      expect(String(writer.stdout.read())).toBe('early\n');
    });

    test('a stream that was named, and is not passed after all, is read here', async () => {
      const writer = await sh('echo mine').outputPipe().runAsync();
      new Command('cat').inputFd(writer.stdout);
      let text = '';
      for await (const piece of writer.stdout) text += String(piece);
      expect(text).toBe('mine\n');
    });
  });
}
