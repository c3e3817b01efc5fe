import { now } from '../host/time.js';
import { BoundedMap } from './bounded-map.js';

/** The calls of this library that sent SIGKILL, and when, by the pid that they sent it to. */
const kills = new BoundedMap<number, { readonly call: string; readonly at: number }>();

/** Notes that a call sends SIGKILL to a process, or, if the number is negative, to the group that a process of that number leads. */
export function noteKill(number: number, call: string): void {
  kills.set(Math.abs(number), { call, at: now() });
}

/** The call that sent SIGKILL to a process since it was launched, if one did: who is told of its end need not look for a stranger. */
export function killerOf(pid: number, launchedAt: number): string | undefined {
  const kill = kills.get(pid);
  return kill !== undefined && kill.at >= launchedAt ? kill.call : undefined;
}
