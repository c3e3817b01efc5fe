import { Buffer } from 'node:buffer';
import type { Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { inspect, types } from 'node:util';
import { readOptions, typeError } from '../errors/argument-error.js';
import type { CommandError } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { Clock } from '../host/time.js';
import type { Capture } from '../io/capture.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { bare } from '../spec/bare.js';
import { LateReadable, LateWritable } from '../spec/late.js';
import type { CommandSpec } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import type { SignalName } from '../text/signals.js';
import { PlayedDevice } from '../terminal/played-device.js';
import { Terminal } from '../terminal/terminal.js';
import { bytesOf, type DryRunResponse, isResponse, type ReadResponse, readResponse } from './answer.js';
import type { EngineProcess, Handshake, LaunchResources, ProcessEnd } from './engine.js';

/**
 * What a played program does when something reaches it. With an `exitCode` or a `signal` it ends so; with only `stdout` or `stderr` it
 * writes that and goes on; `'ignore'` does nothing. An object without any of these, and everything else, is no answer.
 */
export type PlayedAnswer = DryRunResponse | 'ignore' | undefined;

/** A {@link PlayedAnswer}, at once or later. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a function that gives nothing is an answer.
type Answering = PlayedAnswer | void | number | Promise<PlayedAnswer | void | number>;

/** What a program does that {@link running} plays. */
export interface RunningOptions {
  /** What it writes when it begins. Default: nothing. */
  readonly stdout?: string | Uint8Array | undefined;
  /** What it writes to its standard error when it begins. Default: nothing. */
  readonly stderr?: string | Uint8Array | undefined;
  /**
   * Is told of each signal that a program can catch, and answers it. Without an answer it ends by the signal, as most programs do;
   * but not by those that services take as requests (SIGHUP, SIGUSR1, SIGUSR2), nor by those that end no program (SIGCHLD, SIGCONT …).
   */
  readonly onSignal?: ((signal: SignalName, program: PlayedProgram) => Answering) | undefined;
  /** Is told what is written to its standard input, piece by piece, as text; what is written to it may be answered. Default: it is read, and nothing comes of it. */
  readonly onInput?: ((text: string, program: PlayedProgram) => Answering) | undefined;
  /** Is told that its standard input has come to its end. Default: it goes on. */
  readonly onInputEnd?: ((program: PlayedProgram) => Answering) | undefined;
}

/** What a program does that this library plays by itself. */
export interface PlayedRole extends RunningOptions {
  /** Is told that the program has begun, before any input. */
  readonly onBegin?: (program: PlayedProgram) => void;
}

const text = {
  is: (value: unknown): boolean => typeof value === 'string' || types.isUint8Array(value),
  words: 'what a program writes is a string, a Buffer or a Uint8Array',
};

/**
 * An answer of a dry run: a program that goes on until it is signaled, until its time is over, or until the test has it end.
 *
 * Its time is the test's: the timers that stand in the globals, which may be fake. A signal reaches it from `child.signal()`, `stop()`,
 * `abort()`, `killPainfully()`, `killTree()`, `pidAbort()`, the handle of a daemon or the timeout of its command. It can be played once.
 *
 * @throws {TypeError} for options that are none.
 *
 * @example
 * const server = running({ stdout: 'ready\n', onSignal: (signal) => (signal === 'SIGTERM' ? { exitCode: 0 } : 'ignore') });
 * using dry = dryRun({ respond: () => server });
 * const child = await new Command('redis-server').outputPipe().runAsync();
 * await child.stop();
 * server.signals; // ['SIGTERM']
 */
export function running(options?: RunningOptions): PlayedProgram {
  return new PlayedProgram(
    readOptions('running', [], options, {
      stdout: text,
      stderr: text,
      onSignal: 'function',
      onInput: 'function',
      onInputEnd: 'function',
    }),
  );
}

let cast: (program: PlayedProgram, process: PlayedProcess) => PlayedRole;

/** A program that a dry run plays, from {@link running}: what reached it, and the ways to have it write and end. */
export class PlayedProgram {
  readonly #options: PlayedRole;
  #process: PlayedProcess | undefined;

  static {
    cast = (program, process) => {
      if (program.#process !== undefined)
        throw typeError(
          'respond() gave a program of running() that has been played already; call running() in each answer.',
        );
      program.#process = process;
      return program.#options;
    };
  }

  /** @internal Made by {@link running}. */
  constructor(options: PlayedRole) {
    this.#options = options;
  }

  /** Its pid, which no process of this machine has. `undefined` until it is launched. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Whether it has been launched and has not ended. */
  get isRunning(): boolean {
    return this.#process?.hasEnded === false;
  }

  /** The signals that reached it, in their order, SIGKILL included. */
  get signals(): readonly SignalName[] {
    return this.#process?.signals ?? [];
  }

  /**
   * Writes to its standard output. After its end, nothing is written.
   *
   * @example
   * const server = running();
   * using dry = dryRun({ respond: () => server });
   * const child = await new Command('redis-server').outputPipe().runAsync();
   * server.write('ready\n');
   */
  write(data: string | Uint8Array): void {
    this.#played('write').write(1, bytesOf('write()', 'stdout', data));
  }

  /**
   * Writes to its standard error.
   *
   * @example
   * const server = running();
   * using dry = dryRun({ respond: () => server });
   * const child = await new Command('redis-server').outputPipe().runAsync();
   * server.writeError('out of memory\n');
   */
  writeError(data: string | Uint8Array): void {
    this.#played('writeError').write(2, bytesOf('writeError()', 'stderr', data));
  }

  /**
   * Ends it with an exit code. After its end, nothing happens.
   *
   * @example
   * const server = running();
   * using dry = dryRun({ respond: () => server });
   * const child = await new Command('redis-server').outputPipe().runAsync();
   * server.exit(1);
   * await child.wait({ check: [1] });
   */
  exit(exitCode = 0): void {
    this.end({ exitCode });
  }

  /**
   * Ends it in any way: what is left out is exit code 0, no signal, and no last words.
   *
   * @example
   * const server = running();
   * using dry = dryRun({ respond: () => server });
   * const child = await new Command('redis-server').outputPipe().runAsync();
   * server.end({ signal: 'SIGSEGV', stderr: 'stack smashing detected\n' });
   * await child.wait({ check: false });
   */
  end(response: DryRunResponse = {}): void {
    this.#played('end').finish(readResponse('end()', response));
  }

  #played(method: string): PlayedProcess {
    if (this.#process !== undefined) return this.#process;
    throw typeError(
      `${method}(): this program has not been launched; give it as an answer of respond(), and run a command.`,
    );
  }

  /** One line: its pid, and whether it runs. */
  [inspect.custom](): string {
    return `PlayedProgram { ${this.pid === undefined ? 'not launched' : `pid ${this.pid}, ${this.isRunning ? 'running' : 'ended'}`} }`;
  }
}

// ---------------------------------------------------------------- pids

/** The highest number of a pid. The kernel gives out none above 4194304, so a signal sent to one of these reaches no process; zero and negative numbers would mean whole groups. */
const HIGHEST_PID = 0x7fff_ffff;

let nextPid = HIGHEST_PID;

/** A pid that no process has, and that no other played process has had. */
export function inventPid(): number {
  const pid = nextPid;
  nextPid -= 1;
  return pid;
}

/** Whether a pid was given out by a dry run. */
export const isInvented = (pid: number): boolean => pid > nextPid && pid <= HIGHEST_PID;

// ---------------------------------------------------------------- processes

/** A process that would have been signaled in earnest. */
export interface DryRunKill {
  /** The function that was called. */
  readonly call: 'killPainfully' | 'killTree' | 'pidAbort' | 'forceCleanup' | 'signal' | 'stop' | 'abort';
  readonly pid: number;
  /** The first signal that it would have sent. */
  readonly signal: SignalName;
}

/** The signals that end no program that has no handler for them. */
const HARMLESS: ReadonlySet<SignalName> = new Set<SignalName>([
  'SIGCHLD',
  'SIGCONT',
  'SIGURG',
  'SIGWINCH',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
]);

/** The signals that services take as requests. */
const REQUESTS: ReadonlySet<SignalName> = new Set<SignalName>(['SIGHUP', 'SIGUSR1', 'SIGUSR2']);

const NOTHING: ReadResponse = Object.freeze({
  exitCode: undefined,
  signal: undefined,
  stdout: Buffer.alloc(0),
  stderr: Buffer.alloc(0),
});

/** What a function of the test threw, in the place of the program. */
export interface Thrown {
  readonly error: unknown;
}

/** What a played process needs of its dry run. */
export interface Stage {
  readonly clock: Clock;
  readonly kills: DryRunKill[];
}

/** A process that exists in a dry run alone. */
export class PlayedProcess implements EngineProcess {
  readonly pid = inventPid();
  readonly spec: CommandSpec;
  readonly signals: SignalName[] = [];
  readonly stdin: Writable | null;
  readonly stdout: PlayedOutput | null;
  readonly stderr: PlayedOutput | null;
  readonly terminal: Terminal | null;
  readonly ended: Promise<ProcessEnd>;
  readonly handshake: PlayedHandshake | undefined;
  readonly #stage: Stage;
  readonly #plan: LaunchPlan;
  readonly #captures: ReadonlyMap<1 | 2, Capture>;
  readonly #input: Uint8Array | undefined;
  readonly #role: PlayedProgram | ReadResponse;
  readonly #options: PlayedRole;
  /** What came before the program was executed, which has every signal blocked. */
  readonly #blocked: SignalName[] = [];
  #device: PlayedDevice | undefined;
  #tellEnd: (end: ProcessEnd) => void = () => undefined;
  #hasBegun = false;
  #end: ProcessEnd | undefined;
  #thrown: Thrown | undefined;

  /** What it does is said by the test, or is an end that comes at once. A daemon whose end is a success goes on. */
  constructor(role: PlayedProgram | ReadResponse, plan: LaunchPlan, resources: LaunchResources, stage: Stage) {
    this.spec = plan.spec;
    this.#stage = stage;
    this.#plan = plan;
    this.#captures = resources.captures;
    this.#input = resources.input;
    this.#role = role;
    this.#options = role instanceof PlayedProgram ? cast(role, this) : bare({});
    this.ended = new Promise((resolve) => (this.#tellEnd = resolve));
    this.stdin = isStreamed(plan, 0) ? new PlayedInput(this) : null;
    this.stdout = isStreamed(plan, 1) ? new PlayedOutput() : null;
    this.stderr = isStreamed(plan, 2) ? new PlayedOutput() : null;
    const { terminal: size } = plan.spec;
    const isCallers = size !== undefined && plan.mode === 'async';
    if (isCallers) this.#device = new PlayedDevice((text) => this.takeInput(text));
    this.terminal = this.#device === undefined || size === undefined ? null : new Terminal(this.#device, size);
    this.handshake = plan.steps.some(({ step }) => step === 'handshake') ? new PlayedHandshake(this, plan) : undefined;
  }

  /** The program is executed: it writes its first words, and reads its buffer. */
  begin(): void {
    if (this.#hasBegun || this.hasEnded) return;
    this.#hasBegun = true;
    for (const signal of this.#blocked) this.#deliver(signal);
    if (this.#role instanceof PlayedProgram) this.#playOn();
    else if (this.#plan.mode === 'daemon' && (this.#role.exitCode ?? 0) === 0 && this.#role.signal === undefined) {
      this.#say(this.#role);
      this.#closeOutput();
    } else this.finish(this.#role);
  }

  #playOn(): void {
    const { stdout, stderr, onBegin } = this.#options;
    this.#say({ stdout: bytesOf('running()', 'stdout', stdout), stderr: bytesOf('running()', 'stderr', stderr) });
    if (this.#role instanceof PlayedProgram) onBegin?.(this.#role);
    // Nobody has pressed the key that ends the input of a terminal.
    if (this.stdin !== null || this.spec.terminal !== undefined) return;
    if (this.#input !== undefined) this.takeInput(Buffer.from(this.#input).toString());
    this.takeInputEnd();
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** How it ended, where it has. */
  get end(): ProcessEnd | undefined {
    return this.#end;
  }

  /** What a function of the test has thrown, for the first that asks for it. */
  takeThrown(): Thrown | undefined {
    const thrown = this.#thrown;
    this.#thrown = undefined;
    return thrown;
  }

  /** Records that a function was called which signals it, if there is anything to signal. */
  noteKill(call: DryRunKill['call'], signal: SignalName): void {
    if (!this.hasEnded) this.#stage.kills.push({ call, pid: this.pid, signal });
  }

  write(fd: 1 | 2, bytes: Buffer): void {
    if (this.hasEnded || bytes.length === 0) return;
    const kind = this.#plan.descriptors.at(2)?.source.kind;
    const target = fd === 2 && (kind === 'stdout' || kind === 'terminal') ? 1 : fd;
    this.#device?.put(bytes);
    // What passes through this process to a file as well is captured on its way.
    (this.#outputOf(target) ?? this.#captures.get(target))?.write(bytes);
  }

  #outputOf(fd: 1 | 2): PlayedOutput | null {
    return fd === 1 ? this.stdout : this.stderr;
  }

  #say({ stdout, stderr }: Pick<ReadResponse, 'stdout' | 'stderr'>): void {
    this.write(1, stdout);
    this.write(2, stderr);
  }

  signal(name: SignalName): boolean {
    if (this.hasEnded) return false;
    this.signals.push(name);
    if (this.#hasBegun || name === 'SIGKILL') this.#deliver(name);
    else this.#blocked.push(name);
    return true;
  }

  #deliver(name: SignalName): void {
    const { onSignal } = this.#options;
    // No program can catch these two.
    if (name === 'SIGKILL' || name === 'SIGSTOP' || onSignal === undefined) {
      this.#obey(name);
      return;
    }
    this.#ask(
      'onSignal()',
      (program) => onSignal(name, program),
      () => {
        this.#obey(name);
      },
    );
  }

  /** Does what a program does that has no handler for a signal. */
  #obey(name: SignalName): void {
    if (!HARMLESS.has(name) && !REQUESTS.has(name)) this.finish({ ...NOTHING, signal: name });
  }

  takeInput(piece: string): void {
    const { onInput } = this.#options;
    if (onInput !== undefined && piece !== '') this.#ask('onInput()', (program) => onInput(piece, program));
  }

  takeInputEnd(): void {
    const { onInputEnd } = this.#options;
    if (onInputEnd !== undefined) this.#ask('onInputEnd()', (program) => onInputEnd(program));
  }

  /** Asks a function of the test, and does what it says. What it throws ends the program, and is told to who waits for that. */
  #ask(call: string, ask: (program: PlayedProgram) => Answering, unanswered?: () => void): void {
    if (this.hasEnded || !(this.#role instanceof PlayedProgram)) return;
    const obey = (answer: unknown): void => {
      if (this.hasEnded || answer === 'ignore') return;
      if (typeof answer !== 'object' || answer === null || !isResponse(answer)) {
        unanswered?.();
        return;
      }
      const response = readResponse(call, answer);
      if (response.exitCode !== undefined || response.signal !== undefined) {
        this.finish(response);
      } else {
        this.#say(response);
      }
    };
    try {
      const answer: unknown = ask(this.#role);
      if (types.isPromise(answer)) answer.then(obey).catch(this.#fail);
      else obey(answer);
    } catch (error) {
      this.#fail(error);
    }
  }

  readonly #fail = (error: unknown): void => {
    this.#thrown ??= { error };
    this.finish({ ...NOTHING, signal: 'SIGKILL' });
  };

  /** The program writes its last words and ends. */
  finish(response: ReadResponse): void {
    if (this.hasEnded) return;
    const { exitCode, signal } = response;
    this.#say(response);
    const { stdin } = this.spec;
    this.#end = {
      exitCode: signal === undefined ? (exitCode ?? 0) : null,
      signal: signal ?? null,
      coreDumped: false,
      outputHeldOpen: false,
      inputWritten: stdin.from === 'buffer' || stdin.from === 'stream' ? (this.#input?.length ?? 0) : 0,
      resourceUsage: undefined,
      lostOutput: undefined,
    };
    this.#closeOutput();
    // What has ended at once seems to have read all that it is given.
    if (this.#role instanceof PlayedProgram) this.stdin?.destroy();
    this.#tellEnd(this.#end);
  }

  #closeOutput(): void {
    this.stdout?.finish();
    this.stderr?.finish();
    this.terminal?.programEnded();
  }

  /** Whether it has ended before so many milliseconds have passed. */
  endsWithin(ms: number): Promise<boolean> {
    if (this.hasEnded) return Promise.resolve(true);
    return new Promise((resolve) => {
      const stop = this.#stage.clock.after(ms, () => {
        resolve(false);
      });
      void this.ended.then(() => {
        stop();
        resolve(true);
      });
    });
  }

  /** The program, by the name that it was given. */
  get programName(): string {
    return readable(this.spec.argv.at(0) ?? '');
  }

  get isReaped(): boolean {
    return this.hasEnded;
  }

  stopReading(): void {
    // There is nothing to read: what it writes is there at once.
  }

  ref(): void {
    // It keeps no process alive.
  }

  unref(): void {
    // It keeps no process alive.
  }
}

function isStreamed({ descriptors }: LaunchPlan, fd: number): boolean {
  const source = descriptors.at(fd)?.source;
  return source?.kind === 'pipe' && ['caller', 'flow', 'stage'].includes(source.for);
}

/** What a played process writes, for the caller to read. */
class PlayedOutput extends LateReadable {
  #onPiece: (() => void) | undefined;

  onPiece(callback: () => void): void {
    this.#onPiece = callback;
  }

  override _read(): void {
    // What is written comes by itself.
  }

  write(bytes: Buffer): void {
    this.#onPiece?.();
    if (!this.destroyed) this.push(bytes);
  }

  finish(): void {
    if (!this.destroyed && !this.readableEnded) this.push(null);
  }
}

/** What the caller writes, for a played process to read. */
class PlayedInput extends LateWritable {
  readonly #process: PlayedProcess;
  readonly #decoder = new StringDecoder('utf8');

  constructor(process: PlayedProcess) {
    super();
    this.#process = process;
    // A program that does not read is no failure of ours; it shows in the callbacks of what the caller writes.
    this.on('error', () => undefined);
  }

  override _write(piece: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#process.takeInput(this.#decoder.write(piece));
    done();
  }

  override _final(done: () => void): void {
    this.#process.takeInput(this.#decoder.end());
    this.#process.takeInputEnd();
    done();
  }
}

/** A played process stands before its program until it is told to go on. */
class PlayedHandshake implements Handshake {
  failure: CommandError | undefined;
  readonly #process: PlayedProcess;
  readonly #plan: LaunchPlan;
  #word: 'go' | 'stop' | undefined;

  constructor(process: PlayedProcess, plan: LaunchPlan) {
    this.#process = process;
    this.#plan = plan;
    void process.ended.then(() => {
      // As on an engine, it never ran.
      if (!process.hasBegun) this.failure = new LaunchError(plan.subject, { step: 'execve', wasEnded: true });
    });
  }

  get isPending(): boolean {
    return this.#word === undefined;
  }

  wait(): Promise<void> {
    return Promise.resolve();
  }

  async notify(): Promise<void> {
    if (this.#word !== undefined) {
      const problem =
        this.#word === 'go'
          ? 'the handshake is complete already; say it once'
          : 'the handshake was given up, and the program will not run; start it anew';
      throw new UsageError(this.#plan.subject, [{ call: 'handshakeNotify()', problem }]);
    }
    this.#word = 'go';
    if (this.#process.hasEnded)
      throw this.failure ?? new LaunchError(this.#plan.subject, { step: 'execve', wasEnded: true });
    this.#process.begin();
    return Promise.resolve();
  }

  abort(): Promise<void> {
    if (this.#word === 'go') {
      const problem = 'the handshake is complete already; end the program with killPainfully()';
      return Promise.reject(new UsageError(this.#plan.subject, [{ call: 'handshakeAbort()', problem }]));
    }
    this.#word = 'stop';
    this.#process.finish({ ...NOTHING, signal: 'SIGKILL' });
    return Promise.resolve();
  }
}
