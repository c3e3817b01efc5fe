import { ProcessError } from '../errors/process-error.js';
import { type Binding, roomFor } from '../native/binding.js';
import { errnoName } from '../text/errno.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { inspectProcess, isSame, type ProcessRow } from './process-table.js';

/**
 * A process by descriptor: whatever becomes of its pid, signals reach this process or none. It need not be a child of
 * ours, and is never reaped from here.
 */
export class PidFd {
  readonly pid: number;
  readonly #binding: Binding;
  readonly #fd: number;
  #watch = 0;
  #ended: Promise<void> | undefined;
  #tellEnded: () => void = () => undefined;

  private constructor(binding: Binding, pid: number, fd: number) {
    this.#binding = binding;
    this.pid = pid;
    this.#fd = fd;
  }

  /** Opens a process, to be closed; or gives the errno's name. */
  static open(binding: Binding, pid: number): PidFd | string {
    const fd = binding.openPid(pid);
    return fd < 0 ? errnoName(fd) : new PidFd(binding, pid, fd);
  }

  /**
   * Opens the very process that a row tells of, or gives the errno's name. `ESRCH`: it is gone, though its pid may mean another
   * process by now. Any other: it may live, and cannot be held.
   */
  static openRow(binding: Binding, row: ProcessRow): PidFd | string {
    const opened = PidFd.open(binding, row.pid);
    if (typeof opened === 'string') return opened;
    // A process with this pid and that start after the opening had them before it, and is the one that was opened.
    const seen = inspectProcess(row.pid);
    if (typeof seen !== 'string' && isSame(seen, row)) return opened;
    opened.close();
    return typeof seen === 'string' ? seen : 'ESRCH';
  }

  /** Sends a signal, and gives the errno's name of a failure. With `toGroup`, to the process group that the process leads, also after its end (Linux 6.9). */
  send(signal: SignalName, toGroup = false): string | undefined {
    const errno = this.#binding.signalPid(this.#fd, signalNumber(signal) ?? 0, toGroup ? 1 : 0);
    return errno === 0 ? undefined : errnoName(errno);
  }

  /** Whether it has ended. A zombie has. */
  get hasEnded(): boolean {
    return this.#binding.hasEnded(this.#fd) === 1;
  }

  /** Resolves when it has ended, without polling. */
  ended(): Promise<void> {
    this.#ended ??= new Promise((resolve, reject) => {
      this.#tellEnded = resolve;
      this.#watch = this.#binding.awaitEnd(this.#fd, () => {
        this.#watch = 0;
        resolve();
      });
      if (this.#watch < 0)
        reject(
          new ProcessError(`Cannot wait for process ${this.pid} (epoll_ctl: ${errnoName(this.#watch)}).`, {
            code: errnoName(this.#watch),
            pid: this.pid,
            syscall: 'epoll_ctl',
          }),
        );
    });
    return this.#ended;
  }

  /** Reaps it, if it is an ended child of this thread: gives code, status and usage, or `undefined` where there is nothing to reap. */
  reap(): Float64Array | undefined {
    const end = new Float64Array(roomFor('reap'));
    return this.#binding.reap(this.#fd, 0, end) === 1 ? end : undefined;
  }

  /** Whether it is a child of this thread, ended or not, that is not reaped. */
  get isOurChild(): boolean {
    return this.#binding.reap(this.#fd, 1, new Float64Array(roomFor('reap'))) >= 0;
  }

  /** Closes the descriptor. What still waits for the end goes on. */
  close(): void {
    if (this.#watch > 0) this.#binding.leave(this.#watch);
    this.#watch = 0;
    this.#tellEnded();
    this.#binding.closeAll(Int32Array.of(this.#fd));
  }
}
