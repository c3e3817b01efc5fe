import { inspect } from 'node:util';
import { dryRunOf } from '../engine/dry-run.js';
import type { PlayedProcess } from '../engine/played.js';
import { addonInUse } from '../engine/select.js';
import { argumentError, type NoOptions, readOptions } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import { PidFd } from '../host/pidfd.js';
import { inspectProcess, isGone, isSame, type ProcessRow, readProcess } from '../host/process-table.js';
import { sendSignal } from '../host/send-signal.js';
import { delay, realClock } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { KillTreeResult } from '../result/tree-result.js';
import type { StopSequence } from '../spec/spec.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import {
  byDescriptor,
  byNumber,
  endPlayed,
  endTarget,
  killError,
  reapEnded,
  painfulSequence,
  reapOption,
  type Target,
} from './kill-painfully.js';
import { killTreeOf, scheduleOf, stopTree, treeOf } from './kill-tree.js';
import { type Root, roots } from './roots.js';
import { noteKill } from './sent-kills.js';
import { sequenceOption, withLastWord } from './stop-sequence.js';
import { bare } from '../spec/bare.js';
import { drive, type TreeFacts } from './tree.js';

/** How {@link ProcessHandle.stop} goes about it. */
export interface ProcessStopOptions {
  /** The signals, each with the milliseconds to wait for its effect; after the last, SIGKILL. Default: SIGTERM and 10 s, as libvirt's. */
  readonly sequence?: StopSequence | undefined;
  /** How long the parent of the process is given to reap it, in milliseconds. Default: 3000. */
  readonly reapMs?: number | undefined;
  /** Whether what descends from the process is stopped with it: each gets the signals, and SIGKILL ends the rest. Default: false. */
  readonly tree?: boolean | undefined;
}

/** How long an end by SIGKILL is waited for, as by libvirt. */
const AFTER_SIGKILL_MS = 30_000;

/** How often the end is looked at where no event tells of it. */
const PROBE_MS = 200;

/**
 * What a handle knows its process by: its row of the process table, whose pid and start name it for ever; a descriptor, where `/proc`
 * hides it; the part that it has in a dry run; its number alone, where there is nothing else; or that it has ended.
 */
type Identity =
  { readonly row: ProcessRow } | { readonly pidfd: PidFd } | { readonly played: PlayedProcess } | 'number' | 'ended';

/**
 * A process that need not be a child of this one, such as a daemon: from {@link PidFile.open}, or `process` of a `DaemonResult`.
 *
 * It means this very process for ever, also when its pid has gone to another one: then it has ended, and nobody is signaled. *Native:* signals go
 * through a descriptor (`pidfd_open`). *Portable:* they go by number, right after a look whether that still means the process; without a
 * `/proc`, by number alone.
 *
 * @example
 * using daemon = await PidFile.open('/run/dnsmasq.pid', { program: 'dnsmasq' });
 * if (daemon?.signal('SIGHUP') !== true) console.log('it does not run');
 */
export class ProcessHandle implements Disposable {
  /** The pid of the process. */
  readonly pid: number;
  readonly #identity: Identity;
  readonly #root: Root | undefined;
  #ended: Promise<void> | undefined;
  #watching: PidFd | undefined;
  #isDisposed = false;

  /** @internal `root` is what is known of the tree below it. */
  constructor(pid: number, identity: Identity, root?: Root) {
    this.pid = pid;
    this.#identity = typeof identity === 'object' ? bare(identity) : identity;
    this.#root = root;
  }

  /** @internal The handle of a process that a dry run plays. */
  static ofPlayed(played: PlayedProcess): ProcessHandle {
    return new ProcessHandle(played.pid, { played });
  }

  /** @internal The handle of a daemon that was just launched. */
  static ofDaemon(pid: number): ProcessHandle {
    const known = roots.get(pid);
    if (known !== undefined) return new ProcessHandle(pid, { row: known.row }, known);
    try {
      return ProcessHandle.of(pid);
    } catch (error) {
      // It runs, hidden, and no descriptor is free to hold it by: that is no failure of its launch.
      if (!(error instanceof ProcessError)) throw error;
      return new ProcessHandle(pid, 'number');
    }
  }

