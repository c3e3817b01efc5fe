import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** What the addon gives. Its functions are dumb on purpose: all policy stands in the engine. */
export interface Binding {
  /** Whether a child can share this process's memory here, and the kernel gives pidfds. */
  isPossible(): boolean;
  /** Whether the kernel and the processor know core scheduling. */
  hasCoreScheduling(): boolean;
  /** Makes a pipe, both ends closed on exec, and gives 0 or an errno. */
  pipe(ends: Int32Array): number;
  /** Makes a file in memory that holds the bytes, and gives its descriptor or a negative errno. */
  memoryFile(bytes: Buffer): number;
  /** The variables of this process as they are, each with a NUL after it. For the main thread only: others have copies. */
  environment(): Buffer;
  /** Closes the descriptors that are 0 or above. */
  closeAll(fds: Int32Array): void;
  /** Name, uid, gid and groups of a user, `undefined` where there is none, or a negative errno. */
  account(nameOrUid: string | number): [name: string, uid: number, gid: number, ...groups: number[]] | number | undefined;
  /** Starts a child by an encoded plan. Sets pid, pidfd, failed, step, errno, and the holder of a pidfile. Throws for bytes that are no plan. */
  launch(plan: Buffer, result: Int32Array): void;
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
  /** Waits for events of the processes that are waited for, for so many milliseconds; -1: as long as it takes. */
  turn(timeoutMs: number): void;
  /** Sends a signal, and gives 0 or a negative errno. */
  signal(id: number, signal: number): number;
  stopReading(id: number): void;
  /** Whether the event loop waits for the process: 1 or 0. */
  keep(id: number, isKept: number): void;
}

/** The kinds of events, as `enum event` of addon.c numbers them; what comes with each stands there. */
export const watchEvents = { report: 0, output: 1, end: 2 } as const;

const { platform, arch } = process;

/** Where the addon may lie: shipped with the package, for one C library or the other, or built in a checkout. */
const places = [`../../prebuilds/${platform}-${arch}-glibc/`, `../../prebuilds/${platform}-${arch}-musl/`, '../../src/native/build/Release/'].map(
  (place) => new URL(place, import.meta.url),
);

/** An addon that works here, and the program of the slow lane that goes with it. */
export interface Native {
  readonly binding: Binding;
  readonly helper: string;
}

/** The addon, or in words why there is none. */
export const native: Native | string = loadNative();

/** Loads the addon, or says in words why there is none. */
export function loadNative(): Native | string {
  if (platform !== 'linux') return `the native engine is for Linux, and this is ${platform}`;
  const require = createRequire(import.meta.url);
  let why = `no addon was built for ${platform} on ${arch}`;
  for (const place of places) {
    const path = fileURLToPath(new URL('vircommand.node', place));
    const helper = fileURLToPath(new URL('vircommand-helper', place));
    if (!existsSync(path) || !existsSync(helper)) continue;
    try {
      const binding = require(path) as Binding;
      return binding.isPossible() ? { binding, helper } : 'this kernel is older than Linux 5.11, or an emulator or sandbox stands before it: children cannot be started in shared memory';
    } catch (error) {
      // An addon for the other C library cannot be loaded; the next one may be for this.
      why = `the addon could not be loaded: ${(error as Error).message}`;
    }
  }
  return why;
}
