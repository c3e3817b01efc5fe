import { inspect } from 'node:util';
import type { Readable, Writable } from 'node:stream';
import type { SignalName } from './signals.js';
import type { Mutable } from './spec.js';

/** What the kernel counted for a process and the children that it waited for. */
export interface ResourceUsage {
  /** Time on a processor in the program's own code, in milliseconds. */
  readonly userMs: number;
  /** Time on a processor in the kernel, in milliseconds. */
  readonly systemMs: number;
  /**
   * The largest resident set, in KiB. It has a floor: the peak of the process that launched the program,
   * because the kernel carries that over into the new program. A value near the launcher's own peak tells nothing.
   */
  readonly maxRssKib: number;
}

/** What captured output can be. */
export type Captured = string | Buffer | undefined;

/** The fields of a {@link RunResult}. */
export interface RunResultFields<Stdout = Captured, Stderr = Captured> {
  /** The command as it may be printed: no values of variables, no secret arguments. */
  readonly command: string;
  readonly pid: number;
  /** The exit code, or `null` if a signal ended the program. */
  readonly exitCode: number | null;
  /** The signal that ended the program, or `null`. */
  readonly signal: SignalName | null;
  /** Whether a core file was written; `undefined` in the portable engine, which is not told. */
  readonly coreDumped: boolean | undefined;
  /** The status as `waitpid()` gives it. */
  readonly rawStatus: number;
  /** What the program wrote to its standard output: text, bytes if asked, `undefined` if it was not captured. */
  readonly stdout: Stdout;
  /** The same for standard error. `undefined` also where it shares standard output's buffer. */
  readonly stderr: Stderr;
  /** How many bytes the program wrote to each stream that was captured, kept or not. */
  readonly outputBytes: { readonly stdout: number; readonly stderr: number };
  /** Whether another process still held an output pipe when the program had ended. What that one writes later is not read. */
  readonly outputHeldOpen: boolean;
  /** Whether the output limit cut something off. */
  readonly outputTruncated: boolean;
  /** How many bytes of the input buffer the program's pipe took; fewer than were given if it did not read them all. */
  readonly inputWritten: number;
  /** Whether the program overran its timeout, however it ended then. */
  readonly timedOut: boolean;
  /** From the launch to the end, in milliseconds. */
  readonly durationMs: number;
  /** What the program used; `undefined` in the portable engine. */
  readonly resourceUsage: ResourceUsage | undefined;
}

/** How a program ended, and what it wrote. Plain, frozen fields. */
export interface RunResult<Stdout = Captured, Stderr = Captured> extends RunResultFields<Stdout, Stderr> {}

/** How a program ended, and what it wrote. Plain, frozen fields. */
export class RunResult<Stdout = Captured, Stderr = Captured> {
  constructor(fields: RunResultFields<Stdout, Stderr>) {
    fill(this, fields);
    Object.freeze(this);
  }

  /** One line: the command, how it ended, and after how long. */
  [inspect.custom](): string {
    const end = this.signal === null ? `exit code ${String(this.exitCode)}` : this.signal;
    return `RunResult { ${this.command} → ${end} after ${formatDuration(this.durationMs)} }`;
  }
}

/** One field after the other: `Object.assign()` took a hundredth of a launch. */
function fill<Stdout, Stderr>(result: Mutable<RunResultFields<Stdout, Stderr>>, fields: RunResultFields<Stdout, Stderr>): void {
  result.command = fields.command;
  result.pid = fields.pid;
  result.exitCode = fields.exitCode;
  result.signal = fields.signal;
  result.coreDumped = fields.coreDumped;
  result.rawStatus = fields.rawStatus;
  result.stdout = fields.stdout;
  result.stderr = fields.stderr;
  result.outputBytes = fields.outputBytes;
  result.outputHeldOpen = fields.outputHeldOpen;
  result.outputTruncated = fields.outputTruncated;
  result.inputWritten = fields.inputWritten;
  result.timedOut = fields.timedOut;
  result.durationMs = fields.durationMs;
  result.resourceUsage = fields.resourceUsage;
}

