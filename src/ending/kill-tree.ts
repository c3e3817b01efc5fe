import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pidtree from 'pidtree';
import { addonInUse } from '../engine/select.js';
import { PidFd } from '../host/pidfd.js';
import {
  isOver,
  isSame,
  type ProcessRow,
  type ProcessTable,
  readProcess,
  readProcessFiles,
  readProcessTable,
} from '../host/process-table.js';
import { delay } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { orphansFrom } from './adopt-orphans.js';
import { belongsTo, below, membersOf, type Root, roots } from './roots.js';
import { comesWithin, isAlive, sendSignal } from './send-signal.js';

/** What {@link killTree} reached. */
export interface KillTreeResult {
  /**
   * The surest way in which the tree was ended. Whatever it is, whoever was found by walking from parent to child was ended as well.
   *
   * * `cgroup`: the kernel ended all that was in the control group of the command, wherever it had gone in the tree.
   * * `group`: all that was in the session or process group of the command, orphans of it included.
   * * `walk`: who was below the root just then. Who had left the tree before was missed.
   * * `root`: the root alone. There is neither a `/proc` nor a `ps`, so nobody could be looked for below it. *Portable only.*
   */
  readonly level: 'cgroup' | 'group' | 'walk' | 'root';
  /** The pids that were ended. */
  readonly ended: readonly number[];
  /** The pids that were found and are still there. */
  readonly survivors: readonly number[];
}

/** How long ended processes may take to be gone. */
const GONE_MS = 2000;

/**
 * Ends a process and all its descendants with SIGKILL, and tells who was reached, how surely, and who survived.
 *
 * The tree is stopped from the root down before anything is ended, so that nothing forks away meanwhile. A command that was
 * given a control group of its own by `.cgroup()`, or that leads a session or process group by `.newSession()`,
 * `.processGroup()` or `.daemonize()`, is ended with all that is in it; a descendant that became nobody's child before the
 * call is found there and nowhere else, or where `adoptOrphans()` has seen it. *Native:* by pidfds. *Portable:* a walk by
 * `ps`, or by `/proc` where there is no `ps`.
 *
 * @throws {TypeError} if it is no pid above 1. {Error} with the code `EINVAL` if this process is in the tree.
 *
 * @example
 * const child = await new Command('sh', '-c', 'sleep 60 & sleep 60').newSession().runAsync();
 * const { level, survivors } = await killTree(child); // 'group', []
 */
export async function killTree(root: number | { readonly pid: number }): Promise<KillTreeResult> {
  const pid = typeof root === 'number' ? root : root.pid;
  if (!Number.isInteger(pid) || pid <= 1) {
    throw new TypeError(`killTree(${String(pid)}): a tree starts at a process above 1; give a Child, or its pid.`);
  }
  const binding = addonInUse();
  return binding === undefined ? killByNumbers(pid) : new Hunt(binding, pid).run();
}

// ---------------------------------------------------------------- what is known from the launch

// ---------------------------------------------------------------- by descriptors

/** How often the tree is looked at before all of it stands still. What sleeps in the kernel may take its time. */
const MOST_LOOKS = 20;
/** How often it is begun again for what has come meanwhile. */
const MOST_ROUNDS = 3;

class Hunt {
  readonly #binding: Binding;
  readonly #pid: number;
  /** What is known of the root from its launch, if that pid still means it, or means nobody. */
  readonly #root: Root | undefined;
  /** All that was found, held by descriptors. */
  readonly #held = new Map<number, { readonly row: ProcessRow; readonly pidfd: PidFd }>();
  #level: KillTreeResult['level'] = 'walk';

  constructor(binding: Binding, pid: number) {
    this.#binding = binding;
    this.#pid = pid;
    const root = roots.get(pid);
    const now = readProcess(pid);
    this.#root = now === undefined || isSame(now, root?.row) ? root : undefined;
  }

