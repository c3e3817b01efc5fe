import type { Readable, Writable } from 'node:stream';
import type { Captured } from './run-result.js';

/*
 * What a chain of calls has said, for the type checker only: nothing of it exists at run time. Each call that matters adds an
 * intersection to the command's type, and what is started has its types from there.
 */

declare const stdinType: unique symbol;
declare const stdoutType: unique symbol;
declare const stderrType: unique symbol;
declare const terminalType: unique symbol;
declare const exitCodeType: unique symbol;
/** The property that tells a daemon's command from a program's. */
export declare const kindType: unique symbol;

/** What a command starts: a program that this process looks after, or a daemon. */
export type CommandKind = 'program' | 'daemon';

/** What becomes of an output: `Readable` after `outputPipe()`, `string` or `Buffer` after `outputBuffer()`. `Readable | null`: nothing is known. */
export type Output = Readable | string | Buffer | null;

/** A command that has said what becomes of its standard output. */
export interface HasStdout<T extends Output> {
  readonly [stdoutType]: T;
}
/** A command that has said what becomes of its standard error. */
export interface HasStderr<T extends Output> {
  readonly [stderrType]: T;
}
/** A command that has said where its standard input comes from. */
export interface HasStdin<T extends Writable | null> {
  readonly [stdinType]: T;
}
/** A command that has a terminal of its own. */
export interface HasTerminal<T> {
  readonly [terminalType]: T;
}
/** A command whose `result.exitCode` has that type. */
export interface HasExitCode<T> {
  readonly [exitCodeType]: T;
}

/** The output of a command, as its chain of calls has said. */
export type StdoutOf<C> = C extends HasStdout<infer T extends Output> ? T : Readable | null;
/** The same for its standard error. */
export type StderrOf<C> = C extends HasStderr<infer T extends Output> ? T : Readable | null;
/** The stream to its standard input. */
export type StdinOf<C> = C extends HasStdin<infer T extends Writable | null> ? T : Writable | null;
/** Its terminal; what nobody has said is the last type. */
export type TerminalOf<C, Otherwise> = C extends HasTerminal<infer T> ? T : Otherwise;
/** The exit codes that are no error for it. */
export type ExitCodeOf<C> = C extends HasExitCode<infer T extends number | null> ? T : number | null;

/** The stream of a child for such an output. */
export type StreamOf<T> = T extends Readable ? Readable : null;
/** What a result holds of such an output. */
export type CapturedOf<T> = T extends Readable ? undefined : T extends string | Buffer ? T : Captured;
