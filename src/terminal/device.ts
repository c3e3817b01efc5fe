import { Buffer } from 'node:buffer';
import type { Binding } from '../native/binding.js';

/** What a terminal is to the one who holds its other end. Below zero, an answer is a negative errno, as the kernel gives it. */
export interface TerminalDevice {
  /** Reads what is there: how many bytes. */
  read(room: Buffer): number;
  /** Writes what fits: how many bytes. */
  write(bytes: Uint8Array): number;
  resize(columns: number, rows: number): void;
  setRaw(isOn: boolean): void;
  /** Sets who is told when something can be read, or written. */
  onNews(callback: () => void): void;
  /** Sets what it is told of, from now on. */
  waitFor(reading: boolean, writing: boolean): void;
  /** The program has ended: its end of the terminal is open here no longer. */
  leaveProgram(): void;
  /** Hangs up: the kernel sends SIGHUP to the session, and nothing comes any more. */
  close(): void;
}

/** As many bytes as the kernel's `struct termios` has, and some more. */
export const MODES_SIZE = 64;

/**
 * A pseudo-terminal of the kernel's.
 *
 * The program's end stays open here as long as the program runs. Without that, a program that closes its terminal for a moment would
 * seem to have come to its end.
 */
export class KernelDevice implements TerminalDevice {
  readonly #binding: Binding;
  readonly #fd: number;
  #peer: number;
  #poll = 0;
  #onNews = (): void => undefined;
  /** The modes before the raw one. */
  #modes: Buffer | undefined;

  constructor(binding: Binding, fd: number, peer: number) {
    this.#binding = binding;
    this.#fd = fd;
    this.#peer = peer;
  }

  read(room: Buffer): number {
    return this.#binding.readTerminal(this.#fd, room);
  }

  write(bytes: Uint8Array): number {
    return this.#binding.writeTerminal(this.#fd, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  resize(columns: number, rows: number): void {
    this.#binding.resizeTerminal(this.#fd, columns, rows);
  }

  setRaw(isOn: boolean): void {
    if (isOn === (this.#modes !== undefined)) return;
    const before = this.#modes ?? Buffer.alloc(MODES_SIZE);
    if (!isOn) {
      this.#modes = undefined;
      this.#binding.setTerminalModes(this.#fd, before);
      return;
    }
    this.#binding.terminalModes(this.#fd, before);
    this.#modes = before;
    const raw = Buffer.from(before);
    this.#binding.makeRaw(raw);
    this.#binding.setTerminalModes(this.#fd, raw);
  }

  onNews(callback: () => void): void {
    this.#onNews = callback;
  }

  waitFor(reading: boolean, writing: boolean): void {
    // Most terminals of run() are read to their end. One that nobody waits for needs no handle of the event loop.
    if (this.#poll === 0 && (reading || writing)) {
      this.#poll = this.#binding.poll(this.#fd, () => {
        this.#onNews();
      });
    }
    this.#binding.pollFor(this.#poll, reading ? 1 : 0, writing ? 1 : 0);
  }

  leaveProgram(): void {
    this.#binding.closeAll(Int32Array.of(this.#peer));
    this.#peer = -1;
  }

  close(): void {
    this.#binding.endPoll(this.#poll);
    this.#binding.closeAll(Int32Array.of(this.#peer, this.#fd));
    this.#peer = -1;
  }
}
