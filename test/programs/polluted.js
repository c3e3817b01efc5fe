// Tells what commands do, first as they are, then with names put into `Object.prototype`, one line of JSON for each time.
// Reads from standard input: { names, value, dist }. A name that begins with '@@' is a well-known symbol.
import { closeSync, openSync, readFileSync, unlinkSync } from 'node:fs';

const { names, value, dist, only } = JSON.parse(readFileSync(0, 'utf8'));
const { Command, OutputBuffer, UsageError, engineInfo, pidWait, PidFile } = await import(`${dist}/index.js`);
const { dryRun, running } = await import(`${dist}/testing.js`);
const isNative = engineInfo().engine === 'native';

const makeValue = {
  text: () => 'polluted',
  number: () => 1,
  true: () => true,
  object: () => ({ source: '() => { throw new Error("polluted") }' }),
  array: () => ['polluted'],
  function: () => () => 'polluted',
}[value];

/** What is told of an error: all that a caller sees. */
const told = (failure) => {
  const error = Object.assign(
    Object.create(null),
    { name: failure.name, code: failure.code, message: failure.message },
    failure,
  );
  return {
    name: error.name,
    code: error.code,
    message: error.message?.replace(/ after [\d.]+ m?s/g, ''),
    step: error.step,
    errno: error.errno,
    mistakes: error.mistakes?.map(({ call, problem }) => ({ call, problem })),
  };
};
const attempt = async (work) => {
  try {
    return await work();
  } catch (error) {
    return told(error);
  }
};
const plain = (result) => plainOf(Object.assign(Object.create(null), result));
const plainOf = ({ exitCode, signal, stdout, stderr, outputTruncated, timedOut, inputWritten }) => ({
  exitCode,
  signal,
  stdout: String(stdout),
  stderr: String(stderr),
  outputTruncated,
  timedOut,
  inputWritten,
});
const show = [
  '-c',
  'echo "$@"; pwd; umask; id -u; id -G; env | grep -v ^PWD= | sort; ls /proc/self/fd | wc -l; nice',
  'sh',
  'a',
  'b c',
];

