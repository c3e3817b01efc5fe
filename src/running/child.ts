import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import type { Entry } from '../builder/call-site.js';
import { type Check, type Codes, readWaitOptions, type WaitOptions } from '../builder/wait-options.js';
import type { TreeOptions } from '../builder/options.js';
import { scheduleOf, stopTree, treeOf } from '../ending/kill-tree.js';
import { disown } from '../ending/owned-children.js';
import { noteKill } from '../ending/sent-kills.js';
import { abortSequence, defaultSequence, sequenceOption } from '../ending/stop-sequence.js';
import { drive } from '../ending/tree.js';
import { throwFrom } from '../engine/dry-run.js';
import type { EngineProcess, Handshake, ProcessEnd } from '../engine/engine.js';
import { type DryRunKill, PlayedProcess } from '../engine/played.js';
import { argumentError, type NoOptions, readOptions } from '../errors/argument-error.js';
import { type CommandError, fromHere } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import { LONGEST_TIMER, realClock } from '../host/time.js';
import { ChildLines, lineOptionsOf } from '../lines/child-lines.js';
import type { LineFormat, LineOf, LineOptions, LinesFrom } from '../lines/line-options.js';
import type { LineSource } from '../lines/line-source.js';
import { isLinePattern, type LinePattern, waitForLine } from '../lines/wait-for-line.js';
import { Flows, hasFlows, isFlow } from '../streams/flows.js';
import { RunResult } from '../result/run-result.js';
import { KillTreeResult } from '../result/tree-result.js';
import type { CommandSpec, StopSequence } from '../spec/spec.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { inBackticks, shown } from '../text/shown.js';
import type { Terminal } from '../terminal/terminal.js';
import { forget, know, rememberReleased } from './known-children.js';
import type { Launch } from './launch.js';
import { type Ending, Outcome } from './outcome.js';
import { listenTo, playedTree, sendDue, StopInTime, stoppingOf, treeOfChild } from './stop-in-time.js';
import type { Stopping } from './stopping.js';

/** How {@link Child.stop} goes about it. */
export interface StopOptions {
  /** The signals, each with the milliseconds to wait for its effect; after the last, SIGKILL. Default: the command's `stopSequence()`, else SIGTERM, 5 s. */
  readonly sequence?: StopSequence | undefined;
  /** Whether the program's whole tree is stopped, as `timeout(ms, { tree: true })` tells; also where the program itself has ended. Default: false. */
  readonly tree?: boolean | undefined;
}

/** How {@link Child.waitForLine} goes about it. */
export interface WaitForLineOptions<From extends LinesFrom = LinesFrom> extends LineOptions<From, TextEncoding> {
  /** How long to wait, in milliseconds. Default: until the program has ended. */
  readonly within?: number | undefined;
}

type TextEncoding = Exclude<LineOptions['encoding'], 'buffer' | undefined>;

/**
 * A program that is running, with the types that the chain of calls says: `Out`, `Err` and `In` are its streams, `null` where no pipe
 * was asked for, `Result` is what {@link Child.wait} gives, and `Term` its terminal. A plain `Child` takes them all.
 *
 * It exists only if the program was really executed, and ends with this process unless
 * it is released. Made by `Command.runAsync()`.
 *
 * @example
 * await using child = await new Command('sort').inputPipe().outputPipe().runAsync();
 * child.stdin.end('b\na\n');
 * for await (const chunk of child.stdout) process.stdout.write(chunk);
 * await child.wait();
 */
export class Child<
  Out extends Readable | null = Readable | null,
  Err extends Readable | null = Readable | null,
  In extends Writable | null = Writable | null,
  Result extends RunResult = RunResult,
  Term extends Terminal | null = Terminal | null,
