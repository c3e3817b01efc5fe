import type { Mistake } from '../errors/usage-error.js';
import { bare } from '../spec/bare.js';
import { isMainThread } from '../spec/late.js';
import { type CommandSpec, FIRST_LISTEN_FD, type LaunchMode } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import { passCall } from './given-away.js';

/** A pair of things that cannot both be so, and the calls that said them. */
interface Clash {
  readonly when: (spec: CommandSpec, mode: LaunchMode) => boolean;
  readonly call: string | ((spec: CommandSpec) => string);
  readonly problem: string;
}

const unread = 'run() gives nobody the other end of the pipe; use runAsync(), or a buffer';
/** Whether what goes there passes through this process and is counted. */
const isCounted = (to: CommandSpec['stderr']['to'], mode: LaunchMode): boolean =>
  to === 'buffer' || (to === 'unclaimed' && mode === 'run');

/** Whether it passes through this process at all. */
const isSeen = (spec: CommandSpec, mode: LaunchMode): boolean =>
  [spec.stdout, spec.stderr].some(({ to }) => to === 'pipe' || isCounted(to, mode)) ||
  (mode === 'async' && spec.stderr.to === 'unclaimed');

const unwatched = 'a daemon is not watched once it runs; leave the call out';

// In the order in which their mistakes are told. A rule writes its message only where it is broken: each launch asks all that concern it.

const clashesOfPrivileges: readonly Clash[] = [
  {
    when: ({ user, uid, gid }) => uid !== undefined && gid === undefined && user === undefined,
    call: ({ uid }) => `uid(${String(uid)})`,
    problem: "without gid() the program would keep this process's group; say gid() too, or user(), which knows both",
  },
  {
    when: ({ user, uid, gid }) => user !== undefined && (uid !== undefined || gid !== undefined),
    call: ({ uid, gid }) => (uid === undefined ? `gid(${String(gid)})` : `uid(${String(uid)})`),
    problem: 'user() sets uid and gid already; leave one of them out',
  },
  {
    when: ({ newSession, processGroup }) => newSession === true && processGroup === true,
    call: 'processGroup()',
    problem: 'a new session is a new process group already; leave one of newSession() and processGroup() out',
  },
];

/** The calls that have streams of this process read or written. */
export function streamCalls({ stdin, stdout, stderr, stdoutTee, stderrTee }: CommandSpec): string[] {
  return [
    ...(stdin.from === 'stream' ? ['inputStream(…)'] : []),
    ...(stdout.to === 'stream' ? ['outputTo(…)'] : []),
    ...(stderr.to === 'stream' ? ['errorTo(…)'] : []),
    ...(stdoutTee === undefined && stderrTee === undefined ? [] : ['tee(…)']),
  ];
}

/** What streams would need in a run that holds the event loop. */
export const streamsInSync = (spec: CommandSpec): Mistake[] =>
  streamCalls(spec).map((call) => ({
    call,
    problem: 'the event loop passes it on, and runSync() holds that; use run(), or a buffer, or a file',
  }));

/** The same in every run of a program. */
const clashesOfTees: readonly Clash[] = (
  [
    ['stdout', 'outputBuffer() or outputTo()', 'outputFile()'],
    ['stderr', 'errorBuffer() or errorTo()', 'errorFile()'],
  ] as const
).map(([stream, taken, file]) => ({
  when: (spec) => spec[`${stream}Tee`] !== undefined && !['buffer', 'stream'].includes(spec[stream].to),
  call: (spec) => `tee('${readable(spec[`${stream}Tee`]?.path ?? '')}')`,
  problem: `the file takes what passes through this process; say ${taken} too, or ${file} in its place`,
}));

/** The call that said where the input comes from, and where an output goes. */
const inputCalls: Readonly<Record<string, string>> = bare({
  fd: 'inputFd(…)',
  file: 'inputFile(…)',
  pipe: 'inputPipe()',
  buffer: 'inputBuffer(…)',
  stream: 'inputStream(…)',
});
const outputCall = (stream: 'output' | 'error', to: string): string =>
  to === 'stdout'
    ? 'errorToOutput()'
    : `${stream}${{ fd: 'Fd(…)', file: 'File(…)', pipe: 'Pipe()', buffer: 'Buffer(…)', stream: 'To(…)' }[to] ?? ''}`;

