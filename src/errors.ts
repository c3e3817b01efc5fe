import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { printCommand } from './quote.js';
import { formatDuration, type RunResult } from './result.js';
import type { SignalName } from './signals.js';
import { type CommandSpec, printable } from './spec.js';
import type { StepName } from './steps.js';

/** What every error of this library is: a sentence for a person, a `code` for a program, and the command that it is about. */
export abstract class CommandError extends Error {
  /** What kind of error it is, for a program: `ERR_COMMAND_…`. */
  abstract readonly code: string;
  /** The command as it may be printed: no values of variables, no secret arguments. Empty where no command is meant. */
  readonly command: string;
  /** What was said about the command, as far as it could be understood. */
  declare readonly spec: CommandSpec | undefined;

  constructor(message: string, subject: Subject, options?: ErrorOptions) {
    super(message, options);
    this.command = subject.command;
    // Not enumerable: it holds the values of variables and the secret arguments, which no log should show.
    Object.defineProperty(this, 'spec', { value: subject.spec });
  }

  /** The name of the class. */
  override get name(): string {
    return this.constructor.name;
  }
}

/** The command that an error is about. */
export interface Subject {
  readonly command: string;
  readonly spec: CommandSpec | undefined;
}

/** A spec as the subject of an error. */
export function subjectOf(spec: CommandSpec): Subject {
  return new SpecSubject(spec);
}

/** It is printed when somebody asks for the text, which before a launch nobody does. */
class SpecSubject implements Subject {
  readonly spec: CommandSpec;
  #command: string | undefined;

  constructor(spec: CommandSpec) {
    this.spec = spec;
  }

  get command(): string {
    return (this.#command ??= printCommand(printable(this.spec, { env: false })));
  }
}

const LONGEST_COMMAND = 120;

function inBackticks(command: string): string {
  const line = command.replaceAll('\n', String.raw`\n`);
  return line.length > LONGEST_COMMAND ? `\`${line.slice(0, LONGEST_COMMAND - 1).replace(/[\ud800-\udbff]$/, '')}…\`` : `\`${line}\``;
}

const cannotStart = (subject: Subject): string => `Cannot start ${inBackticks(subject.command)}`;

// ---------------------------------------------------------------- mistakes

/** One thing that was said wrongly, and how it was said. */
export interface Mistake {
  /** The call that made it, as it stands in the code: `env('A=B', …)`. */
  readonly call: string;
  /** What is wrong, and what to write instead. */
  readonly problem: string;
  /** Where the call stands in the caller's code, if that could be found. */
  readonly at?: string;
}

/**
 * A command that was put together wrongly. Nothing was started. It lists every mistake, not only the first,
 * each with the call that made it. It answers to libvirt's deferred "invalid use of command API".
 */
export class UsageError extends CommandError {
  /** Always `ERR_COMMAND_USAGE`. */
  readonly code = 'ERR_COMMAND_USAGE';
  /** What was said wrongly, in the order of the calls. */
  readonly mistakes: readonly Mistake[];

  constructor(subject: Subject, mistakes: readonly Mistake[]) {
    super(usageMessage(subject, mistakes), subject);
    this.mistakes = mistakes;
  }
}

function usageMessage({ command }: Subject, mistakes: readonly Mistake[]): string {
  const where = command === '' ? '' : ` in ${inBackticks(command)}`;
  const [only, ...others] = mistakes.map(({ call, problem }) => `${call}: ${problem}.`);
  if (only !== undefined && others.length === 0) return `Mistake${where}: ${only}`;
  return [`${mistakes.length} mistakes${where}:`, ...[only, ...others].map((line, index) => `  ${index + 1}. ${line}`)].join('\n');
}

// ---------------------------------------------------------------- launches

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
  /** What became of the hook, for a failure of the step `hook`. */
  readonly hook?: HookFailure;
  readonly cause?: unknown;
}

