import { constants } from 'node:os';
import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { PidFileError } from '../../errors/pidfile-error.js';
import { ProcessError } from '../../errors/process-error.js';
import { sendSignal } from '../../host/send-signal.js';
import { type Binding, places, watchEvents } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { HandshakeEnds } from '../../plan/step-table.js';
import { exitStatusOf } from '../../result/exit-status.js';
import { readable } from '../../text/bytes.js';
import { errnoName } from '../../text/errno.js';
import type { StepName } from '../../text/step-names.js';
import type { Foreground } from '../../terminal/foreground.js';
import { type SignalName, signalNumber } from '../../text/signals.js';
import { explainStepFailure } from '../diagnose.js';
import { mayLeaveLog } from '../drain.js';
import type { HookWatch, LaunchResources, ProcessEnd } from '../engine.js';
import type { OurEnds, TerminalEnds } from './ends.js';
import { watched } from './scratch.js';
import { acquireProblem } from '../../wire/pidfile-answer.js';
import { elementAt } from '../../text/reading.js';

const { watch: told, report: reported, output, end: ended } = places;

/** A child as it was started, with our ends of its pipes. */
export interface Started extends OurEnds {
  /** The plan that was performed. */
  readonly plan: LaunchPlan;
  readonly pid: number;
  /** -1 for a daemon. */
  readonly pidfd: number;
  readonly report: number;
  readonly handshake: HandshakeEnds | undefined;
  /** Where the plan has a hook. */
  readonly hook: HookWatch | undefined;
  /** Where it has a terminal. */
  readonly terminal: TerminalEnds | undefined;
  /** Where it has the foreground of this process's. */
  readonly foreground: Foreground | undefined;
}

/** What a step that failed is to the caller. `kept` are the steps before it whose effect this process keeps. */
export function failure(
  plan: LaunchPlan,
  { step: index, errno: number, detail }: { step: number; errno: number; detail: number },
  kept: readonly StepName[] = [],
): CommandError {
  const errno = errnoName(number);
  const step = elementAt(plan.steps, index);
  if (step === undefined && number === 0) return new LaunchError(plan.subject, { step: 'execve', wasEnded: true });
  if (step === undefined) return new LaunchError(plan.subject, { step: 'clone', errno });
  if (step.step === 'pidfile')
    return new PidFileError(readable(step.path), acquireProblem(number, detail), plan.subject);
  return new LaunchError(plan.subject, { ...explainStepFailure(plan, step, errno), kept });
}

/** Whether a child has a process group of its own. As long as it is not reaped, that has its number. */
const leadsGroup = ({ steps }: LaunchPlan): boolean =>
  steps.some(({ step }) => step === 'setpgid' || step === 'setsid' || step === 'tcsetpgrp');

