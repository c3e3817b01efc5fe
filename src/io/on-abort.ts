import { soon } from '../host/time.js';

/** Who waits for each signal. A thousand commands may share one; Node warns of a leak where each adds a listener. */
const waiting = new WeakMap<AbortSignal, Set<(reason: unknown) => void>>();

/** Calls back once, with the reason, when the signal is aborted or if it is already; gives the way to call it off. */
export function onAbort(signal: AbortSignal, callback: (reason: unknown) => void): () => void {
  let callbacks = waiting.get(signal);
  if (callbacks === undefined) {
    callbacks = new Set();
    waiting.set(signal, callbacks);
  }
  const all = callbacks;
  if (all.size === 0) signal.addEventListener('abort', tellAll, { once: true });
  all.add(callback);
  if (signal.aborted) soon(() => all.delete(callback) && callback(signal.reason));
  return () => {
    if (all.delete(callback) && all.size === 0) signal.removeEventListener('abort', tellAll);
  };
}

function tellAll(this: AbortSignal): void {
  const callbacks = waiting.get(this);
  waiting.delete(this);
  for (const callback of callbacks ?? []) callback(this.reason);
}