/** An error of another process. */
interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
}

/** What became of a hook that did not let the program run. */
export type HookFailure =
  | ({ readonly what: 'threw' } & Thrown)
  /** The module, or the source of the function, could not be read. */
  | ({ readonly what: 'unloadable'; readonly module?: string } & Thrown)
  | { readonly what: 'no-function'; readonly module?: string }
  | { readonly what: 'returned'; readonly value: string }
  | { readonly what: 'closed'; readonly fd: number }
  /** It ended its own process. */
  | { readonly what: 'exited'; readonly code: number }
  /** It gave a promise, and then there was nothing left that could settle it. */
  | { readonly what: 'unsettled' }
  /** Its process is gone without a word. Both are `null` for a daemon, whose end only its new parent knows. */
  | { readonly what: 'died'; readonly exitCode: number | null; readonly signal: SignalName | null }
  | { readonly what: 'timeout'; readonly limitMs: number }
  | { readonly what: 'aborted'; readonly cause: unknown };

/**
 * A program that did not run: a step between "start it" and its first instruction failed.
 * `step` names the step, `errno` and `syscall` what the kernel answered, `path` the file it was about.
 */
export class LaunchError extends CommandError {
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
    this.syscall = failure.errno === undefined || failure.step === 'path-search' ? undefined : (failure.syscall ?? failure.step);
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
  if (hook?.what !== 'threw' && hook?.what !== 'unloadable') return 'cause' in failure ? { cause: failure.cause } : undefined;
  const { name, message, stack, code } = hook;
  const cause = Object.assign(new Error(message), stack === undefined ? {} : { stack }, code === undefined ? {} : { code });
  // As names are on errors: an enumerable one would be printed twice.
  return { cause: Object.defineProperty(cause, 'name', { value: name, configurable: true, writable: true }) };
}

function launchSentence(failure: LaunchFailure): string {
  const { what, wayOut } = explainFailure(failure);
  // The search is no system call, and many have answered; the sentence says it all.
  const code = failure.errno === undefined || failure.step === 'path-search' ? '' : ` (${failure.syscall ?? failure.step}: ${failure.errno})`;
  return `${what}${code}.${wayOut === undefined ? '' : ` ${wayOut}`}`;
}

