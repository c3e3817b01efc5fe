import type { StopReport } from '../errors/exit-error.js';
import type { StopSequence } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';

/** The way to stop a program, unless `stopSequence()` says another: ask, wait five seconds, end. */
const defaultStopSequence: StopSequence = [
  ['SIGTERM', 5000],
  ['SIGKILL', 0],
];

/** What was done to stop a program, so far. */
export type Stopping = Omit<StopReport, 'sent'> & { readonly sent: { signal: SignalName; atMs: number }[] };

/** The signals that stop a program, in order. Whatever was asked, the last word is SIGKILL: who waits must not wait for ever. */
export function stopSteps(sequence: StopSequence = defaultStopSequence): StopSequence {
  return sequence.at(-1)?.[0] === 'SIGKILL' ? sequence : [...sequence, ['SIGKILL', 0]];
}
