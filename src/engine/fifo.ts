import { constants, openSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { ProcessError } from '../errors/process-error.js';
import { now } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { AS_UTF8, MAY_BE_MISSING } from '../spec/bare.js';
import { errnoName } from '../text/errno.js';
import type { Patience } from './patience.js';

/*
 * What is opened by who waits. To open a FIFO takes until its other end is opened, and to open a serial line until there is a carrier;
 * nobody can take back such a call. A thread of Node's pool that makes it is lost: with four of them no file of this process is opened
 * any more, and with one it cannot end. And when the other end comes after all, it is served by nobody. So these are opened without
 * waiting, and looked at again and again, for as long as a shell would wait.
 */

/** How often a FIFO is looked at: soon at first, and then less and less. There is no event for it. */
const FIRST_MS = 1;
const LAST_MS = 25;

const { O_NONBLOCK, O_RDONLY, O_WRONLY, O_RDWR } = constants;

const isForReading = (flags: number): boolean => (flags & (O_WRONLY | O_RDWR)) === O_RDONLY;

/** What an engine knows of FIFOs. */
export interface Fifos {
  /** Opens a FIFO for reading when it has a writer, as `open()` does. `undefined`: patience is over, and nothing is open. */
  openReader(path: string | Buffer, flags: number, patience: Patience): Promise<FileHandle | undefined>;
  /** Has an open file block that was opened not to. */
  letBlock(fd: number): void;
}

/** The same without the event loop, for an engine that can ask the kernel. */
export interface SeenFifos extends Fifos {
  /** Whether a FIFO that is open here for reading has a writer, or has had one since. */
  hasWriter(fd: number): boolean;
}

/** What the kernel tells of FIFOs, by the addon. */
export function seenFifos(binding: Binding): SeenFifos {
  const hasWriter = (fd: number): boolean => {
    const answer = binding.hasWriter(fd);
    if (answer >= 0) return answer === 1;
    const code = errnoName(answer);
    // It is asked by a copy into a pipe, which takes two descriptors.
    const syscall = code === 'EMFILE' || code === 'ENFILE' ? 'pipe2' : 'tee';
    throw new ProcessError('It is not told whether the FIFO has a writer.', { code, syscall });
  };
  return {
    hasWriter,
    openReader: (path, flags, patience) => openReaderByLooking(path, flags, patience, hasWriter),
    letBlock: (fd) => {
      const answer = binding.letBlock(fd);
      if (answer < 0)
        throw new ProcessError('The file cannot be made to block.', { code: errnoName(answer), syscall: 'fcntl' });
    },
  };
}

/** A file that has to be opened without waiting, or one that is opened as it is. */
type Kind = 'FIFO' | 'line' | 'plain';

async function kindOf(path: string | Buffer): Promise<Kind> {
  try {
    return kindOfFile(await stat(path));
  } catch {
    // It may be made by its opening, which tells what is wrong with it otherwise.
    return 'plain';
  }
}

function kindOfFile(stats: Stats | undefined): Kind {
  if (stats?.isFIFO() === true) return 'FIFO';
  return stats?.isCharacterDevice() === true && isTerminal(stats.rdev) ? 'line' : 'plain';
}

/** Whether a device is a terminal. Other devices are opened as they are: many take O_NONBLOCK for another kind of access. */
function isTerminal(rdev: number): boolean {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  try {
    return readlinkSync(`/sys/dev/char/${major}:${minor}/subsystem`, AS_UTF8).endsWith('/tty');
  } catch {
    // No such file system, or no such device in it: pseudo terminals, which make nobody wait.
    return false;
  }
}

/**
 * Opens a file as long as there is patience, in Node's thread pool. `undefined`: patience is over.
 *
 * A call that waits for a disk or for a network is left behind then, and what it opens after all is closed. What waits for another
 * process has been closed by then.
 */
export async function openInTime(
  path: string | Buffer,
  flags: number,
  fifos: Fifos,
  patience: Patience,
): Promise<FileHandle | undefined> {
  const kind = await patience.until(kindOf(path));
  if (kind === undefined) return undefined;
  if (kind === 'plain') return patience.until(open(path, flags), (late) => void late.close());
  const file =
    kind === 'line'
      ? await open(path, flags | O_NONBLOCK)
      : isForReading(flags)
        ? await fifos.openReader(path, flags, patience)
        : await openWriter(path, flags, patience);
  if (file !== undefined) fifos.letBlock(file.fd);
  return file;
}

async function openWriter(path: string | Buffer, flags: number, patience: Patience): Promise<FileHandle | undefined> {
  for (const ms of pauses()) {
    if (patience.end !== undefined) return undefined;
    try {
      return await open(path, flags | O_NONBLOCK);
    } catch (error) {
      if (!hasNoReader(error, path)) throw error;
    }
    await patience.pause(ms);
  }
  return undefined;
}

/** Opens a FIFO for reading at once, and waits for a writer: what is open is a reader, for which writers wait. */
async function openReaderByLooking(
  path: string | Buffer,
  flags: number,
  patience: Patience,
  hasWriter: (fd: number) => boolean,
): Promise<FileHandle | undefined> {
  const file = await open(path, flags | O_NONBLOCK);
  let isReady = false;
  try {
    for (const ms of pauses()) {
      if (patience.end !== undefined) break;
      isReady = hasWriter(file.fd);
      if (isReady) break;
      await patience.pause(ms);
    }
  } finally {
    if (!isReady) await file.close();
  }
  return isReady ? file : undefined;
}

/** The same as {@link openInTime} while this thread is held. `undefined`: it is past the deadline. */
export function openInTimeSync(
  path: string | Buffer,
  flags: number,
  fifos: SeenFifos,
  deadline: number,
  close: (fd: number) => void,
): number | undefined {
  const kind = kindOfFile(statOf(path));
  if (kind === 'plain') return openSync(path, flags);
  let fd: number | undefined;
  let isReady = false;
  try {
    for (const ms of pauses()) {
      fd ??= kind === 'line' ? openSync(path, flags | O_NONBLOCK) : openFifoSync(path, flags);
      isReady = fd !== undefined && (kind === 'line' || !isForReading(flags) || fifos.hasWriter(fd));
      if (isReady || now() >= deadline) break;
      hold(Math.min(ms, Math.max(1, deadline - now())));
    }
    if (fd !== undefined && isReady) fifos.letBlock(fd);
  } catch (error) {
    isReady = false;
    throw error;
  } finally {
    if (fd !== undefined && !isReady) close(fd);
  }
  return isReady ? fd : undefined;
}

function statOf(path: string | Buffer): Stats | undefined {
  try {
    return statSync(path, MAY_BE_MISSING);
  } catch {
    // Its opening tells.
    return undefined;
  }
}

function openFifoSync(path: string | Buffer, flags: number): number | undefined {
  try {
    return openSync(path, flags | O_NONBLOCK);
  } catch (error) {
    if (!hasNoReader(error, path)) throw error;
    return undefined;
  }
}

/** Whether a FIFO could not be opened for writing since nobody reads it. Sockets and devices that are not there answer the same. */
const hasNoReader = (error: unknown, path: string | Buffer): boolean =>
  (error as NodeJS.ErrnoException).code === 'ENXIO' && statOf(path)?.isFIFO() === true;

/** Milliseconds to wait between looks, without end. */
function* pauses(): Generator<number> {
  for (let ms = FIRST_MS; ; ms = Math.min(2 * ms, LAST_MS)) yield ms;
}

/** Holds this thread for so many milliseconds. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)), 0, 0, ms);
}