const inOne = 'a terminal is standard input, output and error in one; leave this call or terminal() out';
const hasTerminal = ({ terminal, inheritTerminal }: CommandSpec): boolean =>
  terminal !== undefined || inheritTerminal === true;
/** The one of the two that was said. */
const terminalCall = ({ terminal }: CommandSpec): string =>
  terminal === undefined ? 'inheritTerminal()' : 'terminal(…)';

const clashesOfTerminals: readonly Clash[] = [
  {
    when: ({ terminal, inheritTerminal }) => terminal !== undefined && inheritTerminal === true,
    call: 'inheritTerminal()',
    problem: "the program has a terminal of its own, or this process's; leave one of the two calls out",
  },
  {
    when: ({ terminal, stdin }) => terminal !== undefined && stdin.from !== 'null',
    call: ({ stdin }) => inputCalls[stdin.from] ?? '',
    problem: inOne,
  },
  {
    when: ({ terminal, stdout }) => terminal !== undefined && stdout.to !== 'unclaimed' && stdout.to !== 'buffer',
    call: ({ stdout }) => outputCall('output', stdout.to),
    problem: inOne,
  },
  {
    when: ({ terminal, stdout }, mode) => terminal !== undefined && stdout.to === 'buffer' && mode === 'async',
    call: 'outputBuffer(…)',
    problem: 'what the program writes is read from child.terminal; leave the call out, or use run()',
  },
  {
    when: ({ terminal, outputLimit }, mode) =>
      terminal !== undefined && outputLimit?.policy === 'kill' && mode === 'async',
    call: ({ outputLimit }) => `outputLimit(${String(outputLimit?.bytes)}, 'kill')`,
    problem: 'what the program writes is read from child.terminal, and not counted; leave the call out, or use run()',
  },
  {
    when: ({ terminal, stderr }) => terminal !== undefined && stderr.to !== 'unclaimed',
    call: ({ stderr }) => outputCall('error', stderr.to),
    problem: inOne,
  },
  {
    when: ({ terminal, waitForOutputEnd }) => terminal !== undefined && waitForOutputEnd === true,
    call: 'waitForOutputEnd()',
    problem: 'the output of a terminal is taken at the end of the program; leave the call out',
  },
  {
    when: ({ terminal, pipeSize }) => terminal !== undefined && pipeSize !== undefined,
    call: ({ pipeSize }) => `pipeSize(${String(pipeSize)})`,
    problem: 'a terminal is no pipe, and holds what the kernel lets it hold; leave the call out',
  },
  {
    when: ({ terminal, processGroup }) => terminal !== undefined && processGroup === true,
    call: 'processGroup()',
    problem: 'a program with a terminal has a session of its own, and so a process group; leave the call out',
  },
  {
    when: ({ inheritTerminal, newSession }) => inheritTerminal === true && newSession === true,
    call: 'newSession()',
    problem: 'a new session has no terminal; leave one of newSession() and inheritTerminal() out',
  },
  {
    when: ({ inheritTerminal }) => inheritTerminal === true && !isMainThread(),
    call: 'inheritTerminal()',
    problem: 'the terminal is that of the process, and a worker thread is not the process; call it in the main thread',
  },
];

