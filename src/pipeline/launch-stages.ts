import { types } from 'node:util';
import type { Engine, EngineProcess } from '../engine/engine.js';
import { selectEngine } from '../engine/select.js';
import { atStage, CommandError, type Place } from '../errors/command-error.js';
import { Child } from '../running/child.js';
import { Launch } from '../running/launch.js';
import { begin, begun, published } from '../running/run-command.js';
import type { LaunchMode } from '../spec/spec.js';
import { type JointsOfStages, makeJoints } from './joints.js';
import { type CheckedStage, pipelineText, type PipelineRules } from './stages.js';
import { StageSignal } from './stage-signal.js';

/** Stages that run side by side. */
export interface RunningStages {
  readonly children: readonly Child[];
  readonly signals: readonly StageSignal[];
}

/**
 * Launches all stages, or none: where one cannot be launched, the others are ended.
 *
 * @throws {LaunchError} that names the stage, and what else the launch of a command can throw.
 */
export async function launchStages(
  stages: readonly CheckedStage[],
  mode: LaunchMode,
  rules: PipelineRules,
): Promise<RunningStages> {
  const engine = selectEngine();
  const signals = stages.map(({ attachments }) => new StageSignal(attachments.abortSignal, rules.abortSignal));
  const started: Promise<Child>[] = [];
  let joints: JointsOfStages | undefined;
  try {
    const launches = decideAll(stages, mode, rules, engine, signals);
    const made = makeJoints(engine, launches.length - 1, launches[0]!.launch.subject);
    // Where that takes no time, all stages are launched at the call, in the directory in which this process is then.
    joints = types.isPromise(made) ? await made : made;
    sizeJoints(joints, launches);
    for (const [stage, { launch, place }] of launches.entries()) {
      const child = start(launch, place, joints, signals[stage]!);
      started.push(child);
      if (joints.isInOrder) await child;
    }
    return { children: await Promise.all(started), signals };
  } catch (error) {
    // What still waits for a file, or in a hook, need not wait any more. Until then it needs its ends of the pipes.
    for (const signal of signals) signal.abort(error);
    const settled = await Promise.allSettled(started);
    joints?.close();
    const children = settled.flatMap((child) => (child.status === 'fulfilled' ? [child.value] : []));
    await Promise.all(children.map((child) => child.free()));
    for (const signal of signals) signal.end();
    throw published(
      error,
      engine,
      stages.map(({ spec }) => spec),
    );
  }
}

/** A launch that is decided, and its place. */
export interface DecidedStage {
  readonly launch: Launch;
  readonly place: Place;
}

/** Decides the launches of all stages before the first begins: what is missing is missing before anything runs. */
export function decideAll(
  stages: readonly CheckedStage[],
  mode: LaunchMode,
  { abortSignal: ofAll, abortsTree }: PipelineRules,
  engine: Engine,
  signals?: readonly StageSignal[],
): DecidedStage[] {
  const pipeline = pipelineText(stages.map(({ spec }) => spec));
  return stages.map(({ spec, attachments }, stage) => {
    const place = { stage, pipeline };
    // Without the event loop, only what is aborted already can be heard.
    const own = ofAll?.aborted === true ? ofAll : attachments.abortSignal;
    const abortSignal = signals?.at(stage)?.signal ?? own;
    const said = { ...attachments, abortSignal, abortsTree: attachments.abortsTree || abortsTree === true };
    const joints = { stdin: stage > 0, stdout: stage < stages.length - 1 };
    return placing(place, () => ({ launch: new Launch(spec, mode, said, engine, joints), place }));
  });
}

/** All before the first stage is launched, and while the pipes are empty. */
export function sizeJoints(joints: JointsOfStages, launches: readonly DecidedStage[]): void {
  for (const { launch, place } of launches)
    if (launch.spec.pipeSize !== undefined)
      placing(place, () => {
        joints.setSize(place.stage, launch);
      });
}

function start(launch: Launch, place: Place, joints: JointsOfStages, signal: StageSignal): Promise<Child> {
  joints.giveEnds(place.stage, launch);
  const take = (process: EngineProcess): Child => {
    joints.letGo(place.stage, begun(launch, process));
    void process.ended.then(() => {
      signal.end();
    });
    return new Child(launch, process);
  };
  const process = placing(place, () => begin(launch));
  return types.isPromise(process)
    ? process.then(take).catch((error: unknown) => {
        throw placed(error, place);
      })
    : Promise.resolve(take(process));
}

/** Does something for a stage. What it throws names the stage. */
export function placing<T>(place: Place, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw placed(error, place);
  }
}

const placed = (error: unknown, place: Place): unknown =>
  error instanceof CommandError ? atStage(error, place) : error;
