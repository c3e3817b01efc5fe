import type { CommandSpec } from '../spec/spec.js';
import type { ByteText } from '../text/bytes.js';
import type { PlannedDescriptor } from './descriptors.js';
import { isPath, isPathFromHere } from './program.js';

/*
 * A plan names every path from the root, for people. The kernel is given those that begin in this process's directory as they
 * were said: it finds them also where the directory was removed or renamed since, or lies below one that is closed to us.
 */

/** What of a plan says where its paths begin. */
export interface Places {
  readonly spec: CommandSpec;
  readonly directory?: ByteText;
  readonly descriptors: readonly PlannedDescriptor[];
}

/**
 * The path of the program for the kernel. What comes between the plan and the exec may lead the child elsewhere: another
 * directory, a hook, and whoever calls `process.chdir()` while files are opened, unless `isHeld` says that the engine begins
 * in the directory of the call.
 */
export function executedFile(plan: Places & { readonly file: ByteText }, isHeld = !isLater(plan)): ByteText {
  const [program = ''] = plan.spec.argv;
  return plan.directory === undefined && isPath(program) && isPathFromHere(program) && isHeld ? program : plan.file;
}

/** The path of the working directory for the kernel. */
export function enteredDirectory(plan: Places, isHeld = !isLater(plan)): ByteText | undefined {
  const { workingDirectory } = plan.spec;
  return workingDirectory !== undefined && isPathFromHere(workingDirectory) && isHeld
    ? workingDirectory
    : plan.directory;
}

const isLater = ({ spec, descriptors }: Places): boolean =>
  spec.preExecHook !== undefined || descriptors.some(({ source }) => source.kind === 'file');

/** The path, as it was said, of a file that begins in this process's directory; `undefined` for one that begins at the root. */
export function fileFromHere({ spec: { stdin, stdout, stderr } }: Places, childFd: number): ByteText | undefined {
  const path =
    childFd === 0
      ? stdin.from === 'file' && stdin.path
      : childFd === 1
        ? stdout.to === 'file' && stdout.path
        : stderr.to === 'file' && stderr.path;
  return path !== false && isPathFromHere(path) ? path : undefined;
}