const clashesOfDaemons: readonly Clash[] = [
  {
    when: hasTerminal,
    call: terminalCall,
    problem: 'a daemon has no terminal, so that none can take it down; leave out this call or daemonize()',
  },
  {
    when: (spec) => streamCalls(spec).length > 0,
    call: (spec) => streamCalls(spec).join(', '),
    problem:
      'a daemon outlives the streams of this process; give it files, with inputFile(), outputFile() and errorFile(), or pipes',
  },
  {
    when: (_spec, mode) => mode === 'async',
    call: 'runAsync()',
    problem: 'a daemon is not waited for; start it with run(), which resolves when it is running',
  },
  {
    when: ({ stdin, stdout, stderr }) => stdin.from === 'buffer' || stdout.to === 'buffer' || stderr.to === 'buffer',
    call: 'daemonize()',
    problem:
      'a daemon outlives the buffers of this process; give it files, with inputFile(), outputFile() and errorFile(), or pipes',
  },
  {
    when: ({ workingDirectory }) => workingDirectory !== undefined,
    call: ({ workingDirectory }) => `workingDirectory('${readable(workingDirectory ?? '')}')`,
    problem: "a daemon's working directory is '/'; leave the call out, and give it absolute paths",
  },
  {
    when: ({ processGroup }) => processGroup === true,
    call: 'processGroup()',
    problem: 'a daemon has a session of its own, and so a process group; leave the call out',
  },
  {
    when: ({ dieWithParent }) => dieWithParent !== undefined,
    call: ({ dieWithParent }) => `dieWithParent('${dieWithParent ?? ''}')`,
    problem: 'a daemon outlives its parent; leave out this call or daemonize()',
  },
  // With a hook, there is a launch to watch.
  {
    when: ({ timeoutMs, preExecHook }) => timeoutMs !== undefined && preExecHook === undefined,
    call: 'timeout(…)',
    problem: unwatched,
  },
  { when: ({ silenceTimeoutMs }) => silenceTimeoutMs !== undefined, call: 'silenceTimeout(…)', problem: unwatched },
  { when: ({ stopSequence }) => stopSequence !== undefined, call: 'stopSequence(…)', problem: unwatched },
  { when: ({ check }) => check !== undefined, call: 'check(…)', problem: unwatched },
  { when: ({ outputLimit }) => outputLimit !== undefined, call: 'outputLimit(…)', problem: unwatched },
  { when: ({ waitForOutputEnd }) => waitForOutputEnd !== undefined, call: 'waitForOutputEnd(…)', problem: unwatched },
];

const clashesOfChildren: readonly Clash[] = [
  ...clashesOfTees,
  {
    when: ({ pidFile }) => pidFile !== undefined,
    call: ({ pidFile }) => `pidFile('${readable(pidFile ?? '')}')`,
    problem: 'a pidfile is written for a daemon; say daemonize() too',
  },
  { when: ({ stdin }, mode) => mode === 'run' && stdin.from === 'pipe', call: 'inputPipe()', problem: unread },
  { when: ({ stdout }, mode) => mode === 'run' && stdout.to === 'pipe', call: 'outputPipe()', problem: unread },
  { when: ({ stderr }, mode) => mode === 'run' && stderr.to === 'pipe', call: 'errorPipe()', problem: unread },
  {
    when: ({ outputLimit, stdout, stderr, terminal }, mode) =>
      outputLimit?.policy === 'kill' &&
      terminal === undefined &&
      (mode === 'run' || mode === 'async') &&
      ![stdout, stderr].some(({ to }) => isCounted(to, mode)),
    call: ({ outputLimit }) => `outputLimit(${String(outputLimit?.bytes)}, 'kill')`,
    problem: 'none of the output is captured, so none would be counted; say outputBuffer() or errorBuffer() too',
  },
  {
    when: (spec, mode) =>
      spec.silenceTimeoutMs !== undefined && (mode === 'run' || mode === 'async') && !isSeen(spec, mode),
    call: ({ silenceTimeoutMs }) => `silenceTimeout(${String(silenceTimeoutMs)})`,
    problem:
      'none of the output passes through this process, so it would always be silent; say outputBuffer() or errorBuffer() too',
  },
  {
    when: ({ handshake }, mode) => mode === 'run' && handshake === true,
    call: 'requireHandshake()',
    problem: 'with run() nobody could answer, and both sides would wait for ever; use runAsync()',
  },
];

function clashesIn(clashes: readonly Clash[], spec: CommandSpec, mode: LaunchMode): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const { when, call, problem } of clashes) {
    if (when(spec, mode)) mistakes.push({ call: typeof call === 'string' ? call : call(spec), problem });
  }
  return mistakes;
}

