import { clearTimeout, setTimeout } from './time.js';
import type { SignalName } from '../text/signals.js';

/** Sends a signal by pid, and gives the errno's name of a failure. A negative pid means the process group. */
export function sendSignal(pid: number, signal: SignalName | 0): string | undefined {
  try {
    process.kill(pid, signal);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

/** Whether there is a process with that pid, ended ones included that are not reaped. */
export function isAlive(pid: number): boolean {
  return sendSignal(pid, 0) !== 'ESRCH';
}

/** Waits for an event, for so many milliseconds at most, and tells whether it came. */
export function comesWithin(event: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(false), ms);
    event
      .then(() => resolve(true), reject)
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