interface Explanation {
  readonly what: string;
  readonly wayOut?: string;
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
    return { what: 'something ended it before it could execute its program', wayOut: "Look for who signaled it, and for the kernel's out-of-memory report." };
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
      return { what: 'the kernel has no memory for another process', wayOut: 'Look at /proc/meminfo and /proc/sys/vm/overcommit_memory.' };
    case 'EPERM':
      return {
        what: `this process may not ${failure.wanted ?? `take the step ${failure.step}`}`,
        wayOut: 'Run as root, or with the capability that the step needs.',
      };
    default:
      return { what: `it could not ${failure.wanted ?? `take the step ${failure.step}`}` };
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
        wayOut: 'Hand the data over with inputBuffer() or in a file. One argument holds 131071 bytes at most, all together a quarter of the stack limit.',
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

function explainHook(hook: HookFailure): Explanation {
  switch (hook.what) {
    case 'threw':
      return { what: `its pre-exec hook failed: ${thrownText(hook)}` };
    case 'unloadable':
      return {
        what:
          hook.module === undefined
            ? `the source of its pre-exec hook cannot be read: ${thrownText(hook)}`
            : `the module of its pre-exec hook, '${hook.module}', cannot be loaded: ${thrownText(hook)}`,
      };
    case 'no-function':
      return hook.module === undefined
        ? { what: 'the source of its pre-exec hook is no function', wayOut: 'Write `(opaque) => …`, or a function.' }
        : { what: `the module of its pre-exec hook, '${hook.module}', has no function as its default export`, wayOut: 'Write `export default (opaque) => …` in it.' };
    case 'returned':
      return { what: `its pre-exec hook returned ${hook.value}`, wayOut: 'Only 0, or nothing, lets the program run.' };
    case 'closed':
      return { what: `its pre-exec hook closed descriptor ${hook.fd}, which is not its own` };
    case 'exited':
      return { what: `its pre-exec hook ended its own process, with code ${hook.code}`, wayOut: 'A hook that is done returns.' };
    case 'unsettled':
      return { what: 'the promise of its pre-exec hook never settled, and there was nothing left to wait for' };
    case 'died':
      if (hook.signal !== null) return { what: `the process of its pre-exec hook was ended by ${hook.signal}` };
      return { what: `the process of its pre-exec hook ${hook.exitCode === null ? 'died' : `exited with code ${hook.exitCode}`}` };
    case 'timeout':
      return { what: `its pre-exec hook was not done within ${formatDuration(hook.limitMs)}, and was ended by SIGKILL` };
    case 'aborted':
      return { what: `it was aborted while its pre-exec hook ran${hook.cause === undefined ? '' : `: ${reasonText(hook.cause)}`}` };
  }
}

/** What was thrown, with its kind where that tells more than `Error`. */
function thrownText({ name, message }: Thrown): string {
  const text = message.replace(/\.$/, '');
  return name === 'Error' && text !== '' ? text : text === '' ? name : `${name}: ${text}`;
}

const quoteList = (paths: readonly string[]): string => paths.map((path) => `'${path}'`).join(', ');

// ---------------------------------------------------------------- ends

/** Why a program's end counts as a failure. */
export type ExitReason = 'exit-code' | 'signal' | 'timeout' | 'aborted' | 'output-limit' | 'out-of-memory';

/** What this process did to stop a program, or to its output. */
export interface StopReport {
  readonly reason: Exclude<ExitReason, 'exit-code' | 'signal'>;
  /** The signals sent, each with the time since the launch. */
  readonly sent: readonly { readonly signal: SignalName; readonly atMs: number }[];
  /** The timeout in milliseconds, the limit in bytes, or how many bytes there was memory for. */
  readonly limit?: number;
  /** The stream that overran the output limit, or the memory. */
  readonly stream?: 'stdout' | 'stderr';
  /** What the signal of `abortSignal()` was aborted with. */
  readonly cause?: unknown;
}

/**
 * A program that ran and did not end well. `reason` says why this is an error, `result` holds all that is known:
 * exit code, signal, output, times. The last lines of its standard error follow the sentence.
 */
export class ExitError extends CommandError {
  /** Always `ERR_COMMAND_EXIT`. */
  readonly code = 'ERR_COMMAND_EXIT';
  /** Why the end counts as a failure. */
  readonly reason: ExitReason;
  /** All that is known of the run. */
  readonly result: RunResult;

