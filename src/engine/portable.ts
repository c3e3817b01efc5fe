import { Buffer } from 'node:buffer';
import { closeSync, openSync } from 'node:fs';
import { PassThrough, pipeline, type Readable, type Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { execa, type ResultPromise } from 'execa';
import { LaunchError } from '../errors.js';
import type { Capture } from '../output.js';
import type { LaunchPlan, Step } from '../plan.js';
import { type ExitStatus, type SignalName, signalNumber } from '../signals.js';
import type { StepName } from '../steps.js';
import { diagnose, isForeignFormat } from './diagnose.js';
import { closeFiles, type OpenFiles, openFiles } from './files.js';
import { type SocketPair, socketPair } from './socket-pair.js';
import type { Engine, EngineProcess, LaunchResources, ProcessEnd, Refusal } from './types.js';

/** What the portable engine promises less of, as sentences. `engineInfo()` tells them, and `docs/engines.md` prints them. */
export const portableLimits: readonly string[] = [
  'Descriptors that this process inherited without close-on-exec, and did not open itself, reach the program as well.',
  'A pidfile is written before run() resolves, but not locked: of two starters at the same instant the later one is ended after its start.',
  'A daemon is the leader of its session, and a child of this process until one of them ends.',
  'An error of a daemon after it has executed its program is its own: the log is the place to look.',
  "Pipes are socket pairs: a program that opens /dev/stdin or /dev/stdout by name gets ENXIO, unless it is given a file.",
  'The program inherits the descriptor limit of this process, which Node raised at its start.',
  'A program that is ended by a real-time signal is reported as exited with code 0, since child_process says so.',
  'resourceUsage and coreDumped are undefined.',
  'A program whose output nobody reads any more gets ECONNRESET or EPIPE from its socket, where a pipe would give SIGPIPE.',
  "A launch copies this process's page tables and holds the event loop meanwhile: about 1 ms in a small process, over 100 ms at 4 GiB.",
];

/** The steps that `child_process` has no way to take, each with the reason. `docs/engines.md` prints this table. */
export const portableRefusals: Partial<Record<StepName, string>> = {
  cgroup: 'child_process cannot place a child, and to move it after its start would be too late',
  setpgid: 'child_process can only make a new session, which is newSession()',
  umask: "child_process sets no umask, and to change this process's own for a moment would reach all its threads",
  setpriority: 'child_process sets no priority, and to set it after the start would miss what the program starts first',
  oom_score_adj: 'child_process cannot set it before the program runs',
  sched_core: 'child_process does not know core scheduling',
  prlimit: 'child_process sets no resource limits',
  listen_pid: "LISTEN_PID must hold the child's pid, which child_process tells only after the program has started",
  hook: 'child_process runs nothing between fork and exec',
  selinux: 'child_process does not know SELinux',
  apparmor: 'child_process does not know AppArmor',
  capbset_drop: 'child_process does not know capabilities',
  capset: 'child_process does not know capabilities',
  cap_ambient: 'child_process does not know capabilities',
  no_new_privs: 'child_process does not know this attribute',
  pdeathsig: 'child_process does not know the parent-death signal',
  handshake: 'child_process cannot hold a child between fork and exec',
};

/**
 * The engine that runs everywhere Node does: execa, and below it `child_process.spawn`.
 *
 * It takes the steps that `child_process` can take, refuses the others, and makes good what `child_process` gets wrong:
 * it tells which step failed, never lets a shell run a file, keeps the order of two streams, and settles at the child's exit.
 */
export const portableEngine: Engine = { name: 'portable', pidFileWriter: 'caller', usesLanes: false, note, refusal, launch };

function note({ step, by }: Step): string | undefined {
  const why = portableRefusals[step];
  if (why !== undefined) return by === '' ? 'not done' : `refused: ${why}`;
  switch (step) {
    case 'daemon-fork':
      return 'not done: the daemon leads its session, and is a child of this process';
    case 'close_range':
      return 'done for what Node opened; what this process inherited stays open';
    case 'pidfile':
      return 'written after the start, and not locked';
    default:
      return undefined;
  }
}

function refusal(plan: LaunchPlan): Refusal | undefined {
  for (const step of plan.steps) {
    const why = portableRefusals[step.step];
    // What nobody asked for is a kindness of the plan, not a promise: `portableLimits` tells that it is missing here.
    if (why !== undefined && step.by !== '') return { feature: step.by, why };
    if (step.step === 'setuid' && plan.directory !== undefined && step.id !== process.geteuid?.()) {
      return { feature: 'workingDirectory', why: 'child_process enters the directory before it takes the uid, so that rights are not checked for the user that the program runs as' };
    }
    if (step.step === 'setgroups' && step.groups.some((group) => group !== plan.spec.gid && group !== idOf(plan, 'setgid'))) {
      return { feature: plan.spec.groups === undefined ? step.by : 'groups', why: 'child_process always drops all supplementary groups; say groups([]) to have it so' };
    }
    if (step.step === 'setgroups' && idOf(plan, 'setuid') === undefined && idOf(plan, 'setgid') === undefined) {
      return { feature: step.by, why: 'child_process changes groups only together with uid and gid' };
    }
  }
  if (plan.argv.some((word) => decode(word) === undefined)) {
    return { feature: 'arg', why: 'child_process takes text only, and an argument holds bytes that are not UTF-8' };
  }
  if (plan.envp.some((entry) => decode(entry) === undefined)) {
    return { feature: 'env', why: 'child_process takes text only, and a variable holds bytes that are not UTF-8' };
  }
  return undefined;
}

async function launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
  // libuv executes with execvp, which would hand a file that is no program to a shell.
  if (isForeignFormat(plan.file)) throw new LaunchError(plan.subject, { step: 'execve', errno: 'ENOEXEC', path: plan.file });
  const files = await openFiles(plan, resources.abortSignal);
  let pair: SocketPair | undefined;
  try {
    pair = sharesPipe(plan) ? await pairFor(plan) : undefined;
    const subprocess = start(plan, files, pair);
    if (subprocess.pid === undefined) throw await failedStart(plan, subprocess);
    // The child has its copy of the shared end; ours would keep the pipe from ever ending.
    pair?.theirs.destroy();
    return new PortableProcess(subprocess.pid, subprocess, plan, resources, pair?.ours);
  } catch (error) {
    pair?.theirs.destroy();
    pair?.ours.destroy();
    throw error;
  } finally {
    await closeFiles(files);
  }
}

