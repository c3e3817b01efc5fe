import { constants } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { argumentError } from '../errors/argument-error.js';
import type { Subject } from '../errors/command-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { thisHost } from '../host/host.js';
import { absolute, isPathFromHere } from '../plan/program.js';
import { WITH_BIGINT } from '../spec/bare.js';
import { type ByteText, fromBytes, pathOf, readable, readArgument, toBytes } from '../text/bytes.js';
import { isBytes, Wrong } from '../text/reading.js';

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

/** A pidfile: its path for the kernel, and its name for people. */
export interface PidFilePath {
  readonly path: string | Buffer;
  readonly name: string;
}

/** Reads the path of a pidfile. The kernel would cut it at a NUL, and an empty one would mean a directory. */
export function pidFilePath(call: string, given: unknown): PidFilePath {
  const text = isBytes(given) && given.length === 0 ? NO_PATH : readArgument(given);
  if (typeof given === 'number' || typeof given === 'bigint' || text instanceof Wrong || text === '')
    throw argumentError(
      call,
      [given],
      'give the path of a pidfile, text or bytes that are not empty and hold no NUL; PidFile.path() makes one',
    );
  return named(text);
}

const NO_PATH = new Wrong('is empty');

/** A path that was said, as a pidfile. */
export const named = (text: ByteText): PidFilePath => ({ path: pathOf(text), name: readable(text) });

/** The same path from the root, by what this process's directory is called now. Where that was removed, the path stays as it is. */
export function fromRoot({ path }: PidFilePath): PidFilePath {
  const found = absolute(typeof path === 'string' ? path : fromBytes(path), thisHost);
  if (isPathFromHere(found)) return named(found);
  // As Latin-1, each byte is a character, and none is lost.
  return named(typeof found === 'string' ? resolve(found) : fromBytes(Buffer.from(resolve(latin1(found)), 'latin1')));
}

const latin1 = (text: ByteText): string => toBytes(text).toString('latin1');

/** What a file is remembered by: no two paths have the same key. */
export const keyOf = ({ path }: PidFilePath): string =>
  typeof path === 'string' ? path : `${path.toString('latin1')}\0`;

/** Reads the pid in a file. */
export async function readPid(file: PidFilePath): Promise<number> {
  const content = await withPidFile(file, (opened) => contentOf(file, opened));
  const pid = pidIn(content);
  if (pid === undefined) throw noPid(file, content);
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
export const noPid = ({ name }: PidFilePath, content: string): PidFileError =>
  new PidFileError(name, { content: content.slice(0, SHOWN_CHARACTERS) });

/** Removes a file. One that is not there is as good. */
export async function removeFile({ path, name }: PidFilePath): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw fileError(name, 'removed', cause);
  }
}

/** Does something with a pidfile that is open for reading, and closes it. */
export async function withPidFile<T>({ path, name }: PidFilePath, use: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    // A FIFO would keep us until another process writes. Windows has no such flag, and no FIFOs either.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return await use(file);
  } catch (cause) {
    throw cause instanceof PidFileError ? cause : fileError(name, 'read', cause);
  }
}

/** The beginning of an open pidfile. */
export async function contentOf({ name }: PidFilePath, file: FileHandle): Promise<string> {
  const stats = await file.stat();
  // To read a directory is an error that says so; a device could give anything, and without end.
  if (!stats.isFile() && !stats.isDirectory()) throw new PidFileError(name, { isNot: 'regular' });
  const { buffer, bytesRead } = await file.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, 0);
  return buffer.toString('utf8', 0, bytesRead);
}

/** Whether the path still leads to the open file. */
export async function leadsTo({ path }: PidFilePath, file: FileHandle): Promise<boolean> {
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
export function fileError(name: string, action: string, cause: unknown, subject?: Subject): PidFileError {
  const { code = 'EIO', syscall = 'open' } = cause as NodeJS.ErrnoException;
  return new PidFileError(name, { action, errno: code, syscall, cause }, subject);
}

/** The name of the errno that an error of Node's carries. */
export const errnoOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
