import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { isPathFromHere } from '../plan/program.js';
import { type ByteText, joinText, pathOf } from '../text/bytes.js';

/*
 * This process's directory, held by a descriptor: what begins there is meant from there, whatever it is called by then, and wherever
 * this process or the child is.
 */

/** Linux's flag for a descriptor that only names a place, and needs no right to read it. Node has no constant for it. */
const O_PATH = 0o10000000;

/**
 * Opens this process's directory, so that what begins there is still meant from there when somebody has called `process.chdir()`
 * meanwhile. `undefined` where that cannot be done; then the kernel begins where this process is by then.
 */
export function holdDirectory(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  let fd: number | undefined;
  try {
    fd = openSync('.', O_PATH | constants.O_DIRECTORY);
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
