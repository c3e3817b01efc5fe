import { Buffer } from 'node:buffer';
import { LaunchError } from '../errors/launch-error.js';
import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import { sendSignal } from '../host/send-signal.js';
import type { Binding } from '../native/binding.js';
import { dependency } from '../native/dependencies.js';
import { errnoName } from '../text/errno.js';
import { MODES_SIZE } from './device.js';

/** Errors that say that something is scarce, and not that there is no terminal. */
const SCARCITY: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** A terminal has one foreground. */
let isLent = false;

/**
 * The foreground of this process's controlling terminal, while a program has it: what a shell does for a job.
 *
 * The program gets it before its exec, in a process group of its own. When it is stopped, by Ctrl-Z, this process takes the terminal back and stops
 * itself, so that the shell comes to its prompt; when it is continued there, it hands the terminal over again and continues the program.
 */
export class Foreground {
  /** The descriptor of the terminal. */
  readonly fd: number;
  readonly #binding: Binding;
  readonly #group: number;
  readonly #modes = Buffer.alloc(MODES_SIZE);
  readonly #forgetExit: () => void;
  #child: { readonly pid: number; readonly takeStop: () => number } | undefined;
  /** The modes that it had when it was stopped. */
  #programsModes: Buffer | undefined;
  #isLent = true;
  #isOver = false;

  /**
   * Holds the terminal for a launch. `undefined`: this process has none, or is in its background, and takes it from nobody.
   *
   * @throws {UsageError} if another program of this process has it. {LaunchError} if there is no descriptor left.
   */
  static hold(binding: Binding, subject: Subject): Foreground | undefined {
    if (isLent) {
      const problem = 'another program of this process has the terminal; wait for its end';
      throw new UsageError(subject, [{ call: 'inheritTerminal()', problem }]);
    }
    const fd = binding.ownTerminal();
    const errno = errnoName(fd);
    if (fd < 0 && SCARCITY.has(errno))
      throw new LaunchError(subject, { step: 'open', errno, path: '/dev/tty', wanted: 'be opened' });
    if (fd < 0) return undefined;
    const group = binding.groupOf(0);
    if (group > 0 && binding.foreground(fd) === group) return new Foreground(binding, fd, group);
    binding.closeAll(Int32Array.of(fd));
    return undefined;
  }

  private constructor(binding: Binding, fd: number, group: number) {
    this.#binding = binding;
    this.fd = fd;
    this.#group = group;
    binding.terminalModes(fd, this.#modes);
    isLent = true;
    // libuv's handlers let the kernel tell of stops, and end a wait of runSync().
    process.on('SIGCHLD', this.look);
    process.on('SIGCONT', this.look);
    this.#forgetExit = dependency('signal-exit').onExit(
      () => {
        this.end(true);
      },
      { alwaysLast: true },
    );
  }

  /** The program has it. `takeStop` gives the signal that has stopped it, once for each stop, else 0. */
  begin(pid: number, takeStop: () => number): void {
    this.#child = { pid, takeStop };
    this.look();
  }

  /** Looks whether the program was stopped, or this process was continued. */
  readonly look = (): void => {
    if (this.#child === undefined || this.#isOver) return;
    if (this.#child.takeStop() > 0) this.#stopWith(this.#child.pid);
    else if (this.#isMine()) this.#lend(this.#child.pid);
  };

  /** Whether this process is in the foreground. */
  #isMine(): boolean {
    return this.#binding.foreground(this.fd) === this.#group;
  }

  #stopWith(pid: number): void {
    if (this.#isLent) {
      this.#programsModes = Buffer.alloc(MODES_SIZE);
      this.#binding.terminalModes(this.fd, this.#programsModes);
    }
    this.#takeBack(true);
    // All of the group, as Ctrl-Z would: the shell waits for the first of them, which may be npm. This thread is the one that the kernel
    // stops for it, so the next line is that of a process that goes on; or of one with nobody to continue it, which the kernel does not stop.
    process.kill(0, 'SIGTSTP');
    if (this.#isMine()) this.#lend(pid);
    else sendSignal(-pid, 'SIGCONT');
  }

  #lend(pid: number): void {
    if (this.#programsModes !== undefined) this.#binding.setTerminalModes(this.fd, this.#programsModes);
    this.#programsModes = undefined;
    this.#isLent = this.#binding.setForeground(this.fd, pid) === 0;
    sendSignal(-pid, 'SIGCONT');
  }

  /** The shell may have it by now, if this process was stopped without the program. */
  #takeBack(restoresModes: boolean): void {
    const has = this.#binding.foreground(this.fd);
    const isShells = has !== this.#group && has === this.#binding.sessionOf(this.fd);
    if (!this.#isLent || isShells) return;
    this.#isLent = false;
    this.#binding.setForeground(this.fd, this.#group);
    if (restoresModes) this.#binding.setTerminalModes(this.fd, this.#modes);
  }

  /**
   * The program has ended, or was never launched. What it has made of the terminal's modes stays, as `stty` wants it, unless it had no time to put them
   * back: a signal has ended it.
   */
  end(wasKilled: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    isLent = false;
    process.off('SIGCHLD', this.look);
    process.off('SIGCONT', this.look);
    this.#forgetExit();
    this.#takeBack(wasKilled);
    this.#binding.closeAll(Int32Array.of(this.fd));
  }
}
