import { writeFileSync } from 'node:fs';
import { ProcessError } from '../errors/process-error.js';
import { PidFd } from '../host/pidfd.js';
import {
  inspectProcess,
  isGone,
  isSame,
  type ProcessRow,
  type ProcessTable,
  readProcessTable,
  seeAgain,
  whyUnseen,
} from '../host/process-table.js';
import { sendSignal } from '../host/send-signal.js';
import { now } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { KillTreeResult } from '../result/tree-result.js';
import type { ByteText } from '../text/bytes.js';
import type { SignalName } from '../text/signals.js';
import { orphansFrom } from './adopt-orphans.js';
import { belongsTo, below, fileOfGroup, membersOf, type Root, roots } from './roots.js';
import { noteKill } from './sent-kills.js';
import { hidesSome, isInGroupOf, type OwnRoot, ownTree, type Steps, type Tree, type TreeFacts } from './tree.js';

/** How often the tree is looked at before all of it stands still. A process that sleeps in the kernel may take its time. */
const MOST_LOOKS = 20;
/** How often it is begun again for what has come meanwhile. */
const MOST_ROUNDS = 3;

/** How long ended processes may take to be gone, and how often that is looked at. */
const GONE_MS = 2000;
const GONE_PROBE_MS = 10;

/** A tree whose processes are held by descriptors from before the first signal until all have ended. */
export class HeldTree implements Tree {
  readonly #binding: Binding;
  readonly #pid: number;
  readonly #own: OwnRoot | undefined;
  readonly #call: string;
  /** What is known of the root from its launch, if that pid still means it, or no process. */
  readonly #root: Root | undefined;
  /** The root as it was when it was first looked at; `undefined` where it is gone, or hidden. */
  readonly #rootRow: ProcessRow | undefined;
  /** All that was found, held by descriptors. */
  readonly #held = new Map<number, { readonly row: ProcessRow; readonly pidfd: PidFd }>();
  /** What was found and could not be held. */
  readonly #unheld = new Map<number, ProcessRow>();
  /** The last signal that all of it was asked to end by. */
  #asked: SignalName | undefined;
  #level: KillTreeResult['level'] = 'walk';
  #isRootHidden = false;
  /** Whether there was a look that told nothing. */
  #wasBlind = false;

  constructor(binding: Binding, { pid, known, own, call, isReaped = own?.isReaped() }: TreeFacts) {
    this.#binding = binding;
    this.#pid = pid;
    this.#own = own;
    this.#call = call;
    const atLaunch = known ?? roots.get(pid);
    const seen = isReaped === true ? 'ESRCH' : inspectProcess(pid);
    const isRoot = typeof seen !== 'string' && (known === undefined || isSame(seen, known.row));
    this.#rootRow = isRoot ? seen : undefined;
    this.#root = isRoot ? (isSame(seen, atLaunch?.row) ? atLaunch : undefined) : knownOfGone(seen, atLaunch);
    if (typeof seen === 'string' && seen !== 'ESRCH') this.#holdHidden(seen);
  }

