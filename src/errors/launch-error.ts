import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { bare } from '../spec/bare.js';
import { toBytes } from '../text/bytes.js';
import { quoted } from '../text/shown.js';
import type { StepName } from '../text/step-names.js';
import { cannotStart, CommandError, type Subject } from './command-error.js';
import { explainObstacle, type Obstacle } from './exec-obstacle.js';
import { type Explanation, reasonText } from './explanation.js';
import { explainHook, type HookFailure } from './hook-failure.js';

/** Why a step may not be performed: what it needs, and what is known of this process. */
export interface MissingPrivilege {
  readonly isRoot: boolean;
  readonly capability: string | undefined;
  /** `undefined`: it cannot be told. */
  readonly isHeld: boolean | undefined;
  /** Root of a user namespace is root over the users of that namespace only. */
  readonly isInNamespace: boolean;
}

/** What is known of a start that failed. */
export interface LaunchFailure {
  readonly step: StepName;
  /** The error's name, `ENOENT`; absent where no system call failed. */
  readonly errno?: string;
  /** The system call that failed, where it is not the step's own name. */
  readonly syscall?: string;
  /** The file, directory or address that the step was about. */
  readonly path?: string;
  /** The files that PATH gave and that could not be executed. */
  readonly tried?: readonly string[];
  /** What `execve` refused, or a file that PATH gave and that could not be executed. */
  readonly obstacle?: Obstacle;
  /** The program is not there, but its first word is: it was named together with its arguments. */
  readonly isLine?: boolean;
  /** The directory on the way to the working directory that may not be entered. */
  readonly closed?: string;
  /** What this process lacks for a step that it may not take. */
  readonly privilege?: MissingPrivilege;
  /** The most that the kernel allows anybody, and the file that says so. */
  readonly ceiling?: { readonly most: number; readonly file: string };
  /** The size of a pipe that the kernel refuses, and the most that it gives without a privilege, where it is that. */
  readonly pipeSize?: { readonly bytes: number; readonly most: number | undefined };
  /** One argument or variable that is too long by itself. */
  readonly longest?: { readonly what: string; readonly bytes: number };
  /** What a failed step was to do, in words: `set the umask to 022`. */
  readonly wanted?: string;
  /** The `timeout()` that was over before it could be done. */
  readonly limitMs?: number | undefined;
  /** How many bytes the arguments and variables take. */
  readonly bytes?: number;
  /** No step failed: the child was ended before it came to its exec. */
  readonly wasEnded?: boolean;
  /** What the directory of `cgroup()` is, where it is no group of version 2, and where that is mounted, as far as it can be seen. */
  readonly group?: { readonly isVersion1: boolean; readonly mounts: readonly string[] | undefined };
  /** Of an `exec()` that failed in this process itself: the steps whose effect no process can take back. */
  readonly kept?: readonly StepName[];
  /** What became of the hook, for a failure of the step `hook`. */
  readonly hook?: HookFailure;
  readonly cause?: unknown;
}

/**
 * A program that did not run: a step between "start it" and its first instruction failed.
 * `step` names the step, `errno` and `syscall` what the kernel answered, `path` the file it was about.
 */
export class LaunchError extends CommandError {
  static override readonly name: string = 'LaunchError';
  /** Always `ERR_COMMAND_LAUNCH`. */
  readonly code = 'ERR_COMMAND_LAUNCH';
  /** The step that failed: `chdir`, `setuid`, `execve` … */
  readonly step: StepName;
  /** The errno's name, such as `ENOENT`; absent where no system call failed. */
  readonly errno: string | undefined;
  /** The system call that failed. */
  readonly syscall: string | undefined;
  /** The file, directory or name that the step was about. */
  readonly path: string | undefined;
  /** The files that were tried for a bare name, in the order of PATH. */
  readonly tried: readonly string[];
  /**
   * `'aborted'` where the signal of `abortSignal()` was aborted before the start or while the hook ran, `'timeout'` where the hook,
   * or to open a file, took longer than `timeout()` allows, as on {@link ExitError}; else absent.
   */
  declare readonly reason?: 'aborted' | 'timeout';

  constructor(subject: Subject, known: LaunchFailure) {
    const failure = bare(known);
    super(`${cannotStart(subject)}: ${launchSentence(subject, failure)}`, subject, causeOf(failure));
    this.step = failure.step;
    this.errno = failure.errno;
    this.syscall =
      failure.errno === undefined || failure.step === 'path-search' ? undefined : (failure.syscall ?? failure.step);
    this.path = failure.path;
    this.tried = failure.tried ?? [];
    if (failure.step === 'abort') this.reason = 'aborted';
    if (failure.limitMs !== undefined) this.reason = 'timeout';
    if (failure.hook?.what === 'aborted' || failure.hook?.what === 'timeout') this.reason = failure.hook.what;
  }
}

