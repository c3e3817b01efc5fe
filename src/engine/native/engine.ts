import { AsyncResource } from 'node:async_hooks';
import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { LaunchError } from '../../errors/launch-error.js';
import { NO_REFUSALS, type Refusal, withRefusal } from '../../errors/unsupported-error.js';
import { groupKind, groupMounts } from '../../host/control-groups.js';
import { isRealEnvironment } from '../../host/environment.js';
import { thisHost } from '../../host/host.js';
import { realClock } from '../../host/time.js';
import { type Binding, places } from '../../native/binding.js';
import type { Native } from '../../native/load.js';
import { entriesOf } from '../../plan/environment.js';
import { needsHere } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { planLaunch } from '../../plan/plan-launch.js';
import { type Step, stepTable } from '../../plan/step-table.js';
import { bare } from '../../spec/bare.js';
import { isMainThread, isSingleExecutable } from '../../spec/late.js';
import { readable } from '../../text/bytes.js';
import { errnoName } from '../../text/errno.js';
import type { StepName } from '../../text/step-names.js';
import type { Engine, EngineProcess, LaunchResources, SyncProcess } from '../engine.js';
import { type SeenFifos, seenFifos } from '../fifo.js';
import { NO_RESOURCES, readerOf, readers } from '../drain.js';
import { HeldDirectory } from '../here.js';
import { closeFiles, closeFilesSync, type OpenFiles, openFiles, openFilesSync } from '../redirections.js';
import { Foreground } from '../../terminal/foreground.js';
import { Descriptors, type Ends, NO_FILES, type OpenFds } from './ends.js';
import { execInPlace } from './exec.js';
import { prepareWithHelper } from './helper-lane.js';
import { noRunner, prepareWithHook } from './hook-lane.js';
import { LANE_STEP, type PreparedChild, prepareInSharedMemory } from './prepared-child.js';
import { daemonProcess, NativeProcess, PendingProcess } from './process.js';
import { launchResult } from './scratch.js';
import { DaemonPidFile } from './stale-pidfile.js';
import { NativeSyncProcess } from './sync-process.js';
import { failure, type Started } from './watch.js';

const at = places.launch;

/** The engine for Linux: the child performs the plan's steps between clone and exec, in the lane that the plan has chosen. */
export class NativeEngine implements Engine {
  readonly name = 'native';
  readonly usesLanes = true;
  readonly clock = realClock;
  readonly noteFailure = undefined;
  readonly #native: Native;
  readonly #binding: Binding;
  readonly #descriptors: Descriptors;
  readonly #fifos: SeenFifos;
  /** Why there are no files in memory; empty where there are; `undefined` until it is known. */
  #memoryFileProblem: string | undefined;
  /** Whether there is a watcher, with the event loop and without. */
  readonly #isReady = [false, false];
  /** The last launch of the event loop, as long as anybody keeps it. */
  #last: WeakRef<{ readonly isReaped: boolean }> | undefined;

  constructor(native: Native) {
    this.#native = native;
    this.#binding = native.binding;
    this.#descriptors = new Descriptors(native.binding);
    this.#fifos = seenFifos(native.binding);
  }

  readonly #inherited = (): Uint8Array[] => this.#environment();

  /** The variables that the C library has, as long as they are those of `process.env`. */
  get environment(): (() => Uint8Array[]) | undefined {
    return isRealEnvironment() ? this.#inherited : undefined;
  }