/** The mistakes that lie in no single call, but in two of them, or in how the command is run. */
export function combinationMistakes(spec: CommandSpec, mode: LaunchMode): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const clashes of [clashesOfPrivileges, spec.daemonize === true ? clashesOfDaemons : clashesOfChildren])
    mistakes.push(...clashesIn(clashes, spec, mode));
  if (hasTerminal(spec)) mistakes.push(...clashesIn(clashesOfTerminals, spec, mode));
  if (mode === 'exec') mistakes.push(...execMistakes(spec));
  if (spec.descriptors !== undefined || spec.listenFds !== undefined || spec.sendBuffers !== undefined)
    mistakes.push(...descriptorMistakes(spec));
  return mistakes;
}

/** What needs somebody who is still there when the program runs. */
function execMistakes({ stdin, stdout, stderr, ...spec }: CommandSpec): Mistake[] {
  const alone = 'exec() leaves nobody here to do that; leave the call out, or use run()';
  const streams = streamCalls({ stdin, stdout, stderr, ...spec });
  const fed = { pipe: 'inputPipe()', buffer: 'inputBuffer(…)' } as Readonly<Record<string, string>>;
  const read = (stream: 'output' | 'error') =>
    ({ pipe: `${stream}Pipe()`, buffer: `${stream}Buffer()` }) as Readonly<Record<string, string>>;
  const clashes = [
    ...[fed[stdin.from], read('output')[stdout.to], read('error')[stderr.to]].map((call = '') => ({
      when: call !== '',
      call,
      problem: alone,
    })),
    { when: spec.terminal !== undefined, call: 'terminal(…)', problem: alone },
    {
      when: spec.inheritTerminal === true,
      call: 'inheritTerminal()',
      problem: 'the program keeps the terminal of this process, which it takes the place of; leave the call out',
    },
    ...streams.map((call) => ({ when: true, call, problem: alone })),
    {
      when: spec.pipeSize !== undefined,
      call: `pipeSize(${String(spec.pipeSize)})`,
      problem: 'exec() makes no pipes; leave the call out',
    },
    { when: spec.check !== undefined, call: 'check(…)', problem: alone },
    { when: spec.timeoutMs !== undefined, call: 'timeout(…)', problem: alone },
    { when: spec.silenceTimeoutMs !== undefined, call: 'silenceTimeout(…)', problem: alone },
    { when: spec.stopSequence !== undefined, call: 'stopSequence(…)', problem: alone },
    { when: spec.outputLimit !== undefined, call: 'outputLimit(…)', problem: alone },
    { when: spec.waitForOutputEnd === true, call: 'waitForOutputEnd()', problem: alone },
    { when: spec.handshake === true, call: 'requireHandshake()', problem: alone },
    {
      when: spec.daemonize === true,
      call: 'daemonize()',
      problem: 'exec() makes this process the program; leave one of the two out',
    },
    {
      when: spec.preExecHook !== undefined,
      call: 'preExecHook(…)',
      problem: 'exec() runs the program in this process; call the hook yourself before it',
    },
  ];
  return clashes.filter(({ when }) => when).map(({ call, problem }) => ({ call, problem }));
}

function descriptorMistakes(spec: CommandSpec): Mistake[] {
  const mistakes: Mistake[] = [];
  const sources = new Map<number, string>();
  const place = (as: number, call: string): void => {
    const earlier = sources.get(as);
    if (earlier === undefined) sources.set(as, call);
    else
      mistakes.push({
        call,
        problem: `${earlier === call ? 'it was passed before' : `${earlier} gives the program a descriptor ${as} already`}; each number has one source`,
      });
  };
  for (const [index, fd] of (spec.listenFds ?? []).entries())
    place(FIRST_LISTEN_FD + index, `listenFds(${index === 0 ? '' : '…, '}${fd})`);
  for (const as of spec.sendBuffers ?? []) place(as, 'sendBuffer(…)');
  for (const descriptor of spec.descriptors ?? []) place(descriptor.as, passCall(descriptor));
  return mistakes;
}