/** What a hook threw comes back as an error with the hook's own message and stack. */
function causeOf({ hook, ...failure }: LaunchFailure): ErrorOptions | undefined {
  if (hook?.what === 'aborted') return { cause: hook.cause };
  if (hook?.what !== 'threw' && hook?.what !== 'unloadable')
    return Object.hasOwn(failure, 'cause') ? { cause: failure.cause } : undefined;
  const { name, message, stack, code } = hook;
  const cause = Object.assign(
    new Error(message),
    stack === undefined ? {} : { stack },
    code === undefined ? {} : { code },
  );
  // As names are on errors: an enumerable one would be printed twice.
  return { cause: Object.defineProperty(cause, 'name', bare({ value: name, configurable: true, writable: true })) };
}

function launchSentence(subject: Subject, failure: LaunchFailure): string {
  const { what, wayOut = separateValues(subject, failure) } = bare(explainFailure(failure, subject));
  // The search is no system call, and many have answered; the sentence says it all.
  const code =
    failure.errno === undefined || failure.step === 'path-search'
      ? ''
      : ` (${failure.syscall ?? failure.step}: ${failure.errno})`;
  const { kept = [] } = failure;
  return [
    `${what}${code}.`,
    ...(wayOut === undefined ? [] : [wayOut]),
    ...(kept.length === 0 ? [] : [`This process keeps what no process can take back: ${kept.join(', ')}.`]),
  ].join(' ');
}

function explainFailure(failure: LaunchFailure, subject: Subject): Explanation {
  const path = failure.path === undefined ? 'it' : quoted(failure.path);
  // Whatever wanted a descriptor, it is not to blame.
  switch (failure.errno) {
    case 'EMFILE':
      return { what: 'this process has no descriptor left', wayOut: 'Close some, or raise its limit (`ulimit -n`).' };
    case 'ENFILE':
      return { what: 'the system has no file handle left', wayOut: 'Look at /proc/sys/fs/file-nr.' };
    case 'ERR_ACCESS_DENIED':
      return explainDenial(failure, path);
  }
  if (failure.wasEnded === true) {
    return {
      what: 'something ended it before it could execute its program',
      wayOut: "Look for who signaled it, and for the kernel's out-of-memory report.",
    };
  }
  if (failure.pipeSize !== undefined) return explainPipeSize(failure.pipeSize, failure.errno);
  switch (failure.step) {
    case 'abort':
      return {
        what:
          failure.path === undefined
            ? `its signal was aborted before the start: ${reasonText(failure.cause)}`
            : `its signal was aborted before ${path} could ${failure.wanted ?? 'be opened'}: ${reasonText(failure.cause)}`,
      };
    case 'path-search':
      return explainSearch(failure);
    case 'chdir':
      return explainDirectory(failure, path);
    case 'open':
      return explainOpen(failure, path);
    case 'execve':
      return explainExec(failure, path);
    case 'cgroup':
      return explainGroup(failure, path);
    case 'hook':
      if (failure.hook !== undefined) return explainHook(failure.hook, isFunction(subject));
  }
  return explainStep(failure);
}

/** Whether the hook was a function, of which only the source reached the child. */
const isFunction = ({ spec }: Subject): boolean =>
  spec?.preExecHook !== undefined && Object.hasOwn(spec.preExecHook, 'source');

function explainPipeSize({ bytes, most }: NonNullable<LaunchFailure['pipeSize']>, errno = ''): Explanation {
  if (errno !== 'EPERM') return { what: `no pipe can be given ${bytes} bytes`, wayOut: 'Say less in pipeSize().' };
  return {
    what: `this process may not give a pipe ${bytes} bytes`,
    wayOut:
      most === undefined
        ? 'The pipes of its user hold as much as they may all together (/proc/sys/fs/pipe-user-pages-soft and -hard).'
        : `Without the capability CAP_SYS_RESOURCE, the kernel gives ${most} at most (/proc/sys/fs/pipe-max-size).`,
  };
}

