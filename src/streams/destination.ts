import type { FileHandle } from 'node:fs/promises';
import type { Capture } from '../io/capture.js';
import { describeKind } from '../text/reading.js';
import { destroyQuietly, hasMethods, isStdio, prematureClose } from './source.js';

/** A `WritableStream` of the web, of whatever realm and library. */
export interface WebWritable {
  readonly locked: boolean;
  getWriter(): WebWriter;
}

interface WebWriter {
  readonly ready: Promise<unknown>;
  readonly closed: Promise<unknown>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a stream takes is its type's affair: bytes fit any, and its own type may be narrower.
  write(chunk?: any): Promise<unknown>;
  close(): Promise<unknown>;
  abort(reason?: unknown): Promise<unknown>;
  releaseLock(): void;
}

/** Where what a program writes can go to: a stream of Node or of the web. */
export type OutputDestination = NodeJS.WritableStream | WebWritable;

/** How a stream is treated that takes what a program writes. */
export interface DestinationOptions {
  /** Whether it is ended with the output. Default: true, but for `process.stdout` and `process.stderr`. */
  readonly end?: boolean | undefined;
}

/** A stream that a command was given, and whether it is ended. */
export interface Given {
  readonly destination: OutputDestination;
  readonly ends: boolean;
}

/** Something that takes output. */
export interface Sink {
  /** What it is, for a message. */
  readonly name: string;
  /** Takes a piece; resolves when it takes the next. Rejects where it fails. */
  write(chunk: Uint8Array): Promise<unknown> | undefined;
  /** There is no more. Resolves when it has taken all. */
  finish(): Promise<unknown> | undefined;
  /** What comes is not whole, or nobody waits for it any more. */
  giveUp(): void;
  /** Calls back where it fails although nothing is written. */
  whenFailed(callback: (error: unknown) => void): void;
}

interface NodeWritable extends NodeJS.WritableStream {
  readonly writableEnded?: boolean;
  readonly writableFinished?: boolean;
  readonly destroyed?: boolean;
  destroy?(): unknown;
}

const isNodeWritable = (value: object): boolean => hasMethods(value, 'on', 'write', 'end');

/** What is wrong with a destination, before anything is launched. */
export function destinationProblem(value: unknown): string | undefined {
  if (typeof value === 'object' && value !== null && (isNodeWritable(value) || hasMethods(value, 'getWriter')))
    return undefined;
  return `it takes a Writable or a WritableStream, and not ${describeKind(value)}`;
}

/** The writers of streams of the web that several write to. */
const writers = new WeakMap<object, WebWriter>();

/** The streams of the web that a run has closed, which they do not tell. */
const closed = new WeakSet();

/** What keeps a destination from being written now, that was good when it was said. */
export function endedProblem({ destination }: Given): string | undefined {
  if (isNodeWritable(destination)) {
    const { writableEnded, destroyed } = destination as NodeWritable;
    const isOver = writableEnded === true || destroyed === true;
    return isOver
      ? 'it has ended, or was destroyed; give a new one, or { end: false } before the first run'
      : undefined;
  }
  if (closed.has(destination)) return 'an earlier run has closed it; give a new one, or { end: false }';
  // Where two of its outputs, or two runs, go there at the same time, they share the lock.
  return (destination as WebWritable).locked && !writers.has(destination)
    ? 'it is locked: somebody else writes to it'
    : undefined;
}

/** How many write to a stream at the same time: the last one ends it. */
const users = new WeakMap<object, number>();

/** Notes that somebody writes to a stream; gives the way to take that back, which tells whether others go on. */
function use(stream: object): () => boolean {
  users.set(stream, (users.get(stream) ?? 0) + 1);
  let left: boolean | undefined;
  return () => {
    if (left !== undefined) return left;
    const others = (users.get(stream) ?? 1) - 1;
    users.set(stream, others);
    return (left = others > 0);
  };
}

export const sinkOf = ({ destination, ends }: Given): Sink =>
  isNodeWritable(destination)
    ? new StreamSink(destination as NodeWritable, ends)
    : new WebSink(destination as WebWritable, ends);

/** Whether a stream is to be ended where nothing is said about that. */
export const endsByItself = (destination: OutputDestination): boolean => !isStdio(destination);

const NAME = 'stream';

/** Writes to a stream of Node, and leaves no listener. */
class StreamSink implements Sink {
  readonly name = NAME;
  readonly #stream: NodeWritable;
  readonly #ends: boolean;
  readonly #leave: () => boolean;
  /** Writes that have not called back. */
  #pending = 0;
  #failure: { readonly error: unknown } | undefined;
  #hasFinished = false;
  #isOver = false;
  #wake: () => void = () => undefined;
  #onFailure: (error: unknown) => void = () => undefined;

