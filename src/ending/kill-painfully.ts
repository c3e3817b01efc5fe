import { dryRunOf, playedBy } from '../engine/dry-run.js';
import { type DryRunKill, isInvented, type PlayedProcess } from '../engine/played.js';
import { addonInUse } from '../engine/select.js';
import { argumentError, isPidNumber, readOptions } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import { PidFd } from '../host/pidfd.js';
import { inspectProcess, isOver, readProcessTable, whyUnseen } from '../host/process-table.js';
import { comesWithin, sendSignal } from '../host/send-signal.js';
import { delay, LONGEST_TIMER, now } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import type { StopSequence } from '../spec/spec.js';
import { formatDuration } from '../text/duration.js';
import { errnoName } from '../text/errno.js';
import type { SignalName } from '../text/signals.js';
import { adoptsOrphans } from './adopt-orphans.js';
import { roots } from './roots.js';
import { noteKill } from './sent-kills.js';

/** How {@link killPainfully} goes about it. */
export interface KillOptions {
  /** Send SIGKILL after ten seconds, and wait up to forty. Default: false, which gives up after fifteen. */
  readonly force?: boolean;
  /** End the whole process group that the process is in. Default: false. */
  readonly group?: boolean;
  /** How long the parent of the process is given to reap it, in milliseconds. Default: 3000. Only where the engine is native. */
  readonly reapMs?: number | undefined;
}

/** libvirt's patience, in milliseconds. */
const PATIENCE_MS = 15_000;
const FORCE_AFTER_MS = 10_000;
const PATIENCE_AFTER_FORCE_MS = 30_000;
const PROBE_MS = 200;

/** How long the parent of a process that has exited is given to reap it, and how often that is looked at. */
const REAP_GRACE_MS = 3000;
const REAP_PROBE_MS = 5;

