import type { inspect } from 'node:util';
import type { Subject } from '../errors/command-error.js';
import { valueDescriptor } from '../spec/bare.js';
import type { CommandSpec, LaunchMode } from '../spec/spec.js';
import type { ByteText } from '../text/bytes.js';
import type { Joints, PlannedDescriptor } from './descriptors.js';
import type { Lane } from './lane.js';
import type { Step } from './step-table.js';

/** Every question about a launch, answered: what an engine will do, as data. It holds for this moment only; PATH may change. */
export interface LaunchPlan {
  readonly spec: CommandSpec;
  readonly subject: Subject;
  readonly mode: LaunchMode;
  readonly lane: Lane;
  /** The file that will be executed. */
  readonly file: ByteText;
  /** The files that PATH gave before that one, for a person to read. */
  readonly tried: readonly string[];
  /** The exact vectors, without their final NULs. */
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  /** The directory that the program starts in; absent where it is this process's own. */
  readonly directory?: ByteText;
  /** The descriptors of the child, by rising number. All others are closed. */
  readonly descriptors: readonly PlannedDescriptor[];
  /** What the child does between clone and exec, in order. */
  readonly steps: readonly Step[];
}

/** What a plan is for. */
export interface PlanOptions {
  readonly mode: LaunchMode;
  /** False: the program is not looked for, as in a dry run. Default: true. */
  readonly search?: boolean;
  /** This process's variables byte for byte, where somebody knows them better than `host.env`. */
  readonly inherited?: (() => readonly Uint8Array[]) | undefined;
  /** The spec as the subject of an error, where the caller has made it already. */
  readonly subject?: Subject;
  /** Which streams lead to the neighbours of a stage. Default: it is none of a pipeline. */
  readonly joints?: Joints | undefined;
}

export const shownSafely = valueDescriptor(inspectPlan, false);

/** A plan without its vectors, which hold the values of variables and the secret arguments. */
function inspectPlan(this: LaunchPlan, _depth: number, options: object, print: typeof inspect): string {
  const { argv: _argv, envp: _envp, ...shown } = this;
  return `LaunchPlan ${print(shown, options)}`;
}
