import { Server, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Command } from '../../src/index.js';
import { anything, lookingMethods, usageError } from '../helpers/usage.js';

const here = fileURLToPath(import.meta.url);

type Row = readonly [build: (command: Command) => unknown, call: string, problem: string];

const NUL = 'holds a NUL byte, which ends a string for the kernel';
const HALF = 'holds half of a surrogate pair, which has no bytes in UTF-8';
const GIVE = 'give a string, a number, a bigint or bytes (Uint8Array)';
const NO_OBJECT =
  'an object is no descriptor, unless it owns one: give a number, a FileHandle, a net.Server, a stream that has one, or what listenUnix() and the like give';
const FD = 'a descriptor is a whole number from 0 to 1048575';
const LIMIT = "a limit is a whole number of 0 or more, or 'unlimited'";
const ID = 'is a whole number from 0 to 4294967294';
const TIMEOUT = 'a timeout is above 0 and at most 2147483647 milliseconds';
const PAIRS = "give pairs of a signal and milliseconds: [['SIGTERM', 5000], ['SIGKILL', 0]]";
const NO_CAP = "there is no such capability; capabilities(7) names them, as 'CAP_NET_ADMIN'";
const resources =
  'the resources are as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack';

const rows: readonly Row[] = [
  // Arguments.
  [(c) => c.arg('a\0b'), String.raw`arg('a\x00b')`, `the value ${NUL}`],
  [(c) => c.arg(Uint8Array.of(1, 0, 2)), 'arg(3 bytes)', `the value ${NUL}`],
  [(c) => c.arg('\ud800'), `arg(${inspect('\ud800')})`, `the value ${HALF}`],
  [(c) => c.arg(NaN), 'arg(NaN)', 'the value is NaN, which no program can read'],
  [(c) => c.arg(-Infinity), 'arg(-Infinity)', 'the value is -Infinity, which no program can read'],
  [(c) => c.arg(anything(undefined)), 'arg(undefined)', `the value is undefined; ${GIVE}`],
  [(c) => c.arg(anything(null)), 'arg(null)', `the value is null; ${GIVE}`],
  [(c) => c.arg(anything(true)), 'arg(true)', `the value is a boolean; ${GIVE}`],
  [(c) => c.arg(anything({})), 'arg({})', `the value is an object; ${GIVE}`],
  [(c) => c.arg(anything(['a'])), "arg(['a'])", 'the value is an array; args() takes arrays'],
  [(c) => c.arg(anything(() => 1)), 'arg(function)', `the value is a function; ${GIVE}`],
  [(c) => c.args('a', ['b', anything(null)]), "args('a', ['b', null])", `the value is null; ${GIVE}`],
  [(c) => c.args(anything([['a']])), "args([['a']])", `the value is an array; ${GIVE}`],
  [(c) => c.argPair(anything(null), 'b'), "argPair(null, 'b')", `the name is null; ${GIVE}`],
  [(c) => c.argPair('a', 'b\0'), String.raw`argPair('a', 'b\x00')`, `the value ${NUL}`],
  [(c) => c.argFormat('%d', 'x'), "argFormat('%d', 'x')", "'%d' takes a number"],
  [(c) => c.argFormat(anything(5)), 'argFormat(5)', 'the format is no string'],
  [(c) => c.argFormat('%s', '\0'), String.raw`argFormat('%s', '\x00')`, `the value ${NUL}`],
  [(c) => c.secretArg('hunter2\0'), 'secretArg(…)', `the value ${NUL}`],
  // The environment.
  [(c) => c.env('A=B', 'hunter2'), "env('A=…', …)", "the name of the variable holds '=', which ends it"],
  [(c) => c.env('', 'hunter2'), "env('', …)", 'the name of the variable is empty'],
  [(c) => c.env('A\0', 'hunter2'), String.raw`env('A\x00', …)`, `the name of the variable ${NUL}`],
  [(c) => c.env('\udfff', 'hunter2'), `env(${inspect('\udfff')}, …)`, `the name of the variable ${HALF}`],
  [(c) => c.env(anything(5), 'hunter2'), 'env(5, …)', 'the name of the variable is no string'],
  [(c) => c.env('A', 'hunter2\0'), "env('A', …)", `the value ${NUL}`],
  [(c) => c.env('A', anything(null)), "env('A', …)", `the value is null; ${GIVE}`],
  [(c) => c.env('A=', undefined), "env('A=', …)", "the name of the variable holds '=', which ends it"],
  [(c) => c.envString('hunter2'), 'envString(…)', "the text is not of the form 'NAME=value'"],
  [(c) => c.envString('=hunter2'), 'envString(…)', "the text is not of the form 'NAME=value'"],
  [(c) => c.envString(anything(7)), 'envString(…)', "the text is not of the form 'NAME=value'"],
  [(c) => c.envFormat('A', '%d', 'hunter2'), "envFormat('A', …, …)", "'%d' takes a number"],
  [
    (c) => c.envFormat('A=', '%s', 'hunter2'),
    "envFormat('A=', …, …)",
    "the name of the variable holds '=', which ends it",
  ],
  [(c) => c.envPass('A', 'B='), "envPass('A', 'B=')", "the name of the variable holds '=', which ends it"],
  [(c) => c.envPass(''), "envPass('')", 'the name of the variable is empty'],
  [
    (c) => c.env(anything({ A: 'hunter2' }), 'b'),
    'env(…, …)',
    'the name of the variable is an object; say env(name, value) for each variable',
  ],
  [
    (c) => c.envPass(anything(['A', 'B'])),
    'envPass(…)',
    'the name of the variable is an array; give each name as a value of its own',
  ],
  [(c) => c.envPass(anything(undefined)), 'envPass(undefined)', 'the name of the variable is no string'],
  // Descriptors.
  [(c) => c.preserveFd(-1), 'preserveFd(-1)', FD],
  [
    (c) => c.inputFd(anything(new Server())),
    'inputFd(Server)',
    'the Server has no descriptor: it is not open yet, or closed already',
  ],
  [
    (c) => c.listenFds(anything(new Socket())),
    'listenFds(Socket)',
    'the Socket has no descriptor: it is not open yet, or closed already',
  ],
  [(c) => c.outputFd(anything({ fd: 1 })), 'outputFd({ fd: 1 })', NO_OBJECT],
  [(c) => c.preserveFd(4.5), 'preserveFd(4.5)', FD],
  [(c) => c.transferFd(anything('3')), "transferFd('3')", FD],
  [(c) => c.passFd(2 ** 20), 'passFd(1048576, { as: 1048576, closeInParent: false })', FD],
  [(c) => c.preserveFd(9876), 'preserveFd(9876)', 'descriptor 9876 is not open in this process'],
  [(c) => c.transferFd(9876), 'transferFd(9876)', 'descriptor 9876 is not open in this process'],
  [
    (c) => c.preserveFd(0),
    'preserveFd(0)',
    '0, 1 and 2 are the standard streams; use inputFd(), outputFd() and errorFd()',
  ],
  [
    (c) => c.transferFd(1),
    'transferFd(1)',
    '0, 1 and 2 are the standard streams; use inputFd(), outputFd() and errorFd()',
  ],
  [
    (c) => c.passFd(2),
    'passFd(2, { as: 2, closeInParent: false })',
    '0, 1 and 2 are the standard streams; use inputFd(), outputFd() and errorFd()',
  ],
  [
    (c) => c.passFd(0, { as: -1 }),
    'passFd(0, { as: -1, closeInParent: false })',
    'a descriptor in the program is a whole number from 0 to 1048575',
  ],
  [(c) => c.passFd(0, anything(9)), 'passFd(0, 9)', 'these are no options; give { as, closeInParent }'],
  [
    (c) => c.passFd(0, anything({ as: 9, close: true })),
    'passFd(0, { as: 9, close: true, closeInParent: false })',
    "there is no option 'close'; the options are { as, closeInParent }",
  ],
  [
    (c) => c.passFd(0, { as: 9, closeInParent: anything('no') }),
    "passFd(0, { as: 9, closeInParent: 'no' })",
    'closeInParent is true or false',
  ],
  [(c) => c.listenFds(), 'listenFds()', 'it names no descriptor'],
  [(c) => c.listenFds(-2), 'listenFds(-2)', FD],
  [(c) => c.listenFds(9876), 'listenFds(9876)', 'descriptor 9876 is not open in this process'],
  [(c) => c.inputFd(9876), 'inputFd(9876)', 'descriptor 9876 is not open in this process'],
  [(c) => c.outputFd(-1), 'outputFd(-1)', FD],
  [(c) => c.errorFd(NaN), 'errorFd(NaN)', FD],
  [(c) => c.inputFile(''), "inputFile('')", 'the path is empty'],
  [(c) => c.outputFile('a\0'), String.raw`outputFile('a\x00')`, `the path ${NUL}`],
  [(c) => c.errorFile(anything(5)), 'errorFile(5)', 'the path is no string'],
  [(c) => c.errorFile(new Uint8Array()), 'errorFile(0 bytes)', 'the path is empty'],
  [
    (c) => c.pidFile(Buffer.from('a\0b')),
    'pidFile(3 bytes)',
    'the path holds a NUL byte, which ends a string for the kernel',
  ],
  [
    (c) => c.inputFile(new URL('file:///a%00b')),
    "inputFile(new URL('file:///a%00b'))",
    'the path holds a NUL byte, which ends a string for the kernel',
  ],
  [(c) => c.outputFile('f', anything('a')), "outputFile('f', 'a')", 'these are no options; give { append }'],
  [(c) => c.outputFile('f', anything({ append: 1 })), "outputFile('f', { append: 1 })", 'append is true or false'],
  [
    (c) => c.errorFile('f', anything({ flags: 'a' })),
    "errorFile('f', { flags: 'a' })",
    "there is no option 'flags'; the options are { append }",
  ],
  [
    (c) => c.inputFile(new URL('https://example.org/x')),
    "inputFile(new URL('https://example.org/x'))",
    'the address is of the kind https:; only file: means a path',
  ],
  // Buffers.
  [(c) => c.inputBuffer(anything(5)), 'inputBuffer(…)', 'the data is a number; give text or bytes'],
  [(c) => c.inputBuffer(anything(['x'])), 'inputBuffer(…)', 'the data is an array; give text or bytes'],
  [
    (c) => c.outputBuffer({ encoding: anything('utf9') }),
    "outputBuffer({ encoding: 'utf9' })",
    "there is no encoding 'utf9'; 'buffer' gives bytes",
  ],
  [
    (c) => c.errorBuffer({ encoding: anything(5) }),
    'errorBuffer({ encoding: 5 })',
    "there is no encoding 5; 'buffer' gives bytes",
  ],
  [
    (c) => c.outputBuffer(anything('buffer')),
    "outputBuffer('buffer')",
    'these are no options; give an OutputBuffer, or { encoding, fatal, stripFinalNewline }',
  ],
  [
    (c) => c.outputBuffer(anything(() => undefined)),
    'outputBuffer(function)',
    'these are no options; give an OutputBuffer, or { encoding, fatal, stripFinalNewline }',
  ],
  [
    (c) => c.errorBuffer(anything(new Map())),
    'errorBuffer(Map(0) {})',
    'these are no options; give an OutputBuffer, or { encoding, fatal, stripFinalNewline }',
  ],
  [
    (c) => c.errorBuffer(anything({ encodng: 'buffer' })),
    "errorBuffer({ encodng: 'buffer' })",
    "there is no option 'encodng'; the options are { encoding, fatal, stripFinalNewline }",
  ],
  [(c) => c.outputLimit(-1), "outputLimit(-1, 'truncate')", 'the limit is a whole number from 0 to 9007199254740991'],
  [
    (c) => c.outputLimit(5, anything('spill')),
    "outputLimit(5, 'spill')",
    "the policies are 'truncate', 'kill', 'headAndTail'",
  ],
  // The process.
  [(c) => c.workingDirectory(''), "workingDirectory('')", 'the path is empty'],
  [(c) => c.umask(-1), 'umask(-1)', 'the mask is a whole number from 0 to 0o777'],
  [(c) => c.umask(0o1000), 'umask(512)', 'the mask is a whole number from 0 to 0o777'],
  [(c) => c.umask(anything('022')), "umask('022')", 'the mask is a number; write 0o022'],
  [(c) => c.umask(anything('0o999')), "umask('0o999')", 'the mask is a whole number from 0 to 0o777'],
  [(c) => c.umask(22), 'umask(22)', "22 is decimal, and means 0o026; write 0o022, or '0o026' where that is meant"],
  [(c) => c.umask(27), 'umask(27)', "27 is decimal, and means 0o033; write 0o027, or '0o033' where that is meant"],
  [(c) => c.umask(700), 'umask(700)', '700 is decimal, and above the highest mask, 0o777; write 0o700'],
  [(c) => c.umask(777), 'umask(777)', '777 is decimal, and above the highest mask, 0o777; write 0o777'],
  [(c) => c.umask(77), 'umask(77)', "77 is decimal, and means 0o115; write 0o077, or '0o115' where that is meant"],
  [(c) => c.limit(anything('files'), 5), "limit('files', 5)", resources],
  [(c) => c.limit('nofile', -1), "limit('nofile', -1)", LIMIT],
  [(c) => c.limit('nofile', 1.5), "limit('nofile', 1.5)", LIMIT],
  [(c) => c.limit('nofile', 2 ** 53), "limit('nofile', 9007199254740992)", LIMIT],
  [(c) => c.limit('nofile', -1n), "limit('nofile', -1n)", LIMIT],
  [(c) => c.limit('nofile', 5, NaN), "limit('nofile', 5, NaN)", LIMIT],
  [(c) => c.limit('nofile', 6, 5), "limit('nofile', 6, 5)", 'the soft limit is above the hard one'],
  [(c) => c.limit('as', 'unlimited', 5), "limit('as', 'unlimited', 5)", 'the soft limit is above the hard one'],
  [(c) => c.maxMemLock(-1), 'maxMemLock(-1)', LIMIT],
  [(c) => c.maxProcesses(anything('5')), "maxProcesses('5')", LIMIT],
  [(c) => c.maxFiles(NaN), 'maxFiles(NaN)', LIMIT],
  [
    (c) => c.maxFiles(5).limit('nofile', 6),
    "limit('nofile', 6)",
    'the limit of nofile has been set already; say it once',
  ],
  [(c) => c.maxCoreSize(0).maxCoreSize(0), 'maxCoreSize(0)', 'the limit of core has been set already; say it once'],
  [(c) => c.nice(20), 'nice(20)', 'the nice value is a whole number from -20 to 19'],
  [(c) => c.oomScoreAdjust(1001), 'oomScoreAdjust(1001)', 'the score is a whole number from -1000 to 1000'],
  [(c) => c.pipeSize(0), 'pipeSize(0)', 'the size of a pipe is a whole number from 1 to 2147483648'],
  [(c) => c.pipeSize(2 ** 31 + 1), 'pipeSize(2147483649)', 'the size of a pipe is a whole number from 1 to 2147483648'],
  [(c) => c.cgroup(''), "cgroup('')", 'the directory is empty'],
  [
    (c) => c.cgroup('machine.slice'),
    "cgroup('machine.slice')",
    'the directory is relative; name it from /, such as /sys/fs/cgroup/…',
  ],
  [
    (c) => c.dieWithParent(anything('TERM')),
    "dieWithParent('TERM')",
    "there is no signal 'TERM'; write its name, as 'SIGTERM'",
  ],
  [
    (c) => c.dieWithParent('SIGRTMIN+31'),
    "dieWithParent('SIGRTMIN+31')",
    "there is no signal 'SIGRTMIN+31'; write its name, as 'SIGTERM'",
  ],
  [(c) => c.runAmong(0), 'runAmong(0)', 'a pid is a whole number from 1 to 2147483647'],
  [(c) => c.runAlone().runAmong(5), 'runAmong(5)', 'runAlone() has set this already; say it once'],
  // Privileges.
  [(c) => c.user(''), "user('')", 'the name is empty'],
  [(c) => c.user(-1), 'user(-1)', `a uid ${ID}`],
  [(c) => c.user(anything(null)), 'user(null)', 'the name is no string'],
  [(c) => c.gid(2 ** 32 - 1), 'gid(4294967295)', `a gid ${ID}`],
  [(c) => c.uid(anything('nobody')), "uid('nobody')", `a name goes to user(), and a uid ${ID}`],
  [(c) => c.gid(anything('kvm')), "gid('kvm')", `a name goes to user(), and a gid ${ID}`],
  [(c) => c.groups(anything(5)), 'groups(5)', 'the groups are an array of numbers'],
  [(c) => c.groups([1, -1]), 'groups([1, -1])', `a gid ${ID}`],
  [(c) => c.allowCap(anything('NET_ADMIN')), "allowCap('NET_ADMIN')", NO_CAP],
  [(c) => c.allowCap(anything(12)), 'allowCap(12)', NO_CAP],
  [(c) => c.allowCap(anything(['CAP_KILL'])), "allowCap(['CAP_KILL'])", 'the name is an array; call it once for each'],
  [(c) => c.selinuxLabel(''), "selinuxLabel('')", 'the label is empty'],
  [(c) => c.appArmorProfile(anything(1)), 'appArmorProfile(1)', 'the profile is no string'],
  // How it ends, daemons, hooks, time.
  [(c) => c.check([]), 'check([])', 'check names no exit code; false takes every end'],
  [(c) => c.check([0, 256]), 'check([0, 256])', 'an exit code is a whole number from 0 to 255'],
  [(c) => c.check([0.5]), 'check([0.5])', 'an exit code is a whole number from 0 to 255'],
  [(c) => c.check(anything(1)), 'check(1)', 'check is true, false, or an array of exit codes: [0, 1]'],
  [(c) => c.daemonize().pidFile(''), "pidFile('')", 'the path is empty'],
  [
    (c) => c.preExecHook(anything('x')),
    "preExecHook('x')",
    'a hook is a URL of a module, or a function; new URL(path, import.meta.url) makes one',
  ],
  [(c) => c.preExecHook(anything(5)), 'preExecHook(5)', 'a hook is a URL of a module, or a function'],
  [
    (c) => c.preExecHook((() => undefined).bind(null)),
    'preExecHook(function)',
    'the function has no source (it is bound, or built in); wrap it in one of its own',
  ],
  [(c) => c.timeout(0), 'timeout(0)', TIMEOUT],
  [(c) => c.timeout(-1), 'timeout(-1)', TIMEOUT],
  [(c) => c.timeout(NaN), 'timeout(NaN)', TIMEOUT],
  [(c) => c.timeout(2 ** 31), 'timeout(2147483648)', TIMEOUT],
  [(c) => c.timeout(anything('5')), "timeout('5')", TIMEOUT],
  [
    (c) => c.timeout(5, anything({ tre: true })),
    'timeout(5, { tre: true })',
    "there is no option 'tre'; the options are { tree }",
  ],
  [(c) => c.timeout(5, anything('tree')), "timeout(5, 'tree')", 'these are no options; give { tree }'],
  [(c) => c.timeout(5, anything({ tree: 1 })), 'timeout(5, { tree: 1 })', 'tree is true or false'],
  [
    (c) => c.abortSignal(AbortSignal.abort(), anything({ all: true })),
    'abortSignal(AbortSignal [Object], { all: true })',
    "there is no option 'all'; the options are { tree }",
  ],
  [
    (c) => c.outputLimit(5, 'truncate', { tree: true }),
    "outputLimit(5, 'truncate', { tree: true })",
    "only the policy 'kill' stops the program; leave { tree: true } out",
  ],
  [
    (c) => c.abortSignal(anything(null)),
    'abortSignal(null)',
    'give an AbortSignal, as a controller has in its property signal',
  ],
  [(c) => c.stopSequence([]), 'stopSequence([])', PAIRS],
  [(c) => c.stopSequence(anything('SIGTERM')), "stopSequence('SIGTERM')", PAIRS],
  [(c) => c.stopSequence(anything(['SIGTERM'])), "stopSequence(['SIGTERM'])", PAIRS],
  [(c) => c.stopSequence([['SIGTERM', -1]]), "stopSequence([['SIGTERM', -1]])", PAIRS],
  [
    (c) => c.stopSequence([anything(['TERM', 1])]),
    "stopSequence([['TERM', 1]])",
    "there is no signal 'TERM'; write its name, as 'SIGTERM'",
  ],
];