  /** @internal The handle of the process that has a pid now. */
  static of(pid: number): ProcessHandle {
    const row = readProcess(pid);
    if (row !== undefined) return new ProcessHandle(pid, { row }, rootOf(row));
    const binding = addonInUse();
    if (binding === undefined) return new ProcessHandle(pid, inspectProcess(pid) === 'ESRCH' ? 'ended' : 'number');
    const pidfd = PidFd.open(binding, pid);
    if (pidfd === 'ESRCH') return new ProcessHandle(pid, 'ended');
    if (typeof pidfd === 'string')
      throw killError(pid, pidfd, `it cannot be held (pidfd_open: ${pidfd})`, 'pidfd_open');
    return new ProcessHandle(pid, { pidfd });
  }

  /** @internal The row by which the process is known, where it is. */
  get row(): ProcessRow | undefined {
    return typeof this.#identity === 'object' && 'row' in this.#identity ? this.#identity.row : undefined;
  }

  /** @internal The same process, with what has been found out of its tree. */
  withRoot(root: Root | undefined): ProcessHandle {
    return root === undefined ? this : new ProcessHandle(this.pid, this.#identity, root);
  }

  /**
   * Sends a signal. False: the process has ended, and nobody was signaled, also where its pid now means another process. In a `dryRun()` it
   * is recorded in `kills`, and reaches none but a played process.
   *
   * @throws {TypeError} if there is no signal of that name. {ProcessError} with the code `EPERM` if the process may not be signaled, and
   * with the kernel's errno if it cannot be held, such as `EMFILE`.
   *
   * @example
   * using daemon = await PidFile.open('/run/dnsmasq.pid');
   * daemon?.signal('SIGHUP'); // have it read its configuration
   */
  signal(name: SignalName): boolean {
    if (signalNumber(name) === undefined)
      throw argumentError('signal', [name], "there is no such signal; write its name, as 'SIGTERM'");
    const played = this.#played;
    if (played !== undefined) {
      played.noteKill('signal', name);
      if (name === 'SIGKILL') noteKill(this.pid, 'signal()');
      return played.signal(name);
    }
    const dryRun = dryRunOf('signal');
    if (dryRun !== undefined) {
      dryRun.kills.push({ call: 'signal', pid: this.pid, signal: name });
      return true;
    }
    const target = this.#target();
    if (target === undefined) return false;
    try {
      if (name === 'SIGKILL') noteKill(this.pid, 'signal()');
      const errno = target.send(name);
      if (errno === undefined || errno === 'ESRCH') return errno === undefined;
      throw new ProcessError(
        `Process ${this.pid} may not be signaled (${target.syscall}: ${errno}). Run as its user, or as root.`,
        {
          code: errno,
          pid: this.pid,
          syscall: target.syscall,
        },
      );
    } finally {
      target.close();
    }
  }

  /**
   * Resolves when the process has ended; a zombie has. It is waited for from the first time that this is read, which keeps this process alive; after the
   * handle was disposed, not any more: then the promise stays as it is. *Portable:* with a look every 0.2 s.
   *
   * @throws {ProcessError} if it cannot be waited for: no descriptor is free.
   *
   * @example
   * const daemon = await new Command('sleep', '0.1').daemonize().run();
   * await daemon.process.ended;
   */
  get ended(): Promise<void> {
    this.#ended ??= new Promise((resolve, reject) => {
      this.#awaitEnd().then((hasEnded) => {
        if (hasEnded) resolve();
      }, reject);
    });
    return this.#ended;
  }

  /**
   * Ends the process and resolves when it is gone: SIGTERM, and SIGKILL 10 s later, or by the sequence that is said. It need not be running any
   * more. What is told of zombies by {@link killPainfully} holds here.
   *
   * With `{ tree: true }` it resolves with what became of its whole tree, which is known as {@link ProcessHandle.killTree} knows it: what could not be ended
   * is among the survivors, and no error.
   *
   * @throws {ProcessError} with `code` `EPERM` if the process may not be signaled, `EBUSY` if it is still there 30 s after SIGKILL, and the kernel's
   * errno if it cannot be held. {TypeError} for options that are none.
   *
   * @example
   * using daemon = await PidFile.open('/run/dnsmasq.pid', { program: 'dnsmasq' });
   * await daemon?.stop({ sequence: [['SIGTERM', 2000], ['SIGKILL', 0]] });
   * @example
   * using daemon = await PidFile.open('/run/virtiofsd.pid');
   * const tree = await daemon?.stop({ tree: true });
   * if (tree?.isComplete === false) console.warn('something may be left', tree.survivors);
   */
  stop(options: ProcessStopOptions & { readonly tree: true }): Promise<KillTreeResult>;
  stop(options?: ProcessStopOptions & { readonly tree?: false | undefined }): Promise<undefined>;
  stop(options?: ProcessStopOptions): Promise<KillTreeResult | undefined>;
  async stop(options?: ProcessStopOptions): Promise<KillTreeResult | undefined> {
    const {
      sequence = painfulSequence,
      reapMs,
      tree = false,
    } = readOptions('stop', [], options, {
      sequence: sequenceOption,
      reapMs: reapOption,
      tree: 'boolean',
    });
    const played = this.#played;
    if (played !== undefined) {
      const ended = played.hasEnded ? [] : [this.pid];
      await endPlayed(played, 'stop', lastingSteps(sequence));
      return tree ? new KillTreeResult({ level: 'walk', ended, survivors: [] }, true) : undefined;
    }
    const dryRun = dryRunOf('stop');
    if (dryRun !== undefined) {
      dryRun.kills.push({ call: 'stop', pid: this.pid, signal: sequence.at(0)?.[0] ?? 'SIGKILL' });
      return tree ? new KillTreeResult({ level: 'walk', ended: [this.pid], survivors: [] }, true) : undefined;
    }
    if (tree) return this.#stopTree(sequence, reapMs);
    const target = this.#target();
    if (target === undefined) return undefined;
    try {
      await endTarget(this.pid, target, { call: 'stop()', steps: lastingSteps(sequence), reapMs });
    } finally {
      target.close();
    }
    return undefined;
  }

  async #stopTree(sequence: StopSequence, reapMs: number | undefined): Promise<KillTreeResult> {
    const tree = treeOf({ pid: this.pid, ...this.#treeFacts(), call: 'stop()' });
    const reached = await drive(stopTree(tree, scheduleOf(sequence), realClock));
    if (reached.ended.includes(this.pid)) await reapEnded(this.pid, this.pid, reapMs);
    return reached;
  }

  /**
   * Ends the process and its descendants, as `killTree()` does, with what is known of it: the control group and the session that this process has
   * launched it into; or, for a daemon that was met again, the session that it leads, or that is its own for certain. Its descendants there are found
   * also when it has ended itself.
   *
   * @throws {ProcessError} as `killTree()`.
   *
   * @example
   * using daemon = await PidFile.open('/run/virtiofsd.pid');
   * const tree = await daemon?.killTree();
   */
  async killTree(options?: NoOptions): Promise<KillTreeResult> {
    readOptions('killTree', [], options, {});
    return killTreeOf(this.pid, this.#treeFacts());
  }

  #treeFacts(): Pick<TreeFacts, 'known' | 'isReaped'> {
    const { row } = this;
    const unknown = { cgroup: undefined, group: undefined, session: undefined, isDaemon: false };
    const known = this.#root ?? (row === undefined ? undefined : { row, ...unknown });
    return { known, isReaped: this.#identity === 'ended' };
  }

  /** Lets the process go: it lives on, and its end is not waited for any more. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    const watching = this.#watching;
    this.#watching = undefined;
    watching?.close();
    if (typeof this.#identity === 'object' && 'pidfd' in this.#identity) this.#identity.pidfd.close();
  }

  /** The process as it stands in a sentence: `process 4711`. */
  toString(): string {
    return `process ${this.pid}`;
  }

  /** One line for `console.log`. */
  [inspect.custom](): string {
    return `ProcessHandle { pid ${this.pid} }`;
  }

  get #played(): PlayedProcess | undefined {
    return typeof this.#identity === 'object' && 'played' in this.#identity ? this.#identity.played : undefined;
  }

  /** What signals are sent to, to be closed; `undefined` where it has ended. */
  #target(): Target | undefined {
    const identity = this.#identity;
    if (identity === 'ended') return undefined;
    if (identity === 'number') return byNumber(this.pid);
    // A played process is signaled by its dry run.
    if ('played' in identity) return undefined;
    if ('pidfd' in identity) {
      if (this.#isDisposed) throw disposed(this.pid);
      return { ...byDescriptor(identity.pidfd), close: () => undefined };
    }
    const binding = addonInUse();
    if (binding === undefined) return byRow(identity.row);
    const pidfd = this.#open(binding, identity.row);
    return pidfd === undefined ? undefined : byDescriptor(pidfd);
  }

  #open(binding: Binding, row: ProcessRow): PidFd | undefined {
    const pidfd = PidFd.openRow(binding, row);
    if (pidfd === 'ESRCH') return undefined;
    if (typeof pidfd === 'string')
      throw killError(this.pid, pidfd, `it cannot be held (pidfd_open: ${pidfd})`, 'pidfd_open');
    return pidfd;
  }

  /** False: the handle was disposed before the end. */
  async #awaitEnd(): Promise<boolean> {
    const identity = this.#identity;
    if (identity === 'ended') return true;
    if (this.#isDisposed) return false;
    if (typeof identity === 'object' && 'played' in identity) {
      await identity.played.ended;
      return !this.#isDisposed;
    }
    const binding = addonInUse();
    if (identity === 'number' || binding === undefined) {
      while (!this.#isDisposed) {
        if (identity === 'number' ? sendSignal(this.pid, 0) === 'ESRCH' : 'row' in identity && isGone(identity.row))
          return true;
        await delay(PROBE_MS);
      }
      return false;
    }
    const pidfd = 'pidfd' in identity ? identity.pidfd : this.#open(binding, identity.row);
    if (pidfd === undefined) return true;
    if ('row' in identity) this.#watching = pidfd;
    await pidfd.ended();
    return this.#noteEnd(pidfd);
  }

  /** Closes what was watched, unless that was done when the handle was disposed: then nothing is told any more. */
  #noteEnd(pidfd: PidFd): boolean {
    if (this.#watching === pidfd) {
      this.#watching = undefined;
      pidfd.close();
    }
    return !this.#isDisposed;
  }
}

/** The sequence with SIGKILL as its last word, whose effect is waited for. */
const lastingSteps = (sequence: StopSequence): StopSequence =>
  withLastWord(sequence).map(([signal, ms]) => [signal, signal === 'SIGKILL' ? Math.max(ms, AFTER_SIGKILL_MS) : ms]);

/** By number, right after a look whether that still means the process. */
function byRow(row: ProcessRow): Target {
  const target = byNumber(row.pid);
  return {
    ...target,
    send: (signal) => (!isGone(row) ? target.send(signal) : 'ESRCH'),
    endsWithin: async (ms) => {
      for (let waited = 0; !isGone(row); waited += PROBE_MS) {
        if (waited >= ms) return false;
        await delay(Math.min(PROBE_MS, ms - waited));
      }
      return true;
    },
  };
}

const disposed = (pid: number): ProcessError =>
  new ProcessError(`Process ${pid} is not held any more, since its handle was disposed. Open it again.`, {
    code: 'EBADF',
    pid,
  });

/** What this process knows of the tree below a process that it has launched. */
function rootOf(row: ProcessRow): Root | undefined {
  const known = roots.get(row.pid);
  return isSame(known?.row, row) ? known : undefined;
}
