import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { Command, type Lane } from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import { lanes, needsRoot, outputOf, parentWords, root, useNativeEngine } from '../helpers/native.js';
import { end, eventually, isRoot, STRANGER, useDirectory, writeProgram } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();
afterEach(() => {
  process.chdir(root);
});

const itself = 'the directory itself';

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** Makes this process stand in a directory that another one is like. */
function makeBoth(): void {
  for (const [directory, word] of [
    ['app', itself],
    ['other', 'another'],
  ] as const) {
    mkdirSync(path(directory));
    mkdirSync(path(`${directory}/sub`));
    writeFileSync(path(`${directory}/sub/in`), word);
    writeFileSync(path(`${directory}/in`), word);
    writeProgram(path(`${directory}/tool`), `#!/bin/sh\necho ${word}; cat in\n`);
  }
  process.chdir(path('app'));
  expect(process.cwd()).toBe(path('app')); // Node remembers it.
}

/** Renames the directory that this process is in, and has another one in its place. */
function swap(): void {
  renameSync(path('app'), path('app.old'));
  renameSync(path('other'), path('app'));
}

function moveAway(): void {
  makeBoth();
  swap();
}

// As a child of child_process, which is in the directory itself.
describe('what begins in a directory that was renamed is found there', () => {
  test.each(lanes)('by the lane %s', async (lane: Lane, take) => {
    moveAway();
    expect(take(new Command('./tool')).plan().lane).toBe(lane);
    expect(await outputOf(take(new Command('./tool')))).toBe(`${itself}\n${itself}`);
    expect(await outputOf(take(new Command('./tool').workingDirectory('sub')))).toBe(`${itself}\n${itself}`);
    expect(await outputOf(take(new Command('cat').inputFile('in')))).toBe(itself);
  });

  test('by runSync()', () => {
    moveAway();
    const { stdout } = new Command('./tool').workingDirectory('sub').errorFile('log').outputBuffer().runSync();
    expect(stdout).toBe(`${itself}\n${itself}`);
    expect(readFileSync(path('app.old/log'), 'utf8')).toBe('');
    expect(new Command('./tool').outputBuffer().runSync().stdout).toBe(`${itself}\n${itself}`);
  });

  test('by exec()', () => {
    moveAway();
    const [program = '', ...words] = parentWords(async ({ Command: Program }, directory) => {
      const { renameSync: rename, mkdirSync: make } = process.getBuiltinModule('node:fs');
      process.chdir(directory);
      process.cwd();
      rename(directory, `${directory}.again`);
      make(directory);
      new Program('./tool').workingDirectory('sub').exec();
    }, path('app.old'));
    const { stdout, stderr } = spawnSync(program, words, { cwd: root, encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: `${itself}\n${itself}`, stderr: '' });
  });
});

// As with openat() and execveat() by a descriptor of the directory, which Python's dir_fd stands for.
describe('what begins in the directory of this process is found there, though it is renamed while the child stands before its exec', () => {
  /** Holds a child in its handshake, renames the directory, and lets it go. */
  async function held(command: Command): Promise<string> {
    makeBoth();
    const child = await command.requireHandshake().outputBuffer().runAsync();
    await child.handshakeWait();
    swap();
    await child.handshakeNotify();
    return (await child.wait()).stdout;
  }

  test('a script beside workingDirectory()', async () => {
    expect(await held(new Command('./tool').workingDirectory('sub'))).toBe(`${itself}\n${itself}`);
  });

  test('a binary beside workingDirectory(), which keeps its name where it still has it', async () => {
    makeBoth();
    copyFileSync('/bin/cat', path('app/cat'));
    expect(await outputOf(new Command('./cat', '/proc/self/comm').workingDirectory('sub'))).toBe('cat\n');
    expect((await outputOf(new Command('./cat', '/proc/self/cmdline').workingDirectory('sub'))).split('\0')[0]).toBe(
      './cat',
    );
  });

  test('a program of a daemon', async () => {
    makeBoth();
    for (const directory of ['app', 'other'])
      writeProgram(path(`${directory}/service`), `#!/bin/sh\necho ${directory}; exec sleep 600\n`);
    const daemon = await new Command('./service').outputFile('log').pidFile('pid').requireHandshake().daemonize().run();
    try {
      expect(readFileSync(path('app/pid'), 'utf8')).toBe(String(daemon.pid));
      swap();
      await daemon.handshakeNotify();
      await eventually('it has written', () => readFileSync(path('app.old/log'), 'utf8') !== '');
      expect(readFileSync(path('app.old/log'), 'utf8')).toBe('app\n');
    } finally {
      end(daemon.pid);
    }
  });

  test('the pidfile of a daemon that fails, which is removed', async () => {
    makeBoth();
    writeProgram(path('app/service'), '#!/nowhere\n');
    const daemon = await new Command('./service').pidFile('pid').requireHandshake().daemonize().run();
    swap();
    await expect(daemon.handshakeNotify()).rejects.toMatchObject({ step: 'execve', errno: 'ENOENT' });
    expect([existsSync(path('app.old/pid')), existsSync(path('app/pid'))]).toEqual([false, false]);
  });

  test('the pidfile of a daemon that fails as another user, which this process removes', async ({ skip }) => {
    needsRoot(skip);
    makeBoth();
    chmodSync(path('app'), 0o755);
    writeProgram(path('app/service'), '#!/nowhere\n');
    // The first launch of a process opens what stays open.
    await new Command('true').run();
    const before = descriptors();
    const daemon = await new Command('./service')
      .pidFile('pid')
      .requireHandshake()
      .uid(STRANGER)
      .gid(STRANGER)
      .daemonize()
      .run();
    swap();
    await expect(daemon.handshakeNotify()).rejects.toMatchObject({ step: 'execve', errno: 'ENOENT' });
    expect([existsSync(path('app.old/pid')), existsSync(path('app/pid'))]).toEqual([false, false]);
    await eventually('all is closed', () => descriptors() === before);
  });

  test.each([
    ['', (command: Command) => command],
    [' beside workingDirectory()', (command: Command) => command.workingDirectory('sub')],
  ])('a program after a hook that renames the directory and goes elsewhere%s', async (_where, add) => {
    makeBoth();
    const hook = (directory: string): void => {
      const { renameSync: rename } = process.getBuiltinModule('node:fs');
      rename(`${directory}/app`, `${directory}/app.old`);
      rename(`${directory}/other`, `${directory}/app`);
      process.chdir(`${directory}/app`);
    };
    const output = await outputOf(add(new Command('./tool')).preExecHook(hook, path()));
    // Without workingDirectory() the program is where the hook has gone.
    expect(output).toBe(`${itself}\n${_where === '' ? 'another' : itself}`);
  });
});