/** The fields of a {@link DaemonResult}. */
export interface DaemonResultFields {
  readonly command: string;
  /** The pid of the daemon itself. */
  readonly pid: number;
  /** The pidfile that holds it, if one was asked for. */
  readonly pidFile: string | undefined;
  /** The pipes that were asked for with `inputPipe()`, `outputPipe()` and `errorPipe()`; else `null`. An open one keeps this process alive: destroy it when you have read enough. */
  readonly stdin: Writable | null;
  /** See `stdin`. */
  readonly stdout: Readable | null;
  /** See `stdin`. */
  readonly stderr: Readable | null;
}

/** The caller's part in a daemon's handshake, as the engine plays it. */
export interface DaemonHandshake {
  /** Lets the daemon execute its program, and resolves when it has. */
  notify(): Promise<void>;
  /** Has the daemon end without executing its program, and resolves when it has. */
  abort(): Promise<void>;
  /** Whether the daemon still waits for one of the two. */
  readonly isPending: boolean;
}

/** A daemon that is running, or that stands before its handshake. */
export interface DaemonResult extends DaemonResultFields {}

/** A daemon that is running, or that stands before its handshake. */
export class DaemonResult {
  readonly #handshake: DaemonHandshake | undefined;

  constructor(fields: DaemonResultFields, handshake?: DaemonHandshake) {
    Object.assign(this, fields);
    this.#handshake = handshake;
    Object.freeze(this);
  }

  /** Resolves at once: a daemon's `run()` resolves when the daemon stands before its handshake. Answers to `virCommandHandshakeWait`. */
  async handshakeWait(): Promise<void> {
    this.#assertHandshake('handshakeWait');
    return Promise.resolve();
  }

  /**
   * Lets the daemon execute its program, and resolves when it has. Answers to `virCommandHandshakeNotify`.
   *
   * @throws {Error} if `requireHandshake()` was not called. {LaunchError} with the step that failed, if one did.
   *
   * @example
   * const daemon = await new Command('sleep', '1').daemonize().requireHandshake().run();
   * await daemon.handshakeNotify();
   */
  async handshakeNotify(): Promise<void> {
    await this.#assertHandshake('handshakeNotify').notify();
  }

  /**
   * Gives the handshake up: the program is never executed, the pidfile is removed, and when this resolves the daemon has
   * ended. The same happens when this process ends without a word. A second call changes nothing.
   *
   * @throws {Error} if `requireHandshake()` was not called. {UsageError} after `handshakeNotify()`: then the program runs.
   *
   * @example
   * const daemon = await new Command('sleep', '1').daemonize().requireHandshake().run();
   * await daemon.handshakeAbort();
   */
  async handshakeAbort(): Promise<void> {
    await this.#assertHandshake('handshakeAbort').abort();
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
  }

  /**
   * Gives up a handshake that nobody has completed when its block ends, be it by an error. A daemon that runs is left alone.
   *
   * @example
   * await using daemon = await new Command('sleep', '1').daemonize().requireHandshake().run();
   * // What throws here, the program does not survive: it has not begun.
   * await daemon.handshakeNotify();
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handshake?.isPending === true) await this.handshakeAbort();
  }

  #assertHandshake(method: string): DaemonHandshake {
    if (this.#handshake === undefined) throw new Error(`${method}(): no handshake was asked for; call requireHandshake() before run().`);
    return this.#handshake;
  }

  /** One line: the command, its pid and its pidfile. */
  [inspect.custom](): string {
    const file = this.pidFile === undefined ? '' : `, pidfile '${this.pidFile}'`;
    return `DaemonResult { ${this.command}, pid ${this.pid}${file} }`;
  }
}

/** A time for people: `12 ms`, `1.3 s`, `2 min 5 s`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${Number((ms / 1000).toFixed(1))} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
