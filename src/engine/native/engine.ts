import { constants, existsSync, openSync, readdirSync } from 'node:fs';
import { readFile, unlink } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import type { Binding } from '../../native/binding.js';
import type { Native } from '../../native/load.js';
import { chooseLane } from '../../plan/lane.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { Step } from '../../plan/steps.js';
import { errnoName } from '../../text/errno.js';
import type { StepName } from '../../text/step-names.js';
import { encode, encodedSize, encodeForNow } from '../../wire/encode.js';
import type { Move } from '../../wire/moves.js';
import { operationsOf } from '../../wire/operations.js';
import type { Engine, EngineProcess, LaunchResources, Refusal, SyncProcess } from '../engine.js';
import { closeFiles, openFiles, openFilesSync } from '../redirections.js';
import { hookLane, noRunner } from './hook-lane.js';
import { type Lane, LANE_STEP, unused } from './prepared-child.js';
import { daemonProcess, NativeProcess } from './process.js';
import { NativeSyncProcess } from './sync-process.js';
import { failure, type OurEnds, type Started, type Triple } from './watch.js';

/** The descriptors of the files behind a plan's descriptors, by number in the child. */
type OpenFds = ReadonlyMap<number, number>;
const NO_FILES: OpenFds = new Map();

/** How a file is read that somebody else may have put there: through no link, and without waiting for a FIFO. */
const PLAIN_FILE = {
  encoding: 'utf8',
  flag: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
} as const;

/** How often, and after how long, a pidfile is looked at again that a daemon which failed is about to let go. */
const RELEASE_LOOKS = 1000;
const RELEASE_LOOK_MS = 1;

/** Descriptors that `exec()` needs beside those it places: of its directory, of /proc, of a circle that is opened. */
const SPARE_FDS = 4;

/** What a launch needs that nobody feeds or listens to. */
const noResources: LaunchResources = {
  input: undefined,
  captures: new Map(),
  waitForOutputEnd: false,
  opaque: undefined,
};

/** The descriptors of one launch in this process. */
interface Ends extends OurEnds {
  /** Where each descriptor of the child comes from. */
  readonly moves: readonly Move[];
  /** The child's ends, which are closed here when it has its own. */
  readonly theirs: readonly number[];
}

// Numbers go to C and come back in arrays that every launch uses again: the calls do not outlast them.