// As with child_process, whose child is made at the call.
test.each(lanes)(
  'a program is in the directory of the call, though this process leaves it while files are opened, by the lane %s',
  async (_lane, take) => {
    makeBoth();
    await new Command('true').run(); // It opens what this thread keeps.
    const before = descriptors();
    const launched = outputOf(take(new Command('./tool').errorFile('log')));
    process.chdir(path('other'));
    expect(await launched).toBe(`${itself}\n${itself}`);
    expect([existsSync(path('app/log')), existsSync(path('other/log'))]).toEqual([true, false]);
    process.chdir(path('app'));
    const elsewhere = outputOf(take(new Command('./tool').workingDirectory('sub').errorFile('log')));
    process.chdir(path('other'));
    expect(await elsewhere).toBe(`${itself}\n${itself}`);
    await eventually('all is closed', () => descriptors() === before);
  },
);

test.each(lanes)('no program gets a descriptor of the directory by the lane %s', async (_lane, take) => {
  makeBoth();
  writeProgram(path('app/list'), '#!/bin/sh\nfor fd in /proc/$$/fd/*; do readlink $fd; done; echo end\n');
  const lists = [
    take(new Command('./list').workingDirectory('sub')),
    take(new Command('./list').workingDirectory('sub').errorFile('log')),
  ];
  for (const list of lists) expect((await outputOf(list)).split('\n')).not.toContain(path('app'));
  const daemon = new Command('./list').outputFile('log').pidFile('pid').daemonize();
  await take(daemon).run();
  await eventually('it has written', () => readFileSync('log', 'utf8').includes('end'));
  expect(readFileSync('log', 'utf8').split('\n')).not.toContain(path('app'));
});

test('exec() finds a program beside workingDirectory(), and leaves this process where it was if there is none', () => {
  makeBoth();
  const [program = '', ...words] = parentWords(async ({ Command: Program }, directory) => {
    const { readdirSync } = process.getBuiltinModule('node:fs');
    process.chdir(`${directory}/app`);
    const seen = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      try {
        new Program('./absent').workingDirectory('sub').exec();
      } catch (error) {
        const { step, errno } = error as { step?: string; errno?: string };
        seen.push([step, errno, process.cwd(), readdirSync('/proc/self/fd').length].join());
      }
    }
    // The first attempt opens what this process keeps.
    console.log(seen[1], seen[1] === seen[2]);
    new Program('./tool').workingDirectory('sub').exec();
  }, path());
  const { stdout, stderr } = spawnSync(program, words, { cwd: root, encoding: 'utf8' });
  expect(stderr).toBe('');
  const [seen = '', ...output] = stdout.split('\n');
  expect(seen).toMatch(/^execve,ENOENT,.*\/app,\d+ true$/);
  expect(output.join('\n')).toBe(`${itself}\n${itself}`);
});

test('a directory that is closed to this process holds no program back, wherever it starts', async () => {
  // Only a binary: the interpreter of a script opens it by its name.
  makeBoth();
  mkdirSync(path('closed'));
  renameSync(path('app'), path('closed/app'));
  copyFileSync('/bin/cat', path('closed/app/cat'));
  chmodSync(path('closed/app/cat'), 0o755);
  chmodSync(path('closed'), 0);
  try {
    const command = new Command('./cat', 'in').workingDirectory('sub');
    expect(await outputOf(isRoot ? command.uid(STRANGER).gid(STRANGER) : command)).toBe(itself);
  } finally {
    chmodSync(path('closed'), 0o755);
  }
});

test('bytes that are no UTF-8 reach the kernel as they are by runSync() and through every lane', async () => {
  const odd = Buffer.concat([Buffer.from(path('d')), Buffer.of(0xff)]);
  mkdirSync(odd);
  writeFileSync(Buffer.concat([odd, Buffer.from('/in')]), itself);
  mkdirSync(path('dÿ'));
  writeFileSync(path('dÿ/in'), 'another');
  const cat = (): Command => new Command('cat', 'in').workingDirectory(odd);
  expect(cat().outputBuffer().runSync().stdout).toBe(itself);
  for (const [, take] of lanes) expect(await outputOf(take(cat()))).toBe(itself);
});
