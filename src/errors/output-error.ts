import { bare } from '../spec/bare.js';
import { inBackticks, shown } from '../text/shown.js';
import { CommandError, type Subject } from './command-error.js';

/** Why a program's output is not what was asked for. */
export type OutputReason = 'line-too-long' | 'not-json' | 'not-text' | 'no-such-line';

/** What is wrong with an output. */
export interface OutputFault {
  readonly reason: OutputReason;
  readonly stream: 'stdout' | 'stderr' | 'both';
  /** The line, counted from 1, where it is about one. */
  readonly line?: number | undefined;
  /** The words behind the name of the command: `wrote a line of …`. */
  readonly what: string;
  readonly cause?: unknown;
}

/** How much of an output stands in a message, in characters. */
const SHOWN_LENGTH = 200;

/**
 * A program whose output cannot be read as was asked: a line that is longer than `maxLineBytes`, text that is no JSON, or no line that matches.
 * How the program itself ended is another matter.
 */
export class OutputError extends CommandError {
  static override readonly name: string = 'OutputError';
  /** Always `ERR_COMMAND_OUTPUT`. */
  readonly code = 'ERR_COMMAND_OUTPUT';
  /** What is wrong with the output. */
  readonly reason: OutputReason;
  /** The stream that it is about. */
  readonly stream: 'stdout' | 'stderr' | 'both';
  /** The line that it is about, counted from 1; `undefined` where it is about the whole output. */
  readonly line: number | undefined;

  constructor(subject: Subject, fault: OutputFault) {
    const { reason, stream, line, what, cause } = bare(fault);
    super(`${inBackticks(subject.command)} ${what}`, subject, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.stream = stream;
    this.line = line;
  }
}

/** A line that is longer than it may be. */
export const lineTooLong = (subject: Subject, stream: 'stdout' | 'stderr', line: number, most: number): OutputError =>
  new OutputError(subject, {
    reason: 'line-too-long',
    stream,
    line,
    what: `wrote more than ${most} bytes to ${stream} in one line, line ${line}. Raise maxLineBytes, or name another separator.`,
  });

/** Bytes that are no text in the encoding that was asked for. */
export const notText = (subject: Subject, stream: 'stdout' | 'stderr', encoding: string, offset: number): OutputError =>
  new OutputError(subject, {
    reason: 'not-text',
    stream,
    what: `wrote bytes to ${stream} that are no ${encoding}, from byte ${offset} on. Ask for bytes, { encoding: 'buffer' }, or leave { fatal: true } out.`,
  });

/** What follows a failed `JSON.parse()`. `line` where the text is one line of many. */
export function notJson(subject: Subject, text: string, cause: unknown, line?: number): OutputError {
  const where = line === undefined ? 'JSON to stdout' : `JSON to stdout in line ${line}`;
  // The message of V8 quotes the text, at length; where it failed is told by what stands there.
  const reason = cause instanceof Error ? cause.message.replace(/,? ?(?:\.\.\.)?"[^]*$/, '').trim() : String(cause);
  const begin = text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
  const what = text.trim() === '' ? 'It is empty.' : `It begins with ${inBackticks(shown(begin))}.`;
  return new OutputError(subject, {
    reason: 'not-json',
    stream: 'stdout',
    line,
    what: `wrote no ${where}: ${reason}. ${what}`,
    cause,
  });
}
