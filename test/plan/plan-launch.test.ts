import { describe, expect, test } from 'vitest';
import { Command, LaunchError, type LaunchMode, planLaunch } from '../../src/index.js';
import type { ByteText, Host } from '../../src/index.js';
import { hostWith } from '../helpers/host.js';

const plan = (command: Command, mode: LaunchMode = 'run', host = hostWith()) =>
  planLaunch(command.spec(), host, { mode });
const prog = () => new Command('/prog');
/** A path that is text. */
function textOf(path: ByteText): string {
  if (typeof path !== 'string') throw new TypeError('it is bytes');
  return path;
}
const texts = (vector: readonly Uint8Array[]) => vector.map((word) => Buffer.from(word).toString());

describe('the program', () => {
  const search = (path: string | undefined, look: Host['look'], name = 'prog') => {
    const host = hostWith({ env: path === undefined ? {} : { PATH: path }, look });
    return plan(new Command(name), 'run', host);
  };
  const only =
    (...files: string[]) =>
    (path: ByteText) =>
      files.includes(textOf(path)) ? 'executable' : 'missing';
  const failure = (run: () => unknown): LaunchError => {
    try {
      run();
    } catch (error) {
      if (error instanceof LaunchError) return error;
      throw error;
    }
    throw new Error('it was found');
  };

  test('is the first executable in the order of PATH, and what came before was tried', () => {
    expect(search('/a:/b:/c', only('/b/prog', '/c/prog'))).toMatchObject({ file: '/b/prog', tried: ['/a/prog'] });
  });

  test('keeps the name that was said as its first argument', () => {
    expect(texts(search('/a', only('/a/prog')).argv)).toEqual(['prog']);
  });

  test.each(['', ':', '.', './bin', 'bin', ':/a', '/a:', '.:/a'])(
    "is not looked for in an empty or relative entry of PATH '%s'",
    (path) => {
      const asked: string[] = [];
      const error = failure(() => search(path, (file) => (asked.push(textOf(file)), 'missing')));
      expect(asked).toEqual(path.includes('/a') ? ['/a/prog'] : []);
      expect(error.tried).toEqual(asked);
    },
  );

  test('is looked for once where PATH names a directory twice', () => {
    expect(failure(() => search('/a:/b:/a', only())).tried).toEqual(['/a/prog', '/b/prog']);
  });

  test('is looked for in /bin and /usr/bin without a PATH, and nowhere with an empty one', () => {
    expect(failure(() => search(undefined, only())).tried).toEqual(['/bin/prog', '/usr/bin/prog']);
    expect(failure(() => search('', only())).tried).toEqual([]);
  });

  test('is looked for in the entry of PATH as it is written: a link before .. leads elsewhere', () => {
    expect(failure(() => search('/link/../bin', only())).tried).toEqual(['/link/../bin/prog']);
  });

  test('is not the directory of that name', () => {
    expect(search('/a:/b', (file) => (file === '/a/prog' ? 'directory' : 'executable'))).toMatchObject({
      file: '/b/prog',
      tried: ['/a/prog'],
    });
  });

  test('may stand behind a file that is not executable', () => {
    expect(search('/a:/b', (file) => (file === '/a/prog' ? 'not-executable' : 'executable')).file).toBe('/b/prog');
  });

  test('that is nowhere is an error that tells the directories', () => {
    const error = failure(() => search('/a:/b', only()));
    expect(error).toMatchObject({ step: 'path-search', errno: 'ENOENT', path: 'prog', tried: ['/a/prog', '/b/prog'] });
    expect(error.message).toBe("Cannot start `prog`: no executable named 'prog' in PATH ('/a', '/b').");
  });

  test('that is there and not executable is an error that tells the files', () => {
    const error = failure(() => search('/a:/b', (file) => (file === '/b/prog' ? 'not-executable' : 'missing')));
    expect(error).toMatchObject({ step: 'path-search', errno: 'EACCES', path: 'prog', tried: ['/b/prog'] });
  });

  test('ignores a PATH that is set for the program', () => {
    expect(plan(new Command('prog').env('PATH', '/c')).file).toBe('/b/prog');
  });

  test.each([
    ['/x/prog', '/x/prog'],
    ['./prog', '/work/./prog'],
    ['bin/prog', '/work/bin/prog'],
    ['link/../prog', '/work/link/../prog'],
  ])("'%s' is a path, from this process's directory, and is not looked at", (name, file) => {
    const found = search(
      '/a',
      () => {
        throw new Error('nobody asked');
      },
      name,
    );
    expect({ ...found, file: textOf(found.file).replace('/./', '/') }).toMatchObject({
      file: file.replace('/./', '/'),
      tried: [],
    });
  });

  test('is taken as it was said where no search is wanted', () => {
    expect(planLaunch(new Command('nowhere').spec(), hostWith(), { mode: 'run', search: false })).toMatchObject({
      file: 'nowhere',
      tried: [],
    });
  });
});

