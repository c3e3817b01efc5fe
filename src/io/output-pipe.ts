import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

/**
 * How much is taken into memory after the writer's end, at most. A pipe holds far less, so all that the program wrote comes before
 * that; another process that holds the pipe and writes without pause cannot fill this process's memory.
 */
export const LAST_READ = 16 * 1024 * 1024;

/**
 * A caller's view of an output pipe.
 *
 * While the program runs, what nobody reads stays in the pipe, and blocks it. At its end the rest moves into memory, where it can be
 * read for as long as the caller likes: so the descriptor is closed at the end of the pipe, and not at the end of the reading. Where
 * another process still holds the pipe, it stays open and goes on as before.
 */
export class OutputPipe extends Readable {
  readonly #source: Socket;
  /** What is taken beyond what is asked for, in bytes. */
  #unasked = 0;

  constructor(source: Socket) {
    super();
    this.#source = source;
    // A failure shows to the caller who listens or reads, and is nobody else's.
    this.on('error', () => undefined);
    source.on('data', (piece: Buffer) => {
      if (this.push(piece)) return;
      this.#unasked -= piece.length;
      if (this.#unasked < 0) source.pause();
    });
    source.once('end', () => {
      this.push(null);
      // What was empty ends without a reader.
      this.read(0);
    });
    source.once('error', (error) => this.destroy(error));
    source.once('close', () => {
      if (!source.readableEnded) this.destroy();
    });
    this.read(0);
  }

  /** The program has ended. What it left is taken without waiting for a reader. */
  takeRest(): void {
    this.#unasked = LAST_READ;
    this.#source.resume();
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#source.closed) {
      done(error);
      return;
    }
    this.#source.once('close', () => {
      done(error);
    });
    this.#source.destroy();
  }
}