  constructor(spec: CommandSpec | undefined, result: RunResult, log: string, stop?: StopReport) {
    const sentence = stop === undefined ? exitSentence(result) : stopSentence(result, stop);
    const tail = lastLines(log);
    super(tail === '' ? sentence : `${sentence}\n\n${tail}`, { command: result.command, spec }, stop?.cause === undefined ? undefined : { cause: stop.cause });
    this.reason = stop?.reason ?? (result.signal === null ? 'exit-code' : 'signal');
    // The output can be large; it is printed by whoever asks for `error.result.stdout`.
    this.result = result;
  }
}

function exitSentence({ command, exitCode, signal, durationMs }: RunResult): string {
  const name = inBackticks(command);
  const after = formatDuration(durationMs);
  if (signal === null) return `${name} exited with code ${String(exitCode)} after ${after}.`;
  const hint = signal === 'SIGKILL' ? ' This process did not send it; look for the kernel\'s out-of-memory report.' : '';
  return `${name} was ended by ${signal} after ${after}.${hint}`;
}

function stopSentence(result: RunResult, stop: StopReport): string {
  const name = inBackticks(result.command);
  switch (stop.reason) {
    case 'timeout':
      return `${name} did not finish within ${formatDuration(stop.limit ?? 0)}. ${endSentence(result, stop)}`;
    case 'aborted':
      return `${name} was aborted after ${formatDuration(stop.sent[0]?.atMs ?? result.durationMs)}${stop.cause === undefined ? '' : `: ${reasonText(stop.cause)}`}. ${endSentence(result, stop)}`;
    case 'output-limit':
      return `${name} wrote more than ${stop.limit ?? 0} bytes to ${stop.stream ?? 'stdout'}. ${endSentence(result, stop)} Raise outputLimit(), or choose its policy 'truncate' or 'headAndTail'.`;
    case 'out-of-memory':
      return `${name} wrote more to ${stop.stream ?? 'stdout'} than this process had memory for; it kept ${stop.limit ?? 0} bytes. ${endSentence(result, stop)} Send large output to a file, or set outputLimit().`;
  }
}

function endSentence({ exitCode, signal, durationMs }: RunResult, { sent }: StopReport): string {
  const last = sent.at(-1);
  if (last === undefined) return signal === null ? `It exited with code ${String(exitCode)}.` : `It was ended by ${signal}.`;
  if (signal === null) return `It exited with code ${String(exitCode)} after ${last.signal}.`;
  const first = sent[0];
  if (first === undefined || sent.length === 1 || signal !== last.signal) return `It was ended by ${signal}.`;
  const ignored = sent.slice(0, -1).map((entry) => entry.signal);
  return `It ignored ${ignored.join(' and ')} for ${formatDuration(Math.min(last.atMs, durationMs) - first.atMs)} and was ended by ${signal}.`;
}

function reasonText(reason: unknown): string {
  return (reason instanceof Error ? reason.message : typeof reason === 'string' ? reason : inspect(reason)).replace(/\.$/, '');
}

const TAIL_LINES = 10;
const TAIL_BYTES = 2000;

function lastLines(log: string): string {
  const text = log.trimEnd();
  return text.slice(-TAIL_BYTES).split('\n').slice(-TAIL_LINES).join('\n');
}

// ---------------------------------------------------------------- engines and pidfiles

/** Something that was asked for and that the engine in use cannot do. Nothing was started. */
export class UnsupportedError extends CommandError {
  /** Always `ERR_COMMAND_UNSUPPORTED`. */
  readonly code = 'ERR_COMMAND_UNSUPPORTED';
  /** The method that asked for it, without parentheses: `umask`. `launch` where the engine itself is missing. */
  readonly feature: string;
  /** The engine that refused. */
  readonly engine: string;
  /** The reason, as the end of a sentence that begins "because". */
  readonly why: string;

  constructor(subject: Subject, { feature, engine, why }: { feature: string; engine: string; why: string }) {
    super(unsupportedSentence(subject, feature, engine, why), subject);
    this.feature = feature;
    this.engine = engine;
    this.why = why;
  }
}

function unsupportedSentence(subject: Subject, feature: string, engine: string, why: string): string {
  if (feature === 'launch') return `${cannotStart(subject)}: ${why}. Unset VIRCOMMAND_ENGINE to have the best engine that works here.`;
  const start = subject.command === '' ? 'The' : `${cannotStart(subject)}: the`;
  return `${start} ${engine} engine cannot do ${feature}(), because ${why}. Leave the call out, or use an engine that can: see docs/engines.md.`;
}

/** A pidfile that cannot be had, read or written. `heldBy` tells the process that has it. */
export class PidFileError extends CommandError {
  /** Always `ERR_COMMAND_PIDFILE`. */
  readonly code = 'ERR_COMMAND_PIDFILE';
  /** The pidfile. */
  readonly path: string;
  /** The pid of the process that holds it, where one does. */
  readonly heldBy: number | undefined;
  /** The errno's name, where the file could not be used. */
  readonly errno: string | undefined;

