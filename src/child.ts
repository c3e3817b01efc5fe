import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { Readable, Writable } from 'node:stream';
import type { EngineProcess, ProcessEnd } from './engine/types.js';
import { type CommandError, ExitError, type StopReport, type Subject, UsageError } from './errors.js';
import { publishError, publishExit } from './events.js';
import type { Capture } from './output.js';
import { ABORT_GRACE_MS, disown, own } from './reaper.js';
import { type Captured, RunResult } from './result.js';
import { rawWaitStatus, type SignalName, signalNumber } from './signals.js';
import type { CommandSpec, StopSequence } from './spec.js';

/** What {@link Child.wait} and `Command.run` take. */
export interface WaitOptions {
  /** Any end but exit code 0 is an {@link ExitError}. False: every exit code and signal resolves. Default: true. */
  readonly check?: boolean;
}

/** What a launch hands over: a running program, and what was said about it. */
export interface Launched {
  readonly process: EngineProcess;
  readonly spec: CommandSpec;
  readonly subject: Subject;
  readonly captures: ReadonlyMap<1 | 2, Capture>;
  readonly startedAt: number;
  readonly abortSignal: AbortSignal | undefined;
}

/** The way to stop a program, unless `stopSequence()` says another: ask, wait five seconds, end. */
export const defaultStopSequence: StopSequence = [
  ['SIGTERM', 5000],
  ['SIGKILL', 0],
];

const abortSequence: StopSequence = [
  ['SIGTERM', ABORT_GRACE_MS],
  ['SIGKILL', 0],
];

/** How it all ended: the result, and the error that it may be. */
interface Outcome {
  readonly result: RunResult;
  readonly error: ExitError | undefined;
  /** Whether the error stands even where every end was to be accepted. */
  readonly always: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Stopping = Mutable<Omit<StopReport, 'sent'>> & { sent: { signal: SignalName; atMs: number }[] };

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
  readonly #outcome: Promise<Outcome | CommandError>;
  readonly #cancelTriggers: () => void;
  #stopping: Stopping | undefined;
  #hasEnded = false;
  #isReleased = false;
  #isPublished = false;

  /** @internal Made by the spawner. */
  constructor(launched: Launched) {
    const { process, spec, captures, abortSignal } = launched;
    this.#launched = launched;
    this.pid = process.pid;
    this.stdin = process.stdin;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.#cancelTriggers = this.#setTriggers(spec.timeoutMs, abortSignal);
    for (const [fd, capture] of captures) {
      capture.whenOverrun(() => {
        void this.#stop({ reason: 'output-limit', stream: fd === 1 ? 'stdout' : 'stderr', limit: spec.outputLimit?.bytes ?? 0 });
      });
    }
    own(process);
    this.#outcome = this.#settle();
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
    const outcome = await this.#awaitOutcome();
    if (outcome instanceof Error) throw outcome;
    const accepted = options?.check === false && !outcome.always;
    if (outcome.error === undefined || accepted) return outcome.result;
    if (!this.#isPublished) publishError({ command: outcome.error.command, spec: this.#launched.spec, error: outcome.error });
    this.#isPublished = true;
    throw outcome.error;
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
    await this.#awaitOutcome();
  }

  /**
   * Sends a signal. False: the program has ended, and nobody was signalled, also where its pid now means another process.
   *
   * @throws {TypeError} if there is no signal of that name. {Error} with the code `EPERM` if the program has taken other ids and may not be signalled.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * child.signal('SIGINT'); // true
   */
  signal(name: SignalName): boolean {
    if (signalNumber(name) === undefined) throw new TypeError(`signal(${inspect(name)}): there is no such signal; write its name, as 'SIGTERM'.`);
    return !this.#hasEnded && this.#launched.process.signal(name);
  }

  /**
   * Lets the program outlive this object and this process, and gives its pid.
   *
   * Timeout and abort signal no longer reach it; the event loop no longer waits for it. End it later with
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
    remember(this);
    return this.pid;
  }

  /**
   * Waits until the program's setup is complete and it stands before its first instruction.
   *
   * @throws {UsageError} if `requireHandshake()` was not called.
   */
  handshakeWait(): Promise<void> {
    return Promise.reject(this.#noHandshake('handshakeWait'));
  }

  /**
   * Lets the program go on after `handshakeWait()`.
   *
   * @throws {UsageError} if `requireHandshake()` was not called.
   */
  handshakeNotify(): Promise<void> {
    return Promise.reject(this.#noHandshake('handshakeNotify'));
  }

  /** Aborts the program if it is running, closes its pipes, and resolves when both are done. A released program is left alone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isReleased) return;
    await this.abort();
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
  }

  /** One line: the command, its pid and whether it runs. */
  [inspect.custom](): string {
    return `Child { ${this.#launched.subject.command}, pid ${this.pid}, ${this.#hasEnded ? 'ended' : 'running'} }`;
  }

  // -------------------------------------------------------------- stopping

  #setTriggers(timeoutMs: number | undefined, signal: AbortSignal | undefined): () => void {
    const onAbort = (): void => {
      void this.#stop({ reason: 'aborted', cause: signal?.reason as unknown });
    };
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            void this.#stop({ reason: 'timeout', limit: timeoutMs });
          }, timeoutMs);
    // It may have been aborted while the program was being started.
    if (signal?.aborted === true) queueMicrotask(onAbort);
    else signal?.addEventListener('abort', onAbort, { once: true });
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
  }

