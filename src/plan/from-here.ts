import type { CommandSpec } from '../spec/spec.js';
import type { ByteText } from '../text/bytes.js';
import type { PlannedDescriptor } from './descriptors.js';
import { isPath, isPathFromHere } from './program.js';

/*
 * A plan names every path from the root, for people. The kernel is given those that begin in this process's directory as they
 * were said: it finds them also where the directory was removed or renamed since, or lies below one that is closed to us. Where the
 * child has left that directory by then, or a hook may have, the path goes with a descriptor of it.
 */

/** What of a plan says where its paths begin. */
export interface Places {
  readonly spec: CommandSpec;
  readonly directory?: ByteText;
  readonly descriptors: readonly PlannedDescriptor[];
}

/** The program as it was said, where it is a path that begins in this process's directory. */
export function programFromHere({ spec: { argv } }: Places): ByteText | undefined {
  const [program = ''] = argv;
  return isPath(program) && isPathFromHere(program) ? program : undefined;
}

/** The path of the program for the kernel, as long as the child is in this process's directory; else its name. */
export function executedFile(plan: Places & { readonly file: ByteText }): ByteText {
  return leavesHere(plan) ? plan.file : (programFromHere(plan) ?? plan.file);
}

/** The path of the program that needs the directory to begin in. */
export const heldProgram = (plan: Places): ByteText | undefined =>
  leavesHere(plan) ? programFromHere(plan) : undefined;

/** The path of the working directory for the kernel, as long as the child is in this process's directory; else its name. */
export function enteredDirectory(plan: Places): ByteText | undefined {
  const { workingDirectory, preExecHook } = plan.spec;
  return workingDirectory !== undefined && isPathFromHere(workingDirectory) && preExecHook === undefined
    ? workingDirectory
    : plan.directory;
}

/** The path of the working directory that needs the directory to begin in. */
export const heldWorkingDirectory = ({
  spec: { workingDirectory: path, preExecHook },
}: Places): ByteText | undefined =>
  path !== undefined && preExecHook !== undefined && isPathFromHere(path) ? path : undefined;

/** The path of a pidfile that needs the directory to begin in: a daemon has left it. */
export const heldPidFile = ({ spec: { pidFile: path } }: Places): ByteText | undefined =>
  path !== undefined && isPathFromHere(path) ? path : undefined;

/** Whether the child needs a descriptor of this process's directory. */
export const needsHere = (plan: Places): boolean =>
  heldProgram(plan) !== undefined || heldWorkingDirectory(plan) !== undefined || heldPidFile(plan) !== undefined;

/** Whether the child is elsewhere before its program runs, or may be: a hook goes where it likes. */
const leavesHere = ({ directory, spec }: Places): boolean => directory !== undefined || spec.preExecHook !== undefined;

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
