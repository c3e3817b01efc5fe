import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { BoundedMap } from '../ending/bounded-map.js';
import { ABORT_GRACE_MS, disown, own } from '../ending/owned-children.js';
import { comesWithin } from '../ending/send-signal.js';
import { dryRunOf } from '../engine/dry-run.js';
import type { Handshake } from '../engine/engine.js';
import { argumentError, isPidNumber } from '../errors/argument-error.js';
import type { CommandError } from '../errors/command-error.js';
import type { StopReport } from '../errors/exit-error.js';
import { ProcessError } from '../errors/process-error.js';
import { UsageError } from '../errors/usage-error.js';
import { clearTimeout, now, setTimeout } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import type { RunResult } from '../result/run-result.js';
import type { StopSequence } from '../spec/spec.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { type Ending, type Launched, Outcome, type WaitOptions } from './outcome.js';
import { type Stopping, stopSteps } from './stopping.js';
import { shown } from '../text/shown.js';

const abortSequence: StopSequence = [
  ['SIGTERM', ABORT_GRACE_MS],
  ['SIGKILL', 0],
];

const nothing = (): void => undefined;

/**
 * A program that is running. It exists only if the program was really executed, and ends with this process unless
 * it is released. Made by `Command.runAsync()`.
 *
 * @example
 * await using child = await new Command('sort').inputPipe().outputPipe().runAsync();
 * child.stdin?.end('b\na\n');
 * for await (const chunk of child.stdout ?? []) process.stdout.write(chunk);
 * await child.wait();
 */
export class Child {
  /** The program's pid. */
  readonly pid: number;
  /** The writing end of the pipe of `inputPipe()`, else `null`. */
  readonly stdin: Writable | null;
  /** The reading end of the pipe of `outputPipe()`, else `null`. */
  readonly stdout: Readable | null;
  /** The reading end of the pipe of `errorPipe()`, else `null`. */
  readonly stderr: Readable | null;
  readonly #launched: Launched;
  readonly #ending: Promise<Ending>;
  readonly #cancelTriggers: () => void;
  #stopping: Stopping | undefined;
  #hasEnded = false;
  #isReleased = false;

  /** @internal Made by the spawner. */
  constructor(launched: Launched) {
    const { process, spec, captures, abortSignal } = launched;
    this.#launched = launched;
    this.pid = process.pid;
    this.stdin = process.stdin;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.#cancelTriggers = this.#setTriggers(spec.timeoutMs, abortSignal);
    if (spec.outputLimit?.policy === 'kill') this.#watchLimit(spec.outputLimit.bytes, captures);
    own(process);
    running.set(this.pid, this);
    this.#ending = this.#settle();
  }

  /**
   * Resolves when the program has ended and what it wrote has been read. It can be called again, before and after the end.
   *
   * It does not wait for processes that the program left behind: where one still holds an output pipe, the result says
   * `outputHeldOpen`. Answers to `virCommandWait`.
   *
   * @throws {ExitError} for every end but exit code 0, unless `check` is false; always after a timeout, an abort or an overrun of the output limit.
   *
   * @example
   * const child = await new Command('grep', '-q', 'root', '/etc/passwd').runAsync();
   * const { exitCode } = await child.wait({ check: false });
   */
  async wait(options?: WaitOptions): Promise<RunResult> {
    const ending = await this.#awaitEnding();
    if (ending instanceof Error) throw ending;
    return ending.unwrap(options);
  }

