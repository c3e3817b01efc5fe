import type { RunResult } from '../result/run-result.js';
import type { CommandSpec } from '../spec/spec.js';
import { formatDuration } from '../text/duration.js';
import type { SignalName } from '../text/signals.js';
import { CommandError, inBackticks } from './command-error.js';
import { reasonText } from './explanation.js';

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
  static override readonly name: string = 'ExitError';
  /** Always `ERR_COMMAND_EXIT`. */
  readonly code = 'ERR_COMMAND_EXIT';
  /** Why the end counts as a failure. */
  readonly reason: ExitReason;
  /** All that is known of the run. */
  readonly result: RunResult;

  constructor(spec: CommandSpec | undefined, result: RunResult, log: string, stop?: StopReport) {
    const sentence = stop === undefined ? exitSentence(result) : stopSentence(result, stop);
    const tail = lastLines(log);
    super(
      tail === '' ? sentence : `${sentence}\n\n${tail}`,
      { command: result.command, spec },
      stop?.cause === undefined ? undefined : { cause: stop.cause },
    );
    this.reason = stop?.reason ?? (result.signal === null ? 'exit-code' : 'signal');
    // The output can be large; it is printed by whoever asks for `error.result.stdout`.
    this.result = result;
  }
}

function exitSentence({ command, exitCode, signal, durationMs }: RunResult): string {
  const name = inBackticks(command);
  const after = formatDuration(durationMs);
  if (signal === null) return `${name} exited with code ${String(exitCode)} after ${after}.`;
  const hint = signal === 'SIGKILL' ? " This process did not send it; look for the kernel's out-of-memory report." : '';
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
  if (last === undefined)
    return signal === null ? `It exited with code ${String(exitCode)}.` : `It was ended by ${signal}.`;
  if (signal === null) return `It exited with code ${String(exitCode)} after ${last.signal}.`;
  const first = sent[0];
  if (first === undefined || sent.length === 1 || signal !== last.signal) return `It was ended by ${signal}.`;
  const ignored = sent.slice(0, -1).map((entry) => entry.signal);
  return `It ignored ${ignored.join(' and ')} for ${formatDuration(Math.min(last.atMs, durationMs) - first.atMs)} and was ended by ${signal}.`;
}

const TAIL_LINES = 10;

const TAIL_BYTES = 2000;

function lastLines(log: string): string {
  const text = log.trimEnd();
  return text.slice(-TAIL_BYTES).split('\n').slice(-TAIL_LINES).join('\n');
}
