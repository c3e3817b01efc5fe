import { constants } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { argumentError } from '../errors/argument-error.js';
import type { Subject } from '../errors/command-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { WITH_BIGINT } from '../spec/bare.js';

/**
 * A pid as libvirt reads it, with `strtoll()`: blanks, a plus sign and zeros may stand before it, and white space or a NUL after it.
 * What follows that does not matter. A negative number is no pid.
 */
const PID = /^[\t-\r ]*\+?(\d+)(?=$|[\t-\r \0])/;
const LARGEST_PID = 0x7fff_ffff;

/** No pid is longer, and what follows it does not matter. */
const READ_BYTES = 64;

/** The pid that a pidfile's content begins with, or `undefined` if that is none. */
export function pidIn(content: string): number | undefined {
  const [whole = '', digits] = PID.exec(content) ?? [];
  // Digits up to the end of what was read may go on after it.
  if (whole.length >= READ_BYTES) return undefined;
  const pid = Number(digits);
  return pid <= LARGEST_PID ? pid : undefined;
}

/** Returns the value if it is the path of a file. The kernel would cut it at a NUL, and an empty one would mean a directory. */
export function checkPath(call: string, path: unknown): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  throw argumentError(
    call,
    [path],
    'give the path of a pidfile, a text that is not empty and holds no NUL; PidFile.path() makes one',
  );
}

/** Reads the pid in a file. */
export async function readPid(path: string): Promise<number> {
  const content = await withPidFile(path, (file) => contentOf(path, file));
  const pid = pidIn(content);
  if (pid === undefined) throw noPid(path, content);
  return pid;
}

/** Gives `undefined` where there is no file. */
export async function unlessMissing<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof PidFileError && error.errno === 'ENOENT') return undefined;
    throw error;
  }
}

const SHOWN_CHARACTERS = 40;

/** The error for a file that holds no pid. */
export const noPid = (path: string, content: string): PidFileError =>
  new PidFileError(path, { content: content.slice(0, SHOWN_CHARACTERS) });

/** Removes a file. One that is not there is as good. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw fileError(path, 'removed', cause);
  }
}

/** Does something with a pidfile that is open for reading, and closes it. */
export async function withPidFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    // A FIFO would keep us until another process writes. Windows has no such flag, and no FIFOs either.
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
  const { buffer, bytesRead } = await file.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, 0);
  return buffer.toString('utf8', 0, bytesRead);
}

/** Whether the path still leads to the open file. */
export async function leadsTo(path: string, file: FileHandle): Promise<boolean> {
  const opened = await file.stat(WITH_BIGINT);
  try {
    const found = await stat(path, WITH_BIGINT);
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
