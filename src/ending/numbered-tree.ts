import {
  inspectProcess,
  isGone,
  isProcForeign,
  isSame,
  type ProcessRow,
  type ProcessTable,
  readProcessFiles,
} from '../host/process-table.js';
import { isAlive, sendSignal } from '../host/send-signal.js';
import { KillTreeResult } from '../result/tree-result.js';
import type { SignalName } from '../text/signals.js';
import { below, type Root, roots } from './roots.js';
import { noteKill } from './sent-kills.js';
import { hidesSome, isInGroupOf, type OwnRoot, ownTree, type Steps, type Tree, type TreeFacts } from './tree.js';

/** How often the tree is looked at before it is ended: each look may find what the one before did not stop in time. */
const WALKS = 8;

/** How long ended processes may take to be gone. */
const GONE_PROBES = 50;
const GONE_PROBE_MS = 10;

/** A process by its number, and as it was when it was found, where `/proc` shows it. */
type Numbered = ProcessRow | undefined;

/** Which process is the child of which, as far as that can be seen. */
interface Family {
  readonly pid: number;
  readonly parent: number;
}

/**
 * A tree whose processes are known by number: by `ps`, or by `/proc` where there is none. Before a signal is sent, `/proc` is asked
 * whether the number still means the process that was found; where there is none, nobody knows.
 */
export class NumberedTree implements Tree {
  readonly #pid: number;
  readonly #own: OwnRoot | undefined;
  readonly #call: string;
  readonly #root: Root | undefined;
  /** The root, as it was when it was first looked at. */
  readonly #rootRow: Numbered;
  /** Whether the root was there at first. */
  readonly #wasThere: boolean;
  /** All that was found, the root included. */
  readonly #found = new Map<number, Numbered>();
  #asked: SignalName | undefined;
  #level: KillTreeResult['level'] = 'walk';

  constructor({ pid, known, own, call, isReaped = own?.isReaped() }: TreeFacts) {
    this.#pid = pid;
    this.#own = own;
    this.#call = call;
    const atLaunch = known ?? roots.get(pid);
    const seen = isReaped === true ? 'ESRCH' : inspectProcess(pid);
    const row = typeof seen === 'string' ? undefined : seen;
    const isStranger = row !== undefined && known !== undefined && !isSame(row, known.row);
    this.#rootRow = isStranger ? undefined : row;
    this.#wasThere = !isStranger && seen !== 'ESRCH' && isAlive(pid);
    this.#root = this.#rootRow === undefined || isSame(row, atLaunch?.row) ? atLaunch : undefined;
  }

