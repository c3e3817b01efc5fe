import type { Line } from './line-splitter.js';

/** What reads the lines of a stream as they come. */
export interface LineReader {
  /** Whether it has lines that nobody has taken yet: then no more are read, and the program waits. */
  readonly isFull: boolean;
  accept(lines: readonly Line[], from: 'stdout' | 'stderr'): void;
  /** A stream has come to its end, or to an error. */
  finish(failure?: Failure): void;
}

/** What was thrown: it may be `undefined`. */
export interface Failure {
  readonly error: unknown;
}

/** Where the lines of an iteration come from, and what it does besides. */
export interface LineSupply {
  /** Has lines come, if there are any. It may be called again and again. */
  pull(): void;
  /** All lines were read. What this rejects with, the iteration does. */
  ended(): Promise<void>;
  /** The loop was left early. */
  left(unread: readonly (readonly Line[])[], reader: LineReader): Promise<void>;
}

interface Waiting<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

const DONE = Object.freeze({ done: true, value: undefined } as const);

/**
 * Lines, one at a time. They come in batches, as many as a piece of the output holds, and the next piece is read when all of them were taken:
 * so no more is in memory than that, and a loop that is slow holds the program.
 */
export class Lines<T> implements AsyncGenerator<T, undefined, undefined>, LineReader {
  readonly #supply: LineSupply;
  /** Both streams are read, and a line is given with its name. */
  readonly #isNamed: boolean;
  /** How many streams have not ended. */
  #open: number;
  #batch: readonly T[] = [];
  #at = 0;
  readonly #batches: { readonly lines: readonly T[]; readonly raw: readonly Line[] }[] = [];
  #raw: readonly Line[] = [];
  readonly #waiting: Waiting<T>[] = [];
  #failure: Failure | undefined;
  #end: Promise<IteratorResult<T, undefined>> | undefined;

  constructor(supply: LineSupply, isNamed: boolean) {
    this.#supply = supply;
    this.#isNamed = isNamed;
    this.#open = isNamed ? 2 : 1;
  }

  get isFull(): boolean {
    return this.#at < this.#batch.length || this.#batches.length > 0;
  }

  accept(raw: readonly Line[], stream: 'stdout' | 'stderr'): void {
    if (raw.length === 0 || this.#end !== undefined) return;
    const lines = (this.#isNamed ? raw.map((line) => Object.freeze({ stream, line })) : raw) as readonly T[];
    this.#batches.push({ lines, raw });
    this.#serve();
  }

  finish(failure?: Failure): void {
    this.#failure ??= failure;
    this.#open = failure === undefined ? this.#open - 1 : 0;
    this.#serve();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#at < this.#batch.length || this.#turnPage())
      return Promise.resolve({ done: false, value: this.#batch[this.#at++]! });
    if (this.#end !== undefined) return Promise.resolve(DONE);
    if (this.#open <= 0) return this.#finished();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#supply.pull();
    });
  }

  /** Ends the iteration, as `break` does. */
  return(): Promise<IteratorResult<T, undefined>> {
    return this.#leave();
  }

  async #leave(): Promise<IteratorResult<T, undefined>> {
    if (this.#end === undefined) {
      const unread = [this.#raw.slice(this.#at), ...this.#batches.map(({ raw }) => raw)].filter(
        ({ length }) => length > 0,
      );
      this.#batch = [];
      this.#at = 0;
      this.#batches.length = 0;
      this.#end = this.#supply.left(unread, this).then(() => DONE);
      for (const { resolve } of this.#waiting.splice(0)) resolve(DONE);
    }
    return this.#end;
  }

  /** Ends the iteration as {@link return} does, and throws. */
  async throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    await this.#leave();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave();
  }

  /** Goes on to the next batch. False: there is none yet. */
  #turnPage(): boolean {
    const next = this.#batches.shift();
    if (next === undefined) return false;
    this.#batch = next.lines;
    this.#raw = next.raw;
    this.#at = 0;
    return true;
  }

  /** Gives what has come to those who wait for it. */
  #serve(): void {
    while (this.#waiting.length > 0 && (this.#at < this.#batch.length || this.#turnPage()))
      this.#waiting.shift()!.resolve({ done: false, value: this.#batch[this.#at++]! });
    if (this.#open > 0 || this.#waiting.length === 0) return;
    const [first, ...others] = this.#waiting.splice(0);
    this.#finished().then(first!.resolve, first!.reject);
    for (const { resolve } of others) resolve(DONE);
  }

  /** The end, which tells once what was wrong. */
  #finished(): Promise<IteratorResult<T, undefined>> {
    const end = this.#failure === undefined ? this.#supply.ended() : this.#failed(this.#failure);
    this.#end = Promise.resolve(DONE);
    return end.then(() => DONE);
  }

  async #failed({ error }: Failure): Promise<never> {
    await this.#supply.left([], this);
    throw error;
  }
}
