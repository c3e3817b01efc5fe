/**
 * The functions of the addon. They have no policy, which stands in the engine: numbers and buffers go in, numbers and buffers
 * come out. A negative result is an errno. Numbers that travel in an array stand at the {@link places} of that function.
 * A function that is called with other values than it takes throws.
 */
export interface Binding {
  /**
   * Launches a child that ends at once. Returns nothing where all that a launch takes is possible here; else the system call
   * that is refused, with the errno, or with -1 where a child does not share this process's memory.
   */
  probe(): readonly [call: string, errno: number] | undefined;
  /** Whether the kernel and the processor know core scheduling. */
  hasCoreScheduling(): boolean;
  /** Returns the variables of this process as they are, each with a NUL after it. For the main thread only: others have copies. */
  environment(): Buffer;

  // -------------------------------------------------------------- descriptors, all of them closed on exec

  // The addon owns what it makes: where this thread is terminated, its pipes, files in memory, pidfds and children that are
  // neither closed, nor the watcher's, nor given away are closed and ended with it.

  /** Makes as many pipes as the array has room for: two ends each, reading and writing. Returns 0, or an errno and no pipe. */
  pipe(ends: Int32Array): number;
  /** Gives each of those pipes, two ends each, that much room; the kernel rounds up. Returns 0, or an errno. */
  sizePipes(ends: Int32Array, bytes: number): number;
  /** Makes a file in memory that holds the bytes. Returns its descriptor, or a negative errno. */
  memoryFile(bytes: Buffer): number;
  /**
   * Makes a pipe that holds the bytes, and then its end, or a sealed file in memory where a pipe may not be that large. Returns its descriptor for
   * reading, or a negative errno.
   */
  sendBuffer(bytes: Buffer): number;
  /**
   * Returns a descriptor of /dev/null, for reading and writing, always the same, which stays open; or a negative errno. The
   * addon opens it, since Node's permission model would ask for a permission to write.
   */
  nullDevice(): number;
  /** Tries whether so many more descriptors can be opened, above 0. Returns 0, or an errno. */
  tryRoom(count: number): number;
  /** Gives up what streams of Node own from now on: call it when there is the stream, and not before. */
  giveAway(fds: Int32Array): void;
  /** Closes the descriptors that are 0 or above. Only for those that the addon has made: Node keeps account of its own. */
  closeAll(fds: Int32Array): void;

  /**
   * Whether a FIFO that is open here for reading has a writer, or has had one since: 1 or 0, or a negative errno. That is what an
   * `open()` that waits would wait for; nothing is read.
   */
  hasWriter(fd: number): number;
  /** Clears O_NONBLOCK, for all who share the open file. Returns 0, or a negative errno. */
  letBlock(fd: number): number;

  // Below, what is no descriptor is the system call that failed, with a negative errno.

  /**
   * Returns a Unix socket that listens at the path, whose file has those permissions; -1: as the umask has it. A path that begins with
   * NUL has no file.
   */
  listenUnix(path: Buffer, mode: number, backlog: number): number | readonly [call: string, errno: number];
  /** Returns a TCP socket that listens at an address in digits, and a port; 0: one that is free. */
  listenTcp(host: string, port: number, backlog: number): number | readonly [call: string, errno: number];
  /** Returns the port of a TCP socket, or a negative errno. */
  portOf(fd: number): number;
  /** Makes two connected sockets. Returns 0, or an errno. */
  socketPair(ends: Int32Array): number;
  /** Returns a descriptor of a tap device, and writes its name into the buffer, of 16 bytes, with a NUL behind it. */
  openTap(name: string, given: Buffer): number | readonly [call: string, errno: number];

  // -------------------------------------------------------------- terminals

