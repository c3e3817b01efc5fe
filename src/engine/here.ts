import { closeSync, constants, existsSync, fstatSync, openSync, readlinkSync, statSync } from 'node:fs';
import { isPathFromHere } from '../plan/program.js';
import { AS_BYTES, WITH_BIGINT } from '../spec/bare.js';
import { type ByteText, fromBytes, joinText, pathOf } from '../text/bytes.js';

/*
 * This process's directory, held by a descriptor: what begins there is meant from there, whatever it is called by then, and wherever
 * this process or the child is.
 */

/** Linux's flag for a descriptor that only names a place, and needs no right to read it. Node has no constant for it. */
export const O_PATH = 0o10000000;

const openHere = (): number => openSync('.', O_PATH | constants.O_DIRECTORY);

/** This process's directory as it was when this was made. It is open until all that keep it have released it. */
export class HeldDirectory {
  readonly fd: number;
  #keepers = 1;

  /** Throws as `openSync()` does. */
  constructor() {
    this.fd = openHere();
  }

  keep(): this {
    this.#keepers += 1;
    return this;
  }

  release(): void {
    this.#keepers -= 1;
    if (this.#keepers === 0) closeSync(this.fd);
  }

  /** Whether this process is in another directory by now. */
  get isLeft(): boolean {
    const held = fstatSync(this.fd, WITH_BIGINT);
    try {
      const now = statSync('.', WITH_BIGINT);
      return held.ino !== now.ino || held.dev !== now.dev;
    } catch {
      // It is in one that it may not search, which it could not have opened.
      return true;
    }
  }
}

/**
 * Opens this process's directory, so that what begins there is still meant from there when somebody has called `process.chdir()`
 * meanwhile. `undefined` where that cannot be done; then the kernel begins where this process is by then.
 */
export function holdDirectory(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  let fd: number | undefined;
  try {
    fd = openHere();
    if (existsSync(`/proc/self/fd/${fd}`)) return fd;
    closeSync(fd);
    return undefined;
  } catch {
    // No descriptor is free, or this process may not search its own directory: the opening that follows tells of it.
    return undefined;
  }
}

/** Opens a directory that {@link holdDirectory} holds once more, at the lowest number that is free. */
export const reopenDirectory = (here: number): number =>
  openSync(`/proc/self/fd/${here}`, O_PATH | constants.O_DIRECTORY);

/** The path by which the kernel finds what was said, from the directory that is held. */
export function pathFrom(here: number | undefined, path: ByteText): string | Buffer {
  return pathOf(here === undefined || !isPathFromHere(path) ? path : joinText(`/proc/self/fd/${here}/`, path));
}

/**
 * A name from the root for a file that begins in a directory which is held: the usual one, if it leads to that very file; else by
 * what the directory is called now. The path by the descriptor where no name does: a script cannot be executed by that.
 * `undefined`: there is no such file.
 */
export function nameFrom(here: number, path: ByteText, usual: ByteText): string | Buffer | undefined {
  const held = pathFrom(here, path);
  const file = identityOf(held);
  if (file === undefined) return undefined;
  if (!isPathFromHere(usual) && identityOf(pathOf(usual)) === file) return pathOf(usual);
  const name = pathOf(joinText(fromBytes(readlinkSync(`/proc/self/fd/${here}`, AS_BYTES)), '/', path));
  return identityOf(name) === file ? name : held;
}

/** What tells a file from all others; `undefined` where there is none, or none to be seen. */
function identityOf(path: string | Buffer): string | undefined {
  try {
    const { dev, ino } = statSync(path, WITH_BIGINT);
    return `${dev}:${ino}`;
  } catch {
    // It is gone, or lies behind a directory that is closed to us.
    return undefined;
  }
}
