import { dirname } from 'node:path';
import type { StepName } from '../text/step-names.js';
import { cannotStart, CommandError, type Subject } from './command-error.js';
import { type Explanation, reasonText } from './explanation.js';
import { explainHook, type HookFailure } from './hook-failure.js';

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
  /** What lies behind an `ENOENT` of `execve`: a file that is there but needs another one. */
  readonly missing?: { readonly what: 'interpreter' | 'loader'; readonly path: string };
  /** The path of `execve` leads to a directory, for which the kernel says `EACCES` too. */
  readonly isDirectory?: boolean;
  /** What a failed step was to do, in words: `set the umask to 022`. */
  readonly wanted?: string;
  /** The `timeout()` that was over before it could be done. */
  readonly limitMs?: number | undefined;
  /** How many bytes the arguments and variables take. */
  readonly bytes?: number;
  /** No step failed: the child was ended before it came to its exec. */
  readonly wasEnded?: boolean;
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

  constructor(subject: Subject, failure: LaunchFailure) {
    super(`${cannotStart(subject)}: ${launchSentence(failure)}`, subject, causeOf(failure));
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
    return 'cause' in failure ? { cause: failure.cause } : undefined;
  const { name, message, stack, code } = hook;
  const cause = Object.assign(
    new Error(message),
    stack === undefined ? {} : { stack },
    code === undefined ? {} : { code },
  );
  // As names are on errors: an enumerable one would be printed twice.
  return { cause: Object.defineProperty(cause, 'name', { value: name, configurable: true, writable: true }) };
}

function launchSentence(failure: LaunchFailure): string {
  const { what, wayOut } = explainFailure(failure);
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

function explainFailure(failure: LaunchFailure): Explanation {
  const path = failure.path === undefined ? 'it' : `'${failure.path}'`;
  // Whatever wanted a descriptor, it is not to blame.
  switch (failure.errno) {
    case 'EMFILE':
      return { what: 'this process has no descriptor left', wayOut: 'Close some, or raise its limit (`ulimit -n`).' };
    case 'ENFILE':
      return { what: 'the system has no file handle left', wayOut: 'Look at /proc/sys/fs/file-nr.' };
  }
  if (failure.wasEnded === true) {
    return {
      what: 'something ended it before it could execute its program',
      wayOut: "Look for who signaled it, and for the kernel's out-of-memory report.",
    };
  }
  switch (failure.step) {
    case 'abort':
      return { what: `its signal was aborted before the start: ${reasonText(failure.cause)}` };
    case 'path-search':
      return explainSearch(failure);
    case 'chdir':
      return explainDirectory(failure, path);
    case 'open':
      return explainOpen(failure, path);
    case 'execve':
      return explainExec(failure, path);
    case 'hook':
      if (failure.hook !== undefined) return explainHook(failure.hook);
  }
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
    case 'EPERM':
      return {
        what: `this process may not ${failure.wanted ?? `perform the step ${failure.step}`}`,
        wayOut: 'Run as root, or with the capability that the step needs.',
      };
    default:
      return { what: `it could not ${failure.wanted ?? `perform the step ${failure.step}`}` };
  }
}

function explainSearch({ path = '', tried = [], errno }: LaunchFailure): Explanation {
  if (errno === 'EACCES') {
    return {
      what: `'${path}' stands in PATH, but not as an executable (${quoteList(tried)})`,
      wayOut: 'Run `chmod +x` on the file that is meant.',
    };
  }
  const searched = tried.length === 0 ? 'which names no directory' : quoteList(tried.map((file) => dirname(file)));
  return { what: `no executable named '${path}' in PATH (${searched})` };
}

function explainDirectory({ errno }: LaunchFailure, path: string): Explanation {
  switch (errno) {
    case 'ENOENT':
      return { what: `the working directory ${path} does not exist` };
    case 'ENOTDIR':
      return { what: `the working directory ${path} is not a directory` };
    case 'EACCES':
      return {
        what: `the working directory ${path} cannot be entered`,
        wayOut: 'The user that the program runs as needs the permission x on it and on each directory above it.',
      };
    default:
      return { what: `the working directory ${path} cannot be entered` };
  }
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

function explainExec({ errno, missing, bytes, isDirectory }: LaunchFailure, path: string): Explanation {
  switch (errno) {
    case 'ENOENT':
      if (missing?.what === 'interpreter') {
        return {
          what: `the interpreter of ${path}, '${missing.path}', does not exist`,
          wayOut: 'Mend the first line of the script, or install the interpreter.',
        };
      }
      if (missing?.what === 'loader') {
        return {
          what: `the loader of ${path}, '${missing.path}', does not exist`,
          wayOut: 'The program was built for another C library; install that one, or a program built for this system.',
        };
      }
      return { what: `${path} does not exist` };
    case 'ENOTDIR':
      return { what: `a part of the path ${path} is not a directory` };
    case 'EACCES':
      if (isDirectory === true) return { what: `${path} is a directory` };
      return {
        what: `${path} is not executable`,
        wayOut: 'Run `chmod +x` on it, or name its interpreter as the program.',
      };
    case 'ENOEXEC':
      return {
        what: `${path} has no '#!' line and is not a binary of this machine`,
        wayOut: "Begin it with '#!/bin/sh', or name its interpreter as the program.",
      };
    case 'E2BIG':
      return {
        what: `the arguments and variables take ${bytes === undefined ? 'more room' : `${bytes} bytes, more`} than the kernel allows`,
        wayOut:
          'Hand the data over with inputBuffer() or in a file. One argument holds 131071 bytes at most, all together a quarter of the stack limit.',
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

const quoteList = (paths: readonly string[]): string => paths.map((path) => `'${path}'`).join(', ');