// ---------------------------------------------------------------- starting

async function pairFor(plan: LaunchPlan): Promise<SocketPair> {
  try {
    return await socketPair();
  } catch (cause) {
    const { code = 'EIO', syscall = 'socket' } = cause as NodeJS.ErrnoException;
    throw new LaunchError(plan.subject, { step: 'pipe', errno: code, syscall, cause });
  }
}

function start(plan: LaunchPlan, files: OpenFiles, pair: SocketPair | undefined): ResultPromise {
  const [argv0 = '', ...args] = plan.argv.map((word) => decode(word) ?? '');
  const fillers = occupyNumbers(plan);
  try {
    return execa(plan.file, args, {
      argv0,
      ...(plan.directory === undefined ? {} : { cwd: plan.directory }),
      env: environment(plan),
      extendEnv: false,
      stdio: stdioFor(plan, files, pair) as ['ignore', 'pipe', 'pipe'],
      ...(plan.steps.some(({ step }) => step === 'setsid') ? { detached: true } : {}),
      ...idOptions(plan),
      // Everything below switches off what execa does beyond launching; the spawner does it for all engines alike.
      buffer: false,
      reject: false,
      cleanup: false,
      stripFinalNewline: false,
      forceKillAfterDelay: false,
      windowsHide: true,
    }) as unknown as ResultPromise;
  } catch (cause) {
    // execa asks for the working directory, and throws where this process's own has been removed.
    throw new LaunchError(plan.subject, { step: 'chdir', errno: 'ENOENT', path: plan.directory ?? '.', cause });
  } finally {
    for (const fd of fillers) closeSync(fd);
  }
}

/** What libuv opens for a start beside the ends of the pipes: two for the news of a failed exec, and some for good measure. */
const SPARE_DESCRIPTORS = 6;

/**
 * Makes sure that the start has the descriptors it needs, and occupies the numbers that the child will have.
 *
 * Node does not survive to run out of descriptors within `spawn`: it throws where nobody can catch. And libuv does not
 * protect the pipe on which it hears of a failed exec: a descriptor that the child gets at that very number destroys it.
 */
