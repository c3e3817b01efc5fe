import { constants } from 'node:os';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { errnoName } from '../errno.js';
import { type CommandError, LaunchError, PidFileError, type Subject, UsageError } from '../errors.js';
import { type Binding, watchEvents } from '../native/binding.js';
import { takeProblem } from '../pidfile-problem.js';
import type { LaunchPlan } from '../plan.js';
import { type SignalName, signalName, signalNumber } from '../signals.js';
import type { StepName } from '../steps.js';
import { explainStepFailure } from './diagnose.js';
import type { HandshakeEnds } from './operations.js';
import type { EngineProcess, Handshake, HookWatch, LaunchResources, ProcessEnd, SyncProcess } from './types.js';

/** How a process ended, by `si_code`. */
const CLD_EXITED = 1;
const CLD_DUMPED = 3;

/** Something for each of a child's standard streams, by its number. */
export type Triple = [stdin: number, stdout: number, stderr: number];

/** Our ends of a child's pipes; -1 where there is none. */
export interface OurEnds {
  /** Those that the watcher writes to and reads from. */
  readonly ours: Readonly<Triple>;
  /** Those that the caller gets, as streams. */
  readonly callers: Readonly<Triple>;
}

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

/** What a step that failed is to the caller. */
export function failure(plan: LaunchPlan, { step: index, errno: number, detail }: { step: number; errno: number; detail: number }): CommandError {
  const errno = errnoName(number);
  const step = plan.steps[index];
  if (step === undefined && number === 0) return new LaunchError(plan.subject, { step: 'execve', wasEnded: true });
  if (step === undefined) return new LaunchError(plan.subject, { step: 'clone', errno });
  if (step.step === 'pidfile') return new PidFileError(step.path, takeProblem(number, detail), plan.subject);
  return new LaunchError(plan.subject, explainStepFailure(plan, step, errno));
}

/** A daemon is nobody's child any more: there is nothing to look after. */
export function daemonProcess({ pid, callers }: Started): EngineProcess {
  return {
    pid,
    stdin: streamOf(callers, 0),
    stdout: streamOf(callers, 1),
    stderr: streamOf(callers, 2),
    ended: new Promise<never>(() => undefined),
    signal: (name) => process.kill(pid, name),
    stopReading: () => undefined,
    ref: () => undefined,
    unref: () => undefined,
  };
}

function streamOf(callers: Readonly<Triple>, childFd: 0 | 1 | 2): Socket | null {
  const fd = callers[childFd];
  if (fd < 0) return null;
  const socket = new Socket({ fd, readable: childFd > 0, writable: childFd === 0 });
  // A child that does not read is no failure of ours; it shows in the callbacks of what the caller writes.
  socket.on('error', () => undefined);
  return socket;
}

/** What the watcher tells of a child, beside its output, which goes where the plan says. */
interface Listener {
  /** The helper's report: the failure, or that the program was executed. */
  readonly onReport: (failure: CommandError | undefined) => void;
  /** Before that: the child has said that the exec comes next. */
  readonly onAnnounced?: () => void;
  readonly onEnd: (end: ProcessEnd) => void;
}

/** What {@link Binding.watch} is told, in an array that is used again. */
const watched = new Int32Array(10);

/** A child in the care of the watcher. */
class Watch {
  readonly #binding: Binding;
  readonly #pid: number;
  readonly #id: number;
  /** The report of a daemon, as long as it has not come: the only thing by which a daemon is surely known. */
  #daemonReport: number;

  /** @throws {LaunchError} if the watcher cannot take the child; it is ended then. */
  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources, { waits, ...listener }: Listener & { waits: boolean }) {
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
    const errno = -(this.#daemonReport < 0 ? this.#binding.signal(this.#id, number) : this.#binding.signalDaemon(this.#pid, this.#daemonReport, number));
    if (errno === 0) return true;
    if (errno === constants.errno.ESRCH) return false;
    const code = errnoName(errno);
    throw Object.assign(new Error(`Cannot send ${name} to process ${this.#pid} (pidfd_send_signal: ${code}).`), { code });
  }

  stopReading(): void {
    this.#binding.stopReading(this.#id);
  }

  keep(isKept: boolean): void {
    this.#binding.keep(this.#id, isKept ? 1 : 0);
  }
}

type EndValues = [code: number, status: number, heldOpen: number, lost: number, inputWritten: number, userMs: number, systemMs: number, maxRssKib: number, out?: Buffer, err?: Buffer];

function readEnd([code, status, heldOpen, lost, inputWritten, userMs, systemMs, maxRssKib, out, err]: EndValues, { captures }: LaunchResources): ProcessEnd {
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

const NOTHING_TO_REPORT = Promise.resolve(undefined);

/** A child in the care of the event loop. */
export class NativeProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly ended: Promise<ProcessEnd>;
  readonly handshake?: NativeHandshake;
  /** Resolves when the program runs: at once in the fast lane, on the helper's report in the slow one, and when it is ready if it shakes hands. */
  readonly started: EngineProcess | Promise<EngineProcess>;
  readonly #watch: Watch;

  /** `removePidFile` takes back what a daemon could not: it has other ids by the time that it fails, or was ended. */
  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources, removePidFile: () => Promise<void>) {
    this.pid = started.pid;
    let onEnd = (_end: ProcessEnd): void => undefined;
    this.ended = new Promise((resolve) => {
      onEnd = resolve;
    });
    let report = (_failure: CommandError | undefined): void => undefined;
    // In the fast lane nobody reports.
    const reported = started.report < 0 ? NOTHING_TO_REPORT : new Promise<CommandError | undefined>((resolve) => (report = resolve));
    const onReport = (error: CommandError | undefined): void => {
      const tell = (): void => {
        if (this.handshake !== undefined) this.handshake.failure = error;
        report(error);
      };
      if (error !== undefined && failedAfterPidFile(plan, error)) void removePidFile().then(tell);
      else tell();
    };
    const onAnnounced = (): void => {
      if (this.handshake !== undefined) this.handshake.wasPassed = true;
    };
    this.#watch = new Watch(binding, started, plan, resources, { waits: false, onReport, onAnnounced, onEnd });
    this.stdin = streamOf(started.callers, 0);
    this.stdout = streamOf(started.callers, 1);
    this.stderr = streamOf(started.callers, 2);
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
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
    await this.ended;
    throw error;
  }

  signal(name: SignalName): boolean {
    return this.#watch.signal(name);
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
  return mode === 'daemon' && error instanceof LaunchError && placeOf('pidfile') >= 0 && placeOf(error.step) > placeOf('pidfile');
}

