import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { type Check, type Codes, readWaitOptions, type WaitOptions } from '../builder/wait-options.js';
import type { Entry } from '../builder/call-site.js';
import type { TreeOptions } from '../builder/options.js';
import { sequenceOption } from '../ending/stop-sequence.js';
import { type NoOptions, readOptions } from '../errors/argument-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { LineOf, LineOptions } from '../lines/line-options.js';
import { type PipelineResult, pipelineResult } from '../result/pipeline-result.js';
import type { Child, StopOptions } from '../running/child.js';
import type { Outcome } from '../running/outcome.js';
import { inBackticks, shown } from '../text/shown.js';
import type { SignalName } from '../text/signals.js';
import { judge } from './outcome.js';
import type { RunningStages } from './launch-stages.js';
import { type CheckedStage, pipelineText } from './stages.js';

/**
 * A pipeline that is running: its stages, each a {@link Child}, and what reaches all of them. Made by {@link Pipeline.runAsync}.
 *
 * All stages end with this process unless they are released.
 *
 * @example
 * await using running = await pipeline(new Command('cat').inputPipe(), new Command('sort').outputPipe()).runAsync();
 * running.stdin.end('b\na\n');
 * for await (const chunk of running.stdout) process.stdout.write(chunk);
 * await running.wait();
 */
export class PipelineChild<
  Out extends Readable | null = Readable | null,
  Err extends Readable | null = Readable | null,
  In extends Writable | null = Writable | null,
  Result extends PipelineResult = PipelineResult,
