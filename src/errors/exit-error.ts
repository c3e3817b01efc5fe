import type { PipelineResult } from '../result/pipeline-result.js';
import type { RunResult } from '../result/run-result.js';
import type { KillTreeResult } from '../result/tree-result.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec, LimitResource, LimitSpec } from '../spec/spec.js';
import { formatDuration } from '../text/duration.js';
import type { SignalName } from '../text/signals.js';
import { inBackticks } from '../text/shown.js';
import { CommandError, type Place } from './command-error.js';
import { reasonText } from './explanation.js';

/** Why a program's end counts as a failure. */
export type ExitReason =
  'exit-code' | 'signal' | 'timeout' | 'silence' | 'aborted' | 'output-limit' | 'out-of-memory' | 'stream';

/** What this process did to stop a program, or to its output. */
export interface StopReport {
  readonly reason: Exclude<ExitReason, 'exit-code' | 'signal'>;
  /** The signals sent, each with the time since the launch, and with the time that it was given to work. */
  readonly sent: readonly { readonly signal: SignalName; readonly atMs: number; readonly graceMs?: number }[];
  /** The timeout or the time of silence in milliseconds, the limit in bytes, or how many bytes there was memory for. */
  readonly limit?: number;
  /** The stream that overran the output limit or the memory, or that failed. */
  readonly stream?: 'stdin' | 'stdout' | 'stderr';
  /** What of `inputStream()`, `outputTo()`, `errorTo()` or `tee()` has failed: `cause` says how. */
  readonly what?: string;
  /** What the signal of `abortSignal()` was aborted with, or what a stream failed with. */
  readonly cause?: unknown;
  /** Where a whole pipeline was stopped: the place of this program in it. */
  readonly place?: Place;
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
  /** In a pipeline: how all of it ended. `stage` says which of its stages this error is about. */
  declare readonly pipeline?: PipelineResult;

  constructor(spec: CommandSpec | undefined, result: RunResult, log: string, report?: StopReport, killer?: string) {
    const stop = report === undefined ? undefined : bare(report);
    const sentence = sentenceOf(spec, result, stop, killer);
    const tail = lastLines(log);
    super(
      tail === '' ? sentence : `${sentence}\n\n${tail}`,
      { command: result.command, spec },
      stop?.cause === undefined ? undefined : { cause: stop.cause },
    );
    this.reason = stop?.reason ?? (result.signal === null ? 'exit-code' : 'signal');
    // The output can be large; `error.result.stdout` has it, and no print of the error.
    this.result = result;
  }
}

/** How a program ended, and why. `killer` is the call of this library that sent SIGKILL, where one did. */
export const sentenceOf = (
  spec: CommandSpec | undefined,
  result: RunResult,
  stop: StopReport | undefined,
  killer: string | undefined,
): string => (stop === undefined ? exitSentence(spec, result, killer) : stopSentence(result, bare(stop)));

function exitSentence(spec: CommandSpec | undefined, result: RunResult, killer: string | undefined): string {
  const sentence = String(result);
  if (result.exitCode === 0) return sentence.replace(/\.$/, ', which check does not take.');
  return [sentence, ...whySignaled(spec, result, killer)].join(' ');
}

/** Why the kernel, or this process, may have ended it so. Of other signals the sender is not known. */
function whySignaled(spec: CommandSpec | undefined, result: RunResult, killer: string | undefined): readonly string[] {
  switch (result.signal) {
    case 'SIGKILL':
      if (killer !== undefined) return [`This process sent it, by ${killer}.`];
      return [usedUp(spec, result) ?? "This process did not send it; look for the kernel's out-of-memory report."];
    case 'SIGXCPU':
      return limitOf(spec, 'cpu') === undefined
        ? ['It had used all of the processor time that it may take (`ulimit -t`).']
        : ["It had used all of the processor time that limit('cpu') gives it."];
    case 'SIGXFSZ':
      return limitOf(spec, 'fsize') === undefined
        ? ['It was about to write a file longer than it may (`ulimit -f`).']
        : ["It was about to write a file longer than limit('fsize') allows."];
    default:
      return [];
  }
}

const limitOf = (spec: CommandSpec | undefined, resource: LimitResource): LimitSpec | undefined =>
  spec?.limits?.find((limit) => limit.resource === resource);

/** The part of its limit that a program must have been seen to use: the kernel counts in ticks, and on a busy machine too many. */
const MUCH = 0.5;

