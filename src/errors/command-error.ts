import { type CommandSpec, printable } from '../spec/spec.js';
import { printCommand } from '../text/quote.js';
import { shown, shownLines } from '../text/shown.js';

/** What every error of this library is: a sentence for a person, a `code` for a program, and the command that it is about. */
export abstract class CommandError extends Error {
  /** What kind of error it is, for a program: `ERR_COMMAND_…`. */
  abstract readonly code: string;
  /** The command as it may be printed: no values of variables, no secret arguments. Empty where no command is meant. */
  readonly command: string;
  /** What was said about the command, as far as it could be understood. */
  declare readonly spec: CommandSpec | undefined;

  constructor(message: string, subject: Subject, options?: ErrorOptions) {
    // Whatever a message quotes, it may be printed: no control character of it reaches a terminal.
    super(shownLines(message), options);
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

export function inBackticks(command: string): string {
  const line = shown(command);
  return line.length > LONGEST_COMMAND
    ? `\`${line.slice(0, LONGEST_COMMAND - 1).replace(/[\ud800-\udbff]$/, '')}…\``
    : `\`${line}\``;
}

export const cannotStart = (subject: Subject): string => `Cannot start ${inBackticks(subject.command)}`;

// ---------------------------------------------------------------- mistakes

// ---------------------------------------------------------------- launches

// ---------------------------------------------------------------- ends

// ---------------------------------------------------------------- engines and pidfiles

// ---------------------------------------------------------------- values in messages
