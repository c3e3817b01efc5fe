import { accessSync, constants, readFileSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Obstacle } from '../errors/exec-obstacle.js';
import { formatOf, specialKind } from './program-file.js';
import { AS_UTF8, bare } from '../spec/bare.js';

/** Who executes a file, and where. */
export interface Executor {
  /** The ids that it takes before; `undefined` where it keeps those of this process. */
  readonly ids?: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] } | undefined;
  /** The directory from which an interpreter is looked for whose path is relative. */
  readonly directory: string;
  /** Whether the kernel executes binaries for a machine that it may be built to emulate. */
  readonly emulates: () => boolean;
  /** Is told why a file could not be looked at, where that does not lie in the file. By default, nothing is said then. */
  readonly unseen?: (cause: unknown) => void;
}

/** How many scripts the kernel lets be the interpreters of each other, the program included. */
const MOST_SCRIPTS = 5;

/** How many symbolic links the kernel follows. */
const MOST_LINKS = 40;

/**
 * Finds what `execve` would refuse a file for, by looking at what the kernel looks at: the way to the file, its type, its mount, its
 * permissions, its format, and the same for its interpreter or its loader. `undefined`: nothing can be seen that stands in the way.
 *
 * It says nothing of what only the kernel knows: security modules, files that are being written, memory, the size of the arguments.
 */
export function findObstacle(file: string, executor: Executor): Obstacle | undefined {
  let at: Place = { role: 'program', path: file };
  for (let scripts = 0; ; scripts += 1) {
    const obstacle = obstacleAt(at, executor);
    if (obstacle !== undefined) return obstacle;
    const format = formatOf(at.path);
    switch (format.is) {
      case 'registered':
        return undefined;
      case 'unknown':
        executor.unseen?.(format.cause);
        return undefined;
      case 'unreadable':
        return { ...at, is: 'unreadable', errno: 'EACCES' };
      case 'script':
        if (scripts === MOST_SCRIPTS) return { role: 'program', path: file, is: 'too-deep', errno: 'ELOOP' };
        // A text that is no UTF-8 names another file than the bytes do.
        if (format.interpreter.includes('\ufffd')) return undefined;
        at = next(at, 'interpreter', resolve(executor.directory, format.interpreter), file);
        break;
      case 'binary':
        if (format.compat !== undefined && !executor.emulates())
          return { ...at, is: 'foreign', errno: 'ENOEXEC', detail: format.compat };
        if (format.loader === undefined) return undefined;
        return loaderObstacle(next(at, 'loader', resolve(executor.directory, format.loader), file), executor);
      default:
        return { ...at, ...format };
    }
  }
}

type Place = Pick<Obstacle, 'role' | 'path' | 'of' | 'program'>;

const next = (at: Place, role: 'interpreter' | 'loader', path: string, program: string): Place => ({
  role,
  path,
  of: at.path,
  ...(at.path === program ? {} : { program }),
});

function loaderObstacle(at: Place, executor: Executor): Obstacle | undefined {
  const obstacle = obstacleAt(at, executor);
  if (obstacle !== undefined) return obstacle;
  const format = formatOf(at.path);
  if (format.is === 'binary' || format.is === 'unreadable' || format.is === 'unknown') return undefined;
  // Of a file that is shorter than a header, the kernel says EIO.
  return { ...at, is: 'no-loader', errno: statSync(at.path).size < SMALLEST_LOADER ? 'EIO' : 'ELIBBAD' };
}

const SMALLEST_LOADER = 64;

// ---------------------------------------------------------------- one file

