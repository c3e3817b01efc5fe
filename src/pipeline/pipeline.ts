import { inspect } from 'node:util';
import type { Entry } from '../builder/call-site.js';
import { streamsInSync } from '../builder/clashes.js';
import { type Call, Draft } from '../builder/draft.js';
import { givingAway, givingAwaySync } from '../builder/given-away.js';
import type { TreeOptions } from '../builder/options.js';
import {
  type Accepted,
  type Check,
  type Codes,
  type NoOptions,
  readWaitOptions,
  type WaitOptions,
} from '../builder/wait-options.js';
import { explainPlan } from '../engine/explain.js';
import { engineInfo, selectEngine } from '../engine/select.js';
import { type Mistake, UsageError } from '../errors/usage-error.js';
import type { CapturedOf, ExitCodeOf, StderrOf, StdinOf, StdoutOf, StreamOf } from '../result/chain.js';
import type { PipelineResult } from '../result/pipeline-result.js';
import { planFor } from '../running/launch.js';
import { published, type Said } from '../running/run-command.js';
import type { CommandSpec, LaunchMode } from '../spec/spec.js';
import type { PrintOptions } from '../text/quote.js';
import { isAbortSignal, reasonOf } from '../text/reading.js';
import { shown } from '../text/shown.js';
import { launchStages } from './launch-stages.js';
import { judge } from './outcome.js';
import { PipelineChild } from './pipeline-child.js';
import { runStagesSync } from './run-stages-sync.js';
import { type CheckedStage, checkStages, pipelineText, type PipelineRules, type Stage } from './stages.js';

/** What a pipeline gives whose last stage is such a command. `K` is the type of the option `check`. */
export type PipelineResultOf<Last, K = undefined> = PipelineResult<
  CapturedOf<StdoutOf<Last>>,
  CapturedOf<StderrOf<Last>>,
  [K] extends [undefined] ? ExitCodeOf<Last> : Codes<K>
>;

/** What `runAsync()` of a pipeline gives, with those commands as its first and last stage. */
export type PipelineChildOf<First, Last> = PipelineChild<
  StreamOf<StdoutOf<Last>>,
  StreamOf<StderrOf<Last>>,
  StdinOf<First>,
  PipelineResultOf<Last>
>;

/**
 * Commands that run side by side, each of which reads what the one before it writes. Made by {@link pipeline}.
 *
 * The pipes between them are the kernel's, and no byte passes through this process. The first stage reads what its command says, and the last one
 * writes where its command says; the standard error of each is its own. Each has its own environment, directory, ids, limits and hook. As with a
 * command, no call throws for a bad value, and it can be run again and again.
 *
 * @example
 * const { stdout, stages } = await pipeline(
 *   new Command('seq', 1, 1000),
 *   new Command('grep', 7),
 *   new Command('wc', '-l').outputBuffer(),
 * ).run();
 */
export class Pipeline<First = unknown, Last = unknown> {
  /** For the type checker only. */
  declare readonly ends?: readonly [First, Last];
  readonly #stages: readonly Stage[];
  readonly #draft = new Draft();
  #abortSignal: AbortSignal | undefined;
  #abortsTree = false;

  /** @internal Made by {@link pipeline}. */
  constructor(stages: readonly Stage[], mistakes: readonly Mistake[]) {
    this.#stages = stages;
    this.#draft.mistakes.push(...mistakes);
  }

