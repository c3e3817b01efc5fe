import { existsSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { isMainThread } from 'node:worker_threads';
import { capabilityNames } from '../capabilities.js';
import { errnoName } from '../errno.js';
import { type CommandError, LaunchError, PidFileError, type Subject, UsageError } from '../errors.js';
import { commandLineOf } from '../host.js';
import { type Binding, type Native, watchEvents } from '../native/binding.js';
import type { LaunchPlan, Step } from '../plan.js';
import { type SignalName, signalName, signalNumber } from '../signals.js';
import { explainStepFailure } from './diagnose.js';
import type { StepName } from '../steps.js';
import { childFds, encode, gapsBetween, type Move, type Operation, orderMoves } from './encode.js';
import { closeFiles, openFiles, openFilesSync } from './files.js';
import type { Engine, EngineProcess, Handshake, LaunchResources, ProcessEnd, Refusal, SyncProcess } from './types.js';

/** What the first process of a launch tells of itself: see `launch` of addon.c. */
const RESULT_LENGTH = 6;

/** How a process ended, by `si_code`. */
const CLD_EXITED = 1;
const CLD_DUMPED = 3;

/** The descriptors of one launch in this process. */
interface Ends {
  /** Where each descriptor of the child comes from. */
  readonly sources: ReadonlyMap<number, number>;
  /** Our ends of the pipes, by descriptor of the child. */
  readonly ours: ReadonlyMap<number, number>;
  /** The child's ends, which are closed here when it has its own. */
  readonly theirs: readonly number[];
}

/**
 * The engine for Linux: the child takes the plan's steps between clone and exec, by our own code.
 *
 * Plans that change privileges are taken in two halves: the first in shared memory, up to the point where all descriptors
 * are in place; the second by the helper, which the child executes first.
 */
export class NativeEngine implements Engine {
  readonly name = 'native';
  readonly usesLanes = true;
  readonly pidFileWriter = 'engine';
  readonly #binding: Binding;
  readonly #helper: string;
  #nullFd: number | undefined;

  constructor({ binding, helper }: Native) {
    this.#binding = binding;
    this.#helper = helper;
  }

  /** A worker's process.env is a copy of its own, which the kernel knows nothing of. */
  readonly environment = isMainThread ? () => this.#environment() : undefined;

  #environment(): Uint8Array[] {
    const bytes = this.#binding.environment();
    const entries: Uint8Array[] = [];
    for (let start = 0, at = 0; at < bytes.length; at += 1) {
      if (bytes[at] !== 0) continue;
      entries.push(bytes.subarray(start, at));
      start = at + 1;
    }
    return entries;
  }

  refusal(plan: LaunchPlan): Refusal | undefined {
    for (const step of plan.steps) {
      const why = refusals[step.step]?.(this.#binding);
      if (why !== undefined) return { feature: step.by, why };
    }
    return undefined;
  }

  /** The steps that it refuses on this machine, each with the reason. */
  refuses(): Partial<Record<StepName, string>> {
    const refused = Object.entries(refusals).map(([step, ask]) => [step, ask(this.#binding)] as const);
    return Object.fromEntries(refused.filter(([, why]) => why !== undefined));
  }

  note({ step }: Step): string | undefined {
    const why = refusals[step]?.(this.#binding);
    return why === undefined ? undefined : `refused: ${why}`;
  }

  async launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
    // Most plans have no files, and those that have wait for them off the event loop.
    if (!plan.descriptors.some(({ source }) => source.kind === 'file')) return this.#launch(plan, new Map(), resources);
    const files = await openFiles(plan);
    try {
      return await this.#launch(plan, new Map(Array.from(files, ([childFd, { fd }]) => [childFd, fd])), resources);
    } finally {
      await closeFiles(files);
    }
  }

  launchSync(plan: LaunchPlan, resources: LaunchResources): SyncProcess {
    const files = openFilesSync(plan);
    try {
      return new NativeSyncProcess(this.#binding, this.#start(plan, files, { waits: true }), plan, resources);
    } finally {
      this.#binding.closeAll(Int32Array.from(files.values()));
    }
  }

  #launch(plan: LaunchPlan, files: ReadonlyMap<number, number>, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    const started = this.#start(plan, files, { waits: false });
    if (started.pidfd < 0 && started.report < 0) return daemonProcess(started);
    return new NativeProcess(this.#binding, started, plan, resources).started;
  }

  /** Starts the child, and throws if a step of the fast lane failed. What the helper finds comes later, as a report. */
  #start(plan: LaunchPlan, files: ReadonlyMap<number, number>, { waits }: { waits: boolean }): Started {
    const binding = this.#binding;
    // What the child's end will need must be there before the child is.
    const errno = binding.ready(waits ? 1 : 0);
    if (errno !== 0) throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno), syscall: 'epoll_create1' });
    const ends = this.#makeEnds(plan, files);
    let lane: Lane | undefined;
    try {
      lane = plan.lane === 'helper' ? this.#slowLane(plan, ends) : this.#fastLane(plan, ends);
      const result = new Int32Array(RESULT_LENGTH);
      binding.launch(lane.program, result);
      const [pid = 0, pidfd = -1, failed, step = -1, errno = 0, holder = 0] = result;
      if (failed !== 0 && step === HELPER_STEP) throw new LaunchError(plan.subject, { step: 'execve', errno: errnoName(errno), path: this.#helper });
      if (failed !== 0) throw failure(plan, { step, errno, holder });
      return { pid, pidfd, report: lane.report, ours: ends.ours, ...(lane.handshake === undefined ? {} : { handshake: lane.handshake }) };
    } catch (error) {
      binding.closeAll(Int32Array.from([...ends.ours.values(), ...(lane?.ours ?? [])]));
      throw error;
    } finally {
      binding.closeAll(Int32Array.from([...ends.theirs, ...(lane?.theirs ?? [])]));
    }
  }

  // -------------------------------------------------------------- descriptors

  #makeEnds(plan: LaunchPlan, files: ReadonlyMap<number, number>): Ends {
    const sources = new Map<number, number>();
    const ours = new Map<number, number>();
    const theirs: number[] = [];
    for (const { childFd, source } of plan.descriptors) {
      switch (source.kind) {
        case 'null':
          sources.set(childFd, this.#nullDevice(plan, [...ours.values(), ...theirs]));
          break;
        case 'fd':
          sources.set(childFd, source.fd);
          break;
        case 'file':
          sources.set(childFd, files.get(childFd) ?? -1);
          break;
        case 'stdout':
          sources.set(childFd, sources.get(1) ?? -1);
          break;
        case 'pipe': {
          const { readEnd, writeEnd } = this.#pipe(plan, [...ours.values(), ...theirs]);
          const [our, their] = childFd === 0 ? [writeEnd, readEnd] : [readEnd, writeEnd];
          ours.set(childFd, our);
          theirs.push(their);
          sources.set(childFd, their);
        }
      }
    }
    return { sources, ours, theirs };
  }

  /** One descriptor of /dev/null serves all launches. */
  #nullDevice(plan: LaunchPlan, opened: readonly number[]): number {
    try {
      this.#nullFd ??= openSync('/dev/null', 'r+');
      return this.#nullFd;
    } catch (cause) {
      this.#binding.closeAll(Int32Array.from(opened));
      const { code = 'EIO' } = cause as NodeJS.ErrnoException;
      throw new LaunchError(plan.subject, { step: 'open', errno: code, path: '/dev/null', wanted: 'be opened', cause });
    }
  }

  /** Makes a pipe. Where there is none to be had, what was opened before is closed again. */
  #pipe(plan: LaunchPlan, opened: readonly number[]): { readEnd: number; writeEnd: number } {
    const ends = Int32Array.of(-1, -1);
    const errno = this.#binding.pipe(ends);
    if (errno !== 0) {
      this.#binding.closeAll(Int32Array.from(opened));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno) });
    }
    const [readEnd = -1, writeEnd = -1] = ends;
    return { readEnd, writeEnd };
  }

  // -------------------------------------------------------------- lanes

  #fastLane(plan: LaunchPlan, { sources }: Ends): Lane {
    const { file, argv, steps } = plan;
    const { envp, operations } = operationsOf(plan, steps, 0, { moves: moves(plan, sources) });
    return { program: encode({ file, argv, envp, operations }), report: -1, ours: [], theirs: [] };
  }

  #slowLane(plan: LaunchPlan, { sources }: Ends): Lane {
    const opened: number[] = [];
    const pipe = (): { readEnd: number; writeEnd: number } => {
      const ends = this.#pipe(plan, opened);
      opened.push(ends.readEnd, ends.writeEnd);
      return ends;
    };
    const report = pipe();
    const hands = plan.steps.some(({ step }) => step === 'handshake') ? { ready: pipe(), go: pipe() } : undefined;

    // The helper's own descriptors take numbers that the program does not have.
    const taken = new Set(sources.keys());
    const [planAt, reportAt, readyAt, goAt] = [unused(taken), unused(taken), unused(taken), unused(taken)];
    const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
    const { file, argv } = plan;
    const second = operationsOf(plan, plan.steps.slice(placed), placed, { moves: [], handshake: { ready: readyAt, go: goAt } });
    const planFd = this.#binding.memoryFile(encode({ file, argv, ...second }));
    if (planFd < 0) {
      this.#binding.closeAll(Int32Array.from(opened));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(planFd), syscall: 'memfd_create' });
    }

    const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
      moves: [
        ...moves(plan, sources),
        { from: planFd, to: planAt },
        { from: report.writeEnd, to: reportAt },
        ...(hands === undefined ? [] : [{ from: hands.ready.writeEnd, to: readyAt }, { from: hands.go.readEnd, to: goAt }]),
      ],
    });
    const program = encode({
      file: this.#helper,
      argv: ['vircommand-helper', String(planAt), String(reportAt)].map((word) => Buffer.from(word)),
      envp: [],
      operations: [...first.operations, { code: 'execve', step: HELPER_STEP }],
    });
    const theirs = [planFd, report.writeEnd];
    if (hands === undefined) return { program, report: report.readEnd, ours: [report.readEnd], theirs };
    const handshake = { ready: hands.ready.readEnd, go: hands.go.writeEnd };
    return {
      program,
      report: report.readEnd,
      handshake,
      ours: [report.readEnd, handshake.ready, handshake.go],
      theirs: [...theirs, hands.ready.writeEnd, hands.go.readEnd],
    };
  }
}