  *ask(signal: SignalName): Steps<void> {
    yield* [];
    this.#asked = signal;
    const table = this.#look();
    for (const pid of this.#treeIn(table)) {
      const row = table.get(pid);
      if (row !== undefined && !isSame(this.#held.get(pid)?.row, row)) this.#hold(row);
    }
    this.#noteLevel(table);
    this.#own?.signal(signal);
    this.#sendAll(signal);
  }

  *isOver(): Steps<boolean> {
    yield* [];
    if (this.#own?.isReaped() === false || !this.#allHaveEnded()) return false;
    // What has ended may have left newcomers behind.
    const table = this.#look();
    let hasFound = false;
    for (const pid of this.#treeIn(table)) {
      const row = table.get(pid);
      if (row === undefined || isSame(this.#held.get(pid)?.row, row) || !this.#hold(row)) continue;
      hasFound = true;
      if (this.#asked !== undefined) this.#held.get(pid)?.pidfd.send(this.#asked);
    }
    return !hasFound;
  }

  *kill(): Steps<void> {
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const table = yield* this.#stopAll(round === 0);
      if (table === undefined) break;
      this.#endAll(table, round === 0);
      const deadline = now() + GONE_MS;
      for (let probeMs = 1; !this.#heldHaveEnded() && now() < deadline; probeMs = Math.min(2 * probeMs, GONE_PROBE_MS))
        yield probeMs;
    }
    // The kernel may have ended them with their control group.
    const deadline = now() + GONE_MS;
    if (this.#level === 'cgroup') while (!this.#unheldAreGone() && now() < deadline) yield GONE_PROBE_MS;
  }

  get result(): KillTreeResult {
    const ended: number[] = [];
    const survivors: number[] = [];
    for (const { row, pidfd } of this.#held.values()) (pidfd.hasEnded ? ended : survivors).push(row.pid);
    for (const row of this.#unheld.values()) (isGone(row) ? ended : survivors).push(row.pid);
    // Of a root that is gone, and of which nothing is known, no descendant can be told from others.
    const root = this.#root;
    const known = [root?.cgroup, root?.session, root?.group];
    const isKnown = ended.length > 0 || known.some((one) => one !== undefined);
    const sawAll = isKnown && !this.#wasBlind && !this.#isRootHidden && !hidesSome();
    return new KillTreeResult({ level: this.#level, ended, survivors }, sawAll);
  }

  close(): void {
    for (const { pidfd } of this.#held.values()) pidfd.close();
    this.#held.clear();
  }

  #heldHaveEnded(): boolean {
    return Array.from(this.#held.values()).every(({ pidfd }) => pidfd.hasEnded);
  }

  #unheldAreGone(): boolean {
    return Array.from(this.#unheld.values()).every(isGone);
  }

  #allHaveEnded(): boolean {
    return this.#heldHaveEnded() && this.#unheldAreGone();
  }

  /** The root is signaled by its engine, where it has one. */
  #sendAll(signal: SignalName): void {
    for (const [pid, { pidfd }] of this.#held) if (pid !== this.#pid || this.#own === undefined) pidfd.send(signal);
  }

  /** Stops the tree until nothing in it moves, and gives what was seen last. `undefined`: all was held already. */
  *#stopAll(isFirst: boolean): Steps<ProcessTable | undefined> {
    let hasFound = isFirst && (this.#own !== undefined || this.#held.size > 0 || this.#isRootHidden);
    if (this.#isRootHidden) this.#held.get(this.#pid)?.pidfd.send('SIGSTOP');
    const stopped = new Set<ProcessRow>();
    for (let look = 1; ; look += 1) {
      const table = this.#look();
      let isStill = true;
      for (const pid of this.#treeIn(table)) {
        const row = table.get(pid);
        if (row === undefined) continue;
        let held = this.#held.get(pid);
        if (!isSame(held?.row, row)) {
          if (!this.#hold(row)) continue;
          hasFound = true;
          isStill = false;
          held = this.#held.get(pid);
        }
        if (held === undefined) continue;
        if (!stopped.has(held.row)) {
          stopped.add(held.row);
          held.pidfd.send('SIGSTOP');
          isStill = false;
        } else isStill &&= /[TtZX]/.test(row.state);
      }
      if (isStill || look === MOST_LOOKS) return hasFound ? table : undefined;
      yield 1;
    }
  }

  /** Reads the table. Where no descriptor is free for it, all that is held by then is ended first: nothing stays stopped. */
  #look(): ProcessTable {
    try {
      return readProcessTable(this.#binding);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#wasBlind = true;
      if (this.#held.size === 0) this.#level = 'root';
      if (!isScarce(error.code) || this.#own !== undefined) return new Map();
      for (const { pidfd } of this.#held.values()) pidfd.send('SIGKILL');
      throw unseenTree(this.#pid, error.code);
    }
  }

  /** Holds a root that lives and that `/proc` does not show. Its pid is all that is known of it. */
  #holdHidden(code: string): void {
    this.#level = 'root';
    this.#isRootHidden = true;
    if (isScarce(code) && this.#own !== undefined) return;
    if (isScarce(code)) throw unseenTree(this.#pid, code);
    if (this.#pid === process.ppid) throw ownTree(this.#pid);
    const row: ProcessRow = { pid: this.#pid, parent: 0, group: 0, session: 0, state: '', start: 0 };
    const pidfd = PidFd.open(this.#binding, this.#pid);
    if (pidfd === 'ESRCH') {
      this.#level = 'walk';
      this.#isRootHidden = false;
    } else if (typeof pidfd === 'string') this.#unheld.set(this.#pid, row);
    else this.#held.set(this.#pid, { row, pidfd });
  }

  /** Holds a process that has not ended. False: it has ended, or is known as one that cannot be held. */
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
    return true;
  }

  /** All that belongs to the tree, from the root down, and from whatever was found in it before. */
  #treeIn(table: ProcessTable): ReadonlySet<number> {
    const isThere = isSame(table.get(this.#pid), this.#rootRow) || this.#isRootHidden;
    const seeds = new Set(isThere ? [this.#pid] : []);
    for (const { row } of this.#held.values()) if (isSame(table.get(row.pid), row)) seeds.add(row.pid);
    for (const row of table.values()) if (this.#isInGroup(row, table)) seeds.add(row.pid);
    if (!this.#isStrangerIn(table)) for (const pid of orphansFrom(this.#pid)) seeds.add(pid);
    const tree = below(table.values(), seeds);
    for (const pid of this.#cgroupIn(table, tree) ?? []) tree.add(pid);
    if (tree.has(process.pid)) throw ownTree(this.#pid);
    return tree;
  }

  /** Whether the pid of the root means another process, which is not in its tree. */
  #isStrangerIn(table: ProcessTable): boolean {
    return table.has(this.#pid) && !isSame(table.get(this.#pid), this.#rootRow);
  }

  #isInGroup(row: ProcessRow, table: ProcessTable): boolean {
    return isInGroupOf(this.#pid, this.#root, this.#isStrangerIn(table))(row, table);
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

  /** Notes how surely all of it was found that is being asked to end. */
  #noteLevel(table: ProcessTable): void {
    if (this.#level !== 'walk' && this.#level !== 'group') return;
    if (this.#cgroupIn(table, this.#treeIn(table)) !== undefined) this.#level = 'cgroup';
    else if (this.#groupsIn(table).size > 0) this.#level = 'group';
  }

  /** The process groups that are the tree's own, as far as their members are held. */
  #groupsIn(table: ProcessTable): ReadonlySet<number> {
    const members = Array.from(this.#held.values()).filter(({ row }) => this.#isInGroup(row, table));
    return new Set(members.map(({ row }) => row.group));
  }

  /** The surest way first, then every process by descriptor: a process that has left the group is held as well. */
  #endAll(table: ProcessTable, isFirst: boolean): void {
    const isOurs = this.#cgroupIn(table, this.#treeIn(table)) !== undefined;
    for (const pid of this.#held.keys()) noteKill(pid, this.#call);
    // To ask is one thing, and to end another: for that, the kernel has to obey.
    if (isFirst && this.#level === 'cgroup') this.#level = 'walk';
    const group = this.#root?.cgroup;
    if (isOurs && group !== undefined && endGroup(group)) this.#level = 'cgroup';
    const groups = this.#groupsIn(table);
    for (const id of groups) this.#endProcessGroup(id);
    if (groups.size > 0 && this.#level !== 'cgroup') this.#level = 'group';
    if (isFirst) this.#own?.signal('SIGKILL');
    for (const { pidfd } of this.#held.values()) pidfd.send('SIGKILL');
  }

  #endProcessGroup(group: number): void {
    const errno = this.#held.get(group)?.pidfd.send('SIGKILL', true) ?? 'ESRCH';
    // The leader is gone, or the kernel is older than Linux 6.9. A member that has not ended keeps the number.
    const hasMember = Array.from(this.#held.values()).some(({ row, pidfd }) => row.group === group && !pidfd.hasEnded);
    if ((errno === 'EINVAL' || errno === 'ESRCH') && hasMember && group > 1) sendSignal(-group, 'SIGKILL');
  }
}

/** What its launch says of a root that is gone. Of one that is hidden, the pid may be another's that was launched later. */
const knownOfGone = (seen: ProcessRow | string, atLaunch: Root | undefined): Root | undefined =>
  typeof seen === 'string' && seen !== 'ESRCH' ? undefined : atLaunch;

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

/** Whether it may be seen as soon as a descriptor is free. */
const isScarce = (code: string): boolean => code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM';

/** A tree that cannot be looked at now. */
const unseenTree = (pid: number, code: string): ProcessError =>
  new ProcessError(
    `Cannot end the tree of process ${pid}: what is below it cannot be seen, because ${whyUnseen(code)} (open: ${code}). ${seeAgain(code)}; or end that one process with killPainfully().`,
    { code, pid, syscall: 'open' },
  );
