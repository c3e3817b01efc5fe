import { bare } from '../spec/bare.js';
import { inBackticks } from '../text/shown.js';
import { CommandError, type Subject } from './command-error.js';

/** One thing that was said wrongly, and how it was said. */
export interface Mistake {
  /** The call that made it, as it stands in the code: `env('A=…', …)`. */
  readonly call: string;
  /** What is wrong, and what to write instead. */
  readonly problem: string;
  /** In a pipeline, the stage of which it was said, counted from 0. */
  readonly stage?: number;
  /** Where the call stands in the caller's code, if that could be found. */
  readonly at?: string;
}

/**
 * A command that was put together wrongly. Nothing was started. It lists every mistake, not only the first,
 * each with the call that made it. It answers to libvirt's deferred "invalid use of command API".
 */
export class UsageError extends CommandError {
  static override readonly name: string = 'UsageError';
  /** Always `ERR_COMMAND_USAGE`. */
  readonly code = 'ERR_COMMAND_USAGE';
  /** What was said wrongly, in the order of the calls. */
  readonly mistakes: readonly Mistake[];

  constructor(subject: Subject, mistakes: readonly Mistake[]) {
    super(usageMessage(subject, mistakes), subject);
    this.mistakes = mistakes;
  }
}

function usageMessage({ command }: Subject, mistakes: readonly Mistake[]): string {
  const where = command === '' ? '' : ` in ${inBackticks(command)}`;
  const [only, ...others] = mistakes
    .map(bare)
    .map(({ call, problem, stage }) => `${stage === undefined ? '' : `stage ${stage + 1}, `}${call}: ${problem}.`);
  if (only !== undefined && others.length === 0) return `Mistake${where}: ${only}`;
  return [
    `${mistakes.length} mistakes${where}:`,
    ...[only, ...others].map((line, index) => `  ${index + 1}. ${line}`),
  ].join('\n');
}