const scenarios = {
  plain: async () => plain(await new Command('sh', ...show).outputBuffer().run()),
  silent: async () => plain(await new Command('true').run()),
  environment: async () =>
    plain(await new Command('sh', ...show).env('A', 'b').envPass('NOWHERE', 'PATH').outputBuffer().run()),
  failure: () => new Command('sh', '-c', 'echo why >&2; exit 3').run(),
  unchecked: async () => plain(await new Command('sh', '-c', 'exit 3').run({ check: false })),
  nowhere: () => new Command('no-such-program').run(),
  noDirectory: () => new Command('true').workingDirectory('/no/such').run(),
  noFile: () => new Command('true').inputFile('/no/such').run(),
  attributes: async () =>
    plain(
      await new Command('sh', ...show)
        .workingDirectory('/')
        .newSession()
        .outputBuffer()
        .errorBuffer({ encoding: 'buffer' })
        .run(),
    ),
  nativeAttributes: async () =>
    isNative &&
    plain(await new Command('sh', ...show).umask(0o27).nice(3).limit('core', 0).processGroup().outputBuffer().run()),
  privileges: async () =>
    isNative &&
    process.getuid() === 0 &&
    plain(
      await new Command('sh', ...show)
        .uid(65534)
        .gid(65534)
        .groups([])
        .clearCaps()
        .noNewPrivileges()
        .outputBuffer()
        .run(),
    ),
  input: async () => plain(await new Command('cat').inputBuffer('hello').outputBuffer().run()),
  inputBytes: async () => plain(await new Command('cat').inputBuffer(Uint8Array.of(104, 105)).outputBuffer().run()),
  both: async () => {
    const both = new OutputBuffer();
    const result = await new Command('sh', '-c', 'echo a; echo b >&2').outputBuffer(both).errorBuffer(both).run();
    return [plain(result), String(both)];
  },
  limited: async () => plain(await new Command('seq', '100').outputBuffer().outputLimit(10, 'headAndTail').run()),
  timeout: () =>
    new Command('sleep', '60')
      .timeout(50)
      .stopSequence([
        ['SIGTERM', 1000],
        ['SIGKILL', 0],
      ])
      .run()
      .catch((error) => [error.name, error.reason]),
  abort: () =>
    new Command('sleep', '60')
      .abortSignal(AbortSignal.abort())
      .run()
      .catch((error) => [error.name, error.step]),
  descriptors: async () => {
    const fd = openSync('/dev/null', 'r');
    const result = plain(
      await new Command('sh', '-c', 'ls /proc/$$/fd | grep -c ^9$').passFd(fd, { as: 9 }).outputBuffer().run(),
    );
    closeSync(fd);
    return result;
  },
  files: async () => {
    const path = `/tmp/vircommand-polluted-${process.pid}`;
    await new Command('echo', 'x').outputFile(path).errorFile(path).run();
    const text = readFileSync(path, 'utf8');
    unlinkSync(path);
    return text;
  },
  async: async () => {
    const child = await new Command('cat').inputPipe().outputPipe().runAsync();
    child.stdin.end('hi');
    let text = '';
    for await (const chunk of child.stdout) text += chunk;
    return [text, plain(await child.wait()), child.signal('SIGTERM')];
  },
  killed: async () => {
    const child = await new Command('sleep', '60').runAsync();
    await child.abort();
    return plain(await child.wait({ check: false }).catch(() => ({})));
  },
  released: async () => plain(await pidWait((await new Command('true').runAsync()).release())),
  daemon: async () => {
    const path = `/tmp/vircommand-polluted-${process.pid}.pid`;
    const { pid } = await new Command('sleep', '60').daemonize().pidFile(path).run();
    const locked = isNative ? (await PidFile.readIfLocked(path)) === pid : (await PidFile.read(path)) === pid;
    process.kill(pid, 'SIGKILL');
    unlinkSync(path);
    return locked;
  },
  sync: async () => isNative && plain(new Command('sh', ...show).env('A', 1).outputBuffer().runSync()),
  hook: async () =>
    isNative &&
    plain(
      await new Command('sh', ...show)
        .preExecHook((text) => {
          process.env['X'] = text;
        }, 'x')
        .outputBuffer()
        .run(),
    ),
  handshake: async () => {
    if (!isNative) return false;
    const child = await new Command('echo', 'shaken').requireHandshake().outputBuffer().runAsync();
    await child.handshakeWait();
    await child.handshakeNotify();
    return plain(await child.wait());
  },
  refused: () => isNative || new Command('true').umask(0).run(),
  mistakes: () =>
    new Command('').arg(null).env('A=B', 1).umask(-1).outputFile('f', { apend: true }).passFd(99).limit('x', 1).run(),
  clashes: () => new Command('true').pidFile('/x').inputPipe().uid(5).run(),
  spec: () => {
    const spec = new Command('prog', 'a')
      .secretArg('b')
      .env('A', 'c')
      .outputBuffer()
      .passFd(0, { as: 9 })
      .limit('as', 5, 'unlimited')
      .spec();
    return [
      spec,
      Command.fromSpec(JSON.parse(JSON.stringify(spec))).spec(),
      Command.fromSpec(structuredClone(spec)).clone().spec(),
    ];
  },
  malformed: () =>
    Command.fromSpec({
      version: 1,
      argv: ['a'],
      stdin: { from: 'null' },
      stdout: { to: 'file' },
      stderr: { to: 'pipe' },
    }).spec(),
  printed: () => [
    String(new Command('prog', '-a', 'b').env('A', 1)),
    new Command('prog', '-a', 'b').env('A', 1).toString({ lineBreaks: true }),
  ],
  plan: () => {
    const { argv, envp, lane, file, descriptors, steps, mode } = new Command('true').env('A', 1).plan();
    return [argv.map(String), envp.map(String), lane, file, descriptors, steps, mode];
  },
  explain: () => new Command('/bin/true').env('A', 1).umask(0).explain(),
  dry: async () => {
    const dry = dryRun({ respond: () => ({ exitCode: 2, stdout: 'x' }) });
    try {
      return [plain(await new Command('prog', 'a').outputBuffer().run({ check: false })), dry.commands];
    } finally {
      dry[Symbol.dispose]();
    }
  },
  played: async () => {
    const program = running({ stdout: 'ready', onSignal: () => ({ stdout: ' bye', exitCode: 3 }) });
    const dry = dryRun({
      respond: ({ argv }) => (argv[0] === 'fails' ? { fail: { step: 'execve', errno: 'ENOENT' } } : program),
    });
    try {
      const failure = await attempt(() => new Command('fails').run());
      const child = await new Command('prog').inputPipe().outputPipe().errorPipe().timeout(60_000).runAsync();
      child.stdin.write('x');
      const { exitCode, signal } = await child.stop();
      let text = '';
      for await (const piece of child.stdout) text += piece;
      const daemon = await new Command('prog')
        .daemonize()
        .run()
        .catch((error) => error.constructor.name);
      return [failure, exitCode, signal, text, program.signals, dry.argv, dry.kills.length, daemon];
    } finally {
      dry[Symbol.dispose]();
    }
  },
};

async function tellAll() {
  const answers = {};
  for (const name of Object.keys(scenarios)) {
    if (only !== undefined && !only.includes(name)) continue;
    answers[name] = await Promise.race([
      attempt(() => scenarios[name]()),
      new Promise((resolve) => setTimeout(resolve, 10_000, 'nothing came').unref()),
    ]);
  }
  return answers;
}

const keyOf = (name) => (name.startsWith('@@') ? Symbol[name.slice(2)] : name);
process.on('uncaughtException', (error) => {
  for (const name of names) delete Object.prototype[keyOf(name)];
  console.error(error);
  process.exit(3);
});

const before = await tellAll();
for (const name of names)
  Object.defineProperty(Object.prototype, keyOf(name), {
    __proto__: null,
    value: makeValue(),
    writable: true,
    configurable: true,
    enumerable: true,
  });
let after;
try {
  after = await tellAll();
} finally {
  for (const name of names) delete Object.prototype[keyOf(name)];
}
console.log(JSON.stringify({ before, after }));
process.exit(0);
