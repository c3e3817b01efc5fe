import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Subject } from '../errors/command-error.js';
import { PidFileError } from '../errors/pidfile-error.js';

/** A pid: digits, up to the end or white space. */
const PID = /^(\d{1,10})(?:\s|$)/;
const LARGEST_PID = 0x7fff_ffff;

/** No pid is longer; what follows it does not matter. */
const READ_BYTES = 64;

/** The pid that a pidfile's content begins with, or `undefined` if that is none. */
export function pidIn(content: string): number | undefined {
  const pid = Number(PID.exec(content)?.[1]);
  return pid <= LARGEST_PID ? pid : undefined;
}

/** Does something with a pidfile that is open for reading, and closes it. */
export async function withPidFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    // A FIFO would keep us until somebody writes. Windows has no such flag, and no FIFOs either.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return await use(file);
  } catch (cause) {
    throw cause instanceof PidFileError ? cause : fileError(path, 'read', cause);
  }
}

/** The beginning of an open pidfile. */
export async function contentOf(path: string, file: FileHandle): Promise<string> {
  const stats = await file.stat();
  // To read a directory is an error that says so; a device could give anything, and without end.
  if (!stats.isFile() && !stats.isDirectory()) throw new PidFileError(path, { isNot: 'regular' });
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(READ_BYTES), position: 0 });
  return buffer.toString('utf8', 0, bytesRead);
}

/** Whether the path still leads to the open file. */
export async function leadsTo(path: string, file: FileHandle): Promise<boolean> {
  const opened = await file.stat({ bigint: true });
  try {
    const found = await stat(path, { bigint: true });
    return opened.ino === found.ino && opened.dev === found.dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** The error for a pidfile that a call of Node's could not handle. */
export function fileError(path: string, action: string, cause: unknown, subject?: Subject): PidFileError {
  const { code = 'EIO', syscall = 'open' } = cause as NodeJS.ErrnoException;
  return new PidFileError(path, { action, errno: code, syscall, cause }, subject);
}

/** The name of the errno that an error of Node's carries. */
export const errnoOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
