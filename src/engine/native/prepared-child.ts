import { executedFile } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { operationsOf } from '../../plan/operations.js';
import type { HandshakeEnds } from '../../plan/step-table.js';
import { readable } from '../../text/bytes.js';
import { copyOfEncoded, encodedSize, encodeForNow, type Operation } from '../../wire/encode.js';
import type { Move } from '../../wire/moves.js';
import type { HookWatch } from '../engine.js';
import type { Ends } from './ends.js';

/** An encoded plan, ready for the child, with the descriptors that the lane itself needs. */
export interface PreparedChild {
  readonly encodedPlan: Buffer;
  /** How many of the bytes are the plan. */
  readonly size: number;
  /** The file that the child executes first. */
  readonly file: string;
  /** The reading end of the helper's report; -1 in shared memory. */
  readonly report: number;
  readonly handshake: HandshakeEnds | undefined;
  readonly hook: HookWatch | undefined;
  /** The lane's descriptors that this process keeps, and those that it closes after the launch. */
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** The place of what belongs to no step of the plan: to execute a program of the lane's own. */
export const LANE_STEP = 0x7fff_ffff;

/** The numbers for a child that keeps this process's directory up to its exec, if it needs it. */
export const untilExec = (here: Move | undefined): { readonly untilExec?: readonly Move[]; readonly here?: Move } =>
  here === undefined ? NO_NUMBERS : { untilExec: [here], here };

const NO_NUMBERS = {};

/** What a helper does first: this process's directory, which has come through its own exec, is closed by the program's. */
export const closedByProgram = (here: Move | undefined, step: number): readonly Operation[] =>
  here === undefined ? [] : [{ code: 'close_range', step, a: here.to, b: here.to }];

/** A plan in its encoded form, with the numbers that went into it. */
interface EncodedPlan {
  readonly moves: readonly Move[];
  readonly bytes: Buffer;
}

/** The plans that were encoded once already, and those of which the bytes were kept: a plan that is followed again, with the same numbers, is handed over as it is. */
const encodedOnce = new WeakMap<LaunchPlan, EncodedPlan | undefined>();

/** Prepares a child that performs all steps in shared memory. `inherits`: it gets the variables of this process as they are then. */
export function prepareInSharedMemory(plan: LaunchPlan, ends: Ends, inherits: boolean): PreparedChild {
  const encodedPlan = encodedFor(plan, ends, inherits);
  return {
    encodedPlan,
    size: encodedSize(encodedPlan),
    file: readable(plan.file),
    report: -1,
    handshake: undefined,
    hook: undefined,
    ours: [],
    theirs: [],
  };
}

function encodedFor(plan: LaunchPlan, { moves, here, controlling }: Ends, inherits: boolean): Buffer {
  const known = encodedOnce.get(plan);
  if (known !== undefined && isSameMoves(known.moves, moves)) return known.bytes;
  const { envp, operations } = operationsOf(
    plan,
    plan.steps,
    0,
    { moves, ...untilExec(here), terminal: controlling, parent: process.pid },
    inherits,
  );
  const bytes = encodeForNow({ file: executedFile(plan), argv: plan.spec.argv, envp, operations });
  // The bytes are worth their copy from the second launch on.
  if (here === undefined && controlling === undefined)
    encodedOnce.set(plan, encodedOnce.has(plan) ? { moves, bytes: copyOfEncoded(bytes) } : undefined);
  return bytes;
}

function isSameMoves(some: readonly Move[], others: readonly Move[]): boolean {
  if (some.length !== others.length) return false;
  for (const [index, { from, to, isShared }] of some.entries()) {
    const other = others[index]!;
    if (from !== other.from || to !== other.to || isShared !== other.isShared) return false;
  }
  return true;
}