  constructor(stream: NodeWritable, ends: boolean) {
    this.#stream = stream;
    this.#ends = ends;
    this.#leave = use(stream);
    stream.on('drain', this.#onNews).on('finish', this.#onFinish).on('error', this.#onError).on('close', this.#onClose);
  }

  whenFailed(callback: (error: unknown) => void): void {
    this.#onFailure = callback;
    if (this.#failure !== undefined) callback(this.#failure.error);
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    this.#assertWell();
    this.#pending += 1;
    let isTold = false;
    const takes = this.#stream.write(chunk, () => {
      if (isTold) return;
      isTold = true;
      this.#pending -= 1;
      this.#wake();
    });
    return takes
      ? undefined
      : this.#until(() => (this.#stream as { writableNeedDrain?: boolean }).writableNeedDrain !== true);
  }

  async finish(): Promise<void> {
    this.#assertWell();
    const isShared = this.#leave();
    if (this.#ends && !isShared) {
      this.#stream.end();
      await this.#until(() => this.#hasFinished);
    } else await this.#until(() => this.#pending === 0);
    this.#letGo();
  }

  giveUp(): void {
    if (this.#isOver) return;
    const isShared = this.#leave();
    this.#letGo();
    if (this.#ends && !isShared && this.#stream.destroyed !== true) destroyQuietly(this.#stream);
  }

  #letGo(): void {
    this.#isOver = true;
    this.#stream
      .off('drain', this.#onNews)
      .off('finish', this.#onFinish)
      .off('error', this.#onError)
      .off('close', this.#onClose);
  }

  #assertWell(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #until(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      this.#assertWell();
      if (this.#isOver) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#assertWell();
  }

  readonly #onNews = (): void => {
    this.#wake();
  };

  readonly #onFinish = (): void => {
    this.#hasFinished = true;
    this.#wake();
  };

  readonly #onError = (error: unknown): void => {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#wake();
    this.#onFailure(error);
  };

  readonly #onClose = (): void => {
    if (!this.#hasFinished) this.#onError(prematureClose());
  };
}

/** Writes to a stream of the web. */
class WebSink implements Sink {
  readonly name = NAME;
  readonly #stream: WebWritable;
  readonly #ends: boolean;
  readonly #leave: () => boolean;
  readonly #writer: WebWriter;
  #failure: { readonly error: unknown } | undefined;
  #last: Promise<unknown> | undefined;
  #isOver = false;
  #onFailure: (error: unknown) => void = () => undefined;

  constructor(stream: WebWritable, ends: boolean) {
    this.#stream = stream;
    this.#ends = ends;
    this.#leave = use(stream);
    const writer = writers.get(stream) ?? stream.getWriter();
    writers.set(stream, writer);
    this.#writer = writer;
    writer.closed.then(
      () => {
        if (!this.#isOver) this.#fail(prematureClose());
      },
      (error: unknown) => {
        if (!this.#isOver) this.#fail(error);
      },
    );
  }

  whenFailed(callback: (error: unknown) => void): void {
    this.#onFailure = callback;
    if (this.#failure !== undefined) callback(this.#failure.error);
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#writer.ready;
    this.#last = this.#writer.write(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    // A failure shows in `ready`, or at the end.
    this.#last.catch(() => undefined);
    await this.#writer.ready;
  }

  async finish(): Promise<void> {
    const isShared = this.#leave();
    if (isShared) {
      await this.#last;
      this.#isOver = true;
      return;
    }
    writers.delete(this.#stream);
    if (this.#ends) {
      closed.add(this.#stream);
      this.#isOver = true;
      await this.#writer.close();
    } else await this.#last;
    this.#isOver = true;
    this.#writer.releaseLock();
  }

  giveUp(): void {
    if (this.#isOver && this.#failure === undefined) return;
    this.#isOver = true;
    if (this.#leave()) return;
    writers.delete(this.#stream);
    // Of a stream that has failed, nobody hears any more.
    if (this.#ends) this.#writer.abort(prematureClose()).catch(() => undefined);
    this.#writer.releaseLock();
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#onFailure(error);
  }
}

/** Keeps what comes, beside another sink. */
export class CaptureSink implements Sink {
  readonly name = 'buffer';
  readonly #capture: Capture;

  constructor(capture: Capture) {
    this.#capture = capture;
  }

  write(chunk: Uint8Array): undefined {
    this.#capture.write(chunk);
  }

  finish(): undefined {
    // It is read when the program has ended.
  }

  giveUp(): void {
    // What it has, it keeps.
  }

  whenFailed(): void {
    // It does not.
  }
}

/** Writes to a file that was opened for this. */
export class FileSink implements Sink {
  readonly name = 'file of tee()';
  readonly #file: FileHandle;
  #isOver = false;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) at += (await this.#file.write(chunk, at)).bytesWritten;
  }

  async finish(): Promise<void> {
    this.#isOver = true;
    await this.#file.close();
  }

  giveUp(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // What it has not taken is told already.
    this.#file.close().catch(() => undefined);
  }

  whenFailed(): void {
    // It fails where something is written.
  }
}