  /** Ends the program by a sequence of signals. What comes second does not change the reason, but `abort()` may hasten the end. */
  async #stop(report: Omit<StopReport, 'sent'>, sequence = this.#launched.spec.stopSequence ?? defaultStopSequence): Promise<void> {
    if (this.#stopping !== undefined && sequence !== abortSequence) return;
    const { process, startedAt } = this.#launched;
    process.stopReading();
    // Whatever the sequence, the last word is SIGKILL: who waits for a stopped program must not wait for ever.
    const steps = sequence.at(-1)?.[0] === 'SIGKILL' ? sequence : [...sequence, ['SIGKILL', 0] as const];
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
      this.#stopping.sent.push({ signal, atMs: performance.now() - startedAt });
      if (graceMs > 0) await this.#endsWithin(graceMs);
    }
  }

  async #endsWithin(ms: number): Promise<void> {
    const timer = new AbortController();
    const elapsed = delay(ms, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([this.#launched.process.ended, elapsed]);
    timer.abort();
  }

  // -------------------------------------------------------------- ending

  /** Who waits for a released program wants this process to live until then. */
  #awaitOutcome(): Promise<Outcome | CommandError> {
    if (this.#isReleased && !this.#hasEnded) this.#launched.process.ref();
    return this.#outcome;
  }

  async #settle(): Promise<Outcome | CommandError> {
    const { process, spec, subject, captures } = this.#launched;
    const end = await process.ended;
    this.#cancelTriggers();
    disown(process);
    this.#hasEnded = true;

    try {
      const result = this.#result(end);
      const unclaimed = { ...unclaimedText(spec.stdout, captures.get(1), 'stdout'), ...unclaimedText(spec.stderr, captures.get(2), 'stderr') };
      publishExit({ command: subject.command, spec, result, unclaimed });
      const failed = result.exitCode !== 0 || this.#stopping !== undefined;
      const error = failed ? new ExitError(spec, result, this.#log(), this.#stopping) : undefined;
      return { result, error, always: this.#stopping !== undefined };
    } catch (error) {
      return error as CommandError;
    }
  }

  #result({ exitCode, signal, coreDumped, outputHeldOpen, inputWritten, resourceUsage }: ProcessEnd): RunResult {
    const { spec, subject, captures, startedAt } = this.#launched;
    const claimed = Array.from(captures).filter(([fd]) => (fd === 1 ? spec.stdout.to : spec.stderr.to) === 'buffer');
    return new RunResult({
      command: subject.command,
      pid: this.pid,
      exitCode,
      signal,
      coreDumped,
      rawStatus: rawWaitStatus({ exitCode, signal, coreDumped }),
      stdout: this.#captured('stdout', captures.get(1)),
      stderr: this.#captured('stderr', captures.get(2)),
      outputBytes: { stdout: captures.get(1)?.totalBytes ?? 0, stderr: captures.get(2)?.totalBytes ?? 0 },
      outputHeldOpen,
      outputTruncated: claimed.some(([, capture]) => capture.lostBytes > 0),
      inputWritten,
      timedOut: this.#stopping?.reason === 'timeout',
      durationMs: performance.now() - startedAt,
      resourceUsage,
    });
  }

  #captured(stream: 'stdout' | 'stderr', capture: Capture | undefined): Captured {
    const output = this.#launched.spec[stream];
    if (capture === undefined || output.to !== 'buffer') return undefined;
    try {
      return capture.read(output.encoding);
    } catch {
      const call = stream === 'stdout' ? 'outputBuffer()' : 'errorBuffer()';
      const problem = `the program wrote ${capture.totalBytes} bytes, more than a string can hold; ask for bytes: { encoding: 'buffer' }`;
      throw new UsageError(this.#launched.subject, [{ call, problem }]);
    }
  }

  /** What the program said last: its standard error, or the stream that this shares with standard output. */
  #log(): string {
    const { spec, captures } = this.#launched;
    return captures.get(spec.stderr.to === 'stdout' ? 1 : 2)?.tail() ?? '';
  }

  #noHandshake(method: string): UsageError {
    return new UsageError(this.#launched.subject, [{ call: `${method}()`, problem: 'no handshake was asked for; call requireHandshake() before runAsync()' }]);
  }
}

