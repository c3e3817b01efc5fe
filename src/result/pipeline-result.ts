import { inspect } from 'node:util';
import { formatDuration } from '../text/duration.js';
import { inBackticks, shown } from '../text/shown.js';
import type { Captured, RunResult, RunResultFields } from './run-result.js';

/** The fields of a {@link PipelineResult}. Those that are not told of here are the last stage's: see {@link RunResult}. */
export interface PipelineResultFields<
  Stdout = Captured,
  Stderr = Captured,
  Code extends number | null = number | null,
> extends Omit<RunResultFields<Stdout, Stderr, Code>, 'tree' | 'resourceUsage'> {
  /** The pipeline as it may be printed: no values of variables, no secret arguments. */
  readonly command: string;
  /** How each stage ended, in their order. */
  readonly stages: readonly RunResult[];
  /** How many bytes of its input buffer the first stage took. */
  readonly inputWritten: number;
  /** Whether any stage overran its time, or that of the pipeline. */
  readonly timedOut: boolean;
  /** From the launch to the end of the stage that ended last, in milliseconds. */
  readonly durationMs: number;
}

/** How a pipeline ended: each of its stages, and what the last one wrote. Plain, frozen fields. */
export interface PipelineResult<
  Stdout = Captured,
  Stderr = Captured,
  Code extends number | null = number | null,
> extends PipelineResultFields<Stdout, Stderr, Code> {}

/** How a pipeline ended: each of its stages, and what the last one wrote. Plain, frozen fields. */
export class PipelineResult<Stdout = Captured, Stderr = Captured, Code extends number | null = number | null> {
  /** @internal Made by a pipeline. */
  constructor(fields: PipelineResultFields<Stdout, Stderr, Code>) {
    Object.freeze(Object.assign(this, fields));
  }

  /**
   * A sentence: the pipeline, how each stage ended, and after how long. It stands in a template as well.
   *
   * @example
   * const result = await pipeline(new Command('seq', 3), new Command('tac')).run();
   * console.log(String(result)); // `seq 3 | tac` ended after 3 ms: exit code 0, exit code 0.
   */
  toString(): string {
    return `${inBackticks(this.command)} ended after ${formatDuration(this.durationMs)}: ${this.#ends()}.`;
  }

  /** The lines of what the last stage wrote to its standard output: see {@link RunResult.lines}. */
  get lines(): readonly string[] {
    return this.stages.at(-1)!.lines;
  }

  /**
   * What the last stage wrote to its standard output, as JSON: see {@link RunResult.json}.
   *
   * @example
   * const result = await pipeline(new Command('echo', '[1, 2]'), new Command('cat').outputBuffer()).run();
   * console.log(result.json<number[]>()); // [1, 2]
   */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- nobody but the caller knows what the program writes.
  json<T = unknown>(): T {
    return this.stages.at(-1)!.json<T>();
  }

  /** One line: the pipeline, how each stage ended, and after how long. */
  [inspect.custom](): string {
    return `PipelineResult { ${shown(this.command)} → ${this.#ends()} after ${formatDuration(this.durationMs)} }`;
  }

  #ends(): string {
    return this.stages
      .map(({ exitCode, signal }) => (signal === null ? `exit code ${String(exitCode)}` : signal))
      .join(', ');
  }
}

/** The result of a pipeline of one stage or more. */
export function pipelineResult(command: string, stages: readonly RunResult[]): PipelineResult {
  const last = stages.at(-1)!;
  return new PipelineResult({
    command,
    stages: Object.freeze([...stages]),
    pid: last.pid,
    exitCode: last.exitCode,
    signal: last.signal,
    coreDumped: last.coreDumped,
    rawStatus: last.rawStatus,
    stdout: last.stdout,
    stderr: last.stderr,
    outputBytes: last.outputBytes,
    outputHeldOpen: last.outputHeldOpen,
    outputTruncated: last.outputTruncated,
    inputWritten: stages[0]!.inputWritten,
    timedOut: stages.some(({ timedOut }) => timedOut),
    durationMs: Math.max(...stages.map(({ durationMs }) => durationMs)),
  });
}
