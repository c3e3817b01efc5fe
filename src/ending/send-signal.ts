import { setTimeout as delay } from 'node:timers/promises';
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

/** Whether there is a process with that pid, ended ones included that nobody has reaped. */
export function isAlive(pid: number): boolean {
  return sendSignal(pid, 0) !== 'ESRCH';
}

/** Waits for an event, for so many milliseconds at most, and tells whether it came. */
export async function comesWithin(event: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const elapsed = delay(ms, false, { signal: timer.signal }).catch(() => false);
  try {
    return await Promise.race([event.then(() => true), elapsed]);
  } finally {
    timer.abort();
  }
}