> {
  /** The stages, in their order. */
  readonly stages: readonly Child[];
  /** The writing end of the pipe of `inputPipe()` of the first stage, else `null`. */
  readonly stdin: In;
  /** The reading end of the pipe of `outputPipe()` of the last stage, else `null`. */
  readonly stdout: Out;
  /** The reading end of the pipe of `errorPipe()` of the last stage, else `null`. */
  readonly stderr: Err;
  readonly #said: readonly CheckedStage[];
  readonly #running: RunningStages;
  readonly #command: string;
  /** Whether a call has stopped all of it. */
  #isStopped = false;

  /** @internal Made by a pipeline. */
  constructor(said: readonly CheckedStage[], running: RunningStages) {
    this.#said = said;
    this.#running = running;
    this.#command = pipelineText(said.map(({ spec }) => spec));
    this.stages = Object.freeze([...running.children]);
    // The chain of calls knows which pipes there are.
    this.stdin = running.children[0]!.stdin as In;
    this.stdout = running.children.at(-1)!.stdout as Out;
    this.stderr = running.children.at(-1)!.stderr as Err;
  }

  /**
   * Resolves when all stages have ended and what they wrote has been read. It can be called again, before and after the end.
   *
   * @throws {ExitError} for the first stage that did not end well: see {@link Pipeline.run}.
   *
   * @example
   * const running = await pipeline(new Command('seq', 3), new Command('tac')).runAsync();
   * const { stages } = await running.wait();
   */
  async wait<const K extends Check | undefined = undefined>(
    options?: WaitOptions<K>,
  ): Promise<[K] extends [undefined] ? Result : PipelineResult<Result['stdout'], Result['stderr'], Codes<K>>> {
    const { check, mistakes } = readWaitOptions(options, {
      method: 'wait',
      called: entries.wait,
      names: ['check'],
      isMethod: () => false,
    });
    if (mistakes.length > 0) throw new UsageError({ command: this.#command, spec: undefined }, mistakes);
    const outcomes = await Promise.all(this.stages.map((stage) => stage.outcome()));
    // The chain of calls knows its result's type better than the launches behind it.
    return judge(outcomes, check, this.#isStopOfAll) as never;
  }

  readonly #isStopOfAll = (stage: number, { stop }: Outcome): boolean => {
    if (stop?.reason === 'timeout') return this.#said[stage]!.isTimedWithAll;
    return stop?.reason === 'aborted' && (this.#isStopped || this.#running.signals[stage]!.isOfAll);
  };

  /**
   * The lines that the last stage writes, as it writes them: see {@link Child.lines}.
   *
   * @throws {UsageError} {TypeError} as {@link Child.lines}.
   *
   * @example
   * await using running = await pipeline(new Command('seq', 3), new Command('tac').outputPipe()).runAsync();
   * for await (const line of running.lines()) console.log(line); // 3, then 2, then 1
   * await running.wait();
   */
  lines<const O extends LineOptions>(options?: O): AsyncGenerator<LineOf<O>, undefined, undefined> {
    return this.stages.at(-1)!.lines(options);
  }

  /**
   * Asks all stages to end, each by its own `stopSequence()` unless one is said here, and resolves with the result when all are dead, however they ended. See
   * {@link Child.stop}.
   *
   * @throws {TypeError} for options that are none.
   *
   * @example
   * const running = await pipeline(new Command('sleep', 60), new Command('cat')).runAsync();
   * const { stages } = await running.stop();
   */
  async stop(options?: StopOptions): Promise<PipelineResult<Result['stdout'], Result['stderr']>> {
    // Before anything happens, and once: every stage is given the same.
    const read = readOptions('stop', [], options, { sequence: sequenceOption, tree: 'boolean' });
    this.#isStopped = true;
    const results = await Promise.all(this.stages.map((stage) => stage.stop(read)));
    return pipelineResult(this.#command, results);
  }

  /**
   * Stops all stages and resolves when they are dead, as {@link Child.abort} does with one.
   *
   * @throws {TypeError} for options that are none.
   *
   * @example
   * const running = await pipeline(new Command('sleep', 60), new Command('cat')).runAsync();
   * await running.abort();
   */
  async abort(options?: TreeOptions): Promise<void> {
    const read = readOptions('abort', [], options, { tree: 'boolean' });
    this.#isStopped = true;
    await Promise.all(this.stages.map((stage) => stage.abort(read)));
  }

  /**
   * Sends a signal to all stages. False: all have ended, and nobody was signalled.
   *
   * @throws {TypeError} {ProcessError} as {@link Child.signal}.
   *
   * @example
   * const running = await pipeline(new Command('sleep', 60), new Command('cat')).runAsync();
   * running.signal('SIGINT'); // true
   */
  signal(name: SignalName): boolean {
    return this.stages.map((stage) => stage.signal(name)).includes(true);
  }

  /**
   * Ends the stages that run, then closes their pipes; resolves when both are done. The same as the end of a block with `await using`. See {@link Child.free}.
   *
   * @example
   * const running = await pipeline(new Command('sleep', 60), new Command('cat')).runAsync();
   * await running.free();
   */
  async free(options?: NoOptions): Promise<void> {
    readOptions('free', [], options, {});
    this.#isStopped = true;
    await Promise.all(this.stages.map((stage) => stage.free()));
  }

  /** The same as {@link free}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.free();
  }

  /**
   * A sentence: the pipeline, and its pids. It stands in a template as well.
   *
   * @example
   * const running = await pipeline(new Command('seq', 3), new Command('tac')).runAsync();
   * console.log(`${running}`); // `seq 3 | tac` was launched as processes 4711, 4712.
   */
  toString(): string {
    return `${inBackticks(this.#command)} was launched as processes ${this.stages.map(({ pid }) => pid).join(', ')}.`;
  }

  /** One line: the pipeline and its pids. */
  [inspect.custom](): string {
    return `PipelineChild { ${shown(this.#command)}, pids ${this.stages.map(({ pid }) => pid).join(' ')} }`;
  }
}

/** The functions that callers call: a mistake lies below them in the stack. */
const entries = { wait: Object.getOwnPropertyDescriptor(PipelineChild.prototype, 'wait')?.value as Entry };
