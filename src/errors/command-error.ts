import { define } from '../spec/bare.js';
import { type CommandSpec, printable } from '../spec/spec.js';
import { printCommand } from '../text/quote.js';
import { inBackticks, shownLines } from '../text/shown.js';

/** What every error of this library is: a sentence for a person, a `code` for a program, and the command that it is about. */
export abstract class CommandError extends Error {
  /** What kind of error it is, for a program: `ERR_COMMAND_…`. */
  abstract readonly code: string;
  /** The command as it may be printed: no values of variables, no secret arguments. Empty where no command is meant. */
  readonly command: string;
  /** What was said about the command, as far as it could be understood. */
  declare readonly spec: CommandSpec | undefined;
  /** In a pipeline, the stage that it is about, counted from 0. */
  declare readonly stage?: number;

  constructor(message: string, subject: Subject, options?: ErrorOptions) {
    // Whatever a message quotes, it may be printed: no control character of it reaches a terminal.
    super(shownLines(message), options);
    escapeSystemError(options?.cause);
    this.command = subject.command;
    // Not enumerable: it holds the values of variables and the secret arguments, which no log should show.
    define(this, 'spec', subject.spec);
  }

  /** The name of the class. */
  override get name(): string {
    return this.constructor.name;
  }
}

/** The place of a command in a pipeline. */
export interface Place {
  /** Counted from 0. */
  readonly stage: number;
  /** The pipeline as it may be printed. */
  readonly pipeline: string;
}

/** Has an error about a stage tell which it is: as a property, and as a sentence behind its first where the message does not say so yet. */
export function atStage<E extends CommandError>(error: E, { stage, pipeline }: Place, isUntold = true): E {
  if (Object.hasOwn(error, 'stage')) return error;
  Object.assign(error, { stage });
  if (!isUntold) return error;
  const [sentence = '', ...tail] = error.message.split('\n\n');
  error.message = [`${sentence} It is stage ${stage + 1} of ${inBackticks(pipeline)}.`, ...tail].join('\n\n');
  return error;
}

/** An error of Node's own about a system call quotes paths as they are, and is printed with the error that it caused. */
function escapeSystemError(cause: unknown): void {
  if (!(cause instanceof Error) || !Object.hasOwn(cause, 'syscall') || cause.message === shownLines(cause.message))
    return;
  const { stack } = cause;
  cause.message = shownLines(cause.message);
  if (stack !== undefined) cause.stack = shownLines(stack);
}

/** How many frames of this library may stand below the caller's. */
const OWN_FRAMES = 20;

/**
 * Has the stack of an error lead to the code that waits for it, and gives the error back. V8 knows that code as long as each promise on
 * the way is awaited; an error that was made in an answer of the kernel has nobody above it. It is called where an error is on its way
 * out, so it costs a launch that succeeds nothing.
 */
export function fromHere<E extends Error>(error: E): E {
  const limit: unknown = Error.stackTraceLimit;
  // Where nobody may change the limit, the stack is as long as it may be.
  if (typeof limit === 'number' && limit > 0) Reflect.set(Error, 'stackTraceLimit', limit + OWN_FRAMES);
  Error.captureStackTrace(error, fromHere);
  if (typeof limit === 'number') Reflect.set(Error, 'stackTraceLimit', limit);
  return error;
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

export const cannotStart = (subject: Subject): string => `Cannot start ${inBackticks(subject.command)}`;

// ---------------------------------------------------------------- mistakes

// ---------------------------------------------------------------- launches

// ---------------------------------------------------------------- ends

// ---------------------------------------------------------------- engines and pidfiles

// ---------------------------------------------------------------- values in messages
