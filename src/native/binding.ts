/** What the addon gives. Its functions are dumb on purpose: all policy stands in the engine. */
export interface Binding {
  /** Whether a child can share this process's memory here, and the kernel gives pidfds. */
  isPossible(): boolean;
  /** Whether the kernel and the processor know core scheduling. */
  hasCoreScheduling(): boolean;
  /** Makes as many pipes as the array has room for: two ends each, reading and writing, closed on exec. Gives 0, or an errno and no pipe. */
  pipe(ends: Int32Array): number;
  /** Makes a file in memory that holds the bytes, and gives its descriptor or a negative errno. */
  memoryFile(bytes: Buffer): number;
  /** The variables of this process as they are, each with a NUL after it. For the main thread only: others have copies. */
  environment(): Buffer;
  /** Closes the descriptors that are 0 or above. */
  closeAll(fds: Int32Array): void;
  /** Name, uid, gid and groups of a user, `undefined` where there is none, or a negative errno. */
  account(
    nameOrUid: string | number,
  ): [name: string, uid: number, gid: number, ...groups: number[]] | number | undefined;
  /**
   * Takes a pidfile in Node's thread pool, and holds it by a thread of its own. Gives `undefined` where there is no memory.
   * The detail is the holder's pid, 0 if that cannot be seen, or the call that failed: see `pidfile.h`.
   */
  takePidFile(
    path: string,
    text: string,
    create: number,
  ): Promise<TakenPidFile | readonly [errno: number, detail: number] | undefined>;
  /** Gives the lock up. The file stays. */
  releasePidFile(id: number): void;
  /** The pid that holds the lock of an open pidfile, 0 for nobody, -1 for somebody who cannot be seen, or a negative errno less one. */
  pidFileHolder(fd: number): number;
  /**
   * Starts a child by an encoded plan, which takes so many bytes of the buffer, or all. Sets pid, pidfd, failed, step, errno, and
   * the detail of a pidfile. Throws for bytes that are no plan.
   */
  launch(plan: Buffer, result: Int32Array, size?: number): void;
  /**
   * Takes an encoded plan's steps in this process, and becomes its program. Returns only if that failed: sets step and errno.
   * `open` are the descriptors whose flags are put back then; those in `blocking` lose O_NONBLOCK.
   */
  replace(plan: Buffer, open: Int32Array, blocking: Int32Array, result: Int32Array): void;
  /** Makes what {@link watch} needs, with the event loop (0) or without (1), and gives 0 or an errno. */
  ready(waits: number): number;
  /** Ends a child that {@link watch} could not take, and reaps it. Closes its pidfd. */
  undo(pidfd: number): void;
  /**
   * Looks after a child: pidfd, report, input, stdout, stderr, stdout streamed, stderr streamed, read to the end, wait by turn(), announces its exec.
   * Gives a number for the functions below, or a negative errno; then the descriptors are still the caller's.
   */
  watch(fds: Int32Array, input: Buffer | undefined, onEvent: (event: number, ...values: unknown[]) => void): number;
  /** Calls back when the process has ended, whosever child it is, and reaps nobody. Gives a number, or a negative errno. */
  awaitEnd(pidfd: number, onEvent: () => void): number;
  /** Ends what {@link awaitEnd} began, before there was anything to tell. */
  leave(id: number): void;
  /** Gives a descriptor of the process, or a negative errno. */
  openPid(pid: number): number;
  /** Sends a signal to the process, or (1) to the process group that it leads, and gives 0 or a negative errno. */
  signalPid(pidfd: number, signal: number, toGroup: number): number;
  /** Whether the process has ended, reaped or not: 1 or 0. */
  hasEnded(pidfd: number): number;
  /** Reaps a child of this thread, or (1) only looks at it: 1 it has ended, 0 it runs, or a negative errno. Sets code, status, user ms, system ms, KiB. */
  reap(pidfd: number, peek: number, end: Float64Array): number;
  /** Whether orphans below this process become its children: 1 or 0. Gives what it was before, or a negative errno. */
  setSubreaper(isOn: number): number;
  /** All processes in sight, six numbers each: pid, parent, group, session, state, start. */
  processes(): Float64Array;
  /** Waits for events of the processes that are waited for, for so many milliseconds; -1: as long as it takes. */
  turn(timeoutMs: number): void;
  /** Sends a signal, and gives 0 or a negative errno. */
  signal(id: number, signal: number): number;
  stopReading(id: number): void;
  /** Whether the event loop waits for the process: 1 or 0. */
  keep(id: number, isKept: number): void;
  /** In the hook runner, at its start: marks all descriptors above 2 as closed on exec. */
  shelter(): void;
  /** In the hook runner, at its end: executes an encoded plan in this very process. What fails is reported, and is the end. Throws for bytes that are no plan. */
  become(plan: Buffer, flags: Int32Array, report: number): never;
  /** Sends a signal to a daemon that still holds the other end of its report, and gives 0 or a negative errno. */
  signalDaemon(pid: number, report: number, signal: number): number;
}

/** A pidfile that is held: its number, and by what the file can be known again. */
export type TakenPidFile = readonly [errno: 0, detail: 0, id: number, dev: bigint, ino: bigint];

/** The kinds of events, as `enum event` of addon.c numbers them; what comes with each stands there. */
export const watchEvents = { report: 0, output: 1, end: 2 } as const;

export const { platform, arch } = process;
