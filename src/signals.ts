import { constants } from 'node:os';

/** A signal by its name: one that Node knows, or a real-time signal counted from `SIGRTMIN`. */
export type SignalName = NodeJS.Signals | `SIGRTMIN+${number}`;

const SIGRTMIN = 34;
const SIGRTMAX = 64;
const numbers: Readonly<Record<string, number | undefined>> = constants.signals;
const names = new Map<number, SignalName>();
for (const [name, number] of Object.entries(constants.signals)) {
  // SIGIOT, SIGPOLL and SIGUNUSED are second names of signals that stand earlier in the list.
  if (!names.has(number)) names.set(number, name as NodeJS.Signals);
}

/** The kernel's number of a signal, or `undefined` if there is no signal of that name here. */
export function signalNumber(name: string): number | undefined {
  const realTime = /^SIGRTMIN\+(\d{1,2})$/.exec(name);
  if (realTime === null) return numbers[name];
  const number = SIGRTMIN + Number(realTime[1]);
  return number <= SIGRTMAX ? number : undefined;
}

/** The name of a signal's number. Numbers that have no name on this platform count from `SIGRTMIN`. */
export function signalName(number: number): SignalName {
  return names.get(number) ?? `SIGRTMIN+${number - SIGRTMIN}`;
}

/** How a process ended, as the kernel tells it. */
export interface ExitStatus {
  /** The exit code, or `null` if a signal ended the process. */
  readonly exitCode: number | null;
  /** The signal that ended the process, or `null` if it exited by itself. */
  readonly signal: SignalName | null;
  /** Whether the kernel wrote a core file; `undefined` where the engine cannot tell. */
  readonly coreDumped: boolean | undefined;
}

const CORE_FLAG = 0x80;

/** The status as `waitpid()` gives it: the exit code in the second byte, the signal and core flag in the first. */
export function rawWaitStatus({ exitCode, signal, coreDumped }: ExitStatus): number {
  if (signal === null) return ((exitCode ?? 0) & 0xff) << 8;
  return (signalNumber(signal) ?? 0) | (coreDumped === true ? CORE_FLAG : 0);
}
