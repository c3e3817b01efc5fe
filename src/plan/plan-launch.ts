import { inspect } from 'node:util';
import { subjectOf } from '../errors/command-error.js';
import type { Host } from '../host/host.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec, Mutable } from '../spec/spec.js';
import { planDescriptors, withJoints } from './descriptors.js';
import { environmentOf, lateArguments } from './environment.js';
import { chooseLane } from './lane.js';
import { type LaunchPlan, type PlanOptions, shownSafely } from './launch-plan.js';
import { findProgram, plannedDirectory } from './program.js';
import { planSteps } from './steps.js';

/**
 * Decides everything about a launch and starts nothing. Pure: the same spec on the same host gives the same plan.
 *
 * @throws {LaunchError} with the step `path-search` if PATH gives no executable of that name.
 * @throws {UsageError} if the user that the program shall run as is not known here.
 */
export function planLaunch(
  spec: CommandSpec,
  host: Host,
  { mode, search = true, subject = subjectOf(spec), inherited, joints }: PlanOptions,
): LaunchPlan {
  const { file, tried } = search ? findProgram(spec, subject, host) : { file: spec.argv.at(0) ?? '', tried: [] };
  const directory = plannedDirectory(spec, host);
  const descriptors = withJoints(planDescriptors(spec, mode, host), joints);
  const steps = planSteps({ spec, host, subject, file, directory, descriptors });
  const plan: Mutable<Omit<LaunchPlan, 'argv' | 'envp'>> = bare({
    spec,
    subject,
    mode,
    lane: mode === 'exec' ? 'in-place' : chooseLane(steps),
    file,
    tried,
    descriptors,
    steps,
  });
  if (directory !== undefined) plan.directory = directory;
  Object.defineProperty(plan, 'argv', lateArguments);
  Object.defineProperty(plan, 'envp', environmentOf(spec, host, descriptors, inherited, subject));
  return Object.defineProperty(plan, inspect.custom, shownSafely) as LaunchPlan;
}