/** The processor time that a program took, where the kernel may have ended it for that. */
function usedUp(spec: CommandSpec | undefined, { resourceUsage }: RunResult): string | undefined {
  const limit = limitOf(spec, 'cpu');
  if (limit === undefined || limit.hard === 'unlimited' || resourceUsage === undefined) return undefined;
  const used = resourceUsage.userMs + resourceUsage.systemMs;
  const given = Number(limit.hard) * 1000;
  if (used < given * MUCH) return undefined;
  return `It had used ${formatDuration(used)} of the ${formatDuration(given)} of processor time that limit('cpu') gives it.`;
}

function stopSentence(result: RunResult, stop: StopReport): string {
  const name = inBackticks(stop.place?.pipeline ?? result.command);
  const end = endSentence(result, stop);
  switch (stop.reason) {
    case 'timeout':
      return `${name} did not finish within ${formatDuration(stop.limit ?? 0)}. ${end}`;
    case 'silence':
      return `${name} wrote nothing for ${formatDuration(stop.limit ?? 0)}. ${end}`;
    case 'aborted':
      return `${name} was aborted after ${formatDuration(stop.sent.at(0)?.atMs ?? result.durationMs)}${stop.cause === undefined ? '' : `: ${reasonText(stop.cause)}`}. ${end}`;
    case 'output-limit':
      return `${name} wrote more than ${stop.limit ?? 0} bytes to ${stop.stream ?? 'stdout'}. ${end} Raise outputLimit(), or choose its policy 'truncate' or 'headAndTail'.`;
    case 'stream':
      return `The ${stop.what ?? 'stream'} of ${name} failed after ${formatDuration(stop.sent.at(0)?.atMs ?? result.durationMs)}: ${reasonText(stop.cause)}. ${end}`;
    case 'out-of-memory':
      return `${name} wrote more to ${stop.stream ?? 'stdout'} than this process had memory for; it kept ${stop.limit ?? 0} bytes. ${end} Send large output to a file, or set outputLimit().`;
  }
}

/** How the program ended, and its tree, where that was stopped with it. */
function endSentence(result: RunResult, stop: StopReport): string {
  const own = ownEndSentence(result, stop);
  const { place } = stop;
  const end =
    place === undefined ? own : own.replace(/^It/, `Stage ${place.stage + 1}, ${inBackticks(result.command)},`);
  return result.tree === undefined ? end : `${end} ${treeSentence(result.tree)}`;
}

/** How surely a tree was found, by level. */
const ways: Readonly<Record<KillTreeResult['level'], string>> = bare({
  cgroup: 'by its control group',
  group: 'by its session or process group',
  walk: 'by a walk from parent to child',
  root: 'as far as it could be seen',
});

function treeSentence({ level, survivors, isComplete }: KillTreeResult): string {
  if (survivors.length > 0) return `Its tree was ended ${ways[level]}, but for ${survivors.join(', ')}.`;
  return `Its tree was ended ${ways[level]}${isComplete || level === 'root' ? '' : ', as far as it could be seen'}.`;
}

function ownEndSentence({ exitCode, signal, durationMs }: RunResult, { sent }: StopReport): string {
  const last = sent.at(-1);
  if (last === undefined)
    return signal === null ? `It exited with code ${String(exitCode)}.` : `It was ended by ${signal}.`;
  if (signal === null) return `It exited with code ${String(exitCode)} after ${last.signal}.`;
  const first = sent.at(0);
  if (first === undefined || sent.length === 1 || signal !== last.signal) return `It was ended by ${signal}.`;
  const ignored = sent.slice(0, -1);
  const names = ignored.map((entry) => entry.signal).join(' and ');
  const graceMs = ignored.reduce((sum, entry) => sum + (entry.graceMs ?? SOON_MS), 0);
  // Who had so little time was perhaps about to obey.
  if (graceMs < SOON_MS)
    return `It was ended by ${signal}, since ${names} had not ended it within ${formatDuration(graceMs)}.`;
  return `It ignored ${names} for ${formatDuration(Math.min(last.atMs, durationMs) - first.atMs)} and was ended by ${signal}.`;
}

/** A time in which a program can obey a signal, on a machine that is not busy. */
const SOON_MS = 100;

const TAIL_LINES = 10;

const TAIL_BYTES = 2000;

function lastLines(log: string): string {
  const text = log.trimEnd();
  return text.slice(-TAIL_BYTES).split('\n').slice(-TAIL_LINES).join('\n');
}