  /**
   * Makes a terminal of that size: this process's end, which does not block, and the program's, whose file is given to the uid if that is not -1.
   * Returns 0, or the system call that failed.
   */
  openTerminal(
    columns: number,
    rows: number,
    uid: number,
    ends: Int32Array,
  ): 0 | readonly [call: string, errno: number];
  /** Returns a descriptor of this process's controlling terminal, or a negative errno. */
  ownTerminal(): number;
  /** Sets the size of a terminal. Returns 0, or a negative errno. */
  resizeTerminal(fd: number, columns: number, rows: number): number;
  /** Writes the modes of a terminal into a buffer, of 64 bytes. Returns 0, or a negative errno. */
  terminalModes(fd: number, modes: Buffer): number;
  /** Sets them. Returns 0, or a negative errno. */
  setTerminalModes(fd: number, modes: Buffer): number;
  /** Makes raw ones of modes. */
  makeRaw(modes: Buffer): void;
  /** Returns the process group in the foreground of a terminal, or a negative errno. */
  foreground(fd: number): number;
  /** Puts one there. Returns 0, or a negative errno. */
  setForeground(fd: number, group: number): number;
  /** Returns the session that a terminal controls, or a negative errno. */
  sessionOf(fd: number): number;
  /** Reads what is there. Returns a number of bytes, or a negative errno. */
  readTerminal(fd: number, room: Buffer): number;
  /** Writes what fits. Returns a number of bytes, or a negative errno. */
  writeTerminal(fd: number, bytes: Buffer): number;
  /** Makes a way to wait for a descriptor, which keeps the event loop alive while it waits. Returns a number for the two below, or a negative errno. */
  poll(fd: number, onNews: () => void): number;
  /** Sets what it is told of: 1 or 0, for what can be read and what can be written. */
  pollFor(id: number, reading: number, writing: number): void;
  /** Ends it. A number that is none does nothing. */
  endPoll(id: number): void;

  // -------------------------------------------------------------- launching

  /**
   * Launches a child by an encoded plan, which takes so many bytes of the buffer. Sets {@link places.launch}. Throws for bytes
   * that are no plan.
   */
  launch(plan: Buffer, size: number, result: Int32Array): void;
  /**
   * The same by a thread that is made for this launch, while this one goes on. The descriptors of the plan are those of its moves, and stay open until
   * it calls back, once, with the values of {@link places.launch}. Returns 1; or 0, and nothing has begun: there is no room for a thread
   * just now, or it is refused here.
   */
  launchBeside(plan: Buffer, size: number, onLaunched: LaunchedCallback): number;
  /** Waits until all that {@link launchBeside} has begun is done, and has called back. */
  settle(): void;
  /** Ends a child that {@link watch} could not take, and reaps it, now or at a later launch. Closes its pidfd. */
  undo(pidfd: number): void;
  /**
   * Performs an encoded plan's steps in this process, and becomes its program. Returns only if that failed: sets
   * {@link places.exec}, and all is put back that can be. The descriptors in `blocking` lose O_NONBLOCK.
   */
  exec(plan: Buffer, blocking: Int32Array, result: Int32Array): void;
  /** In the hook runner, at its start: marks all descriptors above 2 as closed on exec. */
  shelter(): void;
  /**
   * In the hook runner, at its end: lets the standard streams block, whatever Node has made of them, and executes an encoded
   * plan. A step that fails is reported, and is the end of this process. Throws for bytes that are no plan.
   */
  becomeHelper(plan: Buffer, report: number): never;

  // -------------------------------------------------------------- looking after children

  /** Makes what {@link watch} needs, with the event loop (0) or without (1). Returns 0, or an errno. */
  ready(waits: number): number;
  /**
   * Looks after a child, by what {@link places.watch} says. Returns a number for the functions below, and the descriptors are
   * the watcher's; or a negative errno, and they are still the caller's. Calls back with an event of {@link watchEvents} and the
   * values that stand at the places of its name; `end` is the last. `input` must not change until then.
   */
  watch(told: Int32Array, input: Buffer | undefined, onEvent: (event: number, ...values: unknown[]) => void): number;
  /** Waits for events of the processes that are waited for, for so many milliseconds; -1: as long as it takes. */
  turn(timeoutMs: number): void;
  /** Sends a signal. Returns 0, or a negative errno. */
  signal(id: number, signal: number): number;
  /** Returns the signal that has stopped a process, once for each stop; else 0. */
  takeStop(id: number): number;
  /** Does not wait for the end of the output any more. */
  stopReading(id: number): void;
  /** Sets whether the event loop waits for the process: 1 or 0. One that it does not wait for outlives this thread. */
  keep(id: number, isKept: number): void;
  /** Calls back when the process has ended, whosever child it is, and reaps nobody. Returns a number, or a negative errno. */
  awaitEnd(pidfd: number, onEvent: () => void): number;
  /** Ends what {@link awaitEnd} began, before there was anything to tell. */
  leave(id: number): void;

  // -------------------------------------------------------------- pidfiles

  /**
   * Acquires a pidfile in Node's thread pool, and holds it by a thread of its own. Resolves with `undefined` where there is no
   * memory. The detail is the holder's pid, 0 if that cannot be seen, or the call that failed: see `pidfile.h`.
   */
  takePidFile(
    path: string | Buffer,
    text: string,
    create: number,
  ): Promise<TakenPidFile | readonly [errno: number, detail: number] | undefined>;
  /** Gives the lock up. The file stays. A number that is not held any more does nothing. */
  releasePidFile(id: number): void;
  /** Returns the pid that holds the lock of an open pidfile, 0 for nobody, -1 for somebody who cannot be seen, or a negative errno less one. */
  pidFileHolder(fd: number): number;