  #environment(): Uint8Array[] {
    const bytes = this.#binding.environment();
    const entries: Uint8Array[] = [];
    for (let start = 0, end = bytes.indexOf(0); end >= 0; start = end + 1, end = bytes.indexOf(0, start))
      entries.push(bytes.subarray(start, end));
    return entries;
  }

  refusals(plan: LaunchPlan): readonly Refusal[] {
    let refused = NO_REFUSALS;
    for (const { step, by } of plan.steps) {
      const why = this.#whyNot(step);
      if (why !== undefined) refused = withRefusal(refused, { feature: by, why });
    }
    return refused;
  }

  /** The steps that it refuses on this machine, each with the reason. */
  refuses(): Partial<Record<StepName, string>> {
    const steps = Object.keys(stepTable) as Step['step'][];
    const refused = steps.map((step) => [step, this.#whyNot(step)] as const);
    return Object.fromEntries(refused.filter(([, why]) => why !== undefined));
  }

  note({ step }: Step): string | undefined {
    const why = this.#whyNot(step);
    return why === undefined ? undefined : `refused: ${why}`;
  }

  /** Why a step cannot be performed on this machine, if it cannot. */
  #whyNot(step: Step['step']): string | undefined {
    const why = refusals[step]?.(this.#binding);
    return why ?? (stepTable[step].lane === 'shared-memory' ? undefined : this.#noMemoryFile());
  }

  /** Why the helper cannot be given its steps, which stand in a file in memory. It is asked for once. */
  #noMemoryFile(): string | undefined {
    if (this.#memoryFileProblem !== undefined) return this.#memoryFileProblem || undefined;
    const fd = this.#binding.memoryFile(Buffer.alloc(0));
    if (fd >= 0) this.#binding.closeAll(Int32Array.of(fd));
    else if (SCARCITY.has(errnoName(fd))) return undefined;
    this.#memoryFileProblem =
      fd >= 0
        ? ''
        : `the helper that performs this step gets it in a file in memory, and memfd_create() is refused here (${errnoName(fd)}): a sandbox stands before the kernel`;
    return this.#memoryFileProblem || undefined;
  }

  launch(plan: LaunchPlan, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    // Most plans have no files, and those that have wait for them off the event loop.
    const opensFiles = plan.descriptors.some(({ source }) => source.kind === 'file');
    return opensFiles || needsHere(plan)
      ? this.#launchFromHere(plan, opensFiles, resources)
      : this.#launch(plan, NO_FILES, resources);
  }

  /** Launches a child whose paths are meant from the directory in which this process is now, at the call. */
  async #launchFromHere(plan: LaunchPlan, opensFiles: boolean, resources: LaunchResources): Promise<EngineProcess> {
    const here = hold(plan);
    let files: OpenFiles = new Map();
    try {
      if (opensFiles) files = await openFiles(plan, resources, this.#fifos);
      const fds = new Map(Array.from(files, ([childFd, { fd }]) => [childFd, fd]));
      if (here?.isLeft === true) return await this.#launch(beginningThere(plan), fds, resources, here);
      return await this.#launch(plan, fds, resources, needsHere(plan) ? here : undefined);
    } finally {
      await closeFiles(files);
      here?.release();
    }
  }

  launchSync(plan: LaunchPlan, resources: LaunchResources): SyncProcess {
    const here = needsHere(plan) ? hold(plan) : undefined;
    let files: OpenFds = NO_FILES;
    try {
      files = openFilesSync(plan, resources.deadline, this.#fifos);
      const started = this.#start(plan, files, resources, { waits: true, here });
      return new NativeSyncProcess(this.#binding, started, started.plan, resources);
    } finally {
      closeFilesSync(files);
      here?.release();
    }
  }

  exec(plan: LaunchPlan, { sendBuffers }: LaunchResources, onReady: () => void): never {
    const here = needsHere(plan) ? hold(plan) : undefined;
    const start = (child: LaunchPlan, files: OpenFds, resources: LaunchResources): Started =>
      this.#start(child, files, resources, { waits: true, here });
    try {
      return execInPlace(
        plan,
        {
          binding: this.#binding,
          descriptors: this.#descriptors,
          fifos: this.#fifos,
          start,
          sendBuffers,
          here: here?.fd,
        },
        onReady,
      );
    } finally {
      here?.release();
    }
  }

  #launch(
    plan: LaunchPlan,
    files: OpenFds,
    resources: LaunchResources,
    here?: HeldDirectory,
  ): EngineProcess | Promise<EngineProcess> {
    const asked = this.#ask(plan, files, resources, { waits: false, here });
    const pending = this.#goesBeside(asked, resources) ? this.#launchBeside(asked, resources) : undefined;
    if (pending !== undefined) return pending.process;
    const process = this.#takeIntoCare(this.#launchHere(asked), plan, resources, here);
    if (!(process instanceof NativeProcess)) return process;
    this.#last = new WeakRef(process);
    return process.started;
  }

  /**
   * Whether a thread of its own launches a program: where the one launched before still runs, so that this thread has more to do than to
   * wait. It must have all that the launch needs, which are the descriptors of the moves, as long as they stay open here and are
   * nobody else's. The kernel's parent of a program that dies with it is the thread that has made it, so that is this one. Into
   * a control group a child is born, which takes no time. In a worker, the child would be taken for one of the main thread's.
   */
  #goesBeside({ plan: { lane, steps }, ends }: Asked, { onPending }: LaunchResources): boolean {
    return (
      this.#last?.deref()?.isReaped === false &&
      onPending !== undefined &&
      isMainThread() &&
      lane === 'shared-memory' &&
      ends.here === undefined &&
      ends.controlling === undefined &&
      !ends.moves.some(({ isShared }) => isShared === true) &&
      !steps.some(({ step }) => step === 'pdeathsig' || step === 'cgroup')
    );
  }

  /** Launches a child by a thread of its own, while this one goes on. Gives nothing where that cannot be, and nothing has begun. */
  #launchBeside(asked: Asked, resources: LaunchResources): PendingProcess | undefined {
    const { plan, ends, child } = asked;
    const pending = new PendingProcess(this.#binding, plan);
    const take = (): EngineProcess => this.#takeIntoCare(this.#startedOf(asked), plan, resources, undefined);
    // Streams tell of themselves where the call was made, and not where the watcher was.
    const takeThere = ends.callers.some((fd) => fd >= 0) ? AsyncResource.bind(take, 'vircommand') : take;
    const hasBegun = this.#binding.launchBeside(child.encodedPlan, child.size, (...result) => {
      launchResult.set(result);
      pending.settle(takeThere);
    });
    if (hasBegun === 0) return undefined;
    this.#last = new WeakRef(pending);
    resources.onPending?.(pending);
    return pending;
  }

  #takeIntoCare(
    started: Started,
    plan: LaunchPlan,
    resources: LaunchResources,
    here: HeldDirectory | undefined,
  ): NativeProcess | EngineProcess {
    if (started.pidfd < 0 && started.report < 0) {
      const daemon = daemonProcess(started);
      this.#giveToStreams(started);
      return daemon;
    }
    const pidFile = new DaemonPidFile(this.#binding, plan, started.pid, here);
    const drain = (pipe: number): boolean => this.#drain(pipe);
    const process = new NativeProcess(this.#binding, started, started.plan, resources, pidFile, drain);
    this.#giveToStreams(started);
    resources.onStart?.(process);
    return process;
  }

  /** Has a process of its own read a pipe to its end, and throw away what comes. False: there is none. */
  #drain(pipe: number): boolean {
    try {
      const plan = planLaunch(readerOf(pipe), thisHost, bare({ mode: 'daemon', inherited: this.environment }));
      const reader = this.#launch(plan, NO_FILES, NO_RESOURCES);
      // Where it fails after all, the pipe is read for as long as this process lives.
      void Promise.resolve(reader).then(
        ({ pid }) => readers.add(pid),
        () => undefined,
      );
      return true;
    } catch {
      // There is no `cat`, or no process left: it is read for as long as this process lives.
      return false;
    }
  }

  /** The streams of the caller and of a handshake are there, and own their descriptors. Most launches have none. */
  #giveToStreams({ callers, handshake }: Started): void {
    if (handshake !== undefined) this.#descriptors.giveAway([...callers, handshake.ready, handshake.go]);
    else if (callers.some((fd) => fd >= 0)) this.#descriptors.giveAway(callers);
  }

  /** Starts the child. Throws if a step in shared memory failed; a failure in the helper comes later, as its report. */
  #start(plan: LaunchPlan, files: OpenFds, resources: LaunchResources, how: HowToAsk): Started {
    return this.#launchHere(this.#ask(plan, files, resources, how));
  }

  /** Makes all that a launch takes, and writes the plan down. */
  #ask(asked: LaunchPlan, files: OpenFds, resources: LaunchResources, { waits, here }: HowToAsk): Asked {
    assertControlGroup(asked);
    this.#makeReady(asked, waits ? 1 : 0);
    const foreground = asked.spec.inheritTerminal === true ? Foreground.hold(this.#binding, asked.subject) : undefined;
    const plan = foreground === undefined ? withoutForeground(asked) : asked;
    let ends: Ends | undefined;
    try {
      ends = this.#descriptors.makeEnds(plan, files, here?.fd, resources.sendBuffers, foreground?.fd);
      return { plan, ends, child: this.#prepare(plan, ends, resources, files), foreground };
    } catch (error) {
      this.#descriptors.close(ends?.ours, ends?.callers, ends?.theirs, terminalFds(ends));
      foreground?.end(true);
      throw error;
    }
  }

  /** Launches a child while this thread sleeps. */
  #launchHere(asked: Asked): Started {
    const { ends, child } = asked;
    try {
      this.#binding.launch(child.encodedPlan, child.size, launchResult);
    } catch (error) {
      this.#close(asked);
      this.#descriptors.close(ends.theirs, child.theirs);
      throw error;
    }
    return this.#startedOf(asked);
  }

  /** What was started, by the {@link launchResult}. Throws if a step failed. In any case, the child's ends are closed. */
  #startedOf(asked: Asked): Started {
    const { plan, ends, child, foreground } = asked;
    const { ours, callers, terminal } = ends;
    const failed = launchResult[at.failed]!;
    const step = launchResult[at.step]!;
    const errno = launchResult[at.errno]!;
    const pid = launchResult[at.pid]!;
    const pidfd = launchResult[at.pidfd]!;
    const detail = launchResult[at.detail]!;
    this.#descriptors.close(ends.theirs, child.theirs);
    if (failed !== 0) {
      this.#close(asked);
      if (step === LANE_STEP)
        throw new LaunchError(plan.subject, { step: 'execve', errno: errnoName(errno), path: child.file });
      throw failure(plan, { step, errno, detail });
    }
    const { report, handshake, hook } = child;
    return { plan, pid, pidfd, report, ours, callers, handshake, hook, terminal, foreground };
  }

  /** Closes this process's ends of a launch that has failed. */
  #close({ ends, child, foreground }: Asked): void {
    this.#descriptors.close(ends.ours, ends.callers, child.ours, terminalFds(ends));
    foreground?.end(true);
  }

  #prepare(plan: LaunchPlan, ends: Ends, resources: LaunchResources, files: OpenFds): PreparedChild {
    const tools = { ...this.#native, descriptors: this.#descriptors };
    switch (plan.lane) {
      case 'helper':
        return prepareWithHelper(plan, ends, tools);
      case 'hook-runner':
        return prepareWithHook(plan, resources, ends, {
          ...tools,
          environment: this.environment?.() ?? entriesOf(process.env, plan.subject),
        });
      default:
        return prepareInSharedMemory(plan, ends, files.size === 0 && this.#leavesVariables(plan));
    }
  }

  /**
   * Whether the child can be given the variables of this process as they are. To copy them into a plan and out again takes
   * longer than all the rest of it. With files that were opened meanwhile, somebody may have changed a variable.
   */
  #leavesVariables({ spec }: LaunchPlan): boolean {
    return this.environment !== undefined && spec.env === undefined && spec.listenFds === undefined;
  }

  /** Makes the watcher, which must be there before there is a child that ends. */
  #makeReady(plan: LaunchPlan, waits: 0 | 1): void {
    if (this.#isReady.at(waits) === true) return;
    const errno = this.#binding.ready(waits);
    if (errno !== 0)
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno), syscall: 'epoll_create1' });
    this.#isReady[waits] = true;
  }
}

