import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { quoted, shown } from '../text/shown.js';

/** The fields of a {@link DaemonResult}. */
export interface DaemonResultFields {
  readonly command: string;
  /** The pid of the daemon itself. */
  readonly pid: number;
  /** The pidfile that holds it, if one was asked for. Bytes that are not UTF-8 stand as `\xff`. */
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
    if (this.#handshake === undefined)
      throw new Error(`${method}(): no handshake was asked for; call requireHandshake() before run().`);
    return this.#handshake;
  }

  /** One line: the command, its pid and its pidfile. */
  [inspect.custom](): string {
    const file = this.pidFile === undefined ? '' : `, pidfile ${quoted(this.pidFile)}`;
    return `DaemonResult { ${shown(this.command)}, pid ${this.pid}${file} }`;
  }
}
