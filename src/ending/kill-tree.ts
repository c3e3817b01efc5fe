import { writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { dryRunOf, playedBy } from '../engine/dry-run.js';
import { isInvented, type PlayedProcess } from '../engine/played.js';
import { addonInUse } from '../engine/select.js';
import { argumentError, isPidNumber } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import { PidFd } from '../host/pidfd.js';
import {
  inspectProcess,
  isProcForeign,
  isOver,
  isSame,
  type ProcessRow,
  type ProcessTable,
  readProcessFiles,
  readProcessTable,
  seeAgain,
  whyUnseen,
} from '../host/process-table.js';
import { comesWithin, isAlive, sendSignal } from '../host/send-signal.js';
import { delay, now } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import type { ByteText } from '../text/bytes.js';
import { orphansFrom } from './adopt-orphans.js';
import { belongsTo, below, fileOfGroup, membersOf, type Root, roots } from './roots.js';
import { noteKill } from './sent-kills.js';

/** The fields of a {@link KillTreeResult}. */
export interface KillTreeResultFields {
  /**
   * The surest way in which the tree was ended. Whatever it is, all that was found by walking from parent to child was ended as well.
   *
   * * `cgroup`: the kernel ended all that was in the control group of the command, wherever it had gone in the tree.
   * * `group`: all that was in the session or process group of the command, orphans of it included.
   * * `walk`: all that was below the root just then. What had left the tree before was missed.
   * * `root`: the root, and below it no more than could be seen: `/proc` is missing or hides the root, and there is no `ps` that knows more.
   */
  readonly level: 'cgroup' | 'group' | 'walk' | 'root';
  /** The pids that were ended. */
  readonly ended: readonly number[];
  /** The pids that were found and are still there, or that could not be held or signaled. */
  readonly survivors: readonly number[];
}

/** What {@link killTree} reached. */
export interface KillTreeResult extends KillTreeResultFields {}

/** What {@link killTree} reached. */
export class KillTreeResult {
  readonly #isComplete: boolean;

  /** @internal Made by {@link killTree}. */
  constructor(fields: KillTreeResultFields, sawAll: boolean) {
    Object.assign(this, fields);
    this.#isComplete = sawAll && fields.survivors.length === 0;
  }

  /**
   * Whether all was seen that can be found in this way, and has ended. False means that something may be left: a survivor; or processes
   * that are hidden from this one (`hidepid`, no `/proc`); or the root had ended already, and nothing told of its descendants. An
   * empty `ended` then says that nothing was found, and not that nothing is left.
   */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** A sentence: who was ended, in which way, who survived, and whether that is all. It stands in a template as well. */
  toString(): string {
    const way = { cgroup: 'control group', group: 'session or group', walk: 'walk', root: 'root' }[this.level];
    const ended = this.ended.length === 0 ? 'No process was ended' : `Ended: ${this.ended.join(', ')}`;
    const unseen = this.isComplete ? '' : '; not all may have been seen';
    const left = this.survivors.length === 0 ? unseen : `; still there: ${this.survivors.join(', ')}`;
    return `${ended} (by ${way})${left}.`;
  }

  /** One line: the level, how many were ended, who survived, and whether that is all. */
  [inspect.custom](): string {
    const survivors = this.survivors.length === 0 ? '' : `, survivors ${this.survivors.join(' ')}`;
    return `KillTreeResult { ${this.level}, ended ${this.ended.join(' ') || 'none'}${survivors}, ${this.isComplete ? 'complete' : 'not complete'} }`;
  }
}

/** How long ended processes may take to be gone. */
const GONE_MS = 2000;

/**
 * Ends a process and all its descendants with SIGKILL, and tells which were reached, how surely, and which survived.
 *
 * The tree is stopped from the root down before anything is ended, so that nothing forks away meanwhile. A command that was
 * given a control group of its own by `.cgroup()`, or that leads a session or process group by `.newSession()`,
 * `.processGroup()` or `.daemonize()`, is ended with all that is in it; a descendant that lost its parent before the
 * call is found there and nowhere else, or where `adoptOrphans()` has seen it. *Native:* by pidfds; a process that cannot be held by
 * one is not signaled, and is a survivor. *Portable:* a walk by `ps`, or by `/proc` where there is no `ps`. In a `dryRun()` it is
 * recorded in `kills`, and signals none but a played process.
 *
 * @throws {ProcessError} with the code `EINVAL` if this process is in the tree, and with `EMFILE`, `ENFILE` or `ENOMEM` if there is
 * nothing left to look at the tree with.
 * {TypeError} if it is no pid above 1.
 *
 * @example
 * const child = await new Command('sh', '-c', 'sleep 60 & sleep 60').newSession().runAsync();
 * const { level, survivors } = await killTree(child); // 'group', []
 */
export async function killTree(root: number | { readonly pid: number }): Promise<KillTreeResult> {
  return killTreeOf(rootPid(root));
}

/** The same for a process of which more may be known than its pid, such as a daemon that was met again. */
export async function killTreeOf(pid: number, known?: Root): Promise<KillTreeResult> {
  const played = playedBy(pid);
  if (played !== undefined) return endPlayedTree(played);
  const dryRun = dryRunOf('killTree');
  if (dryRun !== undefined && isInvented(pid))
    return new KillTreeResult({ level: 'walk', ended: [], survivors: [] }, true);
  if (dryRun !== undefined) {
    dryRun.kills.push({ call: 'killTree', pid, signal: 'SIGKILL' });
    return new KillTreeResult({ level: 'walk', ended: [pid], survivors: [] }, true);
  }
  const binding = addonInUse();
  if (binding !== undefined) return new HeldTree(binding, pid, known).end();
  // Its number means another process by now.
  if (known !== undefined && isGone(known.row))
    return new KillTreeResult({ level: 'walk', ended: [], survivors: [] }, false);
  return killByNumbers(pid);
}

/** Ends a process that a dry run plays, which has no descendants. */
function endPlayedTree(played: PlayedProcess): KillTreeResult {
  const { pid } = played;
  played.noteKill('killTree', 'SIGKILL');
  noteKill(pid, 'killTree()');
  return new KillTreeResult({ level: 'walk', ended: played.signal('SIGKILL') ? [pid] : [], survivors: [] }, true);
}

/** Whether `/proc` hides processes from this one. Process 1 is always there, and another user's, or nobody may look. */
const hidesSome = (): boolean => typeof inspectProcess(1) === 'string';

function rootPid(root: unknown): number {
  const problem = 'a tree starts at a process above 1; give a Child, or its pid';
  let pid = root;
  try {
    if (typeof root === 'object' && root !== null) pid = (root as { readonly pid?: unknown }).pid;
  } catch (cause) {
    throw argumentError('killTree', [root], problem, cause);
  }
  if (!isPidNumber(pid) || pid <= 1) throw argumentError('killTree', [root], problem);
  return pid;
}

// ---------------------------------------------------------------- by descriptors

/** How often the tree is looked at before all of it stands still. A process that sleeps in the kernel may take its time. */
const MOST_LOOKS = 20;
/** How often it is begun again for what has come meanwhile. */
const MOST_ROUNDS = 3;

/** A tree whose processes are held by descriptors while they are ended. */
class HeldTree {
  readonly #binding: Binding;
  readonly #pid: number;
  /** What is known of the root from its launch, if that pid still means it, or no process. */
  #root: Root | undefined;
  /** All that was found, held by descriptors. */
  readonly #held = new Map<number, { readonly row: ProcessRow; readonly pidfd: PidFd }>();
  /** What was found and could not be held. */
  readonly #unheld = new Map<number, ProcessRow>();
  #level: KillTreeResult['level'] = 'walk';
  #isRootHidden = false;
  /** Whether the pid means another process than the root that is known: then that one is gone, and this one not in its tree. */
  #isStranger = false;
  /** Whether there was a look that told nothing. */
  #wasBlind = false;
  readonly #known: Root | undefined;

  constructor(binding: Binding, pid: number, known: Root | undefined) {
    this.#binding = binding;
    this.#pid = pid;
    this.#known = known;
  }

  async end(): Promise<KillTreeResult> {
    const seen = inspectProcess(this.#pid);
    const known = this.#known ?? roots.get(this.#pid);
    this.#isStranger = this.#known !== undefined && typeof seen !== 'string' && !isSame(seen, this.#known.row);
    this.#root = this.#isStranger
      ? known
      : seen === 'ESRCH' || (typeof seen !== 'string' && isSame(seen, known?.row))
        ? known
        : undefined;
    try {
      if (typeof seen === 'string' && seen !== 'ESRCH') this.#holdHidden(seen);
      for (let round = 0; round < MOST_ROUNDS; round += 1) {
        const table = await this.#stopAll(round === 0);
        if (table === undefined) break;
        this.#endAll(table);
        await comesWithin(Promise.all(Array.from(this.#held.values(), ({ pidfd }) => pidfd.ended())), GONE_MS);
      }
      // The kernel may have ended them with their control group; there is no event for that.
      if (this.#level === 'cgroup') await goneWithin(Array.from(this.#unheld.values()), GONE_MS);
      return this.#result();
    } finally {
      for (const { pidfd } of this.#held.values()) pidfd.close();
    }
  }

  #result(): KillTreeResult {
    const ended: number[] = [];
    const survivors: number[] = [];
    for (const { row, pidfd } of this.#held.values()) (pidfd.hasEnded ? ended : survivors).push(row.pid);
    for (const row of this.#unheld.values()) (isGone(row) ? ended : survivors).push(row.pid);
    // Of a root that is gone, and of which nothing is known, no descendant can be told from others.
    const isKnown = ended.length > 0 || this.#root?.session !== undefined || this.#root?.cgroup !== undefined;
    const sawAll = isKnown && !this.#wasBlind && !this.#isRootHidden && !hidesSome();
    return new KillTreeResult({ level: this.#level, ended, survivors }, sawAll);
  }

  /** Stops the tree until nothing in it moves, and gives what was seen last. `undefined`: all was held already. */
  async #stopAll(isFirst: boolean): Promise<ProcessTable | undefined> {
    let hasFound = isFirst && this.#isRootHidden;
    for (let look = 1; ; look += 1) {
      const table = this.#look();
      let isStill = true;
      for (const pid of this.#treeIn(table)) {
        const row = table.get(pid);
        if (row === undefined) continue;
        if (isSame(this.#held.get(pid)?.row, row)) {
          isStill &&= /[TtZX]/.test(row.state);
        } else if (this.#hold(row)) {
          hasFound = true;
          isStill = false;
        }
      }
      if (isStill || look === MOST_LOOKS) return hasFound ? table : undefined;
      await delay(1);
    }
  }

  /** Reads the table. Where no descriptor is free for it, all that is held by then is ended first: nothing stays stopped. */
  #look(): ProcessTable {
    try {
      return readProcessTable(this.#binding);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#wasBlind = true;
      if (!isScarce(error.code)) return new Map();
      for (const { pidfd } of this.#held.values()) pidfd.send('SIGKILL');
      throw unseenTree(this.#pid, error.code);
    }
  }

  /** Holds a root that lives and that `/proc` does not show. Its pid is all that is known of it. */
  #holdHidden(code: string): void {
    if (isScarce(code)) throw unseenTree(this.#pid, code);
    if (this.#pid === process.ppid) throw ownTree(this.#pid);
    const row: ProcessRow = { pid: this.#pid, parent: 0, group: 0, session: 0, state: '', start: 0 };
    const pidfd = PidFd.open(this.#binding, this.#pid);
    if (pidfd === 'ESRCH') return;
    this.#level = 'root';
    this.#isRootHidden = true;
    if (typeof pidfd === 'string') {
      this.#unheld.set(this.#pid, row);
    } else {
      this.#held.set(this.#pid, { row, pidfd });
      pidfd.send('SIGSTOP');
    }
  }

  /** Holds a process that has not ended, and stops it. False: it has ended, or is known as one that cannot be held. */
  #hold(row: ProcessRow): boolean {
    const pidfd = PidFd.openRow(this.#binding, row);
    if (typeof pidfd === 'string') {
      const isNew = pidfd !== 'ESRCH' && !isSame(this.#unheld.get(row.pid), row);
      if (isNew) this.#unheld.set(row.pid, row);
      return isNew;
    }
    this.#unheld.delete(row.pid);
    if (pidfd.hasEnded) {
      pidfd.close();
      return false;
    }
    this.#held.get(row.pid)?.pidfd.close();
    this.#held.set(row.pid, { row, pidfd });
    pidfd.send('SIGSTOP');
    return true;
  }

  /** All that belongs to the tree, from the root down. */
  #treeIn(table: ProcessTable): ReadonlySet<number> {
    const isThere = !this.#isStranger && (table.has(this.#pid) || this.#isRootHidden);
    const seeds = new Set(isThere ? [this.#pid] : []);
    for (const row of table.values()) if (this.#isInGroup(row, table)) seeds.add(row.pid);
    if (!this.#isStranger) for (const pid of orphansFrom(this.#pid)) seeds.add(pid);
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
    if (!this.#isStranger && (session === this.#pid || group === this.#root?.group)) return true;
    // While a session has members, its number is not given out again.
    return session === this.#root?.session && !table.has(session);
  }

  /**
   * The members of the command's own control group, if that is still the tree's alone: it held nothing else right after the launch,
   * no later launch went into it, and all in it is in the tree or an orphan that is no older than the root.
   */
  #cgroupIn(table: ProcessTable, tree: ReadonlySet<number>): readonly number[] | undefined {
    if (this.#root?.cgroup === undefined) return undefined;
    try {
      const members = membersOf(this.#root.cgroup);
      return members.every(belongsTo(this.#root.row, table, tree)) ? members : undefined;
    } catch {
      // The group has been removed, or cannot be read. The level tells that it was of no use.
      return undefined;
    }
  }

  /** The surest way first, then every process by descriptor: a process that has left the group is held as well. */
  #endAll(table: ProcessTable): void {
    const isOurs = this.#cgroupIn(table, this.#treeIn(table)) !== undefined;
    for (const pid of this.#held.keys()) noteKill(pid, 'killTree()');
    const group = this.#root?.cgroup;
    if (isOurs && group !== undefined && endGroup(group)) this.#level = 'cgroup';
    const groups = new Set(
      Array.from(this.#held.values())
        .filter(({ row }) => this.#isInGroup(row, table))
        .map(({ row }) => row.group),
    );
    for (const group of groups) this.#endProcessGroup(group);
    if (groups.size > 0 && this.#level !== 'cgroup') this.#level = 'group';
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
function endGroup(directory: ByteText): boolean {
  try {
    writeFileSync(fileOfGroup(directory, 'cgroup.kill'), '1');
    return true;
  } catch {
    // Then every process is ended by descriptor, and the level says so.
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
  for (const pid of pids) {
    noteKill(pid, 'killTree()');
    sendSignal(pid, 'SIGKILL');
  }
  let survivors = pids;
  for (let probe = 0; probe < GONE_PROBES && survivors.length > 0; probe += 1) {
    await delay(GONE_PROBE_MS);
    survivors = survivors.filter(isStillThere);
  }
  const ended = pids.filter((pid) => !survivors.includes(pid));
  return new KillTreeResult({ level, ended, survivors }, level === 'walk' && ended.length > 0 && !hidesSome());
}

/** Whether there is a process with that pid, zombies left out where they can be told. */
function isStillThere(pid: number): boolean {
  const seen = inspectProcess(pid);
  return typeof seen === 'string' ? seen !== 'ESRCH' : !isOver(seen);
}

/** The root and what is below it. Not whole: there was no way to look below it. */
async function treeByNumbers(root: number): Promise<{ pids: readonly number[]; isWhole: boolean }> {
  if (!isAlive(root)) return { pids: [], isWhole: true };
  const pids = isProcForeign() ? undefined : ((await pidsOfPs(root)) ?? pidsOfProc(root));
  if (pids?.includes(process.pid) ?? (root === process.pid || root === process.ppid)) throw ownTree(root);
  return pids === undefined ? { pids: [root], isWhole: false } : { pids, isWhole: true };
}

async function pidsOfPs(root: number): Promise<readonly number[] | undefined> {
  try {
    // Loaded where it is needed: the native engine never needs it.
    const { default: pidtree } = await import('pidtree');
    return await pidtree(root, { root: true });
  } catch {
    // The root is gone, or there is no `ps`, or one that does not know the options: `/proc` tells the same.
    return undefined;
  }
}

function pidsOfProc(root: number): readonly number[] | undefined {
  const table = readProcessFiles();
  if (table === undefined) return undefined;
  // A root that lives and is not there is hidden, and so may be all that is below it.
  return table.has(root) || inspectProcess(root) === 'ESRCH' ? Array.from(below(table, new Set([root]))) : undefined;
}

/** Whether a process that was seen has ended since, or its pid means another one. What cannot be seen is not gone. */
function isGone(row: ProcessRow): boolean {
  const seen = inspectProcess(row.pid);
  return typeof seen === 'string' ? seen === 'ESRCH' : !isSame(seen, row) || isOver(seen);
}

async function goneWithin(rows: readonly ProcessRow[], ms: number): Promise<void> {
  const deadline = now() + ms;
  while (!rows.every(isGone) && now() < deadline) await delay(GONE_PROBE_MS);
}

const ownTree = (pid: number): ProcessError =>
  new ProcessError(
    `killTree(${pid}): this process is in that tree, and would end before it could tell; give a child of this process.`,
    { code: 'EINVAL', pid },
  );

/** Whether it may be seen as soon as a descriptor is free. */
const isScarce = (code: string): boolean => code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM';

/** A tree that cannot be looked at now. */
const unseenTree = (pid: number, code: string): ProcessError =>
  new ProcessError(
    `Cannot end the tree of process ${pid}: what is below it cannot be seen, because ${whyUnseen(code)} (open: ${code}). ${seeAgain(code)}; or end that one process with killPainfully().`,
    { code, pid, syscall: 'open' },
  );
