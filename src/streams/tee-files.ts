import type { FileHandle } from 'node:fs/promises';
import { portableFifos } from '../engine/portable/fifo-opener.js';
import { openFiles } from '../engine/redirections.js';
import type { PlannedDescriptor } from '../plan/descriptors.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec } from '../spec/spec.js';

/** The files of `tee()`, by the stream that goes there. */
export type TeeFiles = ReadonlyMap<number, FileHandle>;

/** Whether a command has such files. */
export const hasTees = ({ stdoutTee, stderrTee }: CommandSpec): boolean =>
  stdoutTee !== undefined || stderrTee !== undefined;

/**
 * Opens the files of `tee()`, by the rules of `outputFile()`, before anything is launched.
 *
 * @throws {LaunchError} with the step `open`, or `abort`.
 */
export function openTees(
  { spec, subject }: LaunchPlan,
  limits: { readonly deadline: number; readonly abortSignal: AbortSignal | undefined },
): Promise<TeeFiles> {
  const nothing = bare({ to: 'unclaimed' as const });
  const stdout = spec.stdoutTee === undefined ? nothing : bare({ to: 'file' as const, ...spec.stdoutTee });
  const stderr = spec.stderrTee === undefined ? nothing : bare({ to: 'file' as const, ...spec.stderrTee });
  const descriptors: PlannedDescriptor[] = [];
  for (const [index, output] of [stdout, stderr].entries()) {
    if (output.to !== 'file') continue;
    const open = output.append === true ? 'append' : 'truncate';
    descriptors.push({ childFd: index + 1, source: { kind: 'file', path: output.path, open } });
  }
  const places = { spec: { ...spec, stdout, stderr }, subject, descriptors };
  return openFiles(places, limits, portableFifos);
}