  // -------------------------------------------------------------- users, and processes that this library need not have launched

  /** Returns name, uid, gid and groups of a user, `undefined` where there is none, or a negative errno. */
  account(
    nameOrUid: string | number,
  ): [name: string, uid: number, gid: number, ...groups: number[]] | number | undefined;
  /** Returns a pidfd, or a negative errno. */
  openPid(pid: number): number;
  /** Sends a signal to the process, or (1) to the process group that it leads. Returns 0, or a negative errno. */
  signalPid(pidfd: number, signal: number, toGroup: number): number;
  /** Sends a signal to a daemon that still holds the other end of its report. Returns 0, or a negative errno. */
  signalDaemon(pid: number, report: number, signal: number): number;
  /** Whether the process has ended, reaped or not: 1 or 0. */
  hasEnded(pidfd: number): number;
  /**
   * Reaps a child of this thread, or (1) only looks at it. Returns 1 if it has ended, and sets {@link places.reap}; 0 if it
   * runs; or a negative errno.
   */
  reap(pidfd: number, peek: number, end: Float64Array): number;
  /** Sets whether orphans below this process become its children: 1 or 0. Returns what it was before, or a negative errno. */
  setSubreaper(isOn: number): number;
  /** Returns the process group that a process is in, also as a zombie, or a negative errno. 0: this process. */
  groupOf(pid: number): number;
  /** Returns all processes that `/proc` shows, a row of {@link places.row} each, or a negative errno. */
  processes(): Float64Array | number;
}

/** What {@link Binding.launchBeside} calls back, with the values of {@link places.launch} in their order. */
export type LaunchedCallback = (...result: number[]) => void;

/** A pidfile that is held: its number, and by what the file can be known again. */
export type TakenPidFile = readonly [errno: 0, detail: 0, id: number, dev: bigint, ino: bigint];

/** The kinds of events of {@link Binding.watch}. */
export const watchEvents = { report: 0, output: 1, end: 2 } as const;

/** Where a number stands that crosses the boundary in an array, as the enums of addon.h have it. */
export const places = {
  /** What `launch` sets. -1: there is no pidfd (a daemon), or no step that failed. The detail is that of a pidfile. */
  launch: { pid: 0, pidfd: 1, failed: 2, step: 3, errno: 4, detail: 5 },
  /** What `exec` sets. */
  exec: { step: 0, errno: 1 },
  /** What `watch` is told: descriptors, -1 for none; then 1 or 0. A stream is streamed where its pieces are wanted as they come. */
  watch: {
    pidfd: 0,
    report: 1,
    input: 2,
    stdout: 3,
    stderr: 4,
    stdoutStreamed: 5,
    stderrStreamed: 6,
    readToEnd: 7,
    waits: 8,
    announcesExec: 9,
    leavesStderr: 10,
    keepsPipeSize: 11,
  },
  /** What comes with the event `report`. A step of -1 without an errno: nobody has said anything. */
  report: { event: 0, failed: 1, step: 2, errno: 3, detail: 4 },
  /** What comes with the event `output`: the stream is 0 for stdout, 1 for stderr; the piece is a Buffer. */
  output: { event: 0, stream: 1, piece: 2 },
  /**
   * What comes with the event `end`: a `si_code`, 0 if somebody else has reaped it; `lost` has a bit for each stream; `leftStderr` is a
   * descriptor that is closed when the event has been told, or -1.
   */
  end: {
    event: 0,
    code: 1,
    status: 2,
    heldOpen: 3,
    lost: 4,
    inputWritten: 5,
    userMs: 6,
    systemMs: 7,
    maxRssKib: 8,
    stdout: 9,
    stderr: 10,
    leftStderr: 11,
  },
  /** What `reap` sets. */
  reap: { code: 0, status: 1, userMs: 2, systemMs: 3, maxRssKib: 4 },
  /** A row of `processes`. The state is a character's code; the start is in clock ticks since the boot. */
  row: { pid: 0, parent: 1, group: 2, session: 3, state: 4, start: 5 },
} as const;

/** The length of an array with such places. */
export const roomFor = (kind: keyof typeof places): number => Object.keys(places[kind]).length;

export const { platform, arch } = process;