/** What the first process of a launch tells of itself: see `launch` of addon.c. */
const result = new Int32Array(6);
/** Room for the ends of so many pipes. */
const pipeEnds = [0, 1, 2, 3].map((pipes) => new Int32Array(2 * pipes));
/** Room for all the descriptors of a launch that may have to be closed. */
const closing = new Int32Array(16);

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
  readonly #native: Native;
  readonly #binding: Binding;
  readonly #helper: string;
  #nullFd: number | undefined;
  /** Whether there is a watcher, with the event loop and without. */
  readonly #isReady = [false, false];

  constructor(native: Native) {
    this.#native = native;
    this.#binding = native.binding;
    this.#helper = native.helper;
  }

  /** A worker's process.env is a copy of its own, which the kernel knows nothing of. */
  readonly environment = isMainThread ? () => this.#environment() : undefined;

  #environment(): Uint8Array[] {
    const bytes = this.#binding.environment();
    const entries: Uint8Array[] = [];
    for (let start = 0, end = bytes.indexOf(0); end >= 0; start = end + 1, end = bytes.indexOf(0, start))
      entries.push(bytes.subarray(start, end));
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

  launch(plan: LaunchPlan, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    // Most plans have no files, and those that have wait for them off the event loop.
    return plan.descriptors.some(({ source }) => source.kind === 'file')
      ? this.#launchWithFiles(plan, resources)
      : this.#launch(plan, NO_FILES, resources);
  }

  async #launchWithFiles(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
    const files = await openFiles(plan, resources.abortSignal);
    try {
      return await this.#launch(plan, new Map(Array.from(files, ([childFd, { fd }]) => [childFd, fd])), resources);
    } finally {
      await closeFiles(files);
    }
  }

  launchSync(plan: LaunchPlan, resources: LaunchResources): SyncProcess {
    const files = openFilesSync(plan);
    try {
      return new NativeSyncProcess(
        this.#binding,
        this.#start(plan, files, resources, { waits: true }),
        plan,
        resources,
      );
    } finally {
      this.#binding.closeAll(Int32Array.from(files.values()));
    }
  }

  replace(plan: LaunchPlan, onReady: () => void): never {
    const files = openFilesSync(plan);
    try {
      this.#rehearse(plan, files);
      this.#assertRoom(plan);
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
  #rehearse(plan: LaunchPlan, files: OpenFds): void {
    const last = plan.steps.length - 1;
    const steps = [...plan.steps.slice(0, last), { step: 'ptrace', by: 'exec' } as const, ...plan.steps.slice(last)];
    const rehearsal = { ...plan, steps, lane: chooseLane(steps) };
    try {
      const started = this.#start(rehearsal, files, noResources, { waits: true });
      const child = new NativeSyncProcess(this.#binding, started, rehearsal, noResources);
      child.signal('SIGKILL');
      while (child.turn(-1) === undefined);
    } catch (error) {
      // Where nobody may be traced, all has been rehearsed but the exec.
      if (!(error instanceof LaunchError && error.step === 'ptrace')) throw error;
    }
  }

  /** To be able to go back takes a copy of what is replaced. Where there is no room for that, nothing must have ended for it. */
  #assertRoom(plan: LaunchPlan): void {
    const room: number[] = [];
    try {
      while (room.length < plan.descriptors.length + SPARE_FDS) room.push(openSync('/dev/null', 'r'));
    } catch (cause) {
      const { code = 'EIO' } = cause as NodeJS.ErrnoException;
      throw new LaunchError(plan.subject, { step: 'dup2', errno: code, cause });
    } finally {
      this.#binding.closeAll(Int32Array.from(room));
    }
  }

  /** Takes the steps here. What comes back is why this process is still itself. */
  #become(plan: LaunchPlan, files: OpenFds): CommandError {
    const { moves, theirs } = this.#makeEnds(plan, files);
    const { file, argv, steps } = plan;
    const { envp, operations } = operationsOf(plan, steps, 0, { moves, parent: process.ppid });
    // The event loop may have set a standard stream not to block, which few programs expect of theirs.
    const streams = moves.filter(({ to }) => to <= 2).map(({ from }) => from);
    this.#binding.replace(
      encode({ file, argv, envp, operations }),
      Int32Array.from(readdirSync('/proc/self/fd'), Number),
      Int32Array.from(streams),
      result,
    );
    this.#close(theirs);
    const [step = -1, errno = 0] = result;
    return failure(plan, { step, errno, detail: 0 });
  }

  #launch(plan: LaunchPlan, files: OpenFds, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    const started = this.#start(plan, files, resources, { waits: false });
    if (started.pidfd < 0 && started.report < 0) return daemonProcess(started);
    const process = new NativeProcess(this.#binding, started, plan, resources, () =>
      this.#removePidFile(plan, started.pid),
    );
    resources.onStart?.(process);
    return process.started;
  }

  /**
   * Removes the pidfile that a failed daemon has left, if it has left one. By now it could be somebody else's: so it is looked
   * at, and taken by its lock as any starter does, before it goes.
   */
  async #removePidFile(plan: LaunchPlan, pid: number): Promise<void> {
    const step = plan.steps.find((one) => one.step === 'pidfile');
    if (step?.step !== 'pidfile') return;
    try {
      for (let look = 0; look < RELEASE_LOOKS; look += 1) {
        if ((await readFile(step.path, PLAIN_FILE)) !== String(pid)) return;
        const [errno, holder, lock] = (await this.#binding.takePidFile(step.path, String(pid), 0)) ?? [-1];
        if (lock !== undefined) {
          await unlink(step.path).finally(() => {
            this.#binding.releasePidFile(lock);
          });
          return;
        }
        if (errno !== system.errno.EAGAIN || holder !== pid) return;
        // The failed one has told us, and is about to end.
        await delay(RELEASE_LOOK_MS);
      }
    } catch {
      // The daemon has removed it itself, which is the rule; or it lies where we may not remove it either.
    }
  }

  /** Starts the child, and throws if a step of the fast lane failed. What the helper finds comes later, as a report. */
  #start(plan: LaunchPlan, files: OpenFds, resources: LaunchResources, { waits }: { waits: boolean }): Started {
    this.#makeReady(plan, waits ? 1 : 0);
    const ends = this.#makeEnds(plan, files);
    const { ours, callers } = ends;
    let lane: Lane | undefined;
    try {
      switch (plan.lane) {
        case 'helper':
          lane = this.#slowLane(plan, ends);
          break;
        case 'hook-runner':
          lane = this.#hookLane(plan, ends, resources);
          break;
        default:
          lane = this.#fastLane(plan, ends, { inherits: files.size === 0 });
      }
      this.#binding.launch(lane.program, result, lane.size);
      const failed = result[2]!;
      const step = result[3]!;
      const errno = result[4]!;
      if (failed !== 0 && step === LANE_STEP)
        throw new LaunchError(plan.subject, { step: 'execve', errno: errnoName(errno), path: lane.file });
      if (failed !== 0) throw failure(plan, { step, errno, detail: result[5]! });
      return {
        pid: result[0]!,
        pidfd: result[1]!,
        report: lane.report,
        ours,
        callers,
        handshake: lane.handshake,
        hook: lane.hook,
      };
    } catch (error) {
      this.#close(ours, callers, lane?.ours);
      throw error;
    } finally {
      this.#close(ends.theirs, lane?.theirs);
    }
  }

  /** What the child's end will need must be there before the child is. */
  #makeReady(plan: LaunchPlan, waits: 0 | 1): void {
    if (this.#isReady[waits] === true) return;
    const errno = this.#binding.ready(waits);
    if (errno !== 0)
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno), syscall: 'epoll_create1' });
    this.#isReady[waits] = true;
  }

  // -------------------------------------------------------------- descriptors

  #makeEnds(plan: LaunchPlan, files: OpenFds): Ends {
    const { descriptors } = plan;
    let pipes = 0;
    let nullFd = -1;
    for (const { source } of descriptors) {
      if (source.kind === 'pipe') pipes += 1;
      else if (source.kind === 'null') nullFd = this.#nullDevice(plan);
    }
    const ends = this.#pipes(plan, pipes);
    const ours: Triple = [-1, -1, -1];
    const callers: Triple = [-1, -1, -1];
    const theirs: number[] = [];
    const moves: Move[] = [];
    let next = 0;
    for (const { childFd: to, source } of descriptors) {
      let from = nullFd;
      switch (source.kind) {
        case 'null':
          break;
        case 'fd':
          from = source.fd;
          break;
        case 'file':
          from = files.get(to) ?? -1;
          break;
        case 'stdout':
          from = moves[1]?.from ?? -1;
          break;
        case 'pipe': {
          const readEnd = ends[next]!;
          const writeEnd = ends[next + 1]!;
          next += 2;
          from = to === 0 ? readEnd : writeEnd;
          theirs.push(from);
          (source.for === 'caller' ? callers : ours)[to as 0 | 1 | 2] = to === 0 ? writeEnd : readEnd;
        }
      }
      moves.push({ from, to });
    }
    return { moves, ours, callers, theirs };
  }

  /** One descriptor of /dev/null serves all launches. */
  #nullDevice(plan: LaunchPlan): number {
    try {
      this.#nullFd ??= openSync('/dev/null', 'r+');
      return this.#nullFd;
    } catch (cause) {
      const { code = 'EIO' } = cause as NodeJS.ErrnoException;
      throw new LaunchError(plan.subject, { step: 'open', errno: code, path: '/dev/null', wanted: 'be opened', cause });
    }
  }

  /** Makes pipes, all or none, and gives their ends, reading and writing in turn. They are good until pipes are made again. */
  #pipes(plan: LaunchPlan, count: number): Int32Array {
    const ends = pipeEnds[count]!;
    const errno = count === 0 ? 0 : this.#binding.pipe(ends);
    if (errno !== 0) throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno) });
    return ends;
  }

  #close(...lists: readonly (readonly number[] | undefined)[]): void {
    let count = 0;
    for (const list of lists) for (const fd of list ?? []) closing[count++] = fd;
    closing.fill(-1, count);
    this.#binding.closeAll(closing);
  }

  // -------------------------------------------------------------- lanes

  /** `inherits`: nobody could change a variable of this process since the plan was made. */
  #fastLane(plan: LaunchPlan, { moves }: Ends, { inherits }: { inherits: boolean }): Lane {
    const { spec, file, steps } = plan;
    // Most commands inherit the variables, and to copy them into a plan and out again is longer than all the rest of it.
    const leavesThem =
      inherits && this.environment !== undefined && spec.env === undefined && spec.listenFds === undefined;
    const { envp, operations } = operationsOf(plan, steps, 0, { moves, parent: process.pid }, { inherits: leavesThem });
    const program = encodeForNow({ file, argv: spec.argv, envp, operations });
    return {
      program,
      size: encodedSize(program),
      file,
      report: -1,
      ours: [],
      theirs: [],
      handshake: undefined,
      hook: undefined,
    };
  }

  #slowLane(plan: LaunchPlan, ends: Ends): Lane {
    const shakesHands = plan.steps.some(({ step }) => step === 'handshake');
    const opened = Array.from(this.#pipes(plan, shakesHands ? 3 : 1));
    const [report = -1, reportEnd = -1, ready = -1, readyEnd = -1, goEnd = -1, go = -1] = opened;

    // The helper's own descriptors take numbers that the program does not have.
    const taken = new Set(ends.moves.map(({ to }) => to));
    const [planAt, reportAt, readyAt, goAt] = [unused(taken), unused(taken), unused(taken), unused(taken)];
    const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
    const { file, argv } = plan;
    const second = operationsOf(plan, plan.steps.slice(placed), placed, {
      moves: [],
      parent: process.pid,
      report: reportAt,
      handshake: { ready: readyAt, go: goAt },
    });
    const planFd = this.#binding.memoryFile(encode({ file, argv, ...second }));
    if (planFd < 0) {
      this.#close(opened);
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(planFd), syscall: 'memfd_create' });
    }

    const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
      parent: process.pid,
      moves: [
        ...ends.moves,
        { from: planFd, to: planAt },
        { from: reportEnd, to: reportAt },
        ...(shakesHands
          ? [
              { from: readyEnd, to: readyAt },
              { from: goEnd, to: goAt },
            ]
          : []),
      ],
    });
    const program = encode({
      file: this.#helper,
      argv: ['vircommand-helper', String(planAt), String(reportAt)],
      envp: [],
      operations: [...first.operations, { code: 'execve', step: LANE_STEP }],
    });
    return {
      program,
      size: program.length,
      file: this.#helper,
      report,
      handshake: shakesHands ? { ready, go } : undefined,
      hook: undefined,
      ours: [report, ready, go],
      theirs: [planFd, reportEnd, readyEnd, goEnd],
    };
  }

  #hookLane(plan: LaunchPlan, { moves }: Ends, resources: LaunchResources): Lane {
    const shakesHands = plan.steps.some(({ step }) => step === 'handshake');
    const pipes = Array.from(this.#pipes(plan, shakesHands ? 3 : 1));
    return hookLane(plan, resources, {
      ...this.#native,
      moves,
      pipes,
      environment: this.environment?.() ?? workerEnvironment(),
    });
  }
}

/** The variables of a worker, which are a copy of its own. */
const workerEnvironment = (): Uint8Array[] =>
  Object.entries(process.env).map(([name, value]) => Buffer.from(`${name}=${value ?? ''}`));

// ---------------------------------------------------------------- refusals

const refusals: Partial<Record<Step['step'], (binding: Binding) => string | undefined>> = {
  sched_core: (binding) =>
    binding.hasCoreScheduling()
      ? undefined
      : 'there is no core scheduling on this machine: it takes a kernel with CONFIG_SCHED_CORE, and a processor with several threads to a core',
  hook: () => noRunner,
  selinux: () => (existsSync('/sys/fs/selinux/enforce') ? undefined : 'SELinux is not enabled on this machine'),
  apparmor: () => (existsSync('/proc/self/attr/apparmor') ? undefined : 'AppArmor is not enabled on this machine'),
};
