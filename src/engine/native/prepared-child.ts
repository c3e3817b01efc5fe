import type { HandshakeEnds } from '../../wire/operations.js';
import type { HookWatch } from '../engine.js';

/** A plan, ready for the child, with the descriptors that the lane itself needs. */
export interface Lane {
  readonly program: Buffer;
  /** How much of it is the program. */
  readonly size: number;
  /** The file that the child executes first. */
  readonly file: string;
  /** The reading end of the helper's report; -1 in the fast lane. */
  readonly report: number;
  readonly handshake: HandshakeEnds | undefined;
  readonly hook: HookWatch | undefined;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** The place of what belongs to no step of the plan: to execute a program of the lane's own. */
export const LANE_STEP = 0x7fff_ffff;

/** The lowest number for a descriptor that is not taken, and takes it. */
export function unused(taken: Set<number>): number {
  let number = 3;
  while (taken.has(number)) number += 1;
  taken.add(number);
  return number;
}
