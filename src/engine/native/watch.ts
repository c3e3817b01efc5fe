import { constants } from 'node:os';
import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { PidFileError } from '../../errors/pidfile-error.js';
import { type Binding, watchEvents } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { HandshakeEnds } from '../../plan/step-table.js';
import { errnoName } from '../../text/errno.js';
import type { StepName } from '../../text/step-names.js';
import { type SignalName, signalName, signalNumber } from '../../text/signals.js';
import { explainStepFailure } from '../diagnose.js';
import type { HookWatch, LaunchResources, ProcessEnd } from '../engine.js';
import type { OurEnds } from './ends.js';
import { watched } from './scratch.js';
import { takeProblem } from '../../wire/pidfile-answer.js';

/** How a process ended, by `si_code`. */
const CLD_EXITED = 1;

const CLD_DUMPED = 3;

/** A child as it was started, with our ends of its pipes. */
export interface Started extends OurEnds {
  readonly pid: number;
  /** -1 for a daemon. */
  readonly pidfd: number;
  readonly report: number;
  readonly handshake: HandshakeEnds | undefined;
  /** Where the plan has a hook. */
  readonly hook: HookWatch | undefined;
}

/** What a step that failed is to the caller. `kept` are the steps before it whose effect this process keeps. */
export function failure(
  plan: LaunchPlan,
  { step: index, errno: number, detail }: { step: number; errno: number; detail: number },
  kept: readonly StepName[] = [],
): CommandError {
  const errno = errnoName(number);
  const step = plan.steps[index];
  if (step === undefined && number === 0) return new LaunchError(plan.subject, { step: 'execve', wasEnded: true });
  if (step === undefined) return new LaunchError(plan.subject, { step: 'clone', errno });
  if (step.step === 'pidfile') return new PidFileError(step.path, takeProblem(number, detail), plan.subject);
  return new LaunchError(plan.subject, { ...explainStepFailure(plan, step, errno), kept });
}

/** What the watcher tells of a child, beside its output, which goes where the plan says. */
interface Listener {
  /** The helper's report: the failure, or that the program was executed. */
  readonly onReport: (failure: CommandError | undefined) => void;
  /** Before that: the child has said that the exec comes next. */
  readonly onAnnounced?: () => void;
  readonly onEnd: (end: ProcessEnd) => void;
}

/** A child in the care of the watcher. */
export class Watch {
  readonly #binding: Binding;
  readonly #pid: number;
  readonly #id: number;
  /** The report of a daemon, as long as it has not come: the only thing by which a daemon is surely known. */
  #daemonReport: number;

  /** @throws {LaunchError} if the watcher cannot take the child; it is ended then. */
  constructor(
    binding: Binding,
    started: Started,
    plan: LaunchPlan,
    resources: LaunchResources,
    { waits, ...listener }: Listener & { waits: boolean },
  ) {
    const { pid, pidfd, report, ours, callers, handshake, hook } = started;
    const { captures, waitForOutputEnd } = resources;
    this.#binding = binding;
    this.#pid = pid;
    this.#daemonReport = pidfd < 0 ? report : -1;
    watched[0] = pidfd;
    watched[1] = report;
    watched[2] = ours[0];
    watched[3] = ours[1];
    watched[4] = ours[2];
    watched[5] = captures.get(1)?.isWatched === true ? 1 : 0;
    watched[6] = captures.get(2)?.isWatched === true ? 1 : 0;
    watched[7] = waitForOutputEnd ? 1 : 0;
    watched[8] = waits ? 1 : 0;
    watched[9] = report < 0 ? 0 : 1;
    const { input } = resources;
    const bytes = input === undefined ? undefined : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    this.#id = binding.watch(watched, bytes, (event: number, ...values: unknown[]) => {
      switch (event) {
        case watchEvents.report: {
          const [failed = 0, step = 0, errno = 0, detail = 0] = values as number[];
          const found = failed === 0 ? undefined : failure(plan, { step, errno, detail });
          this.#daemonReport = -1;
          if (failed === 0 && step >= 0) listener.onAnnounced?.();
          if (hook === undefined) listener.onReport(found);
          // What a hook has left behind may hold the output of a program that never ran.
          else if (!hook.onReport(found, step < 0 && errno === 0, listener.onReport)) this.stopReading();
          break;
        }
        case watchEvents.output: {
          const [stream, piece] = values as [number, Buffer];
          resources.captures.get(stream === 0 ? 1 : 2)?.write(piece);
          break;
        }
        case watchEvents.end: {
          const end = readEnd(values as EndValues, resources);
          hook?.onEnd(end);
          listener.onEnd(end);
        }
      }
    });
    if (this.#id < 0) {
      // The child runs, and nobody could look after it, nor would anybody ever reap it.
      if (pidfd >= 0) binding.undo(pidfd);
      else process.kill(pid, 'SIGKILL');
      binding.closeAll(Int32Array.of(report, ...ours, ...callers, handshake?.ready ?? -1, handshake?.go ?? -1));
      hook?.close();
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(this.#id), syscall: 'epoll_ctl' });
    }
  }

  signal(name: SignalName): boolean {
    const number = signalNumber(name) ?? 0;
    const errno = -(this.#daemonReport < 0
      ? this.#binding.signal(this.#id, number)
      : this.#binding.signalDaemon(this.#pid, this.#daemonReport, number));
    if (errno === 0) return true;
    if (errno === constants.errno.ESRCH) return false;
    const code = errnoName(errno);
    throw Object.assign(new Error(`Cannot send ${name} to process ${this.#pid} (pidfd_send_signal: ${code}).`), {
      code,
    });
  }

  stopReading(): void {
    this.#binding.stopReading(this.#id);
  }

  keep(isKept: boolean): void {
    this.#binding.keep(this.#id, isKept ? 1 : 0);
  }
}

type EndValues = [
  code: number,
  status: number,
  heldOpen: number,
  lost: number,
  inputWritten: number,
  userMs: number,
  systemMs: number,
  maxRssKib: number,
  out?: Buffer,
  err?: Buffer,
];

function readEnd(
  [code, status, heldOpen, lost, inputWritten, userMs, systemMs, maxRssKib, out, err]: EndValues,
  { captures }: LaunchResources,
): ProcessEnd {
  if (out !== undefined) captures.get(1)?.write(out);
  if (err !== undefined) captures.get(2)?.write(err);
  const exited = code === CLD_EXITED;
  return {
    exitCode: exited ? status : null,
    // Code 0: somebody else in this process has reaped it, and nobody knows how it ended.
    signal: exited || code === 0 ? null : signalName(status),
    coreDumped: code === CLD_DUMPED,
    outputHeldOpen: heldOpen !== 0,
    lostOutput: lost === 0 ? undefined : (lost & 1) !== 0 ? 'stdout' : 'stderr',
    inputWritten,
    resourceUsage: { userMs, systemMs, maxRssKib },
  };
}
