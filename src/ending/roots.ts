import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { addonInUse } from '../engine/select.js';
import { type ProcessRow, type ProcessTable, readProcess, readProcessTable } from '../host/process-table.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, fromBytes, isSameText, joinText, pathOf } from '../text/bytes.js';
import { adoptsOrphans } from './adopt-orphans.js';
import { BoundedMap } from './bounded-map.js';
import { ownedPids } from './owned-children.js';
import { AS_BYTES, AS_UTF8, bare } from '../spec/bare.js';

/** What a launch says of the tree that grows from it. */
export interface Root {
  /** As the process was right after the launch. */
  readonly row: ProcessRow;
  /** The control group that held nothing else then. */
  readonly cgroup: ByteText | undefined;
  /** The process group that it was made to lead. */
  readonly group: number | undefined;
  /** The session that was made for it. */
  readonly session: number | undefined;
  readonly isDaemon: boolean;
}

/** What is known of the commands that were launched into a group of their own, by pid. */
export const roots = new BoundedMap<number, Root>();

/** Notes where a command that was just launched has its tree; of others, the kernel tells enough when it is asked. */
export function noteRoot({ cgroup, processGroup, newSession, daemonize, terminal }: CommandSpec, pid: number): void {
  const leadsSession = newSession === true || terminal !== undefined;
  if (cgroup === undefined && processGroup !== true && !leadsSession && daemonize !== true) {
    // What had that pid before is gone.
    roots.delete(pid);
    return;
  }
  const row = readProcess(pid);
  if (row === undefined) return;
  roots.set(pid, {
    row,
    cgroup: cgroup === undefined ? undefined : claimGroup(cgroup, row),
    group: processGroup === true ? pid : undefined,
    isDaemon: daemonize === true,
    // Of a daemon, the process in the middle made the session, and is gone.
    session:
      (daemonize === true || leadsSession) && row.session > 1 && row.session !== readProcess(process.pid)?.session
        ? row.session
        : undefined,
  });
}

/** The control group, if it holds nothing but the new process and what that has started since. The command that had it before has it no longer. */
function claimGroup(path: ByteText, row: ProcessRow): ByteText | undefined {
  const binding = addonInUse();
  if (binding === undefined) return undefined;
  try {
    const directory = fromBytes(realpathSync.native(pathOf(path), AS_BYTES));
    for (const [other, root] of Array.from(roots))
      if (root.cgroup !== undefined && isSameText(root.cgroup, directory))
        roots.set(other, { ...root, cgroup: undefined });
    const table = readProcessTable(binding);
    return membersOf(directory).every(belongsTo(row, table, below(table.values(), new Set([row.pid]))))
      ? directory
      : undefined;
  } catch {
    // It cannot be read, or is gone already: it is not ours to end.
    return undefined;
  }
}

/**
 * Whether a process that shares the control group of a root belongs to its tree: it is in it, or it is an orphan that is no
 * older than the root, and was not launched from here. Orphans are children of those that adopt: init, and the processes above this one.
 */
export function belongsTo(root: ProcessRow, table: ProcessTable, tree: ReadonlySet<number>): (pid: number) => boolean {
  const adopters = new Set([1]);
  for (let pid = table.get(process.pid)?.parent ?? 0; pid > 1; pid = table.get(pid)?.parent ?? 0) adopters.add(pid);
  if (adoptsOrphans()) adopters.add(process.pid);
  const owned = ownedPids();
  const belongs = (pid: number): boolean => {
    const row = table.get(pid);
    if (row === undefined || tree.has(pid)) return true;
    if (row.start < root.start || owned.has(pid) || roots.has(pid)) return false;
    return adopters.has(row.parent) || (table.has(row.parent) && row.parent !== process.pid && belongs(row.parent));
  };
  return belongs;
}

const ENTRIES_AS_BYTES = bare({ encoding: 'buffer', withFileTypes: true } as const);

/** The pids in a control group and in those below it. Zombies are in none. */
export function membersOf(directory: ByteText): number[] {
  const members = (readFileSync(fileOfGroup(directory, 'cgroup.procs'), AS_UTF8).match(/\d+/g) ?? []).map(Number);
  // What lies below is listed here, since Node lists a whole tree by names that are text only.
  const below = readdirSync(pathOf(directory), ENTRIES_AS_BYTES).filter((entry) => entry.isDirectory());
  return [...members, ...below.flatMap(({ name }) => membersOf(joinText(directory, '/', fromBytes(name))))];
}

/** The path of a file by which the kernel tells of a control group, or is told. */
export const fileOfGroup = (directory: ByteText, name: string): string | Buffer =>
  pathOf(joinText(directory, '/', name));

/** Adds to a set of pids all that the table has below them. */
export function below(table: Iterable<Pick<ProcessRow, 'pid' | 'parent'>>, pids: ReadonlySet<number>): Set<number> {
  const children = new Map<number, number[]>();
  for (const { pid, parent } of table) {
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
  }
  const found = new Set(pids);
  // A set that grows is gone through to its end: parents come before their children.
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return found;
}
