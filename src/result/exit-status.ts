import { type SignalName, signalName, signalNumber } from '../text/signals.js';

/** How a process ended, as the kernel tells it. */
export interface ExitStatus {
  /** The exit code, or `null` if a signal ended the process. */
  readonly exitCode: number | null;
  /** The signal that ended the process, or `null` if it exited by itself. */
  readonly signal: SignalName | null;
  /** Whether the kernel wrote a core file; `undefined` where the engine cannot tell. */
  readonly coreDumped: boolean | undefined;
}

/** How a process ended, by `si_code` of `waitid()`. 0: other code in this process has reaped it, and nobody knows. */
const CLD_UNKNOWN = 0;
const CLD_EXITED = 1;
const CLD_DUMPED = 3;

/** The status from `si_code` and `si_status` of `waitid()`. */
export function exitStatusOf(code: number, status: number): ExitStatus & { readonly coreDumped: boolean } {
  const hasExited = code === CLD_EXITED;
  return {
    exitCode: hasExited ? status : null,
    signal: hasExited || code === CLD_UNKNOWN ? null : signalName(status),
    coreDumped: code === CLD_DUMPED,
  };
}

const CORE_FLAG = 0x80;

/** The status as `waitpid()` gives it: the exit code in the second byte, the signal and core flag in the first. */
export function rawWaitStatus({ exitCode, signal, coreDumped }: ExitStatus): number {
  if (signal === null) return ((exitCode ?? 0) & 0xff) << 8;
  return (signalNumber(signal) ?? 0) | (coreDumped === true ? CORE_FLAG : 0);
}
