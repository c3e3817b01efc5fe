import type { Accepted } from '../builder/wait-options.js';
import { type PipelineResult, pipelineResult } from '../result/pipeline-result.js';
import type { Outcome } from '../running/outcome.js';

/** Whether a stage was stopped since the whole pipeline was, by its time, its signal or a call. */
export type IsStopOfAll = (stage: number, outcome: Outcome) => boolean;

/**
 * The result of a pipeline, or the error of its first stage that did not end well.
 *
 * That a stage was ended by SIGPIPE is no failure of it, unless it is the last: a later stage has read as much as it wanted, as `head` does; or has
 * failed, and is the one to blame.
 *
 * @throws {ExitError}
 */
export function judge(
  outcomes: readonly Outcome[],
  accepted: Accepted | undefined,
  isStopOfAll: IsStopOfAll,
): PipelineResult {
  const stages = outcomes.map(({ result }) => result);
  const pipeline = stages.map(({ command }) => command).join(' | ');
  const result = pipelineResult(pipeline, stages);
  for (const [stage, outcome] of outcomes.entries()) {
    if (outcome.isWell(accepted) || hadNoReader(outcome, stage < outcomes.length - 1)) continue;
    outcome.unwrap(accepted, { stage, pipeline, result, isStopOfAll: isStopOfAll(stage, outcome) });
  }
  return result;
}

const hadNoReader = ({ result, stop }: Outcome, isRead: boolean): boolean =>
  isRead && stop === undefined && result.signal === 'SIGPIPE';
