import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import type { ProcessHandle } from '../ending/process-handle.js';
import type { Handshake } from '../engine/engine.js';
import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import { inBackticks, quoted, shown } from '../text/shown.js';

/** The fields of a {@link DaemonResult}. */
export interface DaemonResultFields<
  Out extends Readable | null = Readable | null,
  Err extends Readable | null = Readable | null,
  In extends Writable | null = Writable | null,
> {
  readonly command: string;
  /** The pid of the daemon itself. */
  readonly pid: number;
  /** The pidfile that holds it, if one was asked for. Bytes that are not UTF-8 stand as `\xff`. */
  readonly pidFile: string | undefined;
  /** The pipes that were asked for with `inputPipe()`, `outputPipe()` and `errorPipe()`; else `null`. An open one keeps this process alive: destroy it when you have read enough. */
  readonly stdin: In;
  /** See `stdin`. */
  readonly stdout: Out;
  /** See `stdin`. */
  readonly stderr: Err;
}

/** A daemon that is running, or that stands before its handshake. */
export interface DaemonResult<
  Out extends Readable | null = Readable | null,
  Err extends Readable | null = Readable | null,
  In extends Writable | null = Writable | null,
> extends DaemonResultFields<Out, Err, In> {}

/** A daemon that is running, or that stands before its handshake. */
export class DaemonResult<
  Out extends Readable | null = Readable | null,
  Err extends Readable | null = Readable | null,
  In extends Writable | null = Writable | null,
> {
  readonly #handshake: Handshake | undefined;
  readonly #subject: Subject;
  readonly #process: ProcessHandle;

  /** @internal Made by `runCommand()`. */
  constructor(
    subject: Subject,
    fields: Omit<DaemonResultFields<Out, Err, In>, 'command'>,
    process: ProcessHandle,
    handshake?: Handshake,
  ) {
    Object.assign(this, { command: subject.command, ...fields });
    this.#process = process;
    this.#subject = subject;
    this.#handshake = handshake;
    Object.freeze(this);
  }

  /**
   * The daemon, to be signaled and stopped, and to hear of its end. It means this very process for ever, and holds no descriptor
   * while it is not used. The same as {@link PidFile.open} gives to who meets the daemon later.
   *
   * @example
   * const daemon = await new Command('sleep', '60').daemonize().run();
   * daemon.process.signal('SIGCONT');
   * await daemon.process.stop();
   */
  get process(): ProcessHandle {
    return this.#process;
  }

  /**
   * Resolves at once: a daemon's `run()` resolves when the daemon stands before its handshake. Answers to `virCommandHandshakeWait`.
   *
   * @throws {UsageError} if `requireHandshake()` was not called.
   *
   * @example
   * const daemon = await new Command('sleep', '1').daemonize().requireHandshake().run();
   * await daemon.handshakeWait();
   * await daemon.handshakeNotify();
   */
  async handshakeWait(): Promise<void> {
    this.#assertHandshake('handshakeWait');
    return Promise.resolve();
  }

  /**
   * Lets the daemon execute its program, and resolves when it has. Answers to `virCommandHandshakeNotify`.
   *
   * @throws {UsageError} if `requireHandshake()` was not called. {LaunchError} with the step that failed, if one did.
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
   * @throws {UsageError} if `requireHandshake()` was not called, or after `handshakeNotify()`: then the program runs.
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

  #assertHandshake(method: string): Handshake {
    if (this.#handshake !== undefined) return this.#handshake;
    throw new UsageError(this.#subject, [
      { call: `${method}()`, problem: 'no handshake was asked for; call requireHandshake() before run()' },
    ]);
  }

  /** A sentence: the command, its pid and its pidfile. It stands in a template as well. */
  toString(): string {
    const file = this.pidFile === undefined ? '' : `, with the pidfile ${quoted(this.pidFile)}`;
    return `${inBackticks(this.command)} was launched as daemon ${this.pid}${file}.`;
  }

  /** One line: the command, its pid and its pidfile. */
  [inspect.custom](): string {
    const file = this.pidFile === undefined ? '' : `, pidfile ${quoted(this.pidFile)}`;
    return `DaemonResult { ${shown(this.command)}, pid ${this.pid}${file} }`;
  }
}
