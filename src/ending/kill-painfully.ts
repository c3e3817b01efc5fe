import { addonInUse } from '../engine/select.js';
import { PidFd } from '../host/pidfd.js';
import { readProcess, readProcessTable } from '../host/process-table.js';
import { delay, now } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import type { SignalName } from '../text/signals.js';
import { comesWithin, sendSignal } from './send-signal.js';

/** How {@link killPainfully} goes about it. */
export interface KillOptions {
  /** Send SIGKILL after ten seconds, and wait up to forty. Default: false, which gives up after fifteen. */
  readonly force?: boolean;
  /** End the whole process group that the process is in. Default: false. */
  readonly group?: boolean;
}

/** libvirt's patience, in milliseconds. */
const PATIENCE_MS = 15_000;
const FORCE_AFTER_MS = 10_000;
const PATIENCE_AFTER_FORCE_MS = 30_000;
const PROBE_MS = 200;

/** How long the parent of a process that has exited is given to reap it, and how often that is looked at. */
const REAP_GRACE_MS = 3000;
const REAP_PROBE_MS = 5;

/**
 * Ends a process that need not be ours, such as a daemon known by its pidfile, and resolves when it is gone.
 *
 * SIGTERM at once; with `force`, SIGKILL after 10 s. Answers to `virProcessKillPainfully`. *Native:* the process is held by a
 * descriptor (`pidfd_open`) from the first moment, so nobody is hit who gets its pid later, and its end is an event. Its
 * parent is given three seconds to reap it; a zombie that nobody reaps is gone all the same. *Portable:* by pid, with a look every
 * 0.2 s, and a zombie counts as alive, as in libvirt. A pid of 1 or less is nobody: it counts as gone.
 *
 * With `group` all members of the process's group are signaled and waited for, also where the one that led it is dead.
 *
 * @throws {Error} with `code` `EPERM` if the process may not be signaled, `EBUSY` if it is still there after 15 s (40 s with `force`),
 * `EINVAL` if its group is the one that this process is in.
 *
 * @example
 * const pid = await PidFile.readIfAlive('/run/dnsmasq.pid', '/usr/sbin/dnsmasq');
 * if (pid !== undefined) await killPainfully(pid, { force: true });
 */
export async function killPainfully(pid: number, { force = false, group = false }: KillOptions = {}): Promise<void> {
  if (!Number.isInteger(pid))
    throw new TypeError(`killPainfully(${String(pid)}): a pid is a whole number; read it with PidFile.read().`);
  if (pid <= 1) return;
  const binding = addonInUse();
  const prey = group ? groupOf(binding, pid) : processBy(binding, pid);
  try {
    const steps = force
      ? ([
          ['SIGTERM', FORCE_AFTER_MS],
          ['SIGKILL', PATIENCE_AFTER_FORCE_MS],
        ] as const)
      : ([['SIGTERM', PATIENCE_MS]] as const);
    for (const [signal, ms] of steps) {
      const errno = prey.send(signal);
      if (errno !== undefined && errno !== 'ESRCH')
        throw killError(pid, errno, `it may not be signaled (${prey.syscall}: ${errno})`);
      if (errno === 'ESRCH' || (await prey.endsWithin(ms))) {
        if (binding !== undefined) await reaped(prey.target);
        return;
      }
    }
    throw killError(
      pid,
      'EBUSY',
      force ? 'it is still there 30 s after SIGKILL' : 'it ignored SIGTERM for 15 s; say { force: true }',
    );
  } finally {
    prey.close();
  }
}

function killError(pid: number, code: string, problem: string): Error {
  return Object.assign(new Error(`Cannot end process ${pid}: ${problem}.`), { code });
}

/** Waits until a pid, or, if it is negative, a group is no more, but not for ever: its parent may never ask. */
async function reaped(target: number): Promise<void> {
  const deadline = now() + REAP_GRACE_MS;
  while (sendSignal(target, 0) !== 'ESRCH' && now() < deadline) await delay(REAP_PROBE_MS);
}