  /**
   * Stops the program and resolves when it is dead: SIGTERM, and SIGKILL if it is still there 10 ms later.
   *
   * Nothing happens if it has ended. Afterwards `wait()` rejects with the reason `aborted`. Answers to `virCommandAbort`.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * await child.abort();
   */
  async abort(): Promise<void> {
    if (this.#hasEnded) return;
    await this.#stop({ reason: 'aborted' }, abortSequence);
    await this.#awaitEnding();
  }

  /**
   * Sends a signal. False: the program has ended, and nobody was signalled, also where its pid now means another process.
   *
   * @throws {TypeError} if there is no signal of that name. {ProcessError} with the code `EPERM` if the program has taken other ids and may not be signalled.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * child.signal('SIGINT'); // true
   */
  signal(name: SignalName): boolean {
    if (signalNumber(name) === undefined)
      throw argumentError('signal', [name], "there is no such signal; write its name, as 'SIGTERM'");
    return !this.#hasEnded && this.#launched.process.signal(name);
  }

  /**
   * Lets the program outlive this object and this process, and gives its pid.
   *
   * Timeout, abort signal and output limit no longer reach it; the event loop no longer waits for it. End it later with
   * `pidAbort(pid)`, or wait for it with `pidWait(pid)`. Answers to the pid that `virCommandRunAsync` hands out.
   *
   * @example
   * const pid = (await new Command('sleep', '1').runAsync()).release();
   */
  release(): number {
    if (this.#isReleased) return this.pid;
    this.#isReleased = true;
    this.#cancelTriggers();
    disown(this.#launched.process);
    this.#launched.process.unref();
    released.set(this.pid, this);
    return this.pid;
  }

  /**
   * Resolves when all of the program's setup is done and it stands before its first instruction. Answers to
   * `virCommandHandshakeWait`.
   *
   * @throws {UsageError} if `requireHandshake()` was not called. {LaunchError} with the step that failed, if the setup did.
   *
   * @example
   * const child = await new Command('sleep', '1').requireHandshake().runAsync();
   * await child.handshakeWait();
   * await child.handshakeNotify();
   * await child.wait();
   */
  async handshakeWait(): Promise<void> {
    await this.#handshake('handshakeWait').wait();
  }

  /**
   * Lets the program go on, and resolves when it has been executed. Answers to `virCommandHandshakeNotify`.
   *
   * @throws {UsageError} if `requireHandshake()` was not called. {LaunchError} with the step that failed, if one did.
   */
  async handshakeNotify(): Promise<void> {
    await this.#handshake('handshakeNotify').notify();
  }

  /**
   * Ends the program if it runs, as {@link abort} does, then closes its pipes; resolves when both are done. The same as the end
   * of a block with `await using`.
   *
   * Killed first and drained then: neither a program that ignores SIGTERM, is stopped or stands before its handshake, nor
   * another process that holds its output, keeps this from resolving. A program that was released is left alone. Answers to `virCommandFree`.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * await child.free();
   */
  async free(): Promise<void> {
    if (this.#isReleased) return;
    await this.abort();
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
  }

  /** The same as {@link free}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.free();
  }

  /** One line: the command, its pid and whether it runs. */
  [inspect.custom](): string {
    return `Child { ${shown(this.#launched.subject.command)}, pid ${this.pid}, ${this.#hasEnded ? 'ended' : 'running'} }`;
  }

  // -------------------------------------------------------------- stopping

  #watchLimit(limit: number, captures: Launched['captures']): void {
    for (const [fd, capture] of captures) {
      capture.whenOverrun(() => {
        if (this.#isReleased) return;
        void this.#stop({ reason: 'output-limit', stream: fd === 1 ? 'stdout' : 'stderr', limit });
      });
    }
  }

  /** The time counts from the launch, of which a hook may have taken a part. */
  #setTriggers(timeoutMs: number | undefined, signal: AbortSignal | undefined): () => void {
    if (timeoutMs === undefined && signal === undefined) return nothing;
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => {
              void this.#stop({ reason: 'timeout', limit: timeoutMs });
            },
            Math.max(0, this.#launched.startedAt + timeoutMs - now()),
          );
    const callOff =
      signal === undefined ? undefined : onAbort(signal, (cause) => void this.#stop({ reason: 'aborted', cause }));
    return () => {
      clearTimeout(timer);
      callOff?.();
    };
  }

  /** Ends the program by a sequence of signals. What comes second does not change the reason, but `abort()` may hasten the end. */
  async #stop(report: Omit<StopReport, 'sent'>, sequence = this.#launched.spec.stopSequence): Promise<void> {
    if (this.#stopping !== undefined && sequence !== abortSequence) return;
    const { process, startedAt } = this.#launched;
    // Too much output stays too much, even where the program has ended before anybody could be signaled.
    if (report.reason === 'output-limit') this.#stopping ??= { ...report, sent: [] };
    process.stopReading();
    // What stands before its handshake has every signal blocked, and nothing of its own to tidy up.
    const steps = process.handshake?.isPending === true ? stopSteps([['SIGKILL', 0]]) : stopSteps(sequence);
    for (const [signal, graceMs] of steps) {
      if (this.#hasEnded) return;
      try {
        if (!process.signal(signal)) return;
      } catch {
        // The program has taken other ids and is out of our reach. Its end is waited for, and told as what it should have been.
        this.#stopping ??= { ...report, sent: [] };
        return;
      }
      this.#stopping ??= { ...report, sent: [] };
      this.#stopping.sent.push({ signal, atMs: now() - startedAt });
      if (graceMs > 0) await this.#endsWithin(graceMs);
    }
  }

  async #endsWithin(ms: number): Promise<void> {
    await comesWithin(this.#launched.process.ended, ms);
  }

  // -------------------------------------------------------------- ending

  /** Who waits for a released program wants this process to live until then. */
  #awaitEnding(): Promise<Ending> {
    if (this.#isReleased && !this.#hasEnded) this.#launched.process.ref();
    return this.#ending;
  }

  async #settle(): Promise<Ending> {
    const { process } = this.#launched;
    const end = await process.ended;
    this.#cancelTriggers();
    disown(process);
    this.#hasEnded = true;
    if (running.get(this.pid) === this) running.delete(this.pid);
    if (process.handshake?.failure !== undefined) return process.handshake.failure;
    try {
      return new Outcome(this.#launched, end, this.pid, this.#stopping);
    } catch (error) {
      return error as CommandError;
    }
  }

  #handshake(method: string): Handshake {
    const { process, subject } = this.#launched;
    if (process.handshake !== undefined) return process.handshake;
    throw new UsageError(subject, [
      { call: `${method}()`, problem: 'no handshake was asked for; call requireHandshake() before runAsync()' },
    ]);
  }
}

// ---------------------------------------------------------------- children known by their pid alone

const running = new Map<number, Child>();
/** Those that were let go, longest ago first; also after their end. Nothing has to ask for one ever again. */
const released = new BoundedMap<number, Child>();

function childBy(method: string, pid: number): Child {
  if (!isPidNumber(pid)) throw argumentError(method, [pid], 'a pid is a whole number; give the one of a Child');
  const child = running.get(pid) ?? released.get(pid);
  if (child === undefined) {
    const problem =
      'this process has no child of that pid that runs or was released, and can only wait for its own; for others there is killPainfully()';
    throw new ProcessError(`${method}(${pid}): ${problem}.`, { code: 'ECHILD', pid });
  }
  return child;
}

/**
 * Waits for a child of this process by its pid: one that runs, or that {@link Child.release} let go, also after its end.
 * Answers to `virPidWait`.
 *
 * @throws {ExitError} as {@link Child.wait} does. {ProcessError} with the code `ECHILD` for any other pid, a daemon's included.
 *
 * @example
 * const pid = (await new Command('true').runAsync()).release();
 * await pidWait(pid);
 */
export async function pidWait(pid: number, options?: WaitOptions): Promise<RunResult> {
  return childBy('pidWait', pid).wait(options);
}

/**
 * Ends a child of this process by its pid, one that runs or that {@link Child.release} let go: SIGTERM, and SIGKILL 10 ms later.
 * Resolves when it is dead, also where it was already. Answers to `virPidAbort`. For other processes there is `killPainfully()`. In a
 * `dryRun()` it is recorded in `kills`, and nothing is signaled.
 *
 * @throws {ProcessError} with the code `ECHILD` for any other pid, a daemon's included.
 *
 * @example
 * const pid = (await new Command('sleep', '60').runAsync()).release();
 * await pidAbort(pid);
 */
export async function pidAbort(pid: number): Promise<void> {
  const child = childBy('pidAbort', pid);
  const dryRun = dryRunOf('pidAbort');
  if (dryRun === undefined) await child.abort();
  else dryRun.kills.push({ call: 'pidAbort', pid, signal: 'SIGTERM' });
}