/** A plan, ready for the child, with the descriptors that the lane itself needs. */
interface Lane {
  readonly program: Buffer;
  /** The reading end of the helper's report; -1 in the fast lane. */
  readonly report: number;
  readonly handshake?: HandshakeEnds;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** Our ends of a handshake: one byte comes, one goes. */
interface HandshakeEnds {
  readonly ready: number;
  readonly go: number;
}

/** A child as it was started, with our ends of its pipes. */
interface Started {
  readonly pid: number;
  /** -1 for a daemon. */
  readonly pidfd: number;
  readonly report: number;
  readonly ours: ReadonlyMap<number, number>;
  readonly handshake?: HandshakeEnds;
}

/** The place of what belongs to no step of the plan: to execute the helper. */
const HELPER_STEP = 0x7fff_ffff;

function unused(taken: Set<number>): number {
  let number = 3;
  while (taken.has(number)) number += 1;
  taken.add(number);
  return number;
}

const moves = (plan: LaunchPlan, sources: ReadonlyMap<number, number>): Move[] =>
  childFds(plan.descriptors).map((to) => ({ from: sources.get(to) ?? -1, to }));

// ---------------------------------------------------------------- steps into operations

/** Wide enough for every pid; the child writes its own into it. */
const LISTEN_PID_ROOM = `LISTEN_PID=${'0'.repeat(20)}`;

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** The numbers that the steps work on: known only when all descriptors are open. */
interface Numbers {
  readonly moves: readonly Move[];
  readonly handshake?: HandshakeEnds;
}

function operationsOf(plan: LaunchPlan, steps: readonly Step[], offset: number, numbers: Numbers): { envp: readonly Uint8Array[]; operations: Operation[] } {
  const listens = steps.some(({ step }) => step === 'listen_pid');
  const envp = listens ? [...plan.envp, Buffer.from(LISTEN_PID_ROOM)] : plan.envp;
  const operations: Operation[] = [];
  for (const [index, step] of steps.entries()) {
    for (const { code, a, b, text, count } of operationsFor(step, plan, numbers)) operations.push({ code, step: offset + index, a, b, text, count });
  }
  return { envp, operations };
}

type Unplaced = Omit<Operation, 'step'>;

function operationsFor(step: Step, plan: LaunchPlan, numbers: Numbers): Unplaced[] {
  const code = step.step;
  switch (code) {
    case 'dup2':
      return orderMoves(numbers.moves).map(({ from, to }) => ({ code, a: from, b: to }));
    case 'close_range':
      return gapsBetween(numbers.moves.map(({ to }) => to)).map(({ first, last }) => ({ code, a: first, b: last }));
    case 'cgroup':
      return [{ code, text: `${step.directory}/cgroup.procs` }];
    case 'umask':
      return [{ code, a: step.mask }];
    case 'setpriority':
      return [{ code, a: step.nice }];
    case 'oom_score_adj':
      return [{ code, text: String(step.score) }];
    case 'sched_core':
      return [{ code, a: step.among ?? 0 }];
    case 'prlimit':
      return [{ code, a: limitBits(step.limit.soft), b: limitBits(step.limit.hard), count: resources[step.limit.resource] }];
    case 'listen_pid':
      return [{ code, a: plan.envp.length }];
    case 'selinux':
      return [{ code, text: step.label }];
    case 'apparmor':
      return [{ code, text: `exec ${step.label}` }];
    case 'capbset_drop':
      return [{ code, a: capabilityBits(step.keep), b: mayLackPrivileges(plan) ? 1 : 0 }];
    case 'capset':
    case 'cap_ambient':
      return [{ code, a: capabilityBits(step.keep) }];
    case 'setgroups':
      return [{ code, text: step.groups }];
    case 'setgid':
      return [{ code, a: step.id }];
    case 'setuid':
      return [{ code, a: step.id, b: plan.spec.allowCaps === undefined ? 0 : 1 }];
    case 'chdir':
    case 'pidfile':
      return [{ code, text: step.path }];
    case 'handshake':
      return [{ code, a: numbers.handshake?.ready ?? 0, b: numbers.handshake?.go ?? 0 }];
    case 'pdeathsig':
      return [{ code, a: signalNumber(step.signal) ?? 0, b: process.pid }];
    default:
      return [{ code }];
  }
}

/** The numbers of the kernel. They are the same on x86-64 and arm64. */
const resources = {
  cpu: 0, fsize: 1, data: 2, stack: 3, core: 4, rss: 5, nproc: 6, nofile: 7,
  memlock: 8, as: 9, locks: 10, sigpending: 11, msgqueue: 12, nice: 13, rtprio: 14, rttime: 15,
} as const;

const limitBits = (value: number | string): bigint => (value === 'unlimited' ? UNLIMITED : BigInt(value));

const capabilityBits = (names: readonly string[]): bigint =>
  names.reduce((bits, name) => bits | (1n << BigInt((capabilityNames as readonly string[]).indexOf(name))), 0n);

/** libvirt lets a caller without privileges drop the privileges that it does not have, as long as nothing else was asked. */
const mayLackPrivileges = ({ steps }: LaunchPlan): boolean => process.geteuid?.() !== 0 && !steps.some(({ step }) => step === 'setuid' || step === 'setgid' || step === 'cap_ambient');

// ---------------------------------------------------------------- refusals and failures

const refusals: Partial<Record<Step['step'], (binding: Binding) => string | undefined>> = {
  sched_core: (binding) =>
    binding.hasCoreScheduling() ? undefined : 'there is no core scheduling on this machine: it takes a kernel with CONFIG_SCHED_CORE, and a processor with several threads to a core',
  hook: () => 'this version has no hook runner yet',
  selinux: () => (existsSync('/sys/fs/selinux/enforce') ? undefined : 'SELinux is not enabled on this machine'),
  apparmor: () => (existsSync('/proc/self/attr/apparmor') ? undefined : 'AppArmor is not enabled on this machine'),
};

function failure(plan: LaunchPlan, { step: index, errno: number, holder }: { step: number; errno: number; holder: number }): CommandError {
  const errno = errnoName(number);
  const step = plan.steps[index];
  if (step === undefined) return new LaunchError(plan.subject, { step: 'clone', errno });
  if (step.step === 'pidfile') {
    return errno === 'EAGAIN'
      ? new PidFileError(step.path, { heldBy: { pid: holder, command: commandLineOf(holder) } }, plan.subject)
      : new PidFileError(step.path, { action: 'written', errno, syscall: 'open' }, plan.subject);
  }
  return new LaunchError(plan.subject, explainStepFailure(plan, step, errno));
}

// ---------------------------------------------------------------- running

/** A daemon is nobody's child any more: there is nothing to look after. */
function daemonProcess({ pid, ours }: Started): EngineProcess {
  return {
    pid,
    ...callerStreams(ours, new Set(ours.keys())),
    ended: new Promise<never>(() => undefined),
    signal: (name) => process.kill(pid, name),
    stopReading: () => undefined,
    ref: () => undefined,
    unref: () => undefined,
  };
}

interface CallerStreams {
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
}

function callerStreams(ours: ReadonlyMap<number, number>, forCaller: ReadonlySet<number>): CallerStreams {
  const stream = (childFd: number): Socket | null => {
    const fd = ours.get(childFd);
    if (fd === undefined || !forCaller.has(childFd)) return null;
    const socket = new Socket({ fd, readable: childFd > 0, writable: childFd === 0 });
    // A child that does not read is no failure of ours; it shows in the callbacks of what the caller writes.
    socket.on('error', () => undefined);
    return socket;
  };
  return { stdin: stream(0), stdout: stream(1), stderr: stream(2) };
}

const callerFds = ({ descriptors }: LaunchPlan): ReadonlySet<number> =>
  new Set(descriptors.filter(({ source }) => source.kind === 'pipe' && source.for === 'caller').map(({ childFd }) => childFd));

/** What the watcher tells of a child, beside its output, which goes where the plan says. */
interface Listener {
  /** The helper's report: the failure, or that the program was executed. */
  readonly onReport: (failure: CommandError | undefined) => void;
  readonly onEnd: (end: ProcessEnd) => void;
}

/** A child in the care of the watcher. */
class Watch {
  readonly #binding: Binding;
  readonly #pid: number;
  readonly #id: number;

