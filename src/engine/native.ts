import { existsSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { capabilityNames } from '../capabilities.js';
import { LaunchError, PidFileError } from '../errors.js';
import { type Binding, type Native, watchEvents } from '../native/binding.js';
import type { LaunchPlan, Step } from '../plan.js';
import { type SignalName, signalName, signalNumber } from '../signals.js';
import { explainStepFailure } from './diagnose.js';
import type { StepName } from '../steps.js';
import { childFds, encode, gapsBetween, type Move, type Operation, orderMoves } from './encode.js';
import { closeFiles, type OpenFiles, openFiles } from './files.js';
import type { Engine, EngineProcess, LaunchResources, ProcessEnd, Refusal } from './types.js';

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

  refusal(plan: LaunchPlan): Refusal | undefined {
    for (const step of plan.steps) {
      const why = refusals[step.step]?.();
      if (why !== undefined) return { feature: step.by, why };
    }
    return undefined;
  }

  /** The steps that it refuses on this machine, each with the reason. */
  refuses(): Partial<Record<StepName, string>> {
    const refused = Object.entries(refusals).map(([step, ask]) => [step, ask()] as const);
    return Object.fromEntries(refused.filter(([, why]) => why !== undefined));
  }

  note({ step }: Step): string | undefined {
    const why = refusals[step]?.();
    return why === undefined ? undefined : `refused: ${why}`;
  }

  async launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
    const hasFiles = plan.descriptors.some(({ source }) => source.kind === 'file');
    const files: OpenFiles = hasFiles ? await openFiles(plan) : new Map();
    try {
      return await this.#launch(plan, files, resources);
    } finally {
      if (hasFiles) await closeFiles(files);
    }
  }

  #launch(plan: LaunchPlan, files: OpenFiles, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    const binding = this.#binding;
    const ends = this.#makeEnds(plan, files);
    const lane = plan.lane === 'helper' ? this.#slowLane(plan, ends) : this.#fastLane(plan, ends);
    const result = new Int32Array(RESULT_LENGTH);
    try {
      binding.launch(lane.program, result);
    } finally {
      binding.closeAll(Int32Array.from([...ends.theirs, ...lane.theirs]));
    }
    const [pid = 0, pidfd = -1, failed, step = -1, errno = 0, holder = 0] = result;
    if (failed !== 0) {
      binding.closeAll(Int32Array.from([...ends.ours.values(), lane.report]));
      throw failure(plan, { step, errno, holder });
    }
    if (pidfd < 0 && lane.report < 0) return daemonProcess(pid, ends);
    return new NativeProcess(binding, { pid, pidfd, report: lane.report }, plan, ends, resources).started;
  }

  // -------------------------------------------------------------- descriptors

  #makeEnds(plan: LaunchPlan, files: OpenFiles): Ends {
    const sources = new Map<number, number>();
    const ours = new Map<number, number>();
    const theirs: number[] = [];
    for (const { childFd, source } of plan.descriptors) {
      switch (source.kind) {
        case 'null':
          this.#nullFd ??= openSync('/dev/null', 'r+');
          sources.set(childFd, this.#nullFd);
          break;
        case 'fd':
          sources.set(childFd, source.fd);
          break;
        case 'file':
          sources.set(childFd, files.get(childFd)?.fd ?? -1);
          break;
        case 'stdout':
          sources.set(childFd, sources.get(1) ?? -1);
          break;
        case 'pipe': {
          const pipe = new Int32Array(2);
          const errno = this.#binding.pipe(pipe);
          if (errno !== 0) {
            this.#binding.closeAll(Int32Array.from([...ours.values(), ...theirs]));
            throw new LaunchError(plan.subject, { step: 'pipe', errno: getSystemErrorName(-errno) });
          }
          const [readEnd = -1, writeEnd = -1] = pipe;
          const [our, their] = childFd === 0 ? [writeEnd, readEnd] : [readEnd, writeEnd];
          ours.set(childFd, our);
          theirs.push(their);
          sources.set(childFd, their);
        }
      }
    }
    return { sources, ours, theirs };
  }

  // -------------------------------------------------------------- lanes

  #fastLane(plan: LaunchPlan, { sources }: Ends): Lane {
    const { file, argv, steps } = plan;
    const { envp, operations } = operationsOf(plan, steps, 0, moves(plan, sources));
    return { program: encode({ file, argv, envp, operations }), report: -1, theirs: [] };
  }

  #slowLane(plan: LaunchPlan, { sources }: Ends): Lane {
    const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
    const { file, argv } = plan;
    const { envp, operations } = operationsOf(plan, plan.steps.slice(placed), placed, []);
    const planFd = this.#binding.memoryFile(encode({ file, argv, envp, operations }));
    const pipe = new Int32Array([-1, -1]);
    const errno = planFd < 0 ? -planFd : this.#binding.pipe(pipe);
    const [report = -1, reportEnd = -1] = pipe;
    if (errno !== 0) {
      this.#binding.closeAll(Int32Array.from([planFd]));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: getSystemErrorName(-errno) });
    }
    // The helper's own two descriptors take numbers that the program does not have.
    const taken = new Set([...sources.keys(), ...sources.values(), planFd, reportEnd]);
    const [planAt, reportAt] = [unused(taken), unused(taken)];
    const all = [...moves(plan, sources), { from: planFd, to: planAt }, { from: reportEnd, to: reportAt }];
    const first = operationsOf(plan, plan.steps.slice(0, placed), 0, all);
    const execute: Operation = { code: 'execve', step: -1 >>> 0 };
    const program = encode({
      file: this.#helper,
      argv: ['vircommand-helper', String(planAt), String(reportAt)].map((word) => Buffer.from(word)),
      envp: [],
      operations: [...first.operations, execute],
    });
    return { program, report, theirs: [planFd, reportEnd] };
  }
}