describe('the environment', () => {
  test('is inherited, unset variables aside', () => {
    expect(texts(plan(prog()).envp)).toEqual(['PATH=/a:/b', 'HOME=/root', 'EMPTY=']);
  });

  test('is exactly what was said after any call about it, in that order', () => {
    expect(texts(plan(prog().env('B', 1).env('A', 2).env('B', 3)).envp)).toEqual(['B=3', 'A=2']);
    expect(plan(prog().envClear()).envp).toEqual([]);
    expect(plan(prog().envPass('SURELY_NOT_SET_ANYWHERE')).envp).toEqual([]);
  });

  test('holds bytes as they are', () => {
    expect(plan(prog().env('A', Uint8Array.of(0xff))).envp.map((entry) => Array.from(entry))).toEqual([
      [0x41, 0x3d, 0xff],
    ]);
  });

  test('tells the number of listening sockets', () => {
    expect(texts(plan(prog().envClear().listenFds(0, 1)).envp)).toEqual(['LISTEN_FDS=2']);
    expect(texts(plan(prog().listenFds(0)).envp).at(-1)).toBe('LISTEN_FDS=1');
  });
});

describe('the directory', () => {
  test("is this process's own, is not even asked for, unless one is said", () => {
    const host = hostWith({
      cwd: () => {
        throw new Error('it was removed');
      },
    });
    expect('directory' in plan(prog(), 'run', host)).toBe(false);
    expect(plan(prog().workingDirectory('/srv'), 'run', host).directory).toBe('/srv');
  });

  test("is meant from this process's if it is relative", () => {
    expect(plan(prog().workingDirectory('srv')).directory).toBe('/work/srv');
  });

  test('is not shortened: a link before .. leads elsewhere', () => {
    expect(plan(prog().workingDirectory('link/../srv')).directory).toBe('/work/link/../srv');
  });
});

describe('the descriptors', () => {
  const sources = (command: Command, mode: LaunchMode = 'run') =>
    Object.fromEntries(plan(command, mode).descriptors.map(({ childFd, source }) => [childFd, source]));

  test('are /dev/null, and pipes for the log: two with run(), one for standard error with runAsync()', () => {
    expect(sources(prog())).toEqual({
      0: { kind: 'null' },
      1: { kind: 'pipe', for: 'log' },
      2: { kind: 'pipe', for: 'log' },
    });
    expect(sources(prog(), 'async')).toEqual({
      0: { kind: 'null' },
      1: { kind: 'null' },
      2: { kind: 'pipe', for: 'log' },
    });
    expect(sources(prog(), 'daemon')).toEqual({ 0: { kind: 'null' }, 1: { kind: 'null' }, 2: { kind: 'null' } });
  });

  test.each([
    [
      prog().inputPipe().outputPipe().errorPipe(),
      { 0: { kind: 'pipe', for: 'caller' }, 1: { kind: 'pipe', for: 'caller' }, 2: { kind: 'pipe', for: 'caller' } },
    ],
    [
      prog().inputBuffer('x').outputBuffer().errorBuffer(),
      { 0: { kind: 'pipe', for: 'buffer' }, 1: { kind: 'pipe', for: 'buffer' }, 2: { kind: 'pipe', for: 'buffer' } },
    ],
    [
      prog().inputFd(1).outputFd(2).errorFd(0),
      { 0: { kind: 'fd', fd: 1 }, 1: { kind: 'fd', fd: 2 }, 2: { kind: 'fd', fd: 0 } },
    ],
    [prog().inheritStdio(), { 0: { kind: 'fd', fd: 0 }, 1: { kind: 'fd', fd: 1 }, 2: { kind: 'fd', fd: 2 } }],
    [
      prog().inputFile('in').outputFile('/out').errorFile('err', { append: true }),
      {
        0: { kind: 'file', path: '/work/in', open: 'read' },
        1: { kind: 'file', path: '/out', open: 'truncate' },
        2: { kind: 'file', path: '/work/err', open: 'append' },
      },
    ],
    [
      prog().outputFile('/log').errorFile('/log'),
      { 0: { kind: 'null' }, 1: { kind: 'file', path: '/log', open: 'truncate' }, 2: { kind: 'stdout' } },
    ],
    [
      prog().outputFile('log').errorFile('/work/log'),
      { 0: { kind: 'null' }, 1: { kind: 'file', path: '/work/log', open: 'truncate' }, 2: { kind: 'stdout' } },
    ],
    [prog().errorToOutput(), { 0: { kind: 'null' }, 1: { kind: 'pipe', for: 'log' }, 2: { kind: 'stdout' } }],
  ])('come from where they were said to come from: row %#', (command, expected) => {
    expect(sources(command)).toEqual(expected);
  });

  test("of exec() are this process's own where nobody said another, and the lane is this process", () => {
    expect(sources(prog(), 'exec')).toEqual({
      0: { kind: 'fd', fd: 0 },
      1: { kind: 'fd', fd: 1 },
      2: { kind: 'fd', fd: 2 },
    });
    expect(sources(prog().outputFile('/log').errorToOutput(), 'exec')).toMatchObject({
      1: { kind: 'file' },
      2: { kind: 'stdout' },
    });
    expect(plan(prog().uid(1).gid(1), 'exec').lane).toBe('in-place');
  });

  test('stand in rising order, those for listening first among equals', () => {
    const { descriptors, steps } = plan(prog().passFd(0, { as: 9 }).passFd(1, { as: 7 }).listenFds(2, 1));
    expect(descriptors.slice(3)).toEqual([
      { childFd: 3, source: { kind: 'fd', fd: 2 } },
      { childFd: 4, source: { kind: 'fd', fd: 1 } },
      { childFd: 7, source: { kind: 'fd', fd: 1 } },
      { childFd: 9, source: { kind: 'fd', fd: 0 } },
    ]);
    expect(steps).toContainEqual({ step: 'close_range', by: '', keep: [0, 1, 2, 3, 4, 7, 9] });
  });
});
