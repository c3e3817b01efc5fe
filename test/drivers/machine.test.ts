import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { dryRun, running } from 'vircommand/testing';
import { Machine } from '../../examples/drivers/machine.js';
import { useNativeEngine } from '../helpers/native.js';
import { isRunning, useDirectory, writeProgram } from '../helpers/tools.js';

const path = useDirectory();

/** The monitor of a QEMU that is only played. */
async function monitor(greeting: string): Promise<void> {
  const server = createServer((client) => {
    // One that has waited long enough is gone.
    client.on('error', () => undefined).end(greeting);
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(path('web.qmp'), resolve));
}

describe('in a dry run', () => {
  test('a machine is started, met again by another driver, and destroyed', async () => {
    await monitor('{"QMP": {"version": {}}}\r\n');
    using dry = dryRun({ strict: true });
    const pid = await new Machine('web', path()).start(['-m', '512'], (command) =>
      command.user(0).cgroup('/sys/fs/cgroup/web'),
    );
    expect(dry.argv).toEqual([
      [
        '/usr/bin/qemu-system-x86_64',
        '-name',
        'web',
        '-qmp',
        `unix:${path('web.qmp')},server=on,wait=off`,
        '-m',
        '512',
      ],
    ]);
    expect(dry.specs[0]).toMatchObject({ user: 0, cgroup: '/sys/fs/cgroup/web', umask: 0o007, noNewPrivileges: true });
    const machine = new Machine('web', path());
    {
      using qemu = await machine.open();
      expect(qemu?.pid).toBe(pid);
    }
    await machine.destroy();
    expect([await machine.open(), dry.kills]).toEqual([undefined, [{ call: 'killTree', pid, signal: 'SIGKILL' }]]);
    await machine.destroy();
  });

  test('one that ends at once is told with the end of its log', async () => {
    writeFileSync(path('web.log'), 'one\ntwo\nqemu: -m: bad size\n');
    using dry = dryRun({ strict: true, respond: () => ({ exitCode: 1 }) });
    await expect(new Machine('web', path()).start(['-m', 'x'])).rejects.toThrow(
      'web does not answer. Its log: one\ntwo\nqemu: -m: bad size',
    );
    expect(dry.kills).toEqual([]);
  });

  test('one whose monitor says something else is no machine yet; it ends, and that is told', async () => {
    await monitor('busy\r\n');
    const qemu = running();
    using _dry = dryRun({ strict: true, respond: () => qemu });
    const started = new Machine('web', path()).start([]);
    setTimeout(() => qemu.exit(1), 50);
    await expect(started).rejects.toThrow('web does not answer. Its log: empty');
  });
});

describe('with programs', () => {
  useNativeEngine();

  test('a stand-in for QEMU answers, and is destroyed with what it has started', async () => {
    const program = writeProgram(
      path('qemu'),
      `#!/bin/sh\necho "$5" >"${path('said')}"\nsleep 600 &\necho $! >"${path('below')}"\nexec ${process.execPath} -e '
        require("node:net").createServer((client) => client.end(JSON.stringify({ QMP: {} }))).listen(process.argv[1]);
      ' "${path('web.qmp')}"\n`,
    );
    const machine = new Machine('web', path(), program);
    const pid = await machine.start([]);
    const below = Number(readFileSync(path('below'), 'utf8'));
    expect([pid, below].map(isRunning)).toEqual([true, true]);
    await new Machine('web', path(), process.execPath).destroy();
    expect([isRunning(pid), isRunning(below), existsSync(path('web.pid'))]).toEqual([false, false, false]);
  });

  test('a program that cannot be one is told by its log', async () => {
    const program = writeProgram(path('qemu'), '#!/bin/sh\necho "no such machine" >&2\nexit 1\n');
    await expect(new Machine('web', path(), program).start([])).rejects.toThrow(
      'web does not answer. Its log: no such machine',
    );
  });

  test('QEMU itself answers', async ({ skip }) => {
    const qemu = '/usr/bin/qemu-system-x86_64';
    skip(!existsSync(qemu), 'qemu-system-x86_64 is not installed');
    const machine = new Machine('web', path(), qemu);
    const pid = await machine.start(['-machine', 'none', '-nodefaults', '-display', 'none', '-S']);
    await machine.destroy();
    expect(isRunning(pid)).toBe(false);
  });
});