describe('a mistake says which call made it, what is wrong, and where it stands:', () => {
  test.each(rows.map(([build, call, problem]) => [call, problem, build] as const))('%s: %s', (call, problem, build) => {
    const error = usageError(build);
    expect(error.mistakes).toEqual([{ call, problem, at: expect.stringContaining(`${here}:`) }]);
    expect(error.message).toBe(`Mistake in \`${error.command}\`: ${call}: ${problem}.`);
    expect(inspect(error) + JSON.stringify(error)).not.toContain('hunter2');
  });
});

describe('what is said beyond the values of a method is a mistake, and is not lost silently, as JavaScript would have it:', () => {
  const LEAVE_OUT = 'it takes no value; leave the whole call out where it is not meant';
  const more: readonly Row[] = [
    [
      (c) => say(c, 'arg', '-o', 'file'),
      "arg('-o', 'file')",
      'it takes one value, and 2 came; args() takes as many as there are',
    ],
    [(c) => say(c, 'argPair', 'a', 'b', 'c'), "argPair('a', 'b', 'c')", 'it takes 2 values, and 3 came'],
    [
      (c) => say(c, 'secretArg', '-p', 'hunter2'),
      'secretArg(…, …)',
      'it takes one value, and 2 came; call it once for each',
    ],
    [
      (c) => say(c, 'env', 'A', 'hunter2', 'b'),
      'env(…, …, …)',
      'it takes 2 values, and 3 came; call it once for each variable',
    ],
    [(c) => say(c, 'envPassCommon', 'TERM'), 'envPassCommon(…)', LEAVE_OUT],
    [(c) => say(c, 'newSession', false), 'newSession(false)', LEAVE_OUT],
    [(c) => say(c, 'noNewPrivileges', undefined), 'noNewPrivileges(undefined)', LEAVE_OUT],
    [(c) => say(c, 'errorToOutput', false), 'errorToOutput(false)', LEAVE_OUT],
    [
      (c) => say(c, 'daemonize', { pidFile: '/x' }),
      "daemonize({ pidFile: '/x' })",
      'it takes no such options; say .pidFile(…)',
    ],
    [
      (c) => say(c, 'allowCap', 'CAP_KILL', 'CAP_CHOWN'),
      "allowCap('CAP_KILL', 'CAP_CHOWN')",
      'it takes one value, and 2 came; call it once for each',
    ],
    [(c) => say(c, 'groups', 1, 2), 'groups(1, 2)', 'it takes one value, and 2 came; give one array'],
    [(c) => say(c, 'dieWithParent', 'SIGTERM', 5), "dieWithParent('SIGTERM', 5)", 'it takes one value, and 2 came'],
    [(c) => say(c, 'outputLimit', 5, 'kill', {}, 1), "outputLimit(5, 'kill', {}, 1)", 'it takes 3 values, and 4 came'],
    [(c) => say(c, 'limit', 'core', 0, 0, 0), "limit('core', 0, 0, 0)", 'it takes 3 values, and 4 came'],
    [(c) => say(c, 'preExecHook', () => 0, 'hunter2', 1), 'preExecHook(…, …, …)', 'it takes 2 values, and 3 came'],
  ];

  test.each(more.map(([build, call, problem]) => [call, problem, build] as const))('%s: %s', (call, problem, build) => {
    const error = usageError(build);
    expect(error.mistakes).toEqual([{ call, problem, at: expect.stringContaining(`${here}:`) }]);
    expect(inspect(error) + JSON.stringify(error)).not.toContain('hunter2');
  });

  test('undefined was not said, also there', () => {
    const command = say(new Command('prog'), 'arg', 'a', undefined);
    expect(command.argList).toEqual(['a']);
    command.spec();
  });

  test.each(Object.getOwnPropertyNames(Command.prototype).filter((name) => !lookingMethods.includes(name)))(
    '%s() takes all of its values, and keeps its name and its number of parameters',
    (name) => {
      const method = Object.getOwnPropertyDescriptor(Command.prototype, name)?.value as (...values: never[]) => unknown;
      expect(method.name).toBe(name);
      const values = Array.from({ length: 4 }, () => undefined);
      expect(() => say(new Command('prog'), name, ...values.slice(0, method.length))).not.toThrow();
    },
  );

  test('a whole vector as the program is told the call that takes it', () => {
    const error = usageError(() => undefined, new Command(anything(['ls', '-l'])));
    expect(error.mistakes).toMatchObject([
      { call: "new Command(['ls', '-l'])", problem: "the program is an array; say Command.fromArgv(['ls', '-l'])" },
    ]);
  });
});

