import type { Writable } from 'node:stream';
import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { OutputPipe } from '../../io/output-pipe.js';
import { pipeStream } from '../../io/pipe-stream.js';
import type { Binding } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { KernelDevice } from '../../terminal/device.js';
import { Terminal } from '../../terminal/terminal.js';
import type { SignalName } from '../../text/signals.js';
import type { StepName } from '../../text/step-names.js';
import { drainPipe, inodeOf, mayLeaveLog } from '../drain.js';
import type { EngineProcess, LaunchResources, PendingLaunch, ProcessEnd } from '../engine.js';
import { NativeHandshake } from './handshake.js';
import type { DaemonPidFile } from './stale-pidfile.js';
import { type Started, Watch } from './watch.js';

/** A daemon is nobody's child any more: there is nothing to look after. */
export function daemonProcess(started: Started): EngineProcess {
  const { pid } = started;
  return {
    pid,
    stdin: inputOf(started),
    stdout: outputOf(started, 1),
    stderr: outputOf(started, 2),
    terminal: null,
    ended: new Promise<never>(() => undefined),
    signal: (name) => process.kill(pid, name),
    isReaped: false,
    stopReading: () => undefined,
    ref: () => undefined,
    unref: () => undefined,
    handshake: undefined,
  };
}

function inputOf({ callers: [fd] }: Started): Writable | null {
  if (fd < 0) return null;
  const socket = pipeStream(fd, 'writable');
  // A child that does not read is no failure of ours; it shows in the callbacks of what the caller writes.
  socket.on('error', () => undefined);
  return socket;
}

function outputOf({ callers }: Started, childFd: 1 | 2): OutputPipe | null {
  const fd = callers[childFd];
  return fd < 0 ? null : new OutputPipe(pipeStream(fd, 'readable'));
}

/** This process's end of a terminal: for the caller, or for a capture, which takes what comes. */
function terminalOf(
  binding: Binding,
  { terminal }: Started,
  { spec: { terminal: size } }: LaunchPlan,
  { captures }: LaunchResources,
): Terminal | null {
  if (terminal === undefined || size === undefined) return null;
  const capture = captures.get(1);
  const device = new KernelDevice(binding, terminal.ours, terminal.programs);
  return new Terminal(device, size, capture === undefined ? undefined : (piece) => capture.write(piece));
}

/** A child that a thread of its own is about to make. */
export class PendingProcess implements PendingLaunch {
  /** Rejects where the launch has failed. */
  readonly process: Promise<EngineProcess>;
  readonly settled: Promise<void>;
  readonly #binding: Binding;
  readonly #isOurs: boolean;
  #isSettled = false;
  #process: EngineProcess | undefined;
  #resolve = (_process: EngineProcess): void => undefined;
  #reject = (_error: unknown): void => undefined;

  constructor(binding: Binding, { mode }: LaunchPlan) {
    this.#binding = binding;
    this.#isOurs = mode !== 'daemon';
    this.process = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const settle = (): void => undefined;
    this.settled = this.process.then(settle, settle);
  }

