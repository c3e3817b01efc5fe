import { abortSequence } from '../ending/stop-sequence.js';
import { selectEngine } from '../engine/select.js';
import { Outcome } from '../running/outcome.js';
import { published, tellOfLaunch } from '../running/run-command.js';
import { assertWaits, launchSync, SyncRun } from '../running/run-sync.js';
import { type JointsOfStages, makeJoints } from './joints.js';
import { decideAll, type DecidedStage, placing, sizeJoints } from './launch-stages.js';
import type { CheckedStage, PipelineRules } from './stages.js';

/**
 * Launches all stages, or none, and holds this thread until all have ended.
 *
 * @throws {LaunchError} {UnsupportedError} that names the stage.
 */
export function runStagesSync(stages: readonly CheckedStage[], rules: PipelineRules): Outcome[] {
  const engine = selectEngine();
  const runs: SyncRun[] = [];
  let joints: JointsOfStages | undefined;
  try {
    const decided = decideAll(stages, 'run', rules, engine);
    const [{ launch: first }] = decided as [DecidedStage];
    assertWaits(first);
    joints = makeJoints(engine, decided.length - 1, first.subject, true) as JointsOfStages;
    sizeJoints(joints, decided);
    for (const { launch, place } of decided) {
      joints.giveEnds(place.stage, launch);
      const process = placing(place, () => launchSync(launch));
      joints.letGo(place.stage, { stdin: null, stdout: process.stdout ?? null });
      tellOfLaunch(launch, process.pid);
      runs.push(new SyncRun(launch, process));
    }
  } catch (error) {
    joints?.close();
    for (const run of runs) run.abort(abortSequence);
    awaitAll(runs);
    throw published(
      error,
      engine,
      stages.map(({ spec }) => spec),
    );
  }
  return awaitAll(runs);
}

/** Waits for all of them together: each has its time, and what each writes is read. */
function awaitAll(runs: readonly SyncRun[]): Outcome[] {
  const outcomes = new Map<SyncRun, Outcome>();
  for (;;) {
    const waits: number[] = [];
    for (const run of runs) {
      if (outcomes.has(run)) continue;
      const next = run.next();
      if (next instanceof Outcome) outcomes.set(run, next);
      else waits.push(next);
    }
    if (waits.length === 0) return runs.map((run) => outcomes.get(run)!);
    const left = runs.filter((run) => !outcomes.has(run));
    // One waits for the news of all, and the others take theirs. What waits for a tree alone holds the thread.
    const first = left.find((run) => !run.hasEnded) ?? left[0]!;
    first.wait(Math.min(...waits));
    for (const run of left) if (run !== first) run.wait(0);
  }
}
