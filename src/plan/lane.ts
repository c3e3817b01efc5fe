import type { StepName } from '../text/step-names.js';
import type { Step } from './steps.js';

/** The steps that a child cannot take in its parent's memory: they change what belongs to the memory, or they may wait, and the parent with them. */
const needsOwnMemory: ReadonlySet<StepName> = new Set<StepName>([
  // A file is made and written, on a disk that may be busy.
  'pidfile',
  'capbset_drop',
  'setgroups',
  'setgid',
  'setuid',
  'capset',
  'cap_ambient',
  'handshake',
]);

/** The lane of a child that takes these steps. */
export function chooseLane(steps: readonly Step[]): Lane {
  let lane: Lane = 'shared-memory';
  for (const { step } of steps) {
    if (step === 'hook') return 'hook-runner';
    if (needsOwnMemory.has(step)) lane = 'helper';
  }
  return lane;
}

/**
 * Where the steps are taken: in a child that shares this process's memory until it executes, in a small helper program
 * with a memory of its own (for steps that change privileges or wait), in a Node process that runs the hook, or, by
 * `exec()`, in this process itself.
 */
export type Lane = 'shared-memory' | 'helper' | 'hook-runner' | 'in-place';