function explainStep(failure: LaunchFailure): Explanation {
  switch (failure.errno) {
    case 'EAGAIN':
      return {
        what: 'the kernel makes no further process for this user',
        wayOut: 'Look at `ulimit -u`, at the pids limit of the control group, and at /proc/sys/kernel/pid_max.',
      };
    case 'ENOMEM':
      return {
        what: 'the kernel has no memory for another process',
        wayOut: 'Look at /proc/meminfo and /proc/sys/vm/overcommit_memory.',
      };
    case 'EACCES':
    case 'EPERM':
      // Without a privilege that would help, the file or the security module that is meant says no.
      if (failure.errno === 'EACCES' && failure.privilege === undefined) break;
      return {
        what: `this process may not ${failure.wanted ?? `perform the step ${failure.step}`}`,
        wayOut:
          failure.ceiling === undefined
            ? explainPrivilege(failure.privilege)
            : `The kernel of this machine allows ${failure.ceiling.most} at most (${failure.ceiling.file}).`,
      };
  }
  return { what: `it could not ${failure.wanted ?? `perform the step ${failure.step}`}` };
}

function explainPrivilege(privilege: MissingPrivilege | undefined): string {
  const {
    isRoot = false,
    capability,
    isHeld,
    isInNamespace = false,
  } = privilege ?? bare<Partial<MissingPrivilege>>({});
  if (!isRoot) return `Run as root, or with the capability ${capability ?? 'that the step needs'}.`;
  if (isHeld === false)
    return `It is root without the capability ${capability ?? ''}; have the container or service that it runs in give it.`;
  if (isInNamespace) return 'It is root of a user namespace, which is not root of the machine; run it outside of that.';
  return 'It is root, so look for a security module or a system call filter (seccomp) that forbids it.';
}

/** What Node's permission model denies. Who started Node has said so. */
function explainDenial({ step, wanted = 'be opened' }: LaunchFailure, path: string): Explanation {
  if (step === 'execve') {
    return {
      what: "Node's permission model allows this process no child processes",
      wayOut: 'Start Node with `--allow-child-process`.',
    };
  }
  return {
    what: `${path} cannot ${step === 'open' ? wanted : 'be written'}: Node's permission model does not allow it`,
    wayOut: 'Start Node with `--allow-fs-read` or `--allow-fs-write` for it.',
  };
}

function explainSearch({ path = '', tried = [], errno, obstacle }: LaunchFailure): Explanation {
  if (errno === 'EACCES') {
    const what = `${quoted(path)} stands in PATH, but not as an executable (${quoteList(tried)})`;
    // The sentence about the file itself is told where it says more than that its x bit is missing.
    if (obstacle === undefined || obstacle.is === 'not-executable')
      return { what, wayOut: 'Run `chmod +x` on the file that is meant.' };
    const reason = explainObstacle(obstacle);
    return { what: `${what}: ${reason.what}`, ...(reason.wayOut === undefined ? {} : { wayOut: reason.wayOut }) };
  }
  const searched = tried.length === 0 ? 'which names no directory' : quoteList(tried.map((file) => dirname(file)));
  return { what: `no executable named ${quoted(path)} in PATH (${searched})` };
}

function explainDirectory({ errno, closed }: LaunchFailure, path: string): Explanation {
  switch (errno) {
    case 'ENOENT':
      return { what: `the working directory ${path} does not exist` };
    case 'ENOTDIR':
      return { what: `the working directory ${path} is not a directory` };
    case 'EACCES':
      return {
        what: `the working directory ${path} cannot be entered`,
        wayOut: `The user that the program runs as needs the permission x on ${closed === undefined ? 'it and on each directory above it' : quoted(closed)}.`,
      };
    default:
      return { what: `the working directory ${path} cannot be entered` };
  }
}

function explainGroup(failure: LaunchFailure, path: string): Explanation {
  const { errno, group } = failure;
  const wayOut = wayToGroup(group?.mounts);
  if (errno === undefined) {
    const what =
      group?.isVersion1 === true
        ? 'a control group of version 1, and cgroup() takes one of version 2'
        : 'no control group';
    return { what: `${path} is ${what}`, wayOut };
  }
  switch (errno) {
    case 'ENOENT':
      return { what: `the control group ${path} does not exist`, wayOut };
    case 'ENOTDIR':
      return { what: `the control group ${path} is not a directory`, wayOut };
    case 'EACCES':
      return {
        what: `this process may not enter the control group ${path}`,
        wayOut:
          'It has to be able to write cgroup.procs there, and in the lowest group that holds both that one and its own.',
      };
    case 'EBUSY':
      return {
        what: `the control group ${path} has controllers for the groups below it, and may hold no process itself`,
        wayOut: 'Name a group below it.',
      };
    default:
      return explainStep(failure);
  }
}

function wayToGroup(mounts: readonly string[] | undefined): string {
  if (mounts?.length === 0) return 'Version 2 is not mounted here; mount it, or leave cgroup() out.';
  const where =
    mounts === undefined ? 'the mount point of version 2' : `${quoteList(mounts)}, where version 2 is mounted`;
  return `Make a directory below ${where}, and name that.`;
}

