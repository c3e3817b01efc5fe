import type { Host } from '../host/host.js';
import type { CommandSpec } from '../spec/spec.js';
import { isSameText } from '../text/bytes.js';
import { hasLateVariables } from './environment.js';
import type { LaunchPlan, PlanOptions } from './launch-plan.js';
import { planLaunch } from './plan-launch.js';
import { findProgram, plannedDirectory } from './program.js';

/** The last plan of each spec. A command that is run again has the same one, as long as nothing more is said to it. */
const known = new WeakMap<CommandSpec, LaunchPlan>();

/**
 * Decides about a launch as {@link planLaunch} does, and gives the plan of the last launch of this spec where it would decide the same. The program and the
 * directory are looked for each time; what asks this machine for more than that is decided anew. So is every launch that is played, or a stage of a pipeline.
 *
 * @throws {LaunchError} {UsageError} as {@link planLaunch}.
 */
export function planAgain(spec: CommandSpec, host: Host, options: PlanOptions): LaunchPlan {
  if (options.search === false || options.joints !== undefined) return planLaunch(spec, host, options);
  const last = known.get(spec);
  if (last?.mode === options.mode && hasLateVariables(last, options.inherited) && isFoundThere(last, host)) return last;
  const plan = planLaunch(spec, host, options);
  if (isLasting(plan)) known.set(spec, plan);
  return plan;
}

/** Whether the program and the directory are where the plan has them. @throws {LaunchError} if PATH gives no such program any more. */
function isFoundThere(plan: LaunchPlan, host: Host): boolean {
  const { file, tried } = findProgram(plan.spec, plan.subject, host);
  if (!isSameText(file, plan.file) || tried.length !== plan.tried.length) return false;
  if (!tried.every((other, index) => other === plan.tried.at(index))) return false;
  const directory = plannedDirectory(plan.spec, host);
  if (directory === undefined || plan.directory === undefined) return directory === plan.directory;
  return isSameText(directory, plan.directory);
}

/** Whether nothing else in a plan was asked of this machine: no account, and no path that begins in the directory of the call. */
function isLasting({ spec, lane, descriptors }: LaunchPlan): boolean {
  return (
    lane === 'shared-memory' &&
    spec.user === undefined &&
    spec.uid === undefined &&
    spec.pidFile === undefined &&
    !descriptors.some(({ source }) => source.kind === 'file')
  );
}