  async run(): Promise<KillTreeResult> {
    try {
      for (let round = 0; round < MOST_ROUNDS && (await this.#stopAll()); round += 1) {
        this.#endAll();
        await comesWithin(Promise.all(Array.from(this.#held.values(), ({ pidfd }) => pidfd.ended())), GONE_MS);
      }
      const all = Array.from(this.#held.values());
      const pids = (haveEnded: boolean) =>
        all.filter(({ pidfd }) => pidfd.hasEnded === haveEnded).map(({ row }) => row.pid);
      return { level: this.#level, ended: pids(true), survivors: pids(false) };
    } finally {
      for (const { pidfd } of this.#held.values()) pidfd.close();
    }
  }

  /** Stops the tree until nothing in it moves. False: there was nobody that is not held already. */
  async #stopAll(): Promise<boolean> {
    let hasFound = false;
    for (let look = 0; look < MOST_LOOKS; look += 1) {
      const table = readProcessTable(this.#binding);
      let isStill = true;
      for (const pid of this.#treeIn(table)) {
        const row = table.get(pid);
        if (row === undefined) continue;
        if (isSame(this.#held.get(pid)?.row, row)) {
          isStill &&= /[TtZX]/.test(row.state);
          continue;
        }
        const pidfd = PidFd.openRow(this.#binding, row);
        if (pidfd?.hasEnded !== false) {
          pidfd?.close();
          continue;
        }
        this.#held.get(pid)?.pidfd.close();
        this.#held.set(pid, { row, pidfd });
        pidfd.send('SIGSTOP');
        hasFound = true;
        isStill = false;
      }
      if (isStill) break;
      await delay(1);
    }
    return hasFound;
  }

  /** All that belongs to the tree, from the root down. */
  #treeIn(table: ProcessTable): ReadonlySet<number> {
    const seeds = new Set(table.has(this.#pid) ? [this.#pid] : []);
    for (const row of table.values()) if (this.#isInGroup(row, table)) seeds.add(row.pid);
    for (const pid of orphansFrom(this.#pid)) seeds.add(pid);
    const tree = below(table, seeds);
    for (const pid of this.#cgroupIn(table, tree) ?? []) tree.add(pid);
    if (tree.has(process.pid)) throw ownTree(this.#pid);
    return tree;
  }

  /**
   * Whether a process is in the session or group that the root leads. All in a session that a process leads descend from it;
   * of a group that is certain only where the command was launched into one of its own.
   */
  #isInGroup({ session, group }: ProcessRow, table: ProcessTable): boolean {
    if (session === this.#pid || group === this.#root?.group) return true;
    // While a session has members, nobody can get its number, unless its leader still has it.
    return session === this.#root?.session && !table.has(session);
  }

  /**
   * The members of the command's own control group, if that is still the tree's alone: it held nothing else right after the launch,
   * no later launch went into it, and whoever is in it is in the tree or an orphan that is no older than the root.
   */
  #cgroupIn(table: ProcessTable, tree: ReadonlySet<number>): readonly number[] | undefined {
    if (this.#root?.cgroup === undefined) return undefined;
    try {
      const members = membersOf(this.#root.cgroup);
      return members.every(belongsTo(this.#root.row, table, tree)) ? members : undefined;
    } catch {
      // The group has been removed, so it is empty.
      return undefined;
    }
  }

  /** The surest way first, then everybody by descriptor: who has left the group is held as well. */
  #endAll(): void {
    const table = readProcessTable(this.#binding);
    const isOurs = this.#cgroupIn(table, this.#treeIn(table)) !== undefined;
    if (isOurs && endGroup(this.#root?.cgroup ?? '')) this.#level = 'cgroup';
    const groups = new Set(
      Array.from(this.#held.values())
        .filter(({ row }) => this.#isInGroup(row, table))
        .map(({ row }) => row.group),
    );
    for (const group of groups) this.#endProcessGroup(group);
    if (groups.size > 0 && this.#level === 'walk') this.#level = 'group';
    for (const { pidfd } of this.#held.values()) pidfd.send('SIGKILL');
  }

  #endProcessGroup(group: number): void {
    const errno = this.#held.get(group)?.pidfd.send('SIGKILL', true) ?? 'ESRCH';
    // The leader is gone, or the kernel is older than Linux 6.9. A member that has not ended keeps the number.
    const hasMember = Array.from(this.#held.values()).some(({ row, pidfd }) => row.group === group && !pidfd.hasEnded);
    if ((errno === 'EINVAL' || errno === 'ESRCH') && hasMember && group > 1) sendSignal(-group, 'SIGKILL');
  }
}

/** Has the kernel end all that is in a control group. False: it has no such file, which came with Linux 5.14, or may not be written. */
function endGroup(directory: string): boolean {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1');
    return true;
  } catch {
    // Then everybody is ended by descriptor, and the level says so.
    return false;
  }
}

// ---------------------------------------------------------------- by numbers

const WALKS = 8;
const GONE_PROBES = 50;
const GONE_PROBE_MS = 10;

async function killByNumbers(root: number): Promise<KillTreeResult> {
  const stopped = new Set<number>();
  let level: KillTreeResult['level'] = 'walk';
  for (let walk = 0; walk < WALKS; walk += 1) {
    const tree = await treeByNumbers(root);
    if (!tree.isWhole) level = 'root';
    const fresh = tree.pids.filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      sendSignal(pid, 'SIGSTOP');
      stopped.add(pid);
    }
  }
  const pids = Array.from(stopped);
  for (const pid of pids) sendSignal(pid, 'SIGKILL');
  let survivors = pids;
  for (let probe = 0; probe < GONE_PROBES && survivors.length > 0; probe += 1) {
    await delay(GONE_PROBE_MS);
    survivors = survivors.filter(isStillThere);
  }
  return { level, ended: pids.filter((pid) => !survivors.includes(pid)), survivors };
}

function isStillThere(pid: number): boolean {
  const row = readProcess(pid);
  return row === undefined ? isAlive(pid) : !isOver(row);
}

/** The root and what is below it. Not whole: there was no way to look below it. */
async function treeByNumbers(root: number): Promise<{ pids: readonly number[]; isWhole: boolean }> {
  if (!isAlive(root)) return { pids: [], isWhole: true };
  const pids = (await pidsOfPs(root)) ?? pidsOfProc(root);
  if (pids?.includes(process.pid) === true) throw ownTree(root);
  return pids === undefined ? { pids: [root], isWhole: false } : { pids, isWhole: true };
}

async function pidsOfPs(root: number): Promise<readonly number[] | undefined> {
  try {
    return await pidtree(root, { root: true });
  } catch {
    // The root is gone, or there is no `ps`, or one that does not know the options: `/proc` tells the same.
    return undefined;
  }
}

function pidsOfProc(root: number): readonly number[] | undefined {
  const table = readProcessFiles();
  if (table === undefined) return undefined;
  return table.has(root) ? Array.from(below(table, new Set([root]))) : [];
}

function ownTree(root: number): Error {
  const problem = 'this process is in that tree, and would end before it could tell; give a child of this process';
  return Object.assign(new Error(`killTree(${root}): ${problem}.`), { code: 'EINVAL' });
}