/** What the watcher tells of a child, beside its output, which goes where the plan says. */
interface Listener {
  /** The helper's report: the failure, or that the program was executed. */
  readonly onReport: (failure: CommandError | undefined) => void;
  /** Before that: the child has said that the exec comes next. */
  readonly onAnnounced?: () => void;
  /** `left` is standard error, for as long as the call takes, where the plan may leave it and another process holds it; else -1. */
  readonly onEnd: (end: ProcessEnd, left: number) => void;
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
    const { pid, pidfd, report, ours, callers, handshake, hook, terminal, foreground } = started;
    const { captures, waitForOutputEnd } = resources;
    this.#binding = binding;
    this.#pid = pid;
    this.#daemonReport = pidfd < 0 ? report : -1;
    watched[told.pidfd] = pidfd;
    watched[told.report] = report;
    watched[told.input] = ours[0];
    watched[told.stdout] = ours[1];
    watched[told.stderr] = ours[2];
    watched[told.stdoutStreamed] = captures.get(1)?.isWatched === true ? 1 : 0;
    watched[told.stderrStreamed] = captures.get(2)?.isWatched === true ? 1 : 0;
    watched[told.readToEnd] = waitForOutputEnd ? 1 : 0;
    watched[told.waits] = waits ? 1 : 0;
    watched[told.announcesExec] = report < 0 ? 0 : 1;
    watched[told.leavesStderr] = mayLeaveLog(plan) ? 1 : 0;
    watched[told.keepsPipeSize] = plan.spec.pipeSize === undefined ? 0 : 1;
    const { input } = resources;
    const bytes = input === undefined ? undefined : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    this.#id = binding.watch(watched, bytes, (...values: unknown[]) => {
      switch (values.at(0)) {
        case watchEvents.report: {
          const numbers = values as number[];
          const failed = numbers[reported.failed]!;
          const step = numbers[reported.step]!;
          const errno = numbers[reported.errno]!;
          const found = failed === 0 ? undefined : failure(plan, { step, errno, detail: numbers[reported.detail]! });
          this.#daemonReport = -1;
          if (failed === 0 && step >= 0) listener.onAnnounced?.();
          if (hook === undefined) listener.onReport(found);
          // What a hook has left behind may hold the output of a program that never ran.
          else if (!hook.onReport(found, step < 0 && errno === 0, listener.onReport)) this.stopReading();
          break;
        }
        case watchEvents.output:
          resources.captures.get(values.at(output.stream) === 0 ? 1 : 2)?.write(values.at(output.piece) as Buffer);
          break;
        case watchEvents.end: {
          const end = readEnd(values, resources);
          foreground?.end(end.signal !== null);
          hook?.onEnd(end);
          listener.onEnd(end, (values as number[])[ended.leftStderr]!);
        }
      }
    });
    if (this.#id < 0) {
      // The child runs, and nobody could look after it, nor would anybody ever reap it. By now it may have started others.
      if (pidfd >= 0 && leadsGroup(plan)) sendSignal(-pid, 'SIGKILL');
      if (pidfd >= 0) binding.undo(pidfd);
      else process.kill(pid, 'SIGKILL');
      binding.closeAll(Int32Array.of(report, ...ours, ...callers, handshake?.ready ?? -1, handshake?.go ?? -1));
      binding.closeAll(Int32Array.of(terminal?.ours ?? -1, terminal?.programs ?? -1));
      foreground?.end(true);
      hook?.close();
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(this.#id), syscall: 'epoll_ctl' });
    }
    foreground?.begin(pid, () => binding.takeStop(this.#id));
  }

  signal(name: SignalName): boolean {
    const number = signalNumber(name) ?? 0;
    const errno = -(this.#daemonReport < 0
      ? this.#binding.signal(this.#id, number)
      : this.#binding.signalDaemon(this.#pid, this.#daemonReport, number));
    if (errno === 0) return true;
    if (errno === constants.errno.ESRCH) return false;
    const code = errnoName(errno);
    throw new ProcessError(`Cannot send ${name} to process ${this.#pid} (pidfd_send_signal: ${code}).`, {
      code,
      pid: this.#pid,
      syscall: 'pidfd_send_signal',
    });
  }

  /** Whether the child was reaped. Its zombie can be signaled. */
  get isReaped(): boolean {
    return this.#binding.signal(this.#id, 0) === -constants.errno.ESRCH;
  }

  stopReading(): void {
    this.#binding.stopReading(this.#id);
  }

  keep(isKept: boolean): void {
    this.#binding.keep(this.#id, isKept ? 1 : 0);
  }
}

function readEnd(values: readonly unknown[], { captures }: LaunchResources): ProcessEnd {
  const stdout = values.at(ended.stdout) as Buffer | undefined;
  const stderr = values.at(ended.stderr) as Buffer | undefined;
  if (stdout !== undefined) captures.get(1)?.write(stdout);
  if (stderr !== undefined) captures.get(2)?.write(stderr);
  const numbers = values as readonly number[];
  const lost = numbers[ended.lost]!;
  return {
    ...exitStatusOf(numbers[ended.code]!, numbers[ended.status]!),
    outputHeldOpen: numbers.at(ended.heldOpen) !== 0,
    lostOutput: lost === 0 ? undefined : (lost & 1) !== 0 ? 'stdout' : 'stderr',
    inputWritten: numbers[ended.inputWritten]!,
    resourceUsage: {
      userMs: numbers[ended.userMs]!,
      systemMs: numbers[ended.systemMs]!,
      maxRssKib: numbers[ended.maxRssKib]!,
    },
  };
}
