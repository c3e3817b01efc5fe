import { constants } from 'node:os';

/** A signal by its name: one that Node knows, or a real-time signal counted from `SIGRTMIN`. */
export type SignalName = NodeJS.Signals | `SIGRTMIN+${number}`;

const SIGRTMIN = 34;
const SIGRTMAX = 64;
const numbers = new Map<unknown, number>(Object.entries(constants.signals));
const names = new Map<number, SignalName>();
for (const [name, number] of Object.entries(constants.signals)) {
  // SIGIOT, SIGPOLL and SIGUNUSED are second names of signals that stand earlier in the list.
  if (!names.has(number)) names.set(number, name as NodeJS.Signals);
}

/** The kernel's number of a signal, or `undefined` if there is no signal of that name here. */
export function signalNumber(name: string): number | undefined {
  if (typeof (name as unknown) !== 'string') return undefined;
  const realTime = /^SIGRTMIN\+(\d{1,2})$/.exec(name);
  if (realTime === null) return numbers.get(name);
  const number = SIGRTMIN + Number(realTime[1]);
  return number <= SIGRTMAX ? number : undefined;
}

/** The name of a signal's number. Numbers that have no name on this platform count from `SIGRTMIN`. */
export function signalName(number: number): SignalName {
  return names.get(number) ?? `SIGRTMIN+${number - SIGRTMIN}`;
}