function unclaimedText(output: CommandSpec['stderr'], capture: Capture | undefined, name: 'stdout' | 'stderr'): { stdout?: string; stderr?: string } {
  return output.to === 'unclaimed' && capture !== undefined ? { [name]: capture.text('utf8') } : {};
}

// ---------------------------------------------------------------- children known by their pid alone

const released = new Map<number, Child>();
const MOST_REMEMBERED = 1000;

function remember(child: Child): void {
  released.delete(child.pid);
  released.set(child.pid, child);
  // Nobody has to ask for a released child ever again; those that are longest gone are let go.
  const [oldest] = released.keys();
  if (released.size > MOST_REMEMBERED && oldest !== undefined) released.delete(oldest);
}

function releasedChild(method: string, pid: number): Child {
  const child = released.get(pid);
  if (child === undefined) {
    const problem = 'this process released no child with that pid, and can only wait for its own; for others there is killPainfully()';
    throw Object.assign(new Error(`${method}(${String(pid)}): ${problem}.`), { code: 'ECHILD' });
  }
  return child;
}

/**
 * Waits for a child that {@link Child.release} let go, by its pid. Answers to `virPidWait`.
 *
 * @throws {ExitError} as {@link Child.wait} does. {Error} with the code `ECHILD` for a pid that `release()` did not give out.
 *
 * @example
 * const pid = (await new Command('true').runAsync()).release();
 * await pidWait(pid);
 */
export async function pidWait(pid: number, options?: WaitOptions): Promise<RunResult> {
  return releasedChild('pidWait', pid).wait(options);
}

/**
 * Ends a child that {@link Child.release} let go, by its pid: SIGTERM, and SIGKILL 10 ms later. Resolves when it is dead,
 * also where it was already. Answers to `virPidAbort`.
 *
 * @throws {Error} with the code `ECHILD` for a pid that `release()` did not give out.
 *
 * @example
 * const pid = (await new Command('sleep', '60').runAsync()).release();
 * await pidAbort(pid);
 */
export async function pidAbort(pid: number): Promise<void> {
  await releasedChild('pidAbort', pid).abort();
}
