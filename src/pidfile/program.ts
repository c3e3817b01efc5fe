import { closeSync, existsSync, openSync, readSync, realpathSync } from 'node:fs';
import { readFile, readlink, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { PlayedProcess } from '../engine/played.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { inspectProcess } from '../host/process-table.js';
import { AS_BYTES, AS_LATIN1 } from '../spec/bare.js';
import { fromBytes, readable, readArgument } from '../text/bytes.js';
import { elementAt, isBytes, Wrong } from '../text/reading.js';
import { errnoOf, type PidFilePath } from './content.js';

/** What `/proc/PID/exe` ends in when the program's file has been replaced. */
const DELETED = ' (deleted)';

/** Whether a value can name a program. */
export function isProgram(value: unknown): value is string | Uint8Array {
  if (typeof value !== 'string' && (!isBytes(value) || value.length === 0)) return false;
  return value !== '' && !(readArgument(value) instanceof Wrong);
}

/*
 * Names are compared as Latin-1: each byte is a character, and none is lost, whatever it means.
 */
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytesOf = (name: string): Buffer => Buffer.from(name, 'latin1');

/**
 * Whether the process that a pidfile names executes a program.
 *
 * A path means that very file. A bare name means the file that PATH has for it, or any file of that name. A script is executed by
 * its interpreter, which has it as its first argument that is no option.
 */
export async function executes(file: PidFilePath, pid: number, named: string | Uint8Array): Promise<boolean> {
  const program = latin1(typeof named === 'string' ? Buffer.from(named) : named);
  const link = `/proc/${pid}/exe`;
  const isBare = !program.includes('/');
  const wanted = isBare ? inPath(program) : [program];
  try {
    const running = await stat(link);
    for (const each of wanted) if (await isFile(each, running)) return true;
  } catch {
    // The program's file may have been replaced since; then the name decides.
  }
  try {
    const target = latin1(await readlink(link, AS_BYTES));
    const name = target.endsWith(DELETED) ? target.slice(0, -DELETED.length) : target;
    if (
      isBare
        ? basename(name) === program
        : name === program ||
          (existsSync(bytesOf(program)) && name === latin1(realpathSync.native(bytesOf(program), AS_BYTES)))
    )
      return true;
    return await interprets(pid, program, wanted);
  } catch (cause) {
    const seen = inspectProcess(pid);
    const errno = errnoOf(cause);
    // It has ended meanwhile, or is a thread of the kernel, which executes no file.
    if (seen === 'ESRCH' || (typeof seen !== 'string' && errno === 'ENOENT')) return false;
    throw new PidFileError(file.name, { named: pid, errno: errno ?? 'EIO', syscall: 'readlink', cause });
  }
}

/** Whether a played process is one of a program, by its name alone: no file is looked at. */
export function playsProgram({ programName }: PlayedProcess, named: string | Uint8Array | undefined): boolean {
  const program = typeof named === 'object' ? readable(fromBytes(named)) : named;
  if (program === undefined || program === programName) return true;
  const isBare = !program.includes('/') || !programName.includes('/');
  return isBare && basename(program) === basename(programName);
}

/** The files of that name in the directories of PATH. */
const inPath = (name: string): readonly string[] =>
  latin1(Buffer.from(process.env['PATH'] ?? ''))
    .split(':')
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, name));

async function isFile(path: string, { ino, dev }: { readonly ino: number; readonly dev: number }): Promise<boolean> {
  try {
    const found = await stat(bytesOf(path));
    return found.ino === ino && found.dev === dev;
  } catch {
    // There is no such file.
    return false;
  }
}

/** The options after which interpreters have a program's text, and no file. */
const INLINE = /^-\w*c$|^--eval$/;

/** Whether a process is an interpreter that has the program as its script. */
async function interprets(pid: number, program: string, wanted: readonly string[]): Promise<boolean> {
  const [, ...words] = (await readFile(`/proc/${pid}/cmdline`, AS_LATIN1)).split('\0');
  const at = words.findIndex((word) => !word.startsWith('-'));
  const script = elementAt(words, at);
  if (script === undefined || script === '' || words.slice(0, at).some((word) => INLINE.test(word))) return false;
  // The kernel hands the path on as it was said, and the program may have gone to another directory since.
  const file = resolve(latin1(await readlink(`/proc/${pid}/cwd`, AS_BYTES)), script);
  if (program.includes('/') || basename(script) !== program) {
    const running = await stat(bytesOf(file)).catch(() => undefined);
    if (running === undefined || isBinary(file)) return false;
    for (const each of wanted) if (await isFile(each, running)) return true;
    return false;
  }
  return existsSync(bytesOf(file)) ? !isBinary(file) : !script.includes('/');
}

/** What a program that the kernel executes itself begins with. A process that has one as its argument does not interpret it. */
const ELF = '\x7fELF';

function isBinary(path: string): boolean {
  try {
    const fd = openSync(bytesOf(path), 'r');
    try {
      const start = Buffer.alloc(ELF.length);
      return start.toString('latin1', 0, readSync(fd, start)) === ELF;
    } finally {
      closeSync(fd);
    }
  } catch {
    // What cannot be read is not interpreted either.
    return true;
  }
}