> {
  /** The program's pid. */
  readonly pid: number;
  /** The writing end of the pipe of `inputPipe()`, else `null`. */
  readonly stdin: In;
  /** The reading end of the pipe of `outputPipe()`, else `null`. */
  readonly stdout: Out;
  /** The reading end of the pipe of `errorPipe()`, else `null`. */
  readonly stderr: Err;
  /** The other end of the terminal of `terminal()`, else `null`. */
  readonly terminal: Term;
  readonly #launch: Launch;
  readonly #process: EngineProcess;
  readonly #ending: Promise<Ending>;
  readonly #stopping: Stopping;
  readonly #stopInTime: StopInTime;
  #hasEnded = false;
  /** How it has ended, once that is known. */
  #result: RunResult | undefined;
  #isReleased = false;
  #isStopped = false;
  #isAborted = false;
  /** What passes between it and streams of this process. */
  readonly #flows: Flows | undefined;
  #lines: ChildLines | undefined;
  /** What became of the tree of a program that had ended by itself. */
  #rest: Promise<RunResult> | undefined;

  /** @internal Made by `runCommand()`. */
  constructor(launch: Launch, process: EngineProcess) {
    const { spec, captures } = launch;
    this.#launch = launch;
    this.#process = process;
    this.pid = process.pid;
    // The chain of calls knows which pipes there are. Those between the stages of a pipeline are nobody's here.
    this.stdin = (launch.joints?.stdin === true || isFlow(launch.plan, 0) ? null : process.stdin) as In;
    this.stdout = (launch.joints?.stdout === true || isFlow(launch.plan, 1) ? null : process.stdout) as Out;
    this.stderr = (isFlow(launch.plan, 2) ? null : process.stderr) as Err;
    this.terminal = process.terminal as Term;
    // The time counts from the launch, of which a hook may have taken a part.
    this.#stopping = stoppingOf(launch);
    listenTo(this.#stopping, launch, process.stdout, process.stderr, process.terminal);
    const send = (signal: SignalName): boolean => {
      this.#flows?.stopped(() => {
        this.#stopping.confirm();
      });
      return sendDue(this.#stopping, signal, process, launch);
    };
    this.#stopInTime = new StopInTime(this.#stopping, launch, send, () => treeOfChild(process, launch, send));
    if (hasFlows(launch))
      this.#flows = new Flows(launch, process, ({ error: cause, stream, what }) => {
        this.#stopInTime.begin({ reason: 'stream', cause, stream, what });
      });
    launch.lineWatch?.whenFailed(() => {
      this.#stopInTime.begin({ reason: 'aborted' });
    });
    if (spec.outputLimit?.policy === 'kill') this.#watchLimit(spec.outputLimit, captures);
    know(this);
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
  async wait<const K extends Check | undefined = undefined>(
    options?: WaitOptions<K>,
  ): Promise<[K] extends [undefined] ? Result : RunResult<Result['stdout'], Result['stderr'], Codes<K>>> {
    const { check, mistakes } = readWaitOptions(options, {
      method: 'wait',
      called: entries.wait,
      names: ['check'],
      isMethod: () => false,
    });
    if (mistakes.length > 0) throw new UsageError(this.#launch.subject, mistakes);
    // The chain of calls knows its result's type better than the launch behind it.
    return (await this.outcome()).unwrap(check) as never;
  }

  /** @internal How it ended, for a pipeline, which judges all of its stages together. */
  async outcome(): Promise<Outcome> {
    const ending = await this.#awaitEnding();
    if (ending instanceof Error) throw fromHere(ending);
    return ending;
  }

  /**
   * The lines that the program writes, one at a time, as it writes them: of the pipe of `outputPipe()`, or of `errorPipe()`; of a program with a terminal, what comes by {@link terminal}.
   *
   * A loop that is slow holds the program, as a full pipe does. A loop that is left early does not: what the program writes then is thrown away,
   * unless the next reader comes at once. Several loops can read at the same time, and each gets every line; all are as slow as the slowest. The
   * lines end with the program; what another process writes later into the same pipe is not waited for. How the program ended, {@link wait} tells.
   *
   * @throws {UsageError} where there is no pipe, or the stream is being split in another way. {TypeError} for options that are none. The loop throws an
   * {@link OutputError} for a line longer than `maxLineBytes`.
   *
   * @example
   * await using child = await new Command('sh', '-c', 'echo one; echo two').outputPipe().runAsync();
   * for await (const line of child.lines()) console.log(line); // one, then two
   * await child.wait();
   */
  lines<const O extends LineOptions>(options?: O): AsyncGenerator<LineOf<O>, undefined, undefined> {
    return this.#linesOfChild().lines(options);
  }

  /** @internal Where its lines come from. */
  lineSources(format: LineFormat, from: LinesFrom): readonly LineSource[] {
    return this.#linesOfChild().sources('lines', format, from);
  }

  #linesOfChild(): ChildLines {
    const { stdout, stderr, terminal } = this;
    return (this.#lines ??= new ChildLines({
      stdout: stdout ?? terminal,
      stderr,
      hasTerminal: terminal !== null,
      subject: this.#launch.subject,
      ended: this.#process.ended,
    }));
  }

  /**
   * Resolves with the first line from now on that holds a text, matches a pattern, or is what a function looks for. What comes after it is left to the next
   * reader, if it comes at once; else it is thrown away, so that the program is not held. {@link lines} may read at the same time.
   *
   * @throws {OutputError} if the program has ended before, or the time is over: its message tells the last line, and how it ended. The program goes on.
   * {UsageError} where there is no pipe. {TypeError} for a pattern, or options, that are none.
   *
   * @example
   * await using child = await new Command('sh', '-c', 'sleep 0.1; echo ready; sleep 60').outputPipe().runAsync();
   * await child.waitForLine(/^ready/, { within: 5000 }); // 'ready'
   */
  async waitForLine(pattern: LinePattern, options?: WaitForLineOptions): Promise<string> {
    if (!isLinePattern(pattern))
      throw argumentError(
        'waitForLine',
        [pattern],
        'give the text that the line holds, a RegExp, or a function that knows it',
      );
    const { format, from, others } = lineOptionsOf('waitForLine', [pattern], options, ['within']);
    const { within } = others;
    if (within !== undefined && !(typeof within === 'number' && within >= 0 && within <= LONGEST_TIMER))
      throw argumentError(
        'waitForLine',
        [pattern, options],
        `within is a time in milliseconds, up to ${LONGEST_TIMER}`,
      );
    return await waitForLine(this.#linesOfChild().sources('waitForLine', format, from), {
      pattern,
      from,
      withinMs: within,
      clock: this.#launch.clock,
      subject: this.#launch.subject,
      end: async () => {
        const ending = await this.#ending;
        return ending instanceof Error ? ending.message : String(ending.result);
      },
    });
  }

  /**
   * Asks the program to end, and resolves with its result when it is dead, however it ended: by an exit code, by a signal, or by
   * the SIGKILL that comes after the last signal of the sequence.
   *
   * The sequence is the one that is said here, else the command's `stopSequence()`, else SIGTERM and 5 s. If the program is being
   * stopped already, this waits for that; a sequence that is said here begins at once. If it has ended, its result is given.
   * Afterwards `wait()` rejects with the reason `aborted`.
   *
   * With `{ tree: true }` the program's whole tree is stopped, and `result.tree` tells what was reached. What a program has left behind that ended by itself is
   * stopped as well, as far as it can be found: in its own control group, session or process group, or where `adoptOrphans()` has seen it.
   *
   * @throws {TypeError} for options that are none. {LaunchError} for a program that never ran, since it was stopped, or failed, before its handshake.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * const { signal } = await child.stop({ sequence: [['SIGINT', 2000]] }); // 'SIGINT'
   * @example
   * const script = await new Command('sh', '-c', 'sleep 60 & exit 0').newSession().runAsync();
   * await script.wait();
   * const { tree } = await script.stop({ tree: true });
   * console.log(tree?.level, tree?.isComplete); // group true
   */
  async stop(options?: StopOptions): Promise<RunResult<Result['stdout'], Result['stderr']>> {
    const { sequence, tree = false } = readOptions('stop', [], options, { sequence: sequenceOption, tree: 'boolean' });
    const hasEnded = this.#hasEnded;
    if (!hasEnded) {
      this.#isStopped = true;
      this.#noteKill('stop', (sequence ?? this.#launch.spec.stopSequence)?.at(0)?.[0]);
      this.#stopInTime.begin({ reason: 'aborted' }, sequence, tree);
    }
    const ending = await this.#awaitEnding();
    if (ending instanceof Error) throw fromHere(ending);
    // It may have ended just then, before there was anybody to ask.
    return tree && ending.result.tree === undefined ? await this.#stopRest(ending.result, sequence) : ending.result;
  }

  /** Stops what a program has left behind that has ended. */
  #stopRest(result: RunResult, sequence: StopSequence | undefined): Promise<RunResult> {
    const { engine, spec } = this.#launch;
    if (engine.name === 'dry-run') return Promise.resolve(withTree(result, nothingLeft));
    const tree = treeOf({ pid: this.pid, own: { signal: () => undefined, isReaped: () => true }, call: 'stop()' });
    const schedule = scheduleOf(sequence ?? spec.stopSequence ?? defaultSequence);
    this.#rest ??= drive(stopTree(tree, schedule, realClock)).then((reached) => withTree(result, reached));
    return this.#rest;
  }

  /**
   * Stops the program and resolves when it is dead: by the command's `stopSequence()`, and without one by SIGTERM, and SIGKILL if
   * it is still there 10 ms later, as libvirt does.
   *
   * A program that is being stopped already, by its timeout, its abort signal or {@link Child.stop}, is hastened: SIGTERM, 10 ms, SIGKILL. A second call
   * changes nothing, nor does one after the end. Afterwards `wait()` rejects with the reason `aborted`. With `{ tree: true }` the program's whole tree is
   * stopped; {@link Child.stop} does so after the program's end, too. Answers to `virCommandAbort`.
   *
   * @throws {TypeError} for options that are none.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * await child.abort();
   */
  async abort(options?: TreeOptions): Promise<void> {
    await this.abortBy('abort', readOptions('abort', [], options, { tree: 'boolean' }));
  }

  /** @internal The same by another function, which a dry run records. */
  async abortBy(call: 'abort' | 'pidAbort', { tree = false }: TreeOptions): Promise<void> {
    if (this.#hasEnded) return;
    this.#noteKill(call, this.#launch.spec.stopSequence?.at(0)?.[0]);
    const hastens = this.#stopping.hasBegun && !this.#isAborted;
    this.#isAborted = true;
    this.#beginAbort(hastens, tree);
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
    if (name === 'SIGKILL') noteKill(this.pid, 'signal()');
    this.#noteKill('signal', name);
    return !this.#hasEnded && this.#process.signal(name);
  }

  /**
   * Lets the program outlive this object and this process, and gives its pid.
   *
   * Timeout, abort signal and output limit no longer reach it; the event loop no longer waits for it. End it later with
   * `pidAbort(pid)`, or wait for it with `pidWait(pid)`. A standard error that nobody has claimed is read by another process from then on
   * (`cat`), so that the program can go on writing when this process has ended. Answers to the pid that `virCommandRunAsync` hands out.
   *
   * @example
   * const pid = (await new Command('sleep', '1').runAsync()).release();
   */
  release(): number {
    if (this.#isReleased) return this.pid;
    this.#isReleased = true;
    this.#stopInTime.letGo();
    disown(this.#process);
    this.#process.unref();
    // What is read from now on is not all, and nobody can tell what was last.
    if (!this.#hasEnded && this.#process.leaveLog?.() === true) this.#launch.forgetLog();
    rememberReleased(this);
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
   *
   * @example
   * const child = await new Command('sleep', '1').requireHandshake().runAsync();
   * await child.handshakeNotify();
   * await child.wait();
   */
  async handshakeNotify(): Promise<void> {
    await this.#handshake('handshakeNotify').notify();
  }

  /**
   * Ends the program if it runs, then closes its pipes; resolves when both are done. The same as the end of a block with `await using`.
   *
   * It is ended by the command's `stopSequence()`, and without one by SIGTERM, and SIGKILL 10 ms later, as libvirt does. One that is being stopped by a
   * sequence that was said, or by {@link Child.stop}, is given its time. Output that nobody reads is thrown away meanwhile.
   *
   * Killed first and drained then: neither a program that ignores SIGTERM, is stopped or stands before its handshake, nor
   * another process that holds its output, keeps this from resolving. A terminal is hung up first, unless a `stopSequence()` was said, and closed in any case. A program that was released is left alone. Answers to `virCommandFree`.
   *
   * @example
   * const child = await new Command('sleep', '60').runAsync();
   * await child.free();
   */
  async free(options?: NoOptions): Promise<void> {
    readOptions('free', [], options, {});
    if (this.#isReleased) return;
    if (!this.#hasEnded) {
      const isGivenTime = this.#isStopped || this.#launch.spec.stopSequence !== undefined;
      // Shells ignore SIGTERM at a terminal, and end their jobs when it is hung up.
      if (!isGivenTime) this.terminal?.destroy();
      this.#beginAbort(this.#stopping.hasBegun && !isGivenTime);
      // A program that writes its last words into a full pipe would never come to its end.
      for (const stream of [this.stdout, this.stderr, this.terminal])
        if (stream?.readableFlowing === null) stream.resume();
      await this.#awaitEnding();
    }
    for (const stream of [this.stdin, this.stdout, this.stderr, this.terminal]) stream?.destroy();
  }

  /** The same as {@link free}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.free();
  }

  /**
   * A sentence: the command, and its pid, or how it has ended. It stands in a template as well.
   *
   * @example
   * const child = await new Command('sleep', '1').runAsync();
   * console.log(`${child}`); // `sleep 1` runs as process 4711.
   */
  toString(): string {
    if (this.#result !== undefined) return String(this.#result);
    return `${inBackticks(this.#launch.subject.command)} ${this.#hasEnded ? 'has ended; it was' : 'runs as'} process ${this.pid}.`;
  }

  /** One line: the command, its pid and whether it runs. */
  [inspect.custom](): string {
    return `Child { ${shown(this.#launch.subject.command)}, pid ${this.pid}, ${this.#hasEnded ? 'ended' : 'running'} }`;
  }

  // -------------------------------------------------------------- its end

  /** Begins to stop the program, or goes on with what has begun; or hastens that. */
  #beginAbort(hastens: boolean, tree = false): void {
    const { stopSequence } = this.#launch.spec;
    const patiently = this.#stopping.hasBegun ? undefined : (stopSequence ?? abortSequence);
    this.#stopInTime.begin({ reason: 'aborted' }, hastens ? abortSequence : patiently, tree);
  }

  #watchLimit({ bytes, tree }: NonNullable<CommandSpec['outputLimit']>, captures: Launch['captures']): void {
    for (const [fd, capture] of captures) {
      capture.whenOverrun(() => {
        const cause = { reason: 'output-limit', stream: fd === 1 ? 'stdout' : 'stderr', limit: bytes } as const;
        if (!this.#isReleased) this.#stopInTime.begin(cause, undefined, tree);
      });
    }
  }

  /** Waiting for a released program keeps this process alive. */
  async #awaitEnding(): Promise<Ending> {
    if (this.#isReleased && !this.#hasEnded) this.#process.ref();
    const ending = await this.#ending;
    throwFrom(this.#process);
    return ending;
  }

  /** Has a dry run record a call that signals what it plays. */
  #noteKill(call: DryRunKill['call'], signal: SignalName = 'SIGTERM'): void {
    if (this.#process instanceof PlayedProcess) this.#process.noteKill(call, signal);
  }

  async #settle(): Promise<Ending> {
    const end = await this.#endOfAll();
    const tree = this.#stopInTime.tree === undefined ? this.#playedTree() : await this.#stopInTime.tree;
    this.#stopInTime.end();
    this.#hasEnded = true;
    forget(this);
    const { handshake } = this.#process;
    if (handshake?.failure !== undefined) return handshake.failure;
    try {
      const outcome = new Outcome(this.#launch, end, this.pid, {
        report: this.#stopping.report,
        tree,
        flow: this.#flows?.failure,
      });
      this.#result = outcome.result;
      return outcome;
    } catch (error) {
      return error as CommandError;
    }
  }

  /** How the program ended, once the streams have taken what it wrote. */
  async #endOfAll(): Promise<ProcessEnd> {
    const end = await this.#process.ended;
    const flows = this.#flows;
    if (flows === undefined) return end;
    await flows.settle();
    const { outputHeldOpen, inputWritten } = end;
    return {
      ...end,
      outputHeldOpen: outputHeldOpen || flows.isHeldOpen,
      inputWritten: flows.inputWritten ?? inputWritten,
    };
  }

  /** A played process has no descendants: where its tree was stopped, that was this process. */
  #playedTree(): KillTreeResult | undefined {
    const { engine, clock } = this.#launch;
    const isStopped = engine.name === 'dry-run' && this.#stopping.report !== undefined;
    return isStopped && this.#stopping.endsTree(clock.now()) ? playedTree(this.#process) : undefined;
  }

  #handshake(method: string): Handshake {
    const { handshake } = this.#process;
    if (handshake !== undefined) return handshake;
    throw new UsageError(this.#launch.subject, [
      { call: `${method}()`, problem: 'no handshake was asked for; call requireHandshake() before runAsync()' },
    ]);
  }
}

/** The same result, with what became of the tree afterwards. */
const withTree = (result: RunResult, tree: KillTreeResult): RunResult =>
  new RunResult(Object.assign({}, result, { tree }));

/** What is left of a played process that has ended. */
const nothingLeft = new KillTreeResult({ level: 'walk', ended: [], survivors: [] }, true);

/** The functions that callers call: a mistake lies below them in the stack. */
const entries = { wait: Object.getOwnPropertyDescriptor(Child.prototype, 'wait')?.value as Entry };