  *ask(signal: SignalName): Steps<void> {
    this.#asked = signal;
    yield* this.#look();
    this.#own?.signal(signal);
    for (const pid of this.#found.keys()) this.#send(pid, signal);
  }

  *isOver(): Steps<boolean> {
    if (this.#own?.isReaped() === false || this.#survivors().length > 0) return false;
    // What has ended may have left newcomers behind.
    const fresh = yield* this.#look();
    if (this.#asked !== undefined) for (const pid of fresh) this.#send(pid, this.#asked);
    return fresh.length === 0;
  }

  *kill(): Steps<void> {
    // What was asked to end goes on meanwhile, until it is stopped here.
    for (const pid of this.#found.keys()) this.#send(pid, 'SIGSTOP');
    for (let walk = 0; walk < WALKS; walk += 1) {
      const fresh = yield* this.#look();
      if (fresh.length === 0) break;
      for (const pid of fresh) this.#send(pid, 'SIGSTOP');
    }
    this.#own?.signal('SIGKILL');
    for (const pid of this.#found.keys()) {
      noteKill(pid, this.#call);
      this.#send(pid, 'SIGKILL');
    }
    for (let probe = 0; probe < GONE_PROBES && this.#survivors().length > 0; probe += 1) yield GONE_PROBE_MS;
  }

  get result(): KillTreeResult {
    const survivors = this.#survivors();
    const ended = Array.from(this.#found.keys()).filter((pid) => !survivors.includes(pid));
    const isKnown = ended.length > 0 || this.#root?.session !== undefined;
    const sawAll = this.#level !== 'root' && isKnown && !hidesSome();
    return new KillTreeResult({ level: this.#level, ended, survivors }, sawAll);
  }

  close(): void {
    // Nothing is held.
  }

  /** The root is signaled by its engine, where it has one. */
  #send(pid: number, signal: SignalName): void {
    if (pid === this.#pid && this.#own !== undefined && signal !== 'SIGSTOP') return;
    if (this.#isThere(pid)) sendSignal(pid, signal);
  }

  /** Whether a process that was found is still there. A zombie is not, where that can be told. */
  #isThere(pid: number): boolean {
    if (pid === this.#pid && this.#own?.isReaped() === true) return false;
    const row = this.#found.get(pid);
    return row === undefined ? isAlive(pid) : !isGone(row);
  }

  #survivors(): number[] {
    return Array.from(this.#found.keys()).filter((pid) => this.#isThere(pid));
  }

  /** Looks for what belongs to the tree, and gives what was not known before. */
  *#look(): Steps<readonly number[]> {
    const members = this.#membersOfGroup();
    if (members.length > 0) this.#level = 'group';
    const isRootThere = this.#isRootThere();
    const seeds = new Set([...(isRootThere ? [this.#pid] : []), ...this.#survivors(), ...members]);
    if (seeds.size === 0) return [];
    const family = isProcForeign() ? undefined : (((yield familyOfPs()) as Family[] | undefined) ?? familyOfProc());
    // A root that lives and is not there is hidden, and so may be all that is below it.
    const isWhole = family?.some(({ pid }) => pid === this.#pid) === true || !isRootThere || !this.#isRootThere();
    if (family === undefined || !isWhole) this.#level = 'root';
    const tree = family === undefined || !isWhole ? seeds : below(family, seeds);
    if (tree.has(process.pid) || (family === undefined && this.#pid === process.ppid)) throw ownTree(this.#pid);
    const fresh = Array.from(tree).filter((pid) => !this.#found.has(pid) || !this.#isThere(pid));
    return fresh.filter((pid) => {
      const seen = inspectProcess(pid);
      if (typeof seen === 'string' ? seen === 'ESRCH' : isGone(seen)) return false;
      this.#found.set(pid, typeof seen === 'string' ? undefined : seen);
      return true;
    });
  }

  #isRootThere(): boolean {
    if (!this.#wasThere || this.#own?.isReaped() === true) return false;
    return this.#rootRow === undefined ? isAlive(this.#pid) : !isGone(this.#rootRow);
  }

  /** Who is in the session that the root was launched into, as far as `/proc` tells. */
  #membersOfGroup(): number[] {
    if (this.#root?.session === undefined) return [];
    const table = readProcessFiles();
    if (table === undefined) return [];
    const row = table.get(this.#pid);
    const isInGroup = isInGroupOf(this.#pid, this.#root, row !== undefined && !isSame(row, this.#rootRow));
    return Array.from(table.values())
      .filter((one) => isInGroup(one, table))
      .map(({ pid }) => pid);
  }
}

async function familyOfPs(): Promise<Family[] | undefined> {
  try {
    // Loaded where it is needed: the native engine never needs it.
    const { default: pidtree } = await import('pidtree');
    const all = await pidtree(-1, { advanced: true });
    return all.map(({ pid, ppid }) => ({ pid, parent: ppid }));
  } catch {
    // There is no `ps`, or one that does not know the options: `/proc` tells the same.
    return undefined;
  }
}

function familyOfProc(): Family[] | undefined {
  const table: ProcessTable | undefined = readProcessFiles();
  return table === undefined ? undefined : Array.from(table.values());
}