  constructor(path: string, problem: PidFileProblem, subject: Subject = { command: '', spec: undefined }) {
    super(pidFileSentence(path, problem), subject, problem.cause === undefined ? undefined : { cause: problem.cause });
    this.path = path;
    this.heldBy = problem.heldBy?.pid;
    this.errno = problem.errno;
  }
}

/** What is wrong with a pidfile. */
export interface PidFileProblem {
  /** The process that holds it, with its command line if that can be read; without a pid, if it cannot be seen from here. */
  readonly heldBy?: { readonly pid: number | undefined; readonly command: string | undefined };
  /** Why the holder was not ended, where that was asked for. */
  readonly notEnded?: 'own-group' | 'failed' | { readonly named: number };
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
  const { heldBy, aborted, action = 'used', errno, syscall, content, isNot, cause } = problem;
  const name = `Pidfile '${path}'`;
  const holder = heldBy === undefined ? '' : printHolder(heldBy);
  if (aborted === true) {
    return heldBy === undefined
      ? `${name} was not taken, since the wait for it was aborted: ${reasonText(cause)}.`
      : `${name} was still held by ${holder} when the wait for it was aborted: ${reasonText(cause)}.`;
  }
  if (heldBy !== undefined) return `${name} is held by ${holder}${heldSentence(heldBy, problem)}`;
  if (content !== undefined) return `${name} holds ${inspect(content)}, which is no pid. Remove the file, or choose another one.`;
  if (isNot === 'regular') return `${name} is no regular file, and was left as it is. Choose another path.`;
  if (isNot === 'held') return `${name} is not held by this thread, so there is nothing to release. A file that nobody holds is removed by PidFile.remove().`;
  if (errno === 'ELOOP') return `${name} is a symbolic link, which is not followed (${syscall ?? 'open'}: ELOOP). Give the path of the file itself.`;
  return `${name} cannot be ${action} (${syscall ?? 'open'}: ${errno ?? 'unknown'}).`;
}

function printHolder({ pid, command }: NonNullable<PidFileProblem['heldBy']>): string {
  if (pid === undefined) return 'a process that cannot be seen from here, such as one of another container or machine';
  if (pid === process.pid) return 'this process itself';
  return `process ${pid}${command === undefined ? '' : ` (${inBackticks(command)})`}`;
}

function heldSentence({ pid }: NonNullable<PidFileProblem['heldBy']>, { notEnded, errno, syscall }: PidFileProblem): string {
  if (pid === process.pid) return '. Release it there first, with PidFile.release().';
  if (notEnded === 'own-group') return ', and that is in the process group of this process. Leave { group: true } out.';
  if (notEnded === 'failed') return `, which could not be ended (${syscall ?? 'kill'}: ${errno ?? 'unknown'}). Stop that process yourself.`;
  if (notEnded !== undefined) return `, but names process ${notEnded.named}. Nothing was signaled; stop the right one yourself.`;
  return '. Stop that process, or choose another file.';
}

// ---------------------------------------------------------------- values in messages

/** A call as it stands in a message: `env('A=B', …)`. Long texts are cut, bytes are counted, secrets and values are hidden. */
export function printCall(method: string, values: readonly unknown[]): string {
  return `${method}(${values.map(printValue).join(', ')})`;
}

/** Stands for a value that no message may show. */
export const hidden = Symbol('hidden');

const LONGEST_VALUE = 40;

function printValue(value: unknown): string {
  if (value === hidden) return '…';
  if (typeof value === 'string') {
    return inspect(value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE - 1)}…` : value);
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'function') return 'function';
  if (value instanceof URL) return `new URL('${value.href}')`;
  if (Array.isArray(value)) return `[${value.slice(0, 3).map(printValue).join(', ')}${value.length > 3 ? ', …' : ''}]`;
  return inspect(value, { depth: 0, breakLength: Infinity });
}
