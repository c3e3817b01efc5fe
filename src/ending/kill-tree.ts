import { dryRunOf, playedBy } from '../engine/dry-run.js';
import { isInvented, type PlayedProcess } from '../engine/played.js';
import { addonInUse } from '../engine/select.js';
import { argumentError, isPidNumber, type NoOptions, readOptions } from '../errors/argument-error.js';
import type { Clock } from '../host/time.js';
import { KillTreeResult } from '../result/tree-result.js';
import { bare } from '../spec/bare.js';
import type { StopSequence } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';
import { HeldTree } from './held-tree.js';
import { NumberedTree } from './numbered-tree.js';
import { noteKill } from './sent-kills.js';
import { withLastWord } from './stop-sequence.js';
import { drive, type Steps, type Tree, type TreeFacts } from './tree.js';

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
export async function killTree(root: number | { readonly pid: number }, options?: NoOptions): Promise<KillTreeResult> {
  const pid = rootPid(root);
  readOptions('killTree', [root], options, {});
  return killTreeOf(pid);
}

/** The same for a process of which more may be known than its pid, such as a daemon that was met again. */
export async function killTreeOf(
  pid: number,
  facts: Pick<TreeFacts, 'known' | 'isReaped'> = {},
): Promise<KillTreeResult> {
  const played = playedBy(pid);
  if (played !== undefined) return endPlayedTree(played);
  const dryRun = dryRunOf('killTree');
  if (dryRun !== undefined && isInvented(pid))
    return new KillTreeResult({ level: 'walk', ended: [], survivors: [] }, true);
  if (dryRun !== undefined) {
    dryRun.kills.push({ call: 'killTree', pid, signal: 'SIGKILL' });
    return new KillTreeResult({ level: 'walk', ended: [pid], survivors: [] }, true);
  }
  return drive(endTree(treeOf({ pid, ...facts, call: 'killTree()' })));
}

/** The tree of a process, as the engine in use can end it. */
export function treeOf(said: TreeFacts): Tree {
  const facts = bare(said);
  const binding = addonInUse();
  return binding === undefined ? new NumberedTree(facts) : new HeldTree(binding, facts);
}

function* endTree(tree: Tree): Steps<KillTreeResult> {
  try {
    yield* tree.kill();
    return tree.result;
  } finally {
    tree.close();
  }
}

/** What says how a tree is stopped: the signal that is due, or for how many milliseconds nothing is. */
export interface Schedule {
  next(now: number): SignalName | number;
}

/** The signals of a sequence, each at its time from now on, and SIGKILL in the end. */
export function scheduleOf(sequence: StopSequence): Schedule {
  const steps = withLastWord(sequence);
  let step = 0;
  let dueAt = -Infinity;
  return {
    next(at) {
      if (at < dueAt) return dueAt - at;
      const [signal, graceMs] = steps.at(step) ?? [Infinity, Infinity];
      step += 1;
      dueAt = at + graceMs;
      return signal;
    },
  };
}

/** How often a tree that was asked to end is looked at: soon at first, and then with patience. */
const FIRST_LOOK_MS = 1;
const LOOK_MS = 20;

/**
 * Stops a tree: all that was found is held, and sent the signals that are due, until all of it has ended, what has come meanwhile included.
 * After SIGKILL it says what is left.
 */
export function* stopTree(tree: Tree, schedule: Schedule, clock: Pick<Clock, 'now'>): Steps<KillTreeResult> {
  try {
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(2 * lookMs, LOOK_MS)) {
      const next = schedule.next(clock.now());
      if (next === 'SIGKILL') {
        yield* tree.kill();
        return tree.result;
      }
      if (typeof next === 'string') {
        lookMs = FIRST_LOOK_MS;
        yield* tree.ask(next);
      } else if (yield* tree.isOver()) return tree.result;
      else yield Math.min(next, lookMs);
    }
  } finally {
    tree.close();
  }
}

/** Ends a process that a dry run plays, which has no descendants. */
function endPlayedTree(played: PlayedProcess): KillTreeResult {
  const { pid } = played;
  played.noteKill('killTree', 'SIGKILL');
  noteKill(pid, 'killTree()');
  return new KillTreeResult({ level: 'walk', ended: played.signal('SIGKILL') ? [pid] : [], survivors: [] }, true);
}

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