/** Two pipes and two bytes: the helper says that all is ready, and waits for our word. */
class NativeHandshake implements Handshake {
  failure: CommandError | undefined;
  /** Whether the child came to its exec. */
  wasPassed = false;
  readonly #ready: Promise<void>;
  readonly #go: Socket;
  readonly #reported: Promise<CommandError | undefined>;
  readonly #subject: Subject;
  /** Who waits for the report wants this process to live until then, even if the child may outlive it. */
  readonly #keepAlive: () => void;
  #word: 'go' | 'stop' | undefined;

  constructor({ ready, go }: HandshakeEnds, subject: Subject, reported: Promise<CommandError | undefined>, keepAlive: () => void) {
    this.#subject = subject;
    this.#keepAlive = keepAlive;
    this.#reported = reported;
    this.#go = new Socket({ fd: go, readable: false, writable: true });
    this.#go.on('error', () => undefined);
    const socket = new Socket({ fd: ready, readable: true, writable: false });
    this.#ready = new Promise((resolve, reject) => {
      socket.once('data', () => {
        resolve();
        socket.destroy();
      });
      // The end without a byte: the child died, or one of its steps failed, which its report tells.
      socket.once('end', () => {
        void reported.then((error) => {
          this.#go.destroy();
          reject(error ?? this.#died());
        });
      });
    });
    this.#ready.catch(() => undefined);
  }

  get isPending(): boolean {
    return this.#word === undefined;
  }

  wait(): Promise<void> {
    return this.#ready;
  }

  async notify(): Promise<void> {
    await this.#ready;
    if (this.#word !== undefined) {
      const problem = this.#word === 'go' ? 'the handshake is complete already; say it once' : 'the handshake was given up, and the program will not run; start it anew';
      throw new UsageError(this.#subject, [{ call: 'handshakeNotify()', problem }]);
    }
    this.#word = 'go';
    this.#keepAlive();
    this.#go.end('1');
    const error = await this.#reported;
    if (error !== undefined) throw error;
    // A child that was ended while it waited reports nothing.
    if (!this.wasPassed) throw new LaunchError(this.#subject, { step: 'execve', wasEnded: true });
  }

  async abort(): Promise<void> {
    if (this.#word === 'go') {
      throw new UsageError(this.#subject, [{ call: 'handshakeAbort()', problem: 'the handshake is complete already; end the program with killPainfully()' }]);
    }
    this.#word = 'stop';
    this.#keepAlive();
    // The end of the pipe is the word for no.
    this.#go.destroy();
    await this.#reported;
  }

  #died(): LaunchError {
    return new LaunchError(this.#subject, { step: 'handshake', errno: 'EPIPE', wanted: 'come to its handshake, for it died before' });
  }
}

/** A child that is waited for turn by turn. */
export class NativeSyncProcess implements SyncProcess {
  readonly pid: number;
  readonly #binding: Binding;
  readonly #watch: Watch;
  #end: ProcessEnd | undefined;

  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources) {
    this.pid = started.pid;
    this.#binding = binding;
    let report: { readonly failure: CommandError | undefined } | undefined = started.report < 0 ? { failure: undefined } : undefined;
    this.#watch = new Watch(binding, started, plan, resources, {
      waits: true,
      onReport: (error) => {
        report = { failure: error };
      },
      onEnd: (end) => {
        this.#end = end;
      },
    });
    const isSettled = (): boolean => report !== undefined && (report.failure === undefined || this.#end !== undefined);
    // Only a hook can take long.
    const limitMs = plan.lane === 'hook-runner' ? plan.spec.timeoutMs : undefined;
    const deadline = limitMs === undefined ? Infinity : performance.now() + limitMs;
    let isLate = false;
    while (!isSettled()) {
      const restMs = isLate ? Infinity : deadline - performance.now();
      binding.turn(restMs === Infinity ? -1 : Math.max(0, Math.ceil(restMs)));
      if (isLate || isSettled() || performance.now() < deadline) continue;
      isLate = this.#watch.signal('SIGKILL');
    }
    if (isLate) throw new LaunchError(plan.subject, { step: 'hook', hook: { what: 'timeout', limitMs: limitMs ?? 0 } });
    if (report?.failure !== undefined) throw report.failure;
  }

  signal(name: SignalName): boolean {
    return this.#watch.signal(name);
  }

  stopReading(): void {
    this.#watch.stopReading();
  }

  turn(timeoutMs: number): ProcessEnd | undefined {
    if (this.#end === undefined) this.#binding.turn(timeoutMs);
    return this.#end;
  }
}