function obstacleAt(at: Place, executor: Executor): Obstacle | undefined {
  const { ids } = bare(executor);
  let stats: Stats;
  try {
    const closed = ids === undefined ? undefined : closedDirectory(at.path, ids);
    if (closed !== undefined) return { ...at, is: 'closed', errno: 'EACCES', detail: closed };
    stats = statSync(at.path);
  } catch (error) {
    return unreached(at, (error as NodeJS.ErrnoException).code, ids);
  }
  const special = specialKind(stats);
  if (special !== undefined) return { ...at, is: special, errno: 'EACCES' };
  // The kernel says so of a mount with noexec as well, and most files are no obstacle.
  if (mayExecute(at.path, stats, undefined) && (ids === undefined || mayExecute(at.path, stats, ids))) return undefined;
  const isBinary = formatOf(at.path).is === 'binary';
  const mount = noexecMountOf(at.path);
  if (mount !== 'none' && mount !== 'unknown') return { ...at, is: 'noexec', errno: 'EACCES', detail: mount, isBinary };
  // Where mounts cannot be seen, a file is not blamed whose bits allow it.
  if (mayExecute(at.path, stats, mount === 'none' ? ids : (ids ?? ownIds()))) return undefined;
  return (stats.mode & 0o111) === 0
    ? { ...at, is: 'not-executable', errno: 'EACCES', isBinary }
    : { ...at, is: 'not-executable-for', errno: 'EACCES', detail: String(ids?.uid ?? process.geteuid?.()), isBinary };
}

/** What is wrong with the way to a file that cannot be looked at. */
function unreached(at: Place, errno: string | undefined, ids: Executor['ids']): Obstacle | undefined {
  switch (errno) {
    case 'ENOENT':
      return { ...at, is: 'missing', errno };
    case 'ENOTDIR':
      return { ...at, is: 'below-a-file', errno };
    case 'ELOOP':
      return { ...at, is: 'behind-links', errno };
    case 'ENAMETOOLONG':
      return { ...at, is: 'too-long-a-path', errno };
    case 'EACCES': {
      const closed = closedDirectory(at.path, ids);
      return closed === undefined ? undefined : { ...at, is: 'closed', errno, detail: closed };
    }
    default:
      return undefined;
  }
}

function mayExecute(path: string, stats: Stats, ids: Executor['ids']): boolean {
  if (ids !== undefined) {
    // Root needs one x bit of a file, and none of a directory.
    if (ids.uid === 0) return stats.isDirectory() || (stats.mode & 0o111) !== 0;
    if (ids.uid === stats.uid) return (stats.mode & 0o100) !== 0;
    const isInGroup = ids.gid === stats.gid || ids.groups.includes(stats.gid);
    return (stats.mode & (isInGroup ? 0o010 : 0o001)) !== 0;
  }
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const ownIds = (): NonNullable<Executor['ids']> => ({
  uid: process.geteuid?.() ?? 0,
  gid: process.getegid?.() ?? 0,
  groups: process.getgroups?.() ?? [],
});

/** The first directory on the way to a file that may not be entered, the way behind symbolic links included. */
export function closedDirectory(path: string, ids: Executor['ids'], links = MOST_LINKS): string | undefined {
  const parent = dirname(path);
  if (parent === path || links === 0) return undefined;
  const closed = closedDirectory(parent, ids, links) ?? (isClosed(parent, ids) ? parent : undefined);
  if (closed !== undefined) return closed;
  const target = linkTarget(path);
  return target === undefined ? undefined : closedDirectory(resolve(parent, target), ids, links - 1);
}

function isClosed(directory: string, ids: Executor['ids']): boolean {
  try {
    const stats = statSync(directory);
    return stats.isDirectory() && !mayExecute(directory, stats, ids);
  } catch {
    // It is missing, which is another fault.
    return false;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // It is no link, or not there.
    return undefined;
  }
}

/** The mount point of the file system that a file lies on, if that is mounted with `noexec`; `none` if it is not. */
function noexecMountOf(path: string): string {
  try {
    const file = realpathSync(path);
    let mount = { point: '', options: '' };
    for (const line of readFileSync('/proc/self/mountinfo', AS_UTF8).split('\n')) {
      const [, , , , escaped = '', options = ''] = line.split(' ');
      const point = escaped.replace(/\\([0-7]{3})/g, (_all, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      );
      const isAbove = point === '/' || file === point || file.startsWith(`${point}/`);
      // Of two mounts at one place the later one covers the other.
      if (isAbove && point.length >= mount.point.length) mount = { point, options };
    }
    return mount.options.split(',').includes('noexec') ? mount.point : 'none';
  } catch {
    // The file cannot be reached, there is no /proc, or no descriptor to read it by: nothing is known of mounts.
    return 'unknown';
  }
}
