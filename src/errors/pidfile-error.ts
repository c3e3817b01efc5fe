import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { inBackticks, quoted } from '../text/shown.js';
import { CommandError, type Subject } from './command-error.js';
import { reasonText } from './explanation.js';
import { bare } from '../spec/bare.js';

/** A pidfile that cannot be had, read or written. `heldBy` tells the process that has it. */
export class PidFileError extends CommandError {
  static override readonly name: string = 'PidFileError';
  /** Always `ERR_COMMAND_PIDFILE`. */
  readonly code = 'ERR_COMMAND_PIDFILE';
  /** The pidfile. */
  readonly path: string;
  /** The pid of the process that holds it, where one does. */
  readonly heldBy: number | undefined;
  /** The pid that stands in it, where that is not the holder's. */
  readonly named: number | undefined;
  /** The errno's name, where the file could not be used. */
  readonly errno: string | undefined;

  constructor(path: string, known: PidFileProblem, subject: Subject = { command: '', spec: undefined }) {
    const problem = bare(known);
    super(pidFileSentence(path, problem), subject, problem.cause === undefined ? undefined : { cause: problem.cause });
    this.path = path;
    this.heldBy = problem.heldBy?.pid;
    this.named = typeof problem.notEnded === 'object' ? problem.notEnded.named : problem.named;
    this.errno = problem.errno;
  }
}

/** What is wrong with a pidfile. */
export interface PidFileProblem {
  /** The process that holds it, with its program's name if that can be read; without a pid, if it cannot be seen from here. */
  readonly heldBy?: { readonly pid: number | undefined; readonly command: string | undefined };
  /** Why the holder was not ended, where that was asked for. */
  readonly notEnded?: 'own-group' | 'failed' | { readonly named: number };
  /** The pid that stands in it, where that is not the holder's, or is one of a process that cannot be seen. */
  readonly named?: number;
  /** The wait for the holder's end was aborted; `cause` says why. */
  readonly aborted?: boolean;
  /** What could not be done to it: `read`, `written`, `removed`. */
  readonly action?: string;
  readonly errno?: string;
  readonly syscall?: string;
  /** What stands in it, where that is no pid. */
  readonly content?: string;
  /** What the file is not, though it would have to be. */
  readonly isNot?: 'regular' | 'held';
  readonly cause?: unknown;
}

function pidFileSentence(path: string, problem: PidFileProblem): string {
  const { heldBy, named, aborted, action = 'used', errno, syscall, content, isNot, cause } = problem;
  const name = `Pidfile ${quoted(path)}`;
  const holder = heldBy === undefined ? '' : printHolder(heldBy);
  if (aborted === true) {
    return heldBy === undefined
      ? `${name} was not taken, since the wait for it was aborted: ${reasonText(cause)}.`
      : `${name} was still held by ${holder} when the wait for it was aborted: ${reasonText(cause)}.`;
  }
  if (named !== undefined && heldBy === undefined)
    return `${name} names process ${named}, and the program of that cannot be seen (${syscall ?? 'readlink'}: ${errno ?? 'unknown'}). Run as its user or as root, or leave the program out.`;
  if (heldBy !== undefined) return `${name} is held by ${holder}${heldSentence(heldBy, problem)}`;
  if (content !== undefined)
    return `${name} holds ${inspect(content)}, which is no pid. Remove the file, or choose another one.`;
  if (isNot === 'regular') return `${name} is no regular file, and was left as it is. Choose another path.`;
  if (isNot === 'held')
    return `${name} is not held by this thread, so there is nothing to release. A file that nobody holds is removed by PidFile.remove().`;
  if (errno === 'ELOOP')
    return `${name} is a symbolic link, which is not followed (${syscall ?? 'open'}: ELOOP). Give the path of the file itself.`;
  if (errno === 'ERR_ACCESS_DENIED')
    return `${name} cannot be ${action}, since Node's permission model does not allow it (${syscall ?? 'open'}: ${errno}). Start Node with \`--allow-fs-read\` and \`--allow-fs-write\` for it.`;
  if (errno === 'ENOENT' && action === 'written')
    return `${name} cannot be written: its directory ${quoted(dirname(path))} does not exist (${syscall ?? 'open'}: ENOENT). Make it first.`;
  return `${name} cannot be ${action} (${syscall ?? 'open'}: ${errno ?? 'unknown'}).`;
}

function printHolder({ pid, command }: NonNullable<PidFileProblem['heldBy']>): string {
  if (pid === undefined) return 'a process that cannot be seen from here, such as one of another container or machine';
  if (pid === process.pid) return 'this process itself';
  return `process ${pid}${command === undefined ? '' : ` (${inBackticks(command)})`}`;
}

function heldSentence(
  { pid }: NonNullable<PidFileProblem['heldBy']>,
  { named, notEnded, errno, syscall }: PidFileProblem,
): string {
  if (named !== undefined) return `, but names process ${named}. Trust neither; have the holder write its own pid.`;
  if (pid === process.pid) return '. Release it there first, with PidFile.release().';
  if (notEnded === 'own-group') return ', and that is in the process group of this process. Leave { group: true } out.';
  if (notEnded === 'failed')
    return `, which could not be ended (${syscall ?? 'kill'}: ${errno ?? 'unknown'}). Stop that process yourself.`;
  if (notEnded !== undefined)
    return `, but names process ${notEnded.named}. Nothing was signaled; stop the right one yourself.`;
  return '. Stop that process, or choose another file.';
}