/** A plan, ready for the child, and the reading end of the helper's report. */
interface Lane {
  readonly program: Buffer;
  readonly report: number;
  readonly theirs: readonly number[];
}

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

function operationsOf(plan: LaunchPlan, steps: readonly Step[], offset: number, moved: readonly Move[]): { envp: readonly Uint8Array[]; operations: Operation[] } {
  const listens = steps.some(({ step }) => step === 'listen_pid');
  const envp = listens ? [...plan.envp, Buffer.from(LISTEN_PID_ROOM)] : plan.envp;
  const operations = steps.flatMap((step, index) => operationsFor(step, plan, moved).map((operation) => ({ ...operation, step: offset + index })));
  return { envp, operations };
}

type Unplaced = Omit<Operation, 'step'>;

function operationsFor(step: Step, plan: LaunchPlan, moved: readonly Move[]): Unplaced[] {
  const code = step.step;
  switch (code) {
    case 'dup2':
      return orderMoves(moved).map(({ from, to }) => ({ code, a: from, b: to }));
    case 'close_range':
      return gapsBetween(moved.map(({ to }) => to)).map(({ first, last }) => ({ code, a: first, b: last }));
    case 'cgroup':
      return [{ code, text: `${step.directory}/cgroup.procs`, count: step.directory.length + 13 }];
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
      return [{ code, a: capabilityBits(step.keep), b: toleratesNothing(plan) ? 1 : 0 }];
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
const toleratesNothing = ({ steps }: LaunchPlan): boolean => process.geteuid?.() !== 0 && !steps.some(({ step }) => step === 'setuid' || step === 'setgid' || step === 'cap_ambient');

// ---------------------------------------------------------------- refusals and failures

const refusals: Partial<Record<Step['step'], () => string | undefined>> = {
  hook: () => 'this version has no hook runner yet',
  handshake: () => 'this version has no handshake yet',
  selinux: () => (existsSync('/sys/fs/selinux/enforce') ? undefined : 'SELinux is not enabled on this machine'),
  apparmor: () => (existsSync('/proc/self/attr/apparmor') ? undefined : 'AppArmor is not enabled on this machine'),
};

function failure(plan: LaunchPlan, { step: index, errno: number, holder }: { step: number; errno: number; holder: number }): LaunchError | PidFileError {
  const errno = getSystemErrorName(-number);
  const step = plan.steps[index];
  if (step === undefined) return new LaunchError(plan.subject, { step: 'clone', errno });
  if (step.step === 'pidfile') {
    return errno === 'EAGAIN'
      ? new PidFileError(step.path, { heldBy: { pid: holder, command: undefined } }, plan.subject)
      : new PidFileError(step.path, { action: 'written', errno, syscall: 'open' }, plan.subject);
  }
  return new LaunchError(plan.subject, explainStepFailure(plan, step, errno));
}

// ---------------------------------------------------------------- running

/** A daemon is nobody's child any more: there is nothing to look after. */
function daemonProcess(pid: number, { ours }: Ends): EngineProcess {
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

interface Started {
  readonly pid: number;
  readonly pidfd: number;
  readonly report: number;
}

class NativeProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly ended: Promise<ProcessEnd>;
  /** Resolves when the program runs: at once in the fast lane, on the helper's report in the slow one. */
  readonly started: Promise<EngineProcess> | EngineProcess;
  readonly #binding: Binding;
  readonly #plan: LaunchPlan;
  readonly #resources: LaunchResources;
  readonly #id: number;
  #end: (end: ProcessEnd) => void = () => undefined;
  #begin: (failure: Error | undefined) => void = () => undefined;

  constructor(binding: Binding, { pid, pidfd, report }: Started, plan: LaunchPlan, { ours }: Ends, resources: LaunchResources) {
    this.pid = pid;
    this.#binding = binding;
    this.#plan = plan;
    this.#resources = resources;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.started =
      report < 0
        ? this
        : new Promise((resolve, reject) => {
            this.#begin = (error) => {
              if (error === undefined) resolve(this);
              else reject(error);
            };
          });

    const forCaller = new Set(plan.descriptors.filter(({ source }) => source.kind === 'pipe' && source.for === 'caller').map(({ childFd }) => childFd));
    const { stdin, stdout, stderr } = callerStreams(ours, forCaller);
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    const own = (childFd: number): number => (forCaller.has(childFd) ? -1 : (ours.get(childFd) ?? -1));
    const streamed = (fd: 1 | 2): number => (resources.captures.get(fd)?.isWatched === true ? 1 : 0);
    const input = resources.input === undefined ? undefined : Buffer.from(resources.input.buffer, resources.input.byteOffset, resources.input.byteLength);
    const fds = Int32Array.of(pidfd, report, own(0), own(1), own(2), streamed(1), streamed(2), resources.waitForOutputEnd ? 1 : 0);
    this.#id = binding.watch(fds, input, this.#onEvent);
    if (this.#id < 0) {
      // The child runs, and nobody could look after it.
      process.kill(pid, 'SIGKILL');
      for (const stream of [stdin, stdout, stderr]) stream?.destroy();
      binding.closeAll(fds.subarray(0, 5));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: getSystemErrorName(this.#id), syscall: 'epoll_ctl' });
    }
  }

  signal(name: SignalName): boolean {
    const errno = -this.#binding.signal(this.#id, signalNumber(name) ?? 0);
    if (errno === 0) return true;
    if (errno === constants.errno.ESRCH) return false;
    throw Object.assign(new Error(`Cannot send ${name} to process ${this.pid} (pidfd_send_signal: ${getSystemErrorName(-errno)}).`), { code: getSystemErrorName(-errno) });
  }

  stopReading(): void {
    this.#binding.stopReading(this.#id);
  }

  ref(): void {
    this.#binding.keep(this.#id, 1);
  }

  unref(): void {
    this.#binding.keep(this.#id, 0);
  }

  readonly #onEvent = (event: number, ...values: unknown[]): void => {
    switch (event) {
      case watchEvents.report: {
        const [failed = 0, step = 0, errno = 0] = values as number[];
        this.#begin(failed === 0 ? undefined : failure(this.#plan, { step, errno, holder: 0 }));
        break;
      }
      case watchEvents.output: {
        const [stream, bytes] = values as [number, Buffer];
        this.#resources.captures.get(stream === 0 ? 1 : 2)?.write(bytes);
        break;
      }
      case watchEvents.end:
        this.#onEnd(values as [number, number, number, number, number, number, number, Buffer, Buffer]);
    }
  };

  #onEnd([code, status, heldOpen, inputWritten, userMs, systemMs, maxRssKib, out, err]: [number, number, number, number, number, number, number, Buffer, Buffer]): void {
    if (out.length > 0) this.#resources.captures.get(1)?.write(out);
    if (err.length > 0) this.#resources.captures.get(2)?.write(err);
    const exited = code === CLD_EXITED;
    this.#end({
      exitCode: exited ? status : null,
      signal: exited ? null : signalName(status),
      coreDumped: code === CLD_DUMPED,
      outputHeldOpen: heldOpen !== 0,
      inputWritten,
      resourceUsage: { userMs, systemMs, maxRssKib },
    });
  }
}
