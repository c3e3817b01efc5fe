import type { Writable } from 'node:stream';
import { bytesOfChunk, END, type Puller } from './source.js';

/** How much is written to the program at once. What one that ends early has not taken is counted in such pieces. */
const PIECE = 64 * 1024;

/** Feeds a program from a source, no faster than it reads. */
export class InputFlow {
  /** How much the pipe has taken. */
  written = 0;
  readonly #source: Puller;
  readonly #stdin: Writable;
  readonly #onFailure: (error: unknown) => void;
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(source: Puller, stdin: Writable, onFailure: (error: unknown) => void) {
    this.#source = source;
    this.#stdin = stdin;
    this.#onFailure = onFailure;
    stdin.on('drain', this.#onDrain).once('close', this.#onClose);
    void this.#feed();
  }

  /** The program has ended: nothing is read for it any more. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stdin.off('drain', this.#onDrain).off('close', this.#onClose);
    this.#source.stop();
    this.#wake();
  }

  #hasStopped(): boolean {
    return this.#isOver;
  }

  async #feed(): Promise<void> {
    try {
      for (;;) {
        const chunk = await this.#source.next();
        if (this.#isOver) return;
        if (chunk === END) break;
        await this.#write(bytesOfChunk(chunk));
      }
      if (this.#hasStopped()) return;
      this.#stdin.end();
      this.stop();
    } catch (error) {
      // Where the program has ended, it had what it wanted. Else its input stays open, so that it does not take what came for all.
      if (this.#isOver) return;
      this.#source.stop();
      this.#onFailure(error);
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#isOver; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      const takes = this.#stdin.write(piece, (error) => {
        if (error === undefined || error === null) this.written += piece.length;
      });
      if (!takes && !this.#stdin.destroyed)
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  readonly #onDrain = (): void => {
    this.#wake();
  };

  /** The program reads no more, which is no failure. */
  readonly #onClose = (): void => {
    this.stop();
  };
}