function explainOpen({ errno, wanted = 'be opened', limitMs }: LaunchFailure, path: string): Explanation {
  if (limitMs !== undefined) return { what: `${path} could not ${wanted} within ${limitMs} ms` };
  switch (errno) {
    case 'ENOENT':
      return { what: `${path} cannot ${wanted}: it, or the directory it would stand in, does not exist` };
    case 'EACCES':
      return { what: `${path} cannot ${wanted}: permission is denied` };
    case 'EISDIR':
      return { what: `${path} cannot ${wanted}: it is a directory` };
    default:
      return { what: `${path} cannot ${wanted}` };
  }
}

function explainExec({ errno, obstacle, longest, bytes }: LaunchFailure, path: string): Explanation {
  if (obstacle !== undefined) return explainObstacle(obstacle);
  switch (errno) {
    case 'ENOENT':
      return { what: `${path} does not exist` };
    case 'ENOTDIR':
      return { what: `a part of the path ${path} is not a directory` };
    case 'EACCES':
      return {
        what: `${path} may not be executed`,
        wayOut:
          'Look at its permissions, at those of each directory above it and of its interpreter, and for a security module that forbids it.',
      };
    case 'ENOEXEC':
      return {
        what: `${path} is in no format that the kernel of this machine executes`,
        wayOut: 'Name its interpreter as the program, or install the program that is built for this machine.',
      };
    case 'E2BIG':
      if (longest !== undefined) {
        return {
          what: `${longest.what} takes ${longest.bytes} bytes, and the kernel takes 131071 of one argument or variable`,
          wayOut: 'Hand the data over with inputBuffer() or in a file.',
        };
      }
      return {
        what: `the arguments and variables take ${bytes === undefined ? 'more room' : `${bytes} bytes, more`} than the kernel allows`,
        wayOut:
          'Hand the data over with inputBuffer() or in a file. All together may take a quarter of the stack limit (`ulimit -s`), and 6 MiB at most.',
      };
    case 'ETXTBSY':
      return { what: `${path} is being written by some process`, wayOut: 'Start it when the file is closed.' };
    case 'ELOOP':
      return { what: `${path} goes through too many symbolic links` };
    case 'ENAMETOOLONG':
      return { what: `the path ${path} is too long` };
    default:
      return { what: `${path} cannot be executed` };
  }
}

/** A line that is longer is not said again. */
const LONGEST_LINE = 120;

/** The call that was meant where a program was named together with its arguments. */
function separateValues(
  { spec }: Subject,
  { step, errno, isLine = step === 'path-search' }: LaunchFailure,
): string | undefined {
  const program = spec?.argv.at(0);
  if (errno !== 'ENOENT' || spec === undefined || program === undefined) return undefined;
  const line = toBytes(program).toString();
  if (/^~[\w-]*\/[^ ]*$/.test(line))
    return "No shell reads '~': name the whole path, which begins with homedir() of node:os.";
  if (/^\$\{?\w+\}?\/[^ ]*$/.test(line)) return "No shell reads '$': name the whole path.";
  if (!isLine) return undefined;
  if (!/[^ ] +[^ ]/.test(line)) return undefined;
  if (line.length > LONGEST_LINE) return 'Arguments are separate values.';
  // Signs that only a shell reads.
  const all = /[|&;<>()$`*?]/.test(line) ? ['sh', '-c', line.trim()] : wordsOf(line);
  const count = all.findIndex((word) => !/^[A-Za-z_]\w*=/.test(word));
  const words = all.slice(Math.max(0, count));
  // A shell keeps the other variables.
  const variables = all.slice(0, Math.max(0, count)).map((word) => {
    const end = word.indexOf('=');
    return `.env(${inspect(word.slice(0, end))}, ${inspect(word.slice(end + 1))})`;
  });
  const calls = variables.length === 0 ? '' : `.envInherit()${variables.join('')}`;
  return `Arguments are separate values: new Command(${words.map((word) => inspect(word)).join(', ')}${spec.argv.length > 1 ? ', …' : ''})${calls}.`;
}

/** The words of a line as a shell parts them: by blanks that stand in no quotes. */
const wordsOf = (line: string): string[] =>
  (line.match(/(?:"[^"]*"|'[^']*'|\\.|[^\s"'\\])+/g) ?? []).map((word) =>
    word.replace(
      /"([^"]*)"|'([^']*)'|\\(.)/g,
      (_all, double?: string, single?: string, escaped?: string) => double ?? single ?? escaped ?? '',
    ),
  );

const quoteList = (paths: readonly string[]): string => paths.map(quoted).join(', ');