/** Whether this thread waits for the program itself, and its directory where the child needs that. */
interface HowToAsk {
  readonly waits: boolean;
  readonly here: HeldDirectory | undefined;
}

/** A launch for which all is made. */
interface Asked {
  readonly plan: LaunchPlan;
  readonly ends: Ends;
  readonly child: PreparedChild;
  readonly foreground: Foreground | undefined;
}

/** Holds this process's directory for a launch. Where that cannot be, a launch that does not need it goes on without. */
function hold(plan: LaunchPlan): HeldDirectory | undefined {
  try {
    return new HeldDirectory();
  } catch (cause) {
    if (!needsHere(plan)) return undefined;
    const { code: errno = 'EIO' } = cause as NodeJS.ErrnoException;
    const failure = SCARCITY.has(errno)
      ? ({ step: 'pipe' } as const)
      : ({ step: 'open', path: '.', wanted: 'be opened, and a relative path begins there' } as const);
    throw new LaunchError(plan.subject, { ...failure, errno, cause });
  }
}

/** The plan where this process has no terminal, or is in its background, and so has no foreground to give. */
const withoutForeground = (plan: LaunchPlan): LaunchPlan =>
  plan.spec.inheritTerminal === true ? { ...plan, steps: plan.steps.filter(({ step }) => step !== 'tcsetpgrp') } : plan;

