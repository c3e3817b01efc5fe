import { type Step, type StepLane, stepTable } from './step-table.js';

/** The lane of a child that performs these steps. */
export function chooseLane(steps: readonly Step[]): StepLane {
  let lane: StepLane = 'shared-memory';
  for (const { step } of steps) {
    const own = stepTable[step].lane;
    if (own === 'hook-runner') return own;
    if (own === 'helper') lane = own;
  }
  return lane;
}

/**
 * Where the steps are performed: in a child that shares this process's memory until it executes, in a small helper program
 * with a memory of its own (for steps that change privileges or wait), in a Node process that runs the hook, or, by
 * `exec()`, in this process itself.
 */
export type Lane = StepLane | 'in-place';