/** An option `reapMs`, for `readOptions()`. */
export const reapOption = {
  is: (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= LONGEST_TIMER,
  words: `reapMs is a number of milliseconds, from 0 to ${LONGEST_TIMER}`,
};

/** How a process that is no child of ours is ended, unless it is said otherwise: libvirt's way, with force. */
export const painfulSequence: StopSequence = [
  ['SIGTERM', FORCE_AFTER_MS],
  ['SIGKILL', PATIENCE_AFTER_FORCE_MS],
];

/**
 * Ends a process that need not be ours, such as a daemon known by its pidfile, and resolves when it is gone.
 *
 * SIGTERM at once; with `force`, SIGKILL after 10 s. Answers to `virProcessKillPainfully`. *Native:* the process is held by a
 * descriptor (`pidfd_open`) from the first moment, so no process is hit that gets its pid later, and its end is an event. Its
 * parent is given three seconds, or `reapMs`, to reap it; a zombie that is never reaped is gone all the same. A daemon of ours that has
 * become our child (where this process is PID 1, or adopts) is reaped here. *Portable:* by pid, with a look every
 * 0.2 s, and a zombie counts as alive, as in libvirt. A pid of 1 or less counts as gone.
 *
 * With `group` all members of the process's group are signaled and waited for, also where the one that led it is dead. Members that
 * cannot be seen or held (`hidepid`, no `/proc`, no free descriptor) are waited for as on the portable engine. In a `dryRun()` it
 * is recorded in `kills`, and signals none but a played process.
 *
 * @throws {ProcessError} with `code` `EPERM` if the process may not be signaled, `EBUSY` if it is still there after 15 s (40 s with `force`),
 * `EINVAL` if its group is the one that this process is in, and the kernel's errno if it cannot be held, such as `EMFILE`.
 * {TypeError} if it is no pid, and for options that are none.
 *
 * @example
 * const pid = await PidFile.readIfAlive('/run/dnsmasq.pid', '/usr/sbin/dnsmasq');
 * if (pid !== undefined) await killPainfully(pid, { force: true });
 */
export async function killPainfully(pid: number, options?: KillOptions): Promise<void> {
  if (!isPidNumber(pid))
    throw argumentError('killPainfully', [pid], 'a pid is a whole number; read it with PidFile.read()');
  const {
    force = false,
    group = false,
    reapMs,
  } = readOptions('killPainfully', [pid], options, { force: 'boolean', group: 'boolean', reapMs: reapOption });
  const played = playedBy(pid);
  if (played !== undefined) {
    await endPlayed(played, 'killPainfully', force ? painfulSequence : meekSequence);
    return;
  }
  const dryRun = dryRunOf('killPainfully');
  if (pid <= 1) return;
  if (dryRun !== undefined) {
    // A played process that has ended is no process.
    if (!isInvented(pid)) dryRun.kills.push({ call: 'killPainfully', pid, signal: 'SIGTERM' });
    return;
  }
  const binding = addonInUse();
  const target = group ? groupOf(binding, pid) : processBy(binding, pid);
  try {
    await endTarget(pid, target, { call: 'killPainfully()', steps: force ? painfulSequence : meekSequence, reapMs });
  } finally {
    target.close();
  }
}

const meekSequence: StopSequence = [['SIGTERM', PATIENCE_MS]];

/** Ends a process that a dry run plays, by the time of the test. @throws {ProcessError} `EBUSY` */
export async function endPlayed(played: PlayedProcess, call: DryRunKill['call'], steps: StopSequence): Promise<void> {
  played.noteKill(call, steps.at(0)?.[0] ?? 'SIGKILL');
  const target: Target = {
    number: played.pid,
    syscall: 'kill',
    send: (signal) => (played.signal(signal) ? undefined : 'ESRCH'),
    endsWithin: (ms) => played.endsWithin(ms),
    close: () => undefined,
  };
  await end(played.pid, target, { call: `${call}()`, steps, reapMs: undefined });
}

/** How a target is ended. */
export interface EndRules {
  /** What is told of a SIGKILL that is sent. */
  readonly call: string;
  /** The signals, each with the milliseconds to wait for its effect; the time after the last is the patience. */
  readonly steps: StopSequence;
  readonly reapMs: number | undefined;
}

/** Sends the signals, one after the other, until the target is gone, and has it reaped. @throws {ProcessError} `EPERM` or `EBUSY`. */
export async function endTarget(pid: number, target: Target, rules: EndRules): Promise<void> {
  await end(pid, target, rules);
  await reapEnded(pid, target.number, rules.reapMs);
}

/** Has an ended process reaped: by this one, if nothing else waits for it, else by its parent, which may take its time. `number` may mean its group. */
export async function reapEnded(pid: number, number: number, reapMs: number | undefined): Promise<void> {
  const binding = addonInUse();
  if (binding === undefined) return;
  reapOurDaemon(binding, pid);
  await reaped(number, reapMs ?? REAP_GRACE_MS);
}

async function end(pid: number, target: Target, { call, steps }: EndRules): Promise<void> {
  for (const [signal, ms] of steps) {
    if (signal === 'SIGKILL') noteKill(target.number, call);
    const errno = target.send(signal);
    if (errno !== undefined && errno !== 'ESRCH')
      throw killError(pid, errno, `it may not be signaled (${target.syscall}: ${errno})`, target.syscall);
    if (errno === 'ESRCH' || (await target.endsWithin(ms))) return;
  }
  const [last, patienceMs] = steps.at(-1)!;
  throw killError(
    pid,
    'EBUSY',
    last === 'SIGKILL'
      ? `it is still there ${formatDuration(patienceMs)} after SIGKILL`
      : `it ignored ${last} for ${formatDuration(patienceMs)}; say { force: true }`,
  );
}

/**
 * Reaps a daemon of this library that has become a child of this process, which nothing else waits for. While this process
 * adopts, that is done, and told, by `adoptOrphans()`.
 */
function reapOurDaemon(binding: Binding, pid: number): void {
  const root = roots.get(pid);
  if (root?.isDaemon !== true || adoptsOrphans()) return;
  const pidfd = PidFd.openRow(binding, root.row);
  if (typeof pidfd === 'string') return;
  pidfd.reap();
  pidfd.close();
}

export const killError = (pid: number, code: string, problem: string, syscall?: string): ProcessError =>
  new ProcessError(`Cannot end process ${pid}: ${problem}.`, { code, pid, syscall });

/** Waits until a pid, or, if it is negative, a group is no more, but not for ever: its parent may never ask. */
async function reaped(number: number, ms: number): Promise<void> {
  const deadline = now() + ms;
  while (sendSignal(number, 0) !== 'ESRCH' && now() < deadline) await delay(REAP_PROBE_MS);
}

/** What is to be ended: one process or a group, by descriptor or by number. */
export interface Target {
  /** As `kill()` takes it: a pid, or a group as a negative number. */
  readonly number: number;
  /** What sends the signals, for the error. */
  readonly syscall: string;
  /** Sends a signal, and gives the errno's name of a failure. `ESRCH`: there is none left. */
  send(signal: SignalName): string | undefined;
  endsWithin(ms: number): Promise<boolean>;
  close(): void;
}

/** By number: there is nothing but to look, as libvirt does. */
export function byNumber(number: number): Target {
  return {
    number,
    syscall: 'kill',
    send: (signal) => sendSignal(number, signal),
    endsWithin: (ms) => vanishesWithin(number, ms),
    close: () => undefined,
  };
}

/** Waits until the number means no process and no group, zombies included. */
async function vanishesWithin(number: number, ms: number): Promise<boolean> {
  for (let waited = 0; waited < ms; waited += PROBE_MS) {
    await delay(Math.min(PROBE_MS, ms - waited));
    if (sendSignal(number, 0) === 'ESRCH') return true;
  }
  return false;
}

function processBy(binding: Binding | undefined, pid: number): Target {
  if (binding === undefined) return byNumber(pid);
  const opened = PidFd.open(binding, pid);
  if (opened === 'ESRCH') return { ...byNumber(pid), send: () => opened };
  if (typeof opened === 'string')
    throw killError(pid, opened, `it cannot be held (pidfd_open: ${opened})`, 'pidfd_open');
  return byDescriptor(opened);
}

/** By a descriptor, which is closed with the target. */
export function byDescriptor(process: PidFd): Target {
  return {
    number: process.pid,
    syscall: 'pidfd_send_signal',
    send: (signal) => (process.hasEnded ? 'ESRCH' : process.send(signal)),
    endsWithin: (ms) => comesWithin(process.ended(), ms),
    close: () => {
      process.close();
    },
  };
}

// ---------------------------------------------------------------- groups

function groupOf(binding: Binding | undefined, pid: number): Target {
  const group = binding === undefined ? groupByNumber(pid) : groupByKernel(binding, pid);
  // 0 is a group of another namespace, and 1 would be everybody.
  if (group <= 1)
    throw killError(
      pid,
      'EINVAL',
      `its process group is ${group}, which cannot be ended as one; leave out { group: true }`,
    );
  const own = binding === undefined ? groupByNumber(process.pid) : binding.groupOf(0);
  if (group === own)
    throw killError(pid, 'EINVAL', 'its process group is the one that this process is in; leave out { group: true }');
  return binding === undefined ? byNumber(-group) : new Group(binding, group);
}

/** Where its process is gone, the group that it led may not be; and while that has members, no other gets its number. */
function groupByKernel(binding: Binding, pid: number): number {
  const group = binding.groupOf(pid);
  if (group >= 0) return group;
  const errno = errnoName(group);
  if (errno === 'ESRCH') return pid;
  throw killError(pid, errno, `its process group cannot be found out (getpgid: ${errno})`, 'getpgid');
}

/** Node has no `getpgid()`. Where `/proc` does not tell the group either, a group of the process's own number is the one that it leads. */
function groupByNumber(pid: number): number {
  const seen = inspectProcess(pid);
  if (typeof seen !== 'string') return seen.group;
  if (seen === 'ESRCH' || pid === process.pid || sendSignal(-pid, 0) !== 'ESRCH') return pid;
  throw killError(
    pid,
    seen,
    `its process group cannot be found out, because ${whyUnseen(seen)} (open: ${seen}); leave out { group: true }`,
    'open',
  );
}

/** A process group whose members are held by descriptors, as far as they can be seen. */
class Group implements Target {
  readonly syscall = 'kill';
  readonly id: number;
  readonly number: number;
  readonly #binding: Binding;
  readonly #leader: PidFd | undefined;
  #members: PidFd[] = [];

  constructor(binding: Binding, id: number) {
    this.#binding = binding;
    this.id = id;
    this.number = -id;
    const leader = PidFd.open(binding, id);
    this.#leader = typeof leader === 'string' ? undefined : leader;
  }

  send(signal: SignalName): string | undefined {
    // A member keeps the number from being given out again, and so do zombies until they are reaped.
    if (this.#hold() === 'none') return 'ESRCH';
    const errno = this.#leader?.send(signal, true);
    if (this.#leader !== undefined && errno !== 'EINVAL' && errno !== 'ESRCH') return errno;
    // The leader is gone, or the kernel is older than Linux 6.9.
    return sendSignal(this.number, signal);
  }

  async endsWithin(ms: number): Promise<boolean> {
    const deadline = now() + ms;
    // Members that go may leave newcomers behind.
    for (let found = this.#hold(); found !== 'none'; found = this.#hold()) {
      // There is no event for the end of a member that is not held.
      if (found === 'unheld') {
        if (now() >= deadline) return false;
        await delay(Math.min(PROBE_MS, deadline - now()));
        continue;
      }
      const ends = Promise.all(this.#members.map((member) => member.ended()));
      if (!(await comesWithin(ends, deadline - now()))) return false;
    }
    return true;
  }

  close(): void {
    this.#leader?.close();
    this.#release();
  }

  /** Opens the members that have not ended, and says what is left of the group: `unheld` where one may live that cannot be seen or held. */
  #hold(): 'none' | 'held' | 'unheld' {
    this.#release();
    if (sendSignal(this.number, 0) === 'ESRCH') return 'none';
    let isSeen = false;
    let isUnheld = false;
    try {
      for (const row of readProcessTable(this.#binding).values()) {
        if (row.group !== this.id) continue;
        isSeen = true;
        const member = PidFd.openRow(this.#binding, row);
        if (typeof member === 'string') isUnheld ||= member !== 'ESRCH' && !isOver(row);
        else if (member.hasEnded) member.close();
        else this.#members.push(member);
      }
    } catch (error) {
      // The table cannot be read. Then the kernel's answer holds: the group is there.
      if (!(error instanceof ProcessError)) throw error;
    }
    if (isUnheld || !isSeen) return 'unheld';
    return this.#members.length > 0 ? 'held' : 'none';
  }

  #release(): void {
    for (const member of this.#members) member.close();
    this.#members = [];
  }
}
