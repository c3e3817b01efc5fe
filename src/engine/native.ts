import { constants, existsSync, openSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { errnoName } from '../errno.js';
import { type CommandError, LaunchError, PidFileError } from '../errors.js';
import type { Binding, Native } from '../native/binding.js';
import { chooseLane, type LaunchPlan, type Step } from '../plan.js';
import type { StepName } from '../steps.js';
import { childFds, encode, type Move } from './encode.js';
import { closeFiles, openFiles, openFilesSync } from './files.js';
import { daemonProcess, failure, NativeProcess, NativeSyncProcess, type Started } from './native-process.js';
import { type HandshakeEnds, operationsOf } from './operations.js';
import type { Engine, EngineProcess, LaunchResources, Refusal, SyncProcess } from './types.js';

/** What the first process of a launch tells of itself: see `launch` of addon.c. */
const RESULT_LENGTH = 6;

/** How a file is read that somebody else may have put there: through no link, and without waiting for a FIFO. */
const PLAIN_FILE = { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK } as const;

/** How often, and after how long, a pidfile is looked at again that a daemon which failed is about to let go. */
const RELEASE_LOOKS = 1000;
const RELEASE_LOOK_MS = 1;

/** What a launch needs that nobody feeds or listens to. */
const noResources: LaunchResources = { input: undefined, captures: new Map(), waitForOutputEnd: false };

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

  replace(plan: LaunchPlan, onReady: () => void): never {
    const files = openFilesSync(plan);
    try {
      this.#rehearse(plan, files);
      onReady();
      throw this.#become(plan, files);
    } finally {
      this.#binding.closeAll(Int32Array.from(files.values()));
    }
  }

  /**
   * Has a child take all steps, the exec included, and ends it before the program's first instruction: the kernel stops a
   * traced process there. What a child can do, this process can do too, and has not begun to do if the child cannot.
   */
  #rehearse(plan: LaunchPlan, files: ReadonlyMap<number, number>): void {
    const last = plan.steps.length - 1;
    const steps = [...plan.steps.slice(0, last), { step: 'ptrace', by: 'exec' } as const, ...plan.steps.slice(last)];
    const rehearsal = { ...plan, steps, lane: chooseLane(steps) };
    try {
      const started = this.#start(rehearsal, files, { waits: true });
      const child = new NativeSyncProcess(this.#binding, started, rehearsal, noResources);
      child.signal('SIGKILL');
      while (child.turn(-1) === undefined);
    } catch (error) {
      // Where nobody may be traced, all has been rehearsed but the exec.
      if (!(error instanceof LaunchError && error.step === 'ptrace')) throw error;
    }
  }

  /** Takes the steps here. What comes back is why this process is still itself. */
  #become(plan: LaunchPlan, files: ReadonlyMap<number, number>): CommandError {
    const { sources, theirs } = this.#makeEnds(plan, files);
    const { file, argv, steps } = plan;
    const { envp, operations } = operationsOf(plan, steps, 0, { moves: moves(plan, sources), parent: process.ppid });
    const result = new Int32Array(2);
    // The event loop may have set a standard stream not to block, which few programs expect of theirs.
    const streams = [0, 1, 2].map((fd) => sources.get(fd) ?? -1);
    this.#binding.replace(encode({ file, argv, envp, operations }), Int32Array.from(readdirSync('/proc/self/fd'), Number), Int32Array.from(streams), result);
    this.#binding.closeAll(Int32Array.from(theirs));
    const [step = -1, errno = 0] = result;
    return failure(plan, { step, errno, detail: 0 });
  }

  #launch(plan: LaunchPlan, files: ReadonlyMap<number, number>, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    const started = this.#start(plan, files, { waits: false });
    if (started.pidfd < 0 && started.report < 0) return daemonProcess(started);
    return new NativeProcess(this.#binding, started, plan, resources, () => this.#removePidFile(plan, started.pid)).started;
  }

  /**
   * Removes the pidfile that a failed daemon has left, if it has left one. By now it could be somebody else's: so a child takes
   * it by its lock, as any starter does, and fails on purpose in its exec, whereupon it removes what it took.
   */
  async #removePidFile(plan: LaunchPlan, failed: number): Promise<void> {
    const taking = plan.steps.filter(({ step }) => step === 'pidfile');
    const steps: readonly Step[] = [{ step: 'dup2', by: '', descriptors: [] }, { step: 'close_range', by: '', keep: [] }, ...taking, { step: 'execve', by: '', path: '' }];
    for (let look = 0; look < RELEASE_LOOKS; look += 1) {
      try {
        for (const step of taking) if ('path' in step && (await readFile(step.path, PLAIN_FILE)) !== String(failed)) return;
        await this.#launch({ ...plan, mode: 'run', lane: 'helper', file: '', descriptors: [], steps }, new Map(), noResources);
      } catch (error) {
        // There is no file; or it was taken and removed; or another starter has it by now, and keeps it.
        if (!(error instanceof PidFileError && error.heldBy === failed)) return;
        // The failed one has told us, and is about to end.
        await delay(RELEASE_LOOK_MS);
      }
    }
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
      const [pid = 0, pidfd = -1, failed, step = -1, errno = 0, detail = 0] = result;
      if (failed !== 0 && step === HELPER_STEP) throw new LaunchError(plan.subject, { step: 'execve', errno: errnoName(errno), path: this.#helper });
      if (failed !== 0) throw failure(plan, { step, errno, detail });
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
    const { envp, operations } = operationsOf(plan, steps, 0, { moves: moves(plan, sources), parent: process.pid });
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
    const second = operationsOf(plan, plan.steps.slice(placed), placed, { moves: [], parent: process.pid, report: reportAt, handshake: { ready: readyAt, go: goAt } });
    const planFd = this.#binding.memoryFile(encode({ file, argv, ...second }));
    if (planFd < 0) {
      this.#binding.closeAll(Int32Array.from(opened));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(planFd), syscall: 'memfd_create' });
    }

    const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
      parent: process.pid,
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

// ---------------------------------------------------------------- refusals

const refusals: Partial<Record<Step['step'], (binding: Binding) => string | undefined>> = {
  sched_core: (binding) =>
    binding.hasCoreScheduling() ? undefined : 'there is no core scheduling on this machine: it takes a kernel with CONFIG_SCHED_CORE, and a processor with several threads to a core',
  hook: () => 'this version has no hook runner yet',
  selinux: () => (existsSync('/sys/fs/selinux/enforce') ? undefined : 'SELinux is not enabled on this machine'),
  apparmor: () => (existsSync('/proc/self/attr/apparmor') ? undefined : 'AppArmor is not enabled on this machine'),
};