/** A call as JavaScript can make it. */
function say(command: Command, method: string, ...values: readonly unknown[]): Command {
  const methods = command as unknown as Record<string, (...values: readonly unknown[]) => Command>;
  return methods[method]?.call(command, ...values) ?? command;
}

describe('to say twice what can be said once is a mistake:', () => {
  const twice: readonly (readonly [(command: Command) => unknown, string, string])[] = [
    [(c) => c.inputBuffer('a').inputFile('/x'), "inputFile('/x')", 'inputBuffer(…) has set this already'],
    [(c) => c.inputPipe().inputBuffer('a'), 'inputBuffer(…)', 'inputPipe() has set this already'],
    [(c) => c.outputPipe().outputBuffer(), 'outputBuffer()', 'outputPipe() has set this already'],
    [(c) => c.errorBuffer().errorToOutput(), 'errorToOutput()', 'errorBuffer() has set this already'],
    [(c) => c.outputBuffer().outputBuffer(), 'outputBuffer()', 'this was said before'],
    [(c) => c.outputFile('/x').outputFile('/y'), "outputFile('/y')", "outputFile('/x') has set this already"],
    [
      (c) => c.workingDirectory('/a').workingDirectory('/b'),
      "workingDirectory('/b')",
      "workingDirectory('/a') has set this already",
    ],
    [(c) => c.umask(0).umask(0), 'umask(0)', 'this was said before'],
    [(c) => c.nice(1).nice(2), 'nice(2)', 'nice(1) has set this already'],
    [(c) => c.oomScoreAdjust(1).oomScoreAdjust(2), 'oomScoreAdjust(2)', 'oomScoreAdjust(1) has set this already'],
    [(c) => c.pipeSize(1).pipeSize(2), 'pipeSize(2)', 'pipeSize(1) has set this already'],
    [(c) => c.cgroup('/a').cgroup('/b'), "cgroup('/b')", "cgroup('/a') has set this already"],
    [(c) => c.gid(1).gid(2), 'gid(2)', 'gid(1) has set this already'],
    [(c) => c.groups([1]).groups([2]), 'groups([2])', 'groups([1]) has set this already'],
    [(c) => c.user('root').user(0), 'user(0)', "user('root') has set this already"],
    [(c) => c.selinuxLabel('a').selinuxLabel('b'), "selinuxLabel('b')", "selinuxLabel('a') has set this already"],
    [
      (c) => c.appArmorProfile('a').appArmorProfile('b'),
      "appArmorProfile('b')",
      "appArmorProfile('a') has set this already",
    ],
    [
      (c) => c.dieWithParent().dieWithParent('SIGTERM'),
      "dieWithParent('SIGTERM')",
      "dieWithParent('SIGKILL') has set this already",
    ],
    [(c) => c.daemonize().pidFile('/a').pidFile('/b'), "pidFile('/b')", "pidFile('/a') has set this already"],
    [
      (c) => c.preExecHook(new URL('file:///a.js')).preExecHook(() => 0),
      'preExecHook(function)',
      "preExecHook(new URL('file:///a.js')) has set this already",
    ],
    [(c) => c.timeout(5).timeout(6), 'timeout(6)', 'timeout(5) has set this already'],
    [
      (c) => c.stopSequence([['SIGTERM', 1]]).stopSequence([['SIGINT', 1]]),
      "stopSequence([['SIGINT', 1]])",
      "stopSequence([['SIGTERM', 1]]) has set this already",
    ],
    [
      (c) => c.outputLimit(5).outputLimit(6),
      "outputLimit(6, 'truncate')",
      "outputLimit(5, 'truncate') has set this already",
    ],
    [(c) => c.listenFds(0).listenFds(0), 'listenFds(0)', 'this was said before'],
    [
      (c) => c.inputPipe().passFd(1, { as: 0 }),
      'passFd(1, { as: 0, closeInParent: false })',
      'inputPipe() has set this already',
    ],
  ];
  test.each(twice.map(([build, call, problem]) => [call, problem, build] as const))(
    '%s: %s',
    (call, problem, build) => {
      expect(usageError(build).mistakes).toMatchObject([{ call, problem: `${problem}; say it once` }]);
    },
  );

  test('requireHandshake()', async () => {
    const command = new Command('true').requireHandshake().requireHandshake();
    await expect(command.runAsync()).rejects.toMatchObject({
      mistakes: [{ call: 'requireHandshake()', problem: 'this was said before; say it once' }],
    });
  });

  test('abortSignal()', () => {
    const { signal } = new AbortController();
    const [mistake] = usageError((c) => c.abortSignal(signal).abortSignal(signal)).mistakes;
    expect(mistake?.problem).toBe('this was said before; AbortSignal.any([a, b]) makes one signal of two');
  });

  test('what was said first stands', () => {
    const { spec } = usageError((c) => c.umask(1).umask(2).workingDirectory('/a').workingDirectory('/b'));
    expect(spec).toMatchObject({ umask: 1, workingDirectory: '/a' });
  });

  test('what can be said again is no mistake', () => {
    const again = new Command('true')
      .clearCaps()
      .clearCaps()
      .allowCap('CAP_KILL')
      .allowCap('CAP_KILL')
      .noNewPrivileges()
      .noNewPrivileges();
    again
      .newSession()
      .newSession()
      .nonblockingFds()
      .nonblockingFds()
      .waitForOutputEnd()
      .waitForOutputEnd()
      .env('A', 1)
      .env('A', 2);
    expect(again.spec()).toMatchObject({ env: [['A', '2']], allowCaps: ['CAP_KILL'] });
  });
});
