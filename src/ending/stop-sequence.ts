import { LONGEST_TIMER } from '../host/time.js';
import type { StopSequence } from '../spec/spec.js';
import { isArray } from '../text/reading.js';
import { signalNumber } from '../text/signals.js';

/** libvirt's way to end a child, in `virProcessAbort`: ask, wait 10 ms, end. */
export const abortSequence: StopSequence = [
  ['SIGTERM', 10],
  ['SIGKILL', 0],
];

/** The way to stop a program, unless `stopSequence()` says another: ask, wait five seconds, end. */
export const defaultSequence: StopSequence = [
  ['SIGTERM', 5000],
  ['SIGKILL', 0],
];

/** The signals that stop a program, in order. The last word is SIGKILL, whatever was asked: a wait has to end. */
export function withLastWord(sequence: StopSequence): StopSequence {
  return sequence.at(-1)?.[0] === 'SIGKILL' ? sequence : [...sequence, ['SIGKILL', 0]];
}

const isGrace = (ms: unknown): boolean => typeof ms === 'number' && ms >= 0 && ms <= LONGEST_TIMER;

export function isStopStep(step: unknown): step is StopSequence[number] {
  return isArray(step) && step.length === 2 && isGrace(step.at(1));
}

/** What is said to a caller whose sequence is none. */
export const sequenceWords = "give pairs of a signal and milliseconds: [['SIGTERM', 5000], ['SIGKILL', 0]]";

/** An option `sequence`, for `readOptions()`. */
export const sequenceOption = {
  is: (value: unknown): boolean =>
    isArray(value) &&
    value.length > 0 &&
    value.every((step) => isStopStep(step) && signalNumber(step[0]) !== undefined),
  words: `${sequenceWords}; signals are named, as 'SIGTERM'`,
};
