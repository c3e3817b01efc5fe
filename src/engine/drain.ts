import { spawn, type SpawnOptions } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { bare, WITH_BIGINT } from '../spec/bare.js';
import type { CommandSpec } from '../spec/spec.js';
import type { LaunchResources } from './engine.js';

/*
 * A program of `runAsync()` writes its standard error into a pipe that this process reads, if nobody has claimed it. One that is released may
 * outlive this process, and without a reader its next word would end it by SIGPIPE. So another process reads the pipe then, to its end.
 */

/** The program that reads, and throws away what comes. */
const READER = 'cat';

/** Whether the standard error of a program is read for the log alone, and the program may be released. */
export const mayLeaveLog = ({ mode, descriptors }: LaunchPlan): boolean =>
  mode === 'async' &&
  descriptors.some(({ childFd, source }) => childFd === 2 && source.kind === 'pipe' && source.for === 'log');

/** What a descriptor means, to be known again where its number may mean something else. */
export const inodeOf = (fd: number): bigint => fstatSync(fd, WITH_BIGINT).ino;

function isStill(fd: number, inode: bigint): boolean {
  try {
    return inodeOf(fd) === inode;
  } catch {
    // It has been closed.
    return false;
  }
}

/** Opens a pipe of this process once more, if it is open still, and has it read elsewhere. False: it is not. */
export function drainPipe(fd: number, inode: bigint, drain: (pipe: number) => boolean): boolean {
  let pipe: number;
  try {
    pipe = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    // What Node may not open by its permission model, the reader opens for itself.
    if ((error as NodeJS.ErrnoException).code === 'ERR_ACCESS_DENIED') return isStill(fd, inode) && drain(fd);
    // It is closed, so nobody writes to it; or there is no /proc, and it is read for as long as this process lives.
    return false;
  }
  try {
    return isStill(pipe, inode) && drain(pipe);
  } finally {
    closeSync(pipe);
  }
}

/** The command of the reader, a daemon. */
export const readerOf = (pipe: number): CommandSpec =>
  bare<CommandSpec>({
    version: 1,
    argv: [READER],
    stdin: bare({ from: 'fd', fd: pipe }),
    stdout: bare({ to: 'unclaimed' }),
    stderr: bare({ to: 'unclaimed' }),
    daemonize: true,
  });

/** The pids of the readers. They are kept while this process adopts orphans: it becomes their parent then, and tells nobody of them. */
class Readers {
  #pids: Set<number> | undefined;

  keep(areKept: boolean): void {
    this.#pids = areKept ? (this.#pids ?? new Set()) : undefined;
  }

  add(pid: number): void {
    this.#pids?.add(pid);
  }

  /** Whether it was one, which is forgotten with that. */
  take(pid: number): boolean {
    return this.#pids?.delete(pid) === true;
  }
}

export const readers = new Readers();

/** What a launch has that reads nothing and is waited for by nobody. */
export const NO_RESOURCES: LaunchResources = Object.freeze(
  bare<LaunchResources>({
    input: undefined,
    sendBuffers: new Map(),
    captures: new Map(),
    waitForOutputEnd: false,
    opaque: undefined,
    deadline: Infinity,
    abortSignal: undefined,
    onStart: undefined,
    onPending: undefined,
  }),
);

/** The same for a stream of `child_process`. */
export function drainStream(stream: Readable): boolean {
  const options = bare<SpawnOptions>({ cwd: '/', stdio: [stream, 'ignore', 'ignore'], detached: true });
  const reader = spawn(READER, [], options);
  // Without one, it is read for as long as this process lives; child_process has stopped that, whether there is a reader or not.
  reader.once('error', () => stream.resume());
  reader.unref();
  return reader.pid !== undefined;
}
