import { join } from 'node:path';
import type { ProcessHandle } from '../ending/process-handle.js';
import { currentDryRun, dryRunOf, holderInMemory, type PidFileInMemory } from '../engine/dry-run.js';
import { PlayedProcess } from '../engine/played.js';
import { argumentError } from '../errors/argument-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { isAlive } from '../host/send-signal.js';
import { holderOf } from '../wire/pidfile-answer.js';
import { type CleanupOptions, forceCleanup } from './cleanup.js';
import { fromRoot, noPid, type PidFilePath, pidFilePath, readPid, removeFile, unlessMissing } from './content.js';
import { readArgument } from '../text/bytes.js';
import { isBytes, Wrong } from '../text/reading.js';
import { acquire, type AcquireOptions, inspectPidFile, lockBinding, type PidFileLock, release } from './lock.js';
import { open, type OpenOptions } from './open.js';
import { executes, isProgram, playsProgram } from './program.js';

function path(directory: string, name: string): string;
function path(directory: string | Uint8Array, name: string | Uint8Array): string | Buffer;
function path(directory: string | Uint8Array, name: string | Uint8Array): string | Buffer {
  for (const part of [directory, name])
    if ((typeof part !== 'string' && !isBytes(part)) || readArgument(part) instanceof Wrong)
      throw argumentError('PidFile.path', [directory, name], 'give a directory and a name, text or bytes without NUL');
  if (typeof directory === 'string' && typeof name === 'string') return join(directory, `${name}.pid`);
  // As Latin-1, each byte is a character, and none is lost.
  const [above = '', below = ''] = [directory, name].map((part) => Buffer.from(part as string).toString('latin1'));
  return Buffer.from(join(above, `${below}.pid`), 'latin1');
}

/**
 * Files that hold the pid of a daemon: decimal digits, no newline, as libvirt's. Their owner has a lock on them, for as long as it
 * lives; a file that is not locked is stale. A path is text, or bytes where a name is not UTF-8. In a `dryRun()`, files are acquired, released and removed in memory alone. See `docs/pidfiles.md`.
 *
 * @example
 * const path = PidFile.path('/run/dnsmasq', 'default'); // '/run/dnsmasq/default.pid'
 * const pid = await PidFile.readIfAlive(path, '/usr/sbin/dnsmasq');
 */