function occupyNumbers(plan: LaunchPlan): number[] {
  const highest = plan.descriptors.at(-1)?.childFd ?? 2;
  const pipes = plan.descriptors.filter(({ source }) => source.kind === 'pipe').length;
  const spare: number[] = [];
  const fillers: number[] = [];
  try {
    while (spare.length < SPARE_DESCRIPTORS + 2 * pipes) {
      const fd = openSync('/dev/null', 'r');
      (fd <= highest ? fillers : spare).push(fd);
    }
    return fillers;
  } catch (cause) {
    for (const fd of fillers) closeSync(fd);
    const { code = 'EMFILE' } = cause as NodeJS.ErrnoException;
    throw new LaunchError(plan.subject, { step: 'pipe', errno: code, cause });
  } finally {
    for (const fd of spare) closeSync(fd);
  }
}

async function failedStart(plan: LaunchPlan, subprocess: ResultPromise): Promise<LaunchError> {
  const { cause } = (await subprocess) as { cause?: unknown };
  for (const stream of subprocess.stdio) stream?.destroy();
  // Node's error carries all arguments, secret ones too.
  delete (cause as { spawnargs?: unknown }).spawnargs;
  const { code = 'EIO' } = cause as NodeJS.ErrnoException;
  return new LaunchError(plan.subject, diagnose(plan, code, cause));
}

function environment(plan: LaunchPlan): Record<string, string | undefined> {
  const variables = plan.envp.map((entry) => {
    const text = decode(entry) ?? '';
    const end = text.indexOf('=', 1);
    return [text.slice(0, end), text.slice(end + 1)] as const;
  });
  // child_process adds this variable to every environment that does not mention it; `undefined` mentions it.
  return { NODE_V8_COVERAGE: undefined, ...Object.fromEntries(variables) };
}

function idOptions(plan: LaunchPlan): { uid?: number; gid?: number } {
  const uid = idOf(plan, 'setuid');
  const gid = idOf(plan, 'setgid');
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}

function idOf(plan: LaunchPlan, name: 'setuid' | 'setgid'): number | undefined {
  for (const step of plan.steps) if ((step.step === 'setuid' || step.step === 'setgid') && step.step === name) return step.id;
  return undefined;
}

const sharesPipe = ({ descriptors }: LaunchPlan): boolean => descriptors[1]?.source.kind === 'pipe' && descriptors[2]?.source.kind === 'stdout';

type StdioEntry = 'ignore' | 'pipe' | number | SocketPair['theirs'];

