import { readFileSync, statfsSync } from 'node:fs';
import { type ByteText, pathOf } from '../text/bytes.js';
import { AS_UTF8 } from '../spec/bare.js';

/** The types of file systems that `statfs()` tells, from linux/magic.h. */
const CGROUP_SUPER_MAGIC = 0x27e0eb;
const CGROUP2_SUPER_MAGIC = 0x63677270;

/** What a directory is that was named as a control group. */
export type GroupKind = 'version 2' | 'version 1' | 'no group' | 'unknown';

/** Looks which version of control groups a directory belongs to; `unknown` where it is not there or not to be seen. */
export function groupKind(path: ByteText): GroupKind {
  try {
    const { type } = statfsSync(pathOf(path));
    if (type === CGROUP2_SUPER_MAGIC) return 'version 2';
    return type === CGROUP_SUPER_MAGIC ? 'version 1' : 'no group';
  } catch {
    // The child will be told why: its answer is of the moment that counts.
    return 'unknown';
  }
}

/** Where version 2 of control groups is mounted; `undefined` where there is no /proc to tell it. */
export function groupMounts(): readonly string[] | undefined {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mounts', AS_UTF8);
  } catch {
    return undefined;
  }
  return Array.from(mounts.matchAll(/^\S+ (\S+) cgroup2 /gm), ([, path = '']) =>
    // The kernel writes a blank, a tab, a newline and a backslash as three octal digits.
    path.replaceAll(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(parseInt(digits, 8))),
  );
}