export const PidFile = {
  /**
   * The path of a pidfile: the directory, the name, and `.pid`; as bytes if one of them is bytes. Answers to `virPidFileBuildPath`.
   *
   * @throws {TypeError} if one of them is neither text nor bytes, or holds a NUL.
   *
   * @example
   * PidFile.path('/run/dnsmasq', 'default'); // '/run/dnsmasq/default.pid'
   */
  path,

  /**
   * Reads a pid: digits, then the end or white space; blanks, a plus sign and zeros may stand before them. Answers to `virPidFileReadPath`.
   *
   * @throws {PidFileError} if the file cannot be read, or holds something else.
   *
   * @example
   * const pid = await PidFile.read('/run/dnsmasq.pid');
   */
  async read(path: string | Uint8Array): Promise<number> {
    const file = pidFilePath('PidFile.read', path);
    return inMemory(file)?.pid ?? (await readPid(file));
  },

  /**
   * Reads a pid and gives it only if that process lives, and, if a program is named, only if the process executes that
   * very file; a pid that another program has taken over since is not alive. Where there is no file, nobody is. Answers to
   * `virPidFileReadPathIfAlive`.
   *
   * A bare name, `'dnsmasq'`, means the file that PATH has for it, or any of that name. A script counts as itself, not as its
   * interpreter. The program can be checked where there is a `/proc` that shows the process.
   *
   * @throws {PidFileError} if the file cannot be read, or holds something else, or if the process lives and its program cannot be seen.
   *
   * @example
   * const pid = await PidFile.readIfAlive('/run/dnsmasq.pid', 'dnsmasq');
   * console.log(pid === undefined ? 'nobody runs' : `process ${pid} runs`);
   */
  async readIfAlive(path: string | Uint8Array, program?: string | Uint8Array): Promise<number | undefined> {
    const file = pidFilePath('PidFile.readIfAlive', path);
    if (program !== undefined && !isProgram(program))
      throw argumentError('PidFile.readIfAlive', [path, program], 'a program is the path of a file, or left out');
    const remembered = inMemory(file);
    if (remembered?.owner instanceof PlayedProcess)
      return !remembered.owner.hasEnded && playsProgram(remembered.owner, program) ? remembered.pid : undefined;
    const pid = remembered?.pid ?? (await unlessMissing(() => readPid(file)));
    if (pid === undefined || pid <= 0 || !isAlive(pid)) return undefined;
    return program === undefined || (await executes(file, pid, program)) ? pid : undefined;
  },

  /**
   * Finds the daemon that a pidfile names, and gives a handle that means this very process for ever; `undefined` where there is no file, or
   * where the daemon does not run.
   *
   * A file that is locked must be locked by the process that it names. One that is not (many daemons lock none) is believed if the process
   * executes `program`, as {@link PidFile.readIfAlive} compares it, or, where none is named, if it did not begin after the file was written. The
   * process is held while it is checked. *Portable:* there are no locks to ask for.
   *
   * @throws {PidFileError} if the file cannot be read, or holds no pid, or is locked by another living process than the one that it names; or if
   * `program` cannot be compared, since the process is hidden. {ProcessError} if the process cannot be held. {TypeError} for a path or an option that is none.
   *
   * @example
   * using dnsmasq = await PidFile.open('/run/dnsmasq.pid', { program: 'dnsmasq' });
   * dnsmasq?.signal('SIGHUP');
   */
  open(path: string | Uint8Array, options?: OpenOptions): Promise<ProcessHandle | undefined> {
    return open(path, options);
  },

  /**
   * Reads a pid and gives it only if the process that it names holds the lock on the file; without the lock, the file is stale,
   * whatever process has its pid by now; and so is one that is not there. The lock is asked for and not taken, so no starter is disturbed. Answers to `virPidFileReadPathIfLocked`.
   *
   * @throws {PidFileError} if the file cannot be read, or is locked and holds no pid, or that of a living process (`named`) which is
   * not the one that has locked it (`heldBy`). {UnsupportedError} without the native engine.
   *
   * @example
   * const pid = await PidFile.readIfLocked('/run/dnsmasq.pid');
   * if (pid !== undefined) process.kill(pid, 'SIGHUP');
   */
  async readIfLocked(path: string | Uint8Array): Promise<number | undefined> {
    const file = pidFilePath('PidFile.readIfLocked', path);
    const remembered = inMemory(file);
    if (remembered !== undefined) return holderInMemory(remembered) === undefined ? undefined : remembered.pid;
    const binding = lockBinding('PidFile.readIfLocked');
    const seen = await unlessMissing(() => inspectPidFile(binding, file));
    if (seen?.holder === undefined) return undefined;
    const { content, pid, holder } = seen;
    if (pid === undefined) throw noPid(file, content);
    // A cleaner is about to remove the file.
    if (pid === 0) return undefined;
    if (pid === holder) return pid;
    if (!isAlive(pid)) return undefined;
    throw new PidFileError(file.name, { heldBy: holderOf(holder), named: pid });
  },

  /**
   * Makes this process the owner of a pidfile: locks it, writes the pid into it, and resolves when that is on the disk. A file
   * that a crash has left behind is taken over. Symbolic links are not followed, and what is no regular file is left alone.
   *
   * The lock is `fcntl()`'s, on the first byte, which libvirt and the daemons of this library see. It lasts until it is
   * released or this process ends, however it ends, even if nothing keeps the result. Unlike elsewhere, it is not lost when this
   * process opens and closes the file, and a second `acquire()` in this process is refused as well, from any thread.
   * Answers to `virPidFileAcquirePath`.
   *
   * @throws {PidFileError} if a process holds it (`heldBy`), or it cannot be written; with `wait`, also if the signal is aborted.
   * {UnsupportedError} without the native engine. {TypeError} for a path or an option that is none.
   *
   * @example
   * using lock = await PidFile.acquire('/run/my-daemon.pid');
   *
   * @example
   * const successor = await PidFile.acquire('/run/my-daemon.pid', { wait: true, signal: AbortSignal.timeout(10_000) });
   */
  acquire(path: string | Uint8Array, options?: AcquireOptions): Promise<PidFileLock> {
    return acquire(path, options);
  },

  /**
   * Removes a pidfile that this thread holds and gives up the lock, in this order; see {@link PidFileLock.release}. A lock that
   * was released already, or a file that is gone, is as good. Answers to `virPidFileReleasePath`.
   *
   * @throws {PidFileError} if the path is not held by this thread, or the file cannot be removed.
   *
   * @example
   * await PidFile.acquire('/run/my-daemon.pid');
   * await PidFile.release('/run/my-daemon.pid');
   */
  release(lock: PidFileLock | string | Uint8Array): Promise<void> {
    return new Promise((settle) => {
      release(lock);
      settle();
    });
  },

  /**
   * Ends the owner of a pidfile, if there is one, and removes the file. A file that is not there is as good, and one that
   * is not locked is just removed. The owner gets SIGTERM, and after ten seconds SIGKILL. Only a process is signaled that
   * both stands in the file and holds its lock; and the file is removed under that lock, so cleaners may work at the same
   * time as each other and as starters. Answers to `virPidFileForceCleanupPath` and `virPidFileForceCleanupPathFull`.
   *
   * @throws {PidFileError} if the file holds no pid, cannot be removed, or its holder was not ended: another one than the pid
   * in it, this process itself, one of its group, one that may not be signaled or does not end within 40 s, or one that took the
   * file after the first was ended. {UnsupportedError} without the native engine.
   *
   * @example
   * await PidFile.forceCleanup('/run/virtiofsd.pid', { group: true });
   */
  forceCleanup(path: string | Uint8Array, options?: CleanupOptions): Promise<void> {
    return forceCleanup(path, options);
  },

  /**
   * Removes a pidfile, even one that is held. One that is not there is as good. Its owner loses it without a word: to end an owner is
   * {@link PidFile.forceCleanup}, to give up one's own {@link PidFile.release}. Answers to `virPidFileDeletePath`.
   *
   * @throws {PidFileError} if it cannot be removed.
   *
   * @example
   * await PidFile.remove('/run/dnsmasq.pid');
   */
  async remove(path: string | Uint8Array): Promise<void> {
    const file = pidFilePath('PidFile.remove', path);
    const dryRun = dryRunOf('PidFile.remove');
    if (dryRun === undefined) await removeFile(file);
    else dryRun.removePidFile(fromRoot(file));
  },
};

/** A pidfile that a dry run holds. */
const inMemory = (file: PidFilePath): PidFileInMemory | undefined => currentDryRun()?.pidFile(fromRoot(file));