  /** The thread has told: takes what has become of the child into care. */
  settle(take: () => EngineProcess): void {
    this.#isSettled = true;
    try {
      this.#process = take();
      this.#resolve(this.#process);
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Whether nothing of it runs any more that is looked after here. */
  get isReaped(): boolean {
    return this.#isSettled && (!this.#isOurs || this.#process?.isReaped !== false);
  }

  get pid(): number {
    this.#binding.settle();
    return this.#process?.pid ?? 0;
  }

  signal(name: SignalName): boolean {
    this.#binding.settle();
    return this.#isOurs && this.#process?.signal(name) === true;
  }
}

const NOTHING_TO_REPORT = Promise.resolve(undefined);

/** A child in the care of the event loop. */
export class NativeProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: OutputPipe | null;
  readonly stderr: OutputPipe | null;
  readonly terminal: Terminal | null;
  readonly ended: Promise<ProcessEnd>;
  readonly handshake: NativeHandshake | undefined;
  /** Resolves when the program runs: at once in shared memory, on the report of the helper, and when it is ready if it shakes hands. */
  readonly started: EngineProcess | Promise<EngineProcess>;
  readonly leaveLog: () => boolean;
  readonly #watch: Watch;

  /** `pidFile` takes back what a daemon could not: it has other ids by the time that it fails, or was ended. */
  constructor(
    binding: Binding,
    started: Started,
    plan: LaunchPlan,
    resources: LaunchResources,
    pidFile: DaemonPidFile,
    drain: (pipe: number) => boolean,
  ) {
    this.pid = started.pid;
    const [, , log] = started.ours;
    const inode = mayLeaveLog(plan) ? inodeOf(log) : undefined;
    let isLogLeft = false;
    this.leaveLog = () => (isLogLeft ||= inode !== undefined && drainPipe(log, inode, drain));
    let onEnd = (_end: ProcessEnd): void => undefined;
    const terminal = terminalOf(binding, started, plan, resources);
    this.terminal = resources.captures.has(1) ? null : terminal;
    const onEndAndLog = (end: ProcessEnd, left: number): void => {
      // What the program left behind goes on writing as well.
      if (left >= 0 && !isLogLeft) drain(left);
      onEnd(terminal?.programEnded() === true ? { ...end, outputHeldOpen: true } : end);
    };
    this.ended = new Promise((resolve) => {
      onEnd = resolve;
      // Of a daemon, only the end of its report is known.
      if (started.pidfd < 0 || started.callers.every((fd) => fd < 0)) return;
      onEnd = (end) => {
        // Its input has no reader any more, even where another process holds the other end: child_process closes it at the exit, too.
        this.stdin?.destroy();
        this.stdout?.takeRest();
        this.stderr?.takeRest();
        resolve(end);
      };
    });
    let report = (_failure: CommandError | undefined): void => undefined;
    // In shared memory nobody reports.
    const reported =
      started.report < 0 ? NOTHING_TO_REPORT : new Promise<CommandError | undefined>((resolve) => (report = resolve));
    const onReport = (error: CommandError | undefined): void => {
      const tell = (): void => {
        pidFile.letGo();
        if (this.handshake !== undefined) this.handshake.failure = error;
        report(error);
      };
      if (error !== undefined && failedAfterPidFile(plan, error)) void pidFile.removeStale().then(tell);
      else tell();
    };
    const onAnnounced = (): void => {
      if (this.handshake !== undefined) this.handshake.wasPassed = true;
    };
    try {
      this.#watch = new Watch(binding, started, plan, resources, {
        waits: false,
        onReport,
        onAnnounced,
        onEnd: onEndAndLog,
      });
    } catch (error) {
      pidFile.letGo();
      throw error;
    }
    this.stdin = inputOf(started);
    this.stdout = outputOf(started, 1);
    this.stderr = outputOf(started, 2);
    if (started.handshake !== undefined) {
      this.handshake = new NativeHandshake(started.handshake, plan.subject, reported, () => {
        this.ref();
      });
    }
    this.started = started.report < 0 ? this : this.#begin(plan, reported);
  }

  async #begin(plan: LaunchPlan, reported: Promise<CommandError | undefined>): Promise<EngineProcess> {
    // A daemon's pidfile is written before its handshake, and the caller of run() may read it. A hook may fail before it.
    const waits = plan.mode === 'daemon' || plan.lane === 'hook-runner';
    const ready = this.handshake === undefined ? reported : waits ? this.handshake.wait() : undefined;
    const error = await ready?.catch((reason: unknown) => reason as CommandError);
    if (error === undefined) return this;
    for (const stream of [this.stdin, this.stdout, this.stderr, this.terminal]) stream?.destroy();
    await this.ended;
    throw error;
  }

  signal(name: SignalName): boolean {
    return this.#watch.signal(name);
  }

  get isReaped(): boolean {
    return this.#watch.isReaped;
  }

  stopReading(): void {
    this.#watch.stopReading();
  }

  ref(): void {
    this.#watch.keep(true);
  }

  unref(): void {
    this.#watch.keep(false);
  }
}

function failedAfterPidFile({ mode, steps }: LaunchPlan, error: CommandError): boolean {
  const placeOf = (name: StepName): number => steps.findIndex(({ step }) => step === name);
  return (
    mode === 'daemon' &&
    error instanceof LaunchError &&
    placeOf('pidfile') >= 0 &&
    placeOf(error.step) > placeOf('pidfile')
  );
}