function stdioFor(plan: LaunchPlan, files: OpenFiles, pair: SocketPair | undefined): StdioEntry[] {
  const highest = plan.descriptors.at(-1)?.childFd ?? 2;
  const stdio: StdioEntry[] = new Array<StdioEntry>(highest + 1).fill('ignore');
  for (const { childFd, source } of plan.descriptors) {
    switch (source.kind) {
      case 'null':
        break;
      case 'fd':
        stdio[childFd] = source.fd;
        break;
      case 'file':
        stdio[childFd] = files.get(childFd)?.fd ?? 'ignore';
        break;
      case 'pipe':
        stdio[childFd] = childFd > 0 && pair !== undefined ? pair.theirs : 'pipe';
        break;
      case 'stdout':
        stdio[childFd] = stdio[1] ?? 'ignore';
        break;
    }
  }
  return stdio;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decode(word: Uint8Array): string | undefined {
  try {
    return utf8.decode(word);
  } catch {
    return undefined;
  }
}

// ---------------------------------------------------------------- running

/** How much is written to the child at once. What a child that ends early has not taken is counted in such pieces. */
const INPUT_PIECE = 64 * 1024;

/**
 * How much is read after the child's end, at most. A pipe holds far less, so all that the child wrote comes before that;
 * a grandchild that writes without pause cannot keep us longer.
 */
const LAST_READ = 16 * 1024 * 1024;

/** Turns of the event loop without news from the output pipes after which they are empty. The first may have begun before the end. */
const QUIET_TURNS = 3;

class PortableProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null = null;
  readonly stdout: Readable | null = null;
  readonly stderr: Readable | null = null;
  readonly ended: Promise<ProcessEnd>;
  readonly #subprocess: ResultPromise;
  readonly #captured: CapturedStream[] = [];
  readonly #mayStopReading: Promise<void>;
  #stopReading: () => void = () => undefined;
  #inputWritten = 0;
  #hasExited = false;

  constructor(pid: number, subprocess: ResultPromise, plan: LaunchPlan, resources: LaunchResources, shared: Readable | undefined) {
    this.pid = pid;
    this.#subprocess = subprocess;
    this.#mayStopReading = new Promise((resolve) => {
      this.#stopReading = resolve;
    });
    if (!resources.waitForOutputEnd) this.#stopReading();
    const exited = new Promise<ExitStatus>((resolve) => {
      subprocess.once('exit', (exitCode, signal) => {
        this.#hasExited = true;
        resolve({ exitCode, signal, coreDumped: undefined });
      });
    });

    for (const { childFd, source } of plan.descriptors) {
      if (source.kind !== 'pipe') continue;
      if (childFd === 0) {
        const stdin = subprocess.stdin!;
        // A child that does not read is no failure of ours: EPIPE shows in what was written, and in the caller's own callbacks.
        stdin.on('error', ignoreClosedPipe);
        if (source.for === 'caller') this.stdin = stdin;
        else void this.#feed(stdin, resources.input ?? Buffer.alloc(0));
        continue;
      }
      const stream = shared ?? ((childFd === 1 ? subprocess.stdout : subprocess.stderr)!);
      const capture = resources.captures.get(childFd as 1 | 2);
      if (capture !== undefined) {
        this.#captured.push(new CapturedStream(stream, capture));
        continue;
      }
      if (childFd === 1) this.stdout = handedOut(stream);
      else this.stderr = handedOut(stream);
    }
    this.ended = this.#end(exited);
  }

  signal(signal: SignalName): boolean {
    // Until its `exit` event, libuv has not reaped the child: the pid cannot mean another process. By number, since
    // neither execa nor Node know the names of real-time signals.
    return !this.#hasExited && process.kill(this.pid, signalNumber(signal));
  }

  stopReading(): void {
    this.#stopReading();
  }

  ref(): void {
    this.#subprocess.ref();
  }

  unref(): void {
    this.#subprocess.unref();
  }

  async #feed(stdin: Writable, input: Uint8Array): Promise<void> {
    for (let at = 0; at < input.length; at += INPUT_PIECE) {
      const piece = input.subarray(at, at + INPUT_PIECE);
      const taken = await new Promise<boolean>((resolve) => {
        stdin.write(piece, (error) => {
          resolve(error === undefined || error === null);
        });
      });
      if (!taken) return;
      this.#inputWritten += piece.length;
    }
    stdin.end();
  }

  async #end(exited: Promise<ExitStatus>): Promise<ProcessEnd> {
    const status = await exited;
    await Promise.race([Promise.all(this.#captured.map((output) => output.closed)), this.#mayStopReading]);
    await this.#readRest();
    const outputHeldOpen = this.#captured.some((output) => !output.ended);
    for (const output of this.#captured) output.close();
    return { ...status, outputHeldOpen, inputWritten: this.#inputWritten, resourceUsage: undefined };
  }

  /**
   * Reads what the child left in its pipes, and does not wait for those who still hold them.
   *
   * The child is dead, so all that it wrote lies in the kernel. A turn of the event loop asks the kernel about every
   * pipe; a turn that brings nothing means that they are empty. Time plays no part in it, however loaded the machine is.
   */
  async #readRest(): Promise<void> {
    const bytesRead = (): number => this.#captured.reduce((sum, output) => sum + output.bytesRead, 0);
    const before = bytesRead();
    let seen = before;
    let quietTurns = 0;
    while (quietTurns < QUIET_TURNS && seen - before < LAST_READ && this.#captured.some((output) => !output.ended)) {
      await setImmediate();
      const now = bytesRead();
      quietTurns = now === seen ? quietTurns + 1 : 0;
      seen = now;
    }
  }
}

/** An output pipe that is read here, to its end or until we close it. */
class CapturedStream {
  readonly closed: Promise<void>;
  ended = false;
  bytesRead = 0;
  readonly #stream: Readable;

  constructor(stream: Readable, capture: Capture) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.bytesRead += chunk.length;
      capture.write(chunk);
    });
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.ended = true;
        resolve();
      };
      stream.once('end', end).once('close', end).on('error', end);
    });
  }

  close(): void {
    this.#stream.destroy();
  }
}

/**
 * A caller's view of an output pipe. `child_process` throws away, at the child's exit, what nobody has begun to read;
 * a stream in between keeps it for as long as the caller likes, and closes the pipe when the caller closes it.
 */
function handedOut(source: Readable): Readable {
  const view = new PassThrough();
  pipeline(source, view, ignoreClosedPipe);
  return view;
}

function ignoreClosedPipe(): void {
  // The stream that the caller holds tells of its own end; there is nobody else to tell.
}
