import type { Socket } from 'node:net';
import { setImmediate } from '../host/time.js';
import { LateReadable } from '../spec/late.js';

/**
 * How much is taken into memory after the writer's end, at most. A pipe holds far less, so all that the program wrote comes before
 * that; another process that holds the pipe and writes without pause cannot fill this process's memory.
 */
export const LAST_READ = 16 * 1024 * 1024;

/** Has the output pipes of a program read ahead: see {@link OutputPipe.readAhead}. */
export function readAhead(...streams: readonly unknown[]): void {
  for (const stream of streams) if (stream instanceof OutputPipe) stream.readAhead();
}

/**
 * A caller's view of an output pipe.
 *
 * While the program runs, what nobody reads stays in the pipe, and blocks it. At its end the rest moves into memory, where it can be
 * read for as long as the caller likes: so the descriptor is closed at the end of the pipe, and not at the end of the reading. Where
 * another process still holds the pipe, it stays open and goes on as before.
 */
export class OutputPipe extends LateReadable {
  /** @internal The stream of the pipe itself. */
  readonly source: Socket;
  #isRead = false;
  #isPassedOn = false;
  #onPiece: (() => void) | undefined;
  /** What is taken beyond what is asked for, in bytes. */
  #unasked = 0;

  constructor(source: Socket) {
    super();
    this.source = source;
    // execa has what nobody listens to flow away, unless somebody has said that it shall not.
    source.pause();
    // A failure shows to the caller who listens or reads, and is nobody else's.
    this.on('error', () => undefined);
    source.once('end', () => {
      this.push(null);
      // What was empty ends without a reader.
      this.read(0);
    });
    source.once('error', (error) => this.destroy(error));
    source.once('close', () => {
      if (!source.readableEnded) this.destroy();
    });
  }

  /**
   * Reads ahead, as streams of Node do, from the next turn of the event loop on: the caller has it by then, and may pass it to another
   * program, which is to have all of it.
   */
  readAhead(): void {
    setImmediate(() => {
      if (!this.#isPassedOn) this.read(0);
    });
  }

  /** Calls back whenever something comes. */
  onPiece(callback: () => void): void {
    this.#onPiece = callback;
  }

  /** Another program reads it from now on, unless somebody asks for more here. */
  passOn(): void {
    this.#isPassedOn = true;
    // At the end of the program child_process has what nobody reads flow away.
    this.source.resume = (): Socket => this.source;
  }

  /** The program has ended. What it left is taken without waiting for a reader. */
  takeRest(): void {
    if (this.#isPassedOn) return;
    this.#unasked = LAST_READ;
    this.#begin();
  }

  override _read(): void {
    this.#isPassedOn = false;
    this.#begin();
  }

  #begin(): void {
    delete (this.source as Partial<Socket>).resume;
    if (!this.#isRead) {
      this.#isRead = true;
      this.source.on('data', (piece: Buffer) => {
        this.#onPiece?.();
        if (this.push(piece)) return;
        this.#unasked -= piece.length;
        if (this.#unasked < 0) this.source.pause();
      });
    }
    this.source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.source.closed) {
      done(error);
      return;
    }
    this.source.once('close', () => {
      done(error);
    });
    this.source.destroy();
  }
}
