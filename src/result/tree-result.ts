import { inspect } from 'node:util';

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

/** What {@link killTree} reached, or what stopped a program with its tree. */
export interface KillTreeResult extends KillTreeResultFields {}

/** What {@link killTree} reached, or what stopped a program with its tree. */
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