/** Who is to be ended: one process or a group, by descriptor or by number. */
interface Prey {
  /** As `kill()` takes it: a pid, or a group as a negative number. */
  readonly target: number;
  /** What sends the signals, for the error. */
  readonly syscall: string;
  /** Sends a signal, and gives the errno's name of a failure. `ESRCH`: nobody is left. */
  send(signal: SignalName): string | undefined;
  endsWithin(ms: number): Promise<boolean>;
  close(): void;
}

/** By number: there is nothing but to look, as libvirt does. */
function byNumber(target: number): Prey {
  return {
    target,
    syscall: 'kill',
    send: (signal) => sendSignal(target, signal),
    async endsWithin(ms) {
      for (let waited = 0; waited < ms; waited += PROBE_MS) {
        await delay(PROBE_MS);
        if (sendSignal(target, 0) === 'ESRCH') return true;
      }
      return false;
    },
    close: () => undefined,
  };
}

function processBy(binding: Binding | undefined, pid: number): Prey {
  if (binding === undefined) return byNumber(pid);
  const opened = PidFd.open(binding, pid);
  if (opened === 'ESRCH') return { ...byNumber(pid), send: () => opened };
  if (typeof opened === 'string') throw killError(pid, opened, `it cannot be held (pidfd_open: ${opened})`);
  return {
    target: pid,
    syscall: 'pidfd_send_signal',
    send: (signal) => (opened.hasEnded ? 'ESRCH' : opened.send(signal)),
    endsWithin: (ms) => comesWithin(opened.ended(), ms),
    close: () => {
      opened.close();
    },
  };
}

// ---------------------------------------------------------------- groups

function groupOf(binding: Binding | undefined, pid: number): Prey {
  // Where its process is gone, the group that it led may not be; and while that has members, nobody gets its number.
  const group = readProcess(pid)?.group ?? pid;
  // 0 is a group of another namespace, and 1 would be everybody.
  if (group <= 1)
    throw killError(
      pid,
      'EINVAL',
      `its process group is ${group}, which cannot be ended as one; leave out { group: true }`,
    );
  if (group === readProcess(process.pid)?.group) {
    throw killError(pid, 'EINVAL', 'its process group is the one that this process is in; leave out { group: true }');
  }
  return binding === undefined ? byNumber(-group) : new Group(binding, group);
}

/** A process group whose members are held by descriptors, as far as they were seen. */
class Group implements Prey {
  readonly syscall = 'kill';
  readonly id: number;
  readonly target: number;
  readonly #binding: Binding;
  readonly #leader: PidFd | undefined;
  #members: PidFd[] = [];

  constructor(binding: Binding, id: number) {
    this.#binding = binding;
    this.id = id;
    this.target = -id;
    const leader = PidFd.open(binding, id);
    this.#leader = typeof leader === 'string' ? undefined : leader;
  }

  send(signal: SignalName): string | undefined {
    // A member keeps the number from being given out again, and so do zombies until they are reaped.
    if (this.#look().length === 0) return 'ESRCH';
    const errno = this.#leader?.send(signal, true);
    if (this.#leader !== undefined && errno !== 'EINVAL' && errno !== 'ESRCH') return errno;
    // The leader is gone, or the kernel is older than Linux 6.9.
    return sendSignal(this.target, signal);
  }

  async endsWithin(ms: number): Promise<boolean> {
    const deadline = now() + ms;
    // Those who go may leave newcomers behind.
    for (let members = this.#look(); members.length > 0; members = this.#look()) {
      const ends = Promise.all(members.map((member) => member.ended()));
      if (!(await comesWithin(ends, deadline - now()))) return false;
    }
    return true;
  }

  close(): void {
    this.#leader?.close();
    this.#release();
  }

  /** Opens the members that have not ended. */
  #look(): readonly PidFd[] {
    this.#release();
    for (const row of readProcessTable(this.#binding).values()) {
      if (row.group !== this.id) continue;
      const member = PidFd.openRow(this.#binding, row);
      if (member?.hasEnded === false) this.#members.push(member);
      else member?.close();
    }
    return this.#members;
  }

  #release(): void {
    for (const member of this.#members) member.close();
    this.#members = [];
  }
}