const terminalFds = (ends: Ends | undefined): readonly number[] | undefined =>
  ends?.terminal === undefined ? undefined : [ends.terminal.ours, ends.terminal.programs];

/** The plan of a child that first goes back to the directory of the call, which this process has left. */
const beginningThere = (plan: LaunchPlan): LaunchPlan => ({
  ...plan,
  steps: [{ step: 'chdir', by: '', path: '.' }, ...plan.steps],
});

/**
 * A group of version 1 has a file of the same name, and would take the child out of the group that it has in that hierarchy, and into
 * no other. So the kernel is asked what the directory is before there is a child.
 */
function assertControlGroup({ spec: { cgroup }, subject }: LaunchPlan): void {
  if (cgroup === undefined) return;
  const kind = groupKind(cgroup);
  if (kind === 'version 2' || kind === 'unknown') return;
  const group = { isVersion1: kind === 'version 1', mounts: groupMounts() };
  throw new LaunchError(subject, { step: 'cgroup', path: readable(cgroup), group });
}

// ---------------------------------------------------------------- refusals

/** Errors that tell of this moment, and not of what is possible. */
const SCARCITY: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Without /proc, Node calls itself what its starter has called it: a name that would lead to any file of the current directory. */
function noNode(): string | undefined {
  if (isSingleExecutable())
    return 'this is a single-executable application, and Node itself is no file of its own: to launch it would run the application again';
  return isAbsolute(process.execPath)
    ? undefined
    : `the file of Node itself is not known: process.execPath is '${process.execPath}', and /proc, which tells the file, is not mounted`;
}

/** Whether a file of the kernel is there. Where Node's permission model hides it, the kernel tells by its answer to the step. */
function mayBeThere(path: string): boolean {
  try {
    return existsSync(path);
  } catch {
    // Node 20 throws where later ones say that there is none.
    return true;
  }
}

const refusals: Partial<Record<Step['step'], (binding: Binding) => string | undefined>> = bare({
  sched_core: (binding) =>
    binding.hasCoreScheduling()
      ? undefined
      : 'there is no core scheduling on this machine: it takes a kernel with CONFIG_SCHED_CORE, and a processor with several threads to a core',
  hook: () => noNode() ?? noRunner,
  selinux: () => (mayBeThere('/sys/fs/selinux/enforce') ? undefined : 'SELinux is not enabled on this machine'),
  apparmor: () => (mayBeThere('/proc/self/attr/apparmor') ? undefined : 'AppArmor is not enabled on this machine'),
});
