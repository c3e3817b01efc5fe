// Tells what commands do, first as they are, then with names put into `Object.prototype`, as one line of JSON. With `early`, the
// names are there before the library is imported, and there is no first time.
// Reads from standard input: { names, value, dist, early }. A name '@@x' is the symbol `Symbol.x`; '@@for:x' is `Symbol.for('x')`.
import { closeSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';

const { names, value, dist, early = false, only } = JSON.parse(readFileSync(0, 'utf8'));

const makeValue = {
  text: () => 'polluted',
  number: () => 1,
  true: () => true,
  object: () => ({ source: '() => { throw new Error("polluted") }' }),
  array: () => ['polluted'],
  function: () => () => 'polluted',
}[value];

const keys = names.map((name) => {
  if (name.startsWith('@@for:')) return Symbol.for(name.slice('@@for:'.length));
  return name.startsWith('@@') ? Symbol[name.slice('@@'.length)] : name;
});
function pollute() {
  for (const key of keys)
    Object.defineProperty(Object.prototype, key, {
      __proto__: null,
      value: makeValue(),
      writable: true,
      configurable: true,
      enumerable: true,
    });
}
function clean() {
  for (const key of keys) delete Object.prototype[key];
}
process.on('uncaughtException', (error) => {
  clean();
  console.error(error);
  process.exit(3);
});

if (early) pollute();
const { Command, OutputBuffer, UsageError, engineInfo, killPainfully, killTree, pidWait, PidFile } = await import(
  `${dist}/index.js`
);
const { cassette, dryRun, running } = await import(`${dist}/testing.js`);
const isNative = engineInfo().engine === 'native';

/** What is told of an error: all that a caller sees. */
const told = (failure) => {
  const error = Object.assign(Object.create(null), { name: failure.name, message: failure.message }, failure);
  return {
    name: error.name,
    code: error.code,
    message: error.message
      ?.replaceAll(String(process.pid), 'PID')
      .replace(/ (?:after|for) [\d.]+ m?s| process \d+/g, ''),
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
  terminal: async () => isNative && plain(await new Command('sh', ...show).terminal({ rows: 9 }).outputBuffer().run()),
  terminalChild: async () => {
    if (!isNative) return false;
    const child = await new Command('sh', '-c', 'read word; echo "$word"').terminal().runAsync();
    child.terminal.resize(9, 9).write('word\r');
    let all = '';
    child.terminal.on('data', (piece) => (all += piece));
    return [plain(await child.wait()), all];
  },
  inheritedTerminal: async () =>
    isNative && plain(await new Command('sh', ...show).inheritTerminal().outputBuffer().run()),
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
    const text = readFileSync(path, { __proto__: null, encoding: 'utf8' });
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
  pidfiles: async () => {
    const path = `/tmp/vircommand-polluted-${process.pid}.pid`;
    const answers = [await attempt(() => PidFile.read(path)), await attempt(() => PidFile.release(path))];
    writeFileSync(path, 'no pid');
    answers.push(await attempt(() => PidFile.read(path)));
    writeFileSync(path, String(process.ppid));
    const command = new Command('true').daemonize().pidFile(path);
    answers.push(isNative || (await attempt(() => command.run())));
    unlinkSync(path);
    if (isNative) {
      await PidFile.acquire(path);
      answers.push(await attempt(() => command.run()), await attempt(() => PidFile.acquire(path)));
      await PidFile.release(path);
    }
    return answers;
  },
  handle: async () => {
    const child = await new Command('sleep', '60').runAsync();
    const path = `/tmp/vircommand-polluted-${process.pid}.handle`;
    writeFileSync(path, String(child.pid));
    const handle = await attempt(() => PidFile.open(path));
    await attempt(() => handle.stop());
    const end = plain(await child.wait({ check: false }));
    unlinkSync(path);
    return [await attempt(() => handle.ended.then(() => 'ended')), end];
  },
  killing: async () => {
    const child = await new Command('sleep', '60').runAsync();
    const outcome = await attempt(() => killPainfully(child.pid, { reapMs: 5000 }));
    await child.wait({ check: false });
    const other = await new Command('sh', '-c', 'sleep 60 & wait').newSession().runAsync();
    const killed = await attempt(() => killTree(other.pid));
    await other.wait({ check: false });
    const { level, survivors } = Object.assign(Object.create(null), killed);
    return [outcome, level, survivors, await attempt(() => killTree('x')), await attempt(() => killTree(process.pid))];
  },
  hookFailure: () =>
    isNative &&
    new Command('true')
      .preExecHook(() => {
        throw new Error('no');
      })
      .run(),
  hookReturned: () => isNative && new Command('true').preExecHook(() => 5).run(),
  overrun: () => new Command('yes').outputBuffer().outputLimit(10, 'kill').run(),
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
  cassette: async () => {
    const file = `/tmp/vircommand-polluted-${process.pid}.cassette`;
    process.env.VIRCOMMAND_CASSETTE = 'record';
    const story = async () => {
      const child = await new Command('sh', '-c', 'read word; echo "<$word>"; exit 3')
        .inputPipe()
        .outputPipe()
        .runAsync();
      child.stdin.write('word\n');
      const line = await child.waitForLine('<');
      const { exitCode } = await child.wait({ check: false });
      const absent = await attempt(() => new Command('/no/such').workingDirectory('/').run());
      return [line, exitCode, absent];
    };
    const tape = cassette(file, { env: ['LANG'] });
    const recorded = await story();
    await tape.close();
    const again = cassette(file, { mode: 'replay', env: ['LANG'] });
    const played = await story();
    const missing = await attempt(() => new Command('/no/such').run());
    const text = readFileSync(file, { __proto__: null, encoding: 'utf8' }).replaceAll(/"at": \d+/g, '"at": …');
    unlinkSync(file);
    const unplayed = await attempt(() => again.close());
    delete process.env.VIRCOMMAND_CASSETTE;
    return JSON.parse(
      JSON.stringify([recorded, played, missing, text, unplayed]).replaceAll(String(process.pid), 'PID'),
    );
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

let before;
let after;
try {
  if (!early) {
    before = await tellAll();
    pollute();
  }
  after = await tellAll();
} finally {
  clean();
}
console.log(JSON.stringify({ before, after }));
process.exit(0);