  /** @throws {LaunchError} if the watcher cannot take the child; it is ended then. */
  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources, { waits, ...listener }: Listener & { waits: boolean }) {
    const { pid, pidfd, report, ours } = started;
    this.#binding = binding;
    this.#pid = pid;
    const forCaller = callerFds(plan);
    const own = (childFd: number): number => (forCaller.has(childFd) ? -1 : (ours.get(childFd) ?? -1));
    const streamed = (fd: 1 | 2): number => (resources.captures.get(fd)?.isWatched === true ? 1 : 0);
    const fds = Int32Array.of(pidfd, report, own(0), own(1), own(2), streamed(1), streamed(2), resources.waitForOutputEnd ? 1 : 0, waits ? 1 : 0);
    const { input } = resources;
    const bytes = input === undefined ? undefined : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    this.#id = binding.watch(fds, bytes, (event: number, ...values: unknown[]) => {
      switch (event) {
        case watchEvents.report: {
          const [failed = 0, step = 0, errno = 0, holder = 0] = values as number[];
          listener.onReport(failed === 0 ? undefined : failure(plan, { step, errno, holder }));
          break;
        }
        case watchEvents.output: {
          const [stream, piece] = values as [number, Buffer];
          resources.captures.get(stream === 0 ? 1 : 2)?.write(piece);
          break;
        }
        case watchEvents.end:
          listener.onEnd(readEnd(values as EndValues, resources));
      }
    });
    if (this.#id < 0) {
      // The child runs, and nobody could look after it, nor would anybody ever reap it.
      if (pidfd >= 0) binding.undo(pidfd);
      else process.kill(pid, 'SIGKILL');
      binding.closeAll(Int32Array.from([report, ...ours.values(), started.handshake?.ready ?? -1, started.handshake?.go ?? -1]));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(this.#id), syscall: 'epoll_ctl' });
    }
  }

  signal(name: SignalName): boolean {
    const errno = -this.#binding.signal(this.#id, signalNumber(name) ?? 0);
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

type EndValues = [code: number, status: number, heldOpen: number, inputWritten: number, userMs: number, systemMs: number, maxRssKib: number, out: Buffer, err: Buffer];

function readEnd([code, status, heldOpen, inputWritten, userMs, systemMs, maxRssKib, out, err]: EndValues, { captures }: LaunchResources): ProcessEnd {
  if (out.length > 0) captures.get(1)?.write(out);
  if (err.length > 0) captures.get(2)?.write(err);
  const exited = code === CLD_EXITED;
  return {
    exitCode: exited ? status : null,
    // Code 0: somebody else in this process has reaped it, and nobody knows how it ended.
    signal: exited || code === 0 ? null : signalName(status),
    coreDumped: code === CLD_DUMPED,
    outputHeldOpen: heldOpen !== 0,
    inputWritten,
    resourceUsage: { userMs, systemMs, maxRssKib },
  };
}

class NativeProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly ended: Promise<ProcessEnd>;
  readonly handshake?: NativeHandshake;
  /** Resolves when the program runs: at once in the fast lane, on the helper's report in the slow one, and when it is ready if it shakes hands. */
  readonly started: EngineProcess | Promise<EngineProcess>;
  readonly #watch: Watch;

  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources) {
    this.pid = started.pid;
    let end: (end: ProcessEnd) => void = () => undefined;
    let report: (failure: CommandError | undefined) => void = () => undefined;
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    const reported = new Promise<CommandError | undefined>((resolve) => {
      report = resolve;
    });
    this.#watch = new Watch(binding, started, plan, resources, {
      waits: false,
      onReport: (error) => {
        if (this.handshake !== undefined) this.handshake.failure = error;
        report(error);
      },
      onEnd: end,
    });
    const { stdin, stdout, stderr } = callerStreams(started.ours, callerFds(plan));
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    if (started.handshake !== undefined) {
      this.handshake = new NativeHandshake(started.handshake, plan.subject, reported, () => {
        this.ref();
      });
    }
    this.started = started.report < 0 ? this : this.#begin(plan, reported);
  }

  async #begin(plan: LaunchPlan, reported: Promise<CommandError | undefined>): Promise<EngineProcess> {
    if (this.handshake !== undefined) {
      // A daemon's pidfile is written before its handshake, and the caller of run() may read it.
      if (plan.mode === 'daemon') await this.handshake.wait();
      return this;
    }
    const error = await reported;
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

/** Two pipes and two bytes: the helper says that all is ready, and waits for our word. */
class NativeHandshake implements Handshake {
  failure: CommandError | undefined;
  readonly #ready: Promise<void>;
  readonly #go: Socket;
  readonly #reported: Promise<CommandError | undefined>;
  readonly #subject: Subject;
  /** Who waits for the report wants this process to live until then, even if the child may outlive it. */
  readonly #keepAlive: () => void;
  #isNotified = false;

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
    return !this.#isNotified;
  }

  wait(): Promise<void> {
    return this.#ready;
  }

  async notify(): Promise<void> {
    await this.#ready;
    if (this.#isNotified) {
      throw new UsageError(this.#subject, [{ call: 'handshakeNotify()', problem: 'the handshake is complete already; say it once' }]);
    }
    this.#isNotified = true;
    this.#keepAlive();
    this.#go.end('1');
    const error = await this.#reported;
    if (error !== undefined) throw error;
  }

  #died(): LaunchError {
    return new LaunchError(this.#subject, { step: 'handshake', errno: 'EPIPE', wanted: 'come to its handshake, for it died before' });
  }
}

class NativeSyncProcess implements SyncProcess {
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
    while (!isSettled()) binding.turn(-1);
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
