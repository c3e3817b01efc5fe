import type { Readable } from 'node:stream';
import { nextTurn } from '../host/time.js';
import { LAST_READ } from '../io/output-pipe.js';
import type { Sink } from './destination.js';

/** How much is passed on at once. After the end of a program there may be megabytes. */
const PIECE = 64 * 1024;

/** Turns of the event loop without news after which an output pipe is empty. The first may have begun before the program's end. */
const QUIET_TURNS = 3;

/** Passes on what a program writes, to one sink or to several, no faster than the slowest takes it. */
export class OutputFlow {
  /** Resolves when all was passed on, or is given up. */
  readonly done: Promise<void>;
  /** Whether another process held the pipe when the program had ended, and was not waited for. */
  isHeldOpen = false;
  /** Counts pieces that were taken, by which one sees that it goes on. */
  progress = 0;
  readonly #stream: Readable;
  readonly #sinks: Set<Sink>;
  readonly #onFailure: (sink: Sink, error: unknown, isAtEnd: boolean) => void;
  #hasEnded = false;
  #hasProgramEnded = false;
  /** What came after the end of the program, in bytes. */
  #afterwards = 0;
  #hasFailed = false;
  /** The output has ended, and the sinks are finished. */
  #isFinishing = false;
  #isGivenUp = false;
  #giveUp: () => void = () => undefined;
  #wake: () => void = () => undefined;

  constructor(
    stream: Readable,
    sinks: readonly Sink[],
    onFailure: (sink: Sink, error: unknown, isAtEnd: boolean) => void,
  ) {
    this.#stream = stream;
    this.#sinks = new Set(sinks);
    this.#onFailure = onFailure;
    const givenUp = new Promise<void>((resolve) => {
      this.#giveUp = resolve;
    });
    for (const sink of sinks)
      sink.whenFailed((error) => {
        this.#drop(sink, error);
      });
    stream.on('readable', this.#onNews).once('end', this.#onEnd).once('close', this.#onEnd).on('error', this.#onEnd);
    this.done = Promise.race([this.#passOn(), givenUp]);
  }

  /** The program has ended: what it wrote is all that is passed on, also where another process holds the pipe. */
  programEnded(): void {
    this.#hasProgramEnded = true;
    this.#wake();
  }

  /** Nobody waits any more for what has not been taken. */
  giveUp(): void {
    this.#isGivenUp = true;
    for (const sink of this.#sinks) sink.giveUp();
    this.#letGo();
    this.#stream.destroy();
    this.#wake();
    this.#giveUp();
  }

  /** What comes is not whole: it is passed on, and what is to be ended with it is destroyed. */
  spoil(): void {
    this.#hasFailed = true;
  }

  async #passOn(): Promise<void> {
    for (;;) {
      const piece = this.#stream.read(Math.min(this.#stream.readableLength, PIECE) || undefined) as Buffer | null;
      if (this.#isGivenUp) return;
      if (piece !== null) {
        await this.#give(piece);
        if (!this.#hasProgramEnded) continue;
        this.#afterwards += piece.length;
        if (this.#afterwards < LAST_READ || this.#hasEnded) continue;
        this.isHeldOpen = true;
        break;
      }
      if (this.#hasEnded) break;
      if (this.#hasProgramEnded && (await this.#isQuiet())) {
        this.isHeldOpen = true;
        break;
      }
      if (!this.#hasProgramEnded && !this.#hasNews())
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
    this.#letGo();
    this.#stream.destroy();
    this.#isFinishing = true;
    for (const sink of this.#sinks) await this.#finish(sink);
  }

  #hasNews(): boolean {
    return this.#stream.readableLength > 0 || this.#hasEnded || this.#hasProgramEnded;
  }

  async #isQuiet(): Promise<boolean> {
    for (let turn = 0; turn < QUIET_TURNS; turn += 1) {
      await nextTurn();
      if (this.#stream.readableLength > 0 || this.#hasEnded) return false;
    }
    return true;
  }

  async #give(piece: Uint8Array): Promise<void> {
    const taken: Promise<unknown>[] = [];
    for (const sink of this.#sinks) {
      const writing = this.#tried(sink, () => sink.write(piece));
      if (writing !== undefined) taken.push(writing);
    }
    if (taken.length > 0) await Promise.all(taken);
    this.progress += 1;
  }

  async #finish(sink: Sink): Promise<void> {
    if (this.#hasFailed) sink.giveUp();
    else await this.#tried(sink, () => sink.finish());
  }

  /** Does something with a sink, which is dropped where that fails. */
  #tried(sink: Sink, work: () => Promise<unknown> | undefined): Promise<unknown> | undefined {
    try {
      return work()?.catch((error: unknown) => {
        this.#drop(sink, error);
      });
    } catch (error) {
      this.#drop(sink, error);
      return undefined;
    }
  }

  /** The rest goes on, so that the program is not held before it has been stopped. */
  #drop(sink: Sink, error: unknown): void {
    if (this.#isGivenUp || !this.#sinks.delete(sink)) return;
    this.#hasFailed = true;
    sink.giveUp();
    this.#onFailure(sink, error, this.#isFinishing);
  }

  #letGo(): void {
    this.#stream
      .off('readable', this.#onNews)
      .off('end', this.#onEnd)
      .off('close', this.#onEnd)
      .off('error', this.#onEnd);
  }

  readonly #onNews = (): void => {
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#wake();
  };
}