  /**
   * Stops all stages when the time is over, each by its own {@link Command.stopSequence}; with `{ tree: true }`, the tree of each. A stage that has less time of
   * its own is stopped before. See {@link Command.timeout}.
   *
   * @category Time
   *
   * @example
   * await pipeline(new Command('sleep', '0.1'), new Command('cat')).timeout(5000).run();
   */
  timeout(ms: number | undefined, options?: TreeOptions): this {
    return this.#say('timeout', ms, options, (call, tree) => {
      this.#draft.timeout(ms, tree, call);
    });
  }

  /**
   * Stops all stages when the signal is aborted, each by its own {@link Command.stopSequence}. See {@link Command.abortSignal}.
   *
   * @category Time
   *
   * @example
   * await pipeline(new Command('sleep', '0.1'), new Command('cat')).abortSignal(AbortSignal.timeout(5000)).run();
   */
  abortSignal(signal: AbortSignal | undefined, options?: TreeOptions): this {
    return this.#say('abortSignal', signal, options, (call, tree) => {
      if (!isAbortSignal(signal))
        this.#draft.mistake(call, 'give an AbortSignal, as a controller has in its property signal');
      else if (this.#abortSignal !== undefined)
        this.#draft.mistake(call, 'this was said before; AbortSignal.any([a, b]) makes one signal of two');
      else {
        this.#abortSignal = signal;
        this.#abortsTree = tree;
      }
    });
  }

  #say(
    method: 'timeout' | 'abortSignal',
    value: unknown,
    options: TreeOptions | undefined,
    record: (call: Call, tree: boolean) => void,
  ): this {
    if (value === undefined) return this;
    const values = options === undefined ? [value] : [value, options];
    const call = { method, values, called: entries[method] };
    try {
      const read = this.#draft.options(options, ['tree'], call);
      const tree = read === undefined ? undefined : this.#draft.switch(read.tree, 'tree', call);
      if (tree !== undefined) record(call, tree);
    } catch (error) {
      // A getter or a proxy of the caller threw.
      this.#draft.mistake(call, `a value cannot be read (${reasonOf(error)})`);
    }
    return this;
  }

  /**
   * Prints the pipeline so that a shell would run the same: see {@link Command.toString}.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made. {TypeError} for options that are none.
   *
   * @example
   * pipeline(new Command('ls', 'a b'), new Command('wc', '-l')).toString(); // "ls 'a b' | wc -l"
   */
  toString(options?: PrintOptions): string {
    const { mistakes } = this.#draft;
    if (mistakes.length > 0) throw new UsageError({ command: this.#text(), spec: undefined }, mistakes);
    return this.#stages.map((stage) => stage.print(options)).join(' | ');
  }

  /**
   * Prints the plan of each stage for a person: see {@link Command.explain}.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made. {LaunchError} if PATH gives no such program.
   *
   * @example
   * process.stdout.write(pipeline(new Command('seq', 3), new Command('tac')).explain());
   */
  explain(): string {
    const engine = selectEngine();
    const { why } = engineInfo();
    const stages = this.#check(this.#said('async'));
    const plans = stages.map(({ spec }, stage) =>
      planFor(spec, 'async', { stdin: stage > 0, stdout: stage < stages.length - 1 }),
    );
    return plans.map((plan) => explainPlan(plan, engine, why)).join('\n');
  }

  /** A line that shows the pipeline without values of variables and secrets, and how many mistakes were made in calls of its own. */
  [inspect.custom](): string {
    const mistakes = this.#draft.mistakes.length;
    return `Pipeline { ${shown(this.#text())}${mistakes === 0 ? '' : `, ${mistakes} mistakes`} }`;
  }

  #text(): string {
    return pipelineText(dataOf(this.#said('run')));
  }

  /**
   * **Runs the stages side by side**, and resolves when all have ended well.
   *
   * A stage has ended well if its end is one that `check` takes: that of the command, unless it is said here for all stages. That SIGPIPE ended one
   * is no failure, unless it is the last: a later stage has read as much as it wanted, as `head` does. The first stage that failed is the
   * error, with the exit code, the signal and the last words of that stage, and its index in `stage`. It is like `set -o pipefail` of a shell.
   *
   * Where a stage cannot be launched, those that run are ended. What is missing in PATH is told before anything is started.
   *
   * @category Running it
   *
   * @throws {UsageError} with the mistakes of all stages. {LaunchError}, {UnsupportedError} and {ExitError} as {@link Command.run}; `stage` says which.
   *
   * @example
   * const { stdout } = await pipeline(new Command('ls', '/'), new Command('sort', '-r').outputBuffer()).run();
   */
  async run<const K extends Check | undefined = undefined>(
    options?: WaitOptions<K>,
  ): Promise<PipelineResultOf<Last, K>> {
    const { check, mistakes } = this.#options('run', options);
    const running = await this.#launch('run', mistakes);
    // The chain of calls knows its result's type better than the launches behind it.
    return (await (check === undefined ? running.wait() : running.wait({ check }))) as never;
  }

  /**
   * **Starts the stages**, and resolves when all are running. See {@link Command.runAsync}.
   *
   * @category Running it
   *
   * @throws {UsageError} {LaunchError} {UnsupportedError} as {@link Pipeline.run}.
   *
   * @example
   * await using running = await pipeline(new Command('cat').inputPipe(), new Command('sort').outputBuffer()).runAsync();
   * running.stdin.end('b\na\n');
   * const { stdout } = await running.wait();
   */
  async runAsync(options?: NoOptions): Promise<PipelineChildOf<First, Last>> {
    const { mistakes } = this.#options('runAsync', options);
    return (await this.#launch('async', mistakes)) as never;
  }

  /**
   * **Runs the stages and holds this thread** until all have ended, with the same result and the same errors as {@link Pipeline.run}. An abort signal counts only
   * before the start.
   *
   * @category Running it
   *
   * @throws {UnsupportedError} in the portable engine. {UsageError} {LaunchError} {ExitError} as {@link Pipeline.run}.
   *
   * @example
   * const { stdout } = pipeline(new Command('seq', 3), new Command('tac').outputBuffer()).runSync();
   */
  runSync<const K extends Check | undefined = undefined>(options?: WaitOptions<K>): PipelineResultOf<Last, K> {
    const { check, mistakes } = this.#options('runSync', options);
    const said = this.#said('run');
    const [stages, outcomes] = givingAwaySync(dataOf(said), () => {
      const streams = dataOf(said).flatMap((data, stage) => streamsInSync(data).map((one) => ({ ...one, stage })));
      const checked = this.#check(said, [...mistakes, ...streams]);
      return [checked, runStagesSync(checked, this.#rules)] as const;
    });
    const isStopOfAll = (stage: number): boolean => stages[stage]!.isTimedWithAll;
    return judge(outcomes, check, isStopOfAll) as never;
  }

  #launch(mode: 'run' | 'async', mistakes: readonly Mistake[]): Promise<PipelineChild> {
    const said = this.#said(mode);
    return givingAway(dataOf(said), async () => {
      const stages = this.#check(said, mistakes);
      return new PipelineChild(stages, await launchStages(stages, mode, this.#rules));
    });
  }

  #said(mode: LaunchMode): readonly Said[] {
    return this.#stages.map((stage) => stage.said(mode));
  }

  /** @throws {UsageError} with the mistakes of all stages. */
  #check(said: readonly Said[], mistakes: readonly Mistake[] = []): CheckedStage[] {
    try {
      return checkStages(said, this.#rules, [...this.#draft.mistakes, ...mistakes]);
    } catch (error) {
      throw published(error, undefined);
    }
  }

  get #rules(): PipelineRules {
    const { timeoutMs, timeoutTree } = this.#draft.single;
    return { timeoutMs, timeoutTree, abortSignal: this.#abortSignal, abortsTree: this.#abortsTree };
  }

  #options(
    method: 'run' | 'runAsync' | 'runSync',
    options: unknown,
  ): { readonly check: Accepted | undefined; readonly mistakes: readonly Mistake[] } {
    return readWaitOptions(options, {
      method,
      called: entries[method],
      names: method === 'runAsync' ? [] : ['check'],
      isMethod: (name) => name === 'timeout' || name === 'abortSignal',
    });
  }
}

const dataOf = (said: readonly Said[]): CommandSpec[] => said.map(({ data }) => data);

/** The functions that callers call: a mistake lies below them in the stack. */
const entries = Object.fromEntries(
  (['timeout', 'abortSignal', 'run', 'runAsync', 'runSync'] as const).map((name) => [
    name,
    Object.getOwnPropertyDescriptor(Pipeline.prototype, name)?.value as Entry,
  ]),
) as Record<'timeout' | 'abortSignal' | 'run' | 'runAsync' | 'runSync', Entry>;
