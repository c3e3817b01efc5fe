import { Buffer } from 'node:buffer';
import type { Readable } from 'node:stream';
import { typeError } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import { isMainThread, streams } from '../spec/late.js';
import { describeKind, isBytes, reasonOf } from '../text/reading.js';

/** A piece of what a program reads: text, which is written as UTF-8, or bytes. */
export type InputChunk = string | Uint8Array;

/** A `ReadableStream` of the web, of whatever realm and library. */
export interface WebReadable {
  readonly locked: boolean;
  getReader(): WebReader;
}

interface WebReader {
  read(): Promise<{ readonly done: boolean; readonly value?: unknown }>;
  cancel(reason?: unknown): Promise<unknown>;
  releaseLock(): void;
}

/** What a program can read from: a stream of Node or of the web, or an async iterable. */
export type InputSource = NodeJS.ReadableStream | AsyncIterable<InputChunk> | WebReadable;

/** What {@link Puller.next} gives at the end. */
export const END = Symbol('end');

/** A source that is read, one piece at a time. */
export interface Puller {
  /** The next piece, or {@link END}. Rejects where the source fails. */
  next(): unknown;
  /** Nobody reads it any more: a stream is destroyed, unless it is this process's standard input, and an iterator is told to return. */
  stop(): void;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Whether an object has all these methods. */
export const hasMethods = (value: object, ...names: readonly string[]): boolean =>
  names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'function');

const isNodeReadable = (value: object): value is Readable => hasMethods(value, 'on', 'read', 'pause');

const isWebReadable = (value: object): value is WebReadable => hasMethods(value, 'getReader');

const isAsyncIterable = (value: object): value is AsyncIterable<InputChunk> =>
  typeof (value as Readonly<Record<symbol, unknown>>)[Symbol.asyncIterator] === 'function';

/** What is wrong with a source, before anything is launched. */
export function sourceProblem(value: unknown): string | undefined {
  if (typeof value === 'function') return undefined;
  if (typeof value === 'string' || isBytes(value)) return 'it takes a stream; inputBuffer() takes text and bytes';
  if (isObject(value) && (isNodeReadable(value) || isWebReadable(value) || isAsyncIterable(value))) return undefined;
  return `it takes a Readable, a ReadableStream, an async iterable, or a function that gives one, and not ${describeKind(value)}`;
}

/** The sources that a run has begun to read. */
const begun = new WeakSet();

const USED = 'an earlier run has read it; give a function that makes a new one for each run';

/** What keeps a source from being read now, that was good when it was said. */
export function spentProblem(source: unknown): string | undefined {
  if (!isObject(source)) return undefined;
  if (begun.has(source)) return USED;
  if (isNodeReadable(source)) {
    const { readableEnded, destroyed } = source as Partial<Readable>;
    return readableEnded === true || destroyed === true
      ? 'it has ended, or was destroyed; give a function that makes a new one for each run'
      : undefined;
  }
  if (!isWebReadable(source)) return undefined;
  if (source.locked) return 'it is locked: somebody else reads it';
  return streams().Readable.isDisturbed(source as never) ? USED : undefined;
}

/** Begins to read. @throws what is wrong with it. */
export function pull(given: InputSource | (() => InputSource)): Puller {
  const source: unknown = typeof given === 'function' ? given() : given;
  const problem = typeof source === 'function' ? 'the function gives another function' : sourceProblem(source);
  if (problem !== undefined) throw typeError(`The source of inputStream() cannot be read: ${problem}.`);
  const spent = spentProblem(source);
  if (spent !== undefined) throw typeError(`The source of inputStream() cannot be read: ${spent}.`);
  const object = source as object;
  if (isNodeReadable(object)) {
    begun.add(object);
    return new StreamPuller(object);
  }
  if (isWebReadable(object)) {
    begun.add(object);
    return new WebPuller(object.getReader());
  }
  const iterator = (object as AsyncIterable<InputChunk>)[Symbol.asyncIterator]();
  // What gives a new iterator each time can be read again.
  if ((iterator as object) === object) begun.add(object);
  return new IteratorPuller(iterator);
}

/** The bytes of a piece. @throws {TypeError} for what is none. */
export function bytesOfChunk(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (isBytes(chunk)) return chunk;
  throw typeError(`A piece for a program is a string, a Buffer or a Uint8Array, and not ${describeKind(chunk)}.`);
}

/** The error of a stream that was closed before its end, with the words and the code of Node's own. */
export const prematureClose = (): Error => new ProcessError('Premature close', { code: 'ERR_STREAM_PREMATURE_CLOSE' });

/** This process's own streams, which outlive every run. */
export function isStdio(stream: object): boolean {
  if (!isMainThread()) return stream === process.stdin || stream === process.stdout || stream === process.stderr;
  const { fd } = stream as { readonly fd?: unknown };
  return fd === 0 || fd === 1 || fd === 2;
}

/** Destroys a stream, whose error is nobody's any more. */
export function destroyQuietly(stream: NodeJS.EventEmitter & { destroy?(): unknown; readonly closed?: boolean }): void {
  const ignore = (): void => undefined;
  if (stream.closed === true) return;
  stream.on('error', ignore);
  stream.once('close', () => stream.off('error', ignore));
  stream.destroy?.();
}

/** Reads a stream of Node by what it tells, and leaves no listener. */
class StreamPuller implements Puller {
  readonly #stream: Readable;
  #wake: () => void = () => undefined;
  #error: unknown;
  #hasFailed = false;
  #hasEnded = false;
  #isStopped = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('readable', this.#onNews).on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose);
  }

  async next(): Promise<unknown> {
    for (;;) {
      if (this.#hasFailed) throw this.#error;
      const chunk: unknown = this.#isStopped ? null : this.#stream.read();
      if (chunk !== null) return chunk;
      if (this.#hasEnded || this.#isStopped) return END;
      if (this.#stream.destroyed && this.#stream.closed) this.#onClose();
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const stream = this.#stream;
    stream
      .off('readable', this.#onNews)
      .off('end', this.#onEnd)
      .off('error', this.#onError)
      .off('close', this.#onClose);
    this.#wake();
    if (isStdio(stream)) stream.pause();
    else if (!this.#hasEnded) destroyQuietly(stream);
  }

  readonly #onNews = (): void => {
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#wake();
  };

  readonly #onError = (error: unknown): void => {
    this.#error = error;
    this.#hasFailed = true;
    this.#wake();
  };

  readonly #onClose = (): void => {
    if (!this.#hasEnded && !this.#hasFailed) this.#onError(prematureClose());
  };
}

class WebPuller implements Puller {
  readonly #reader: WebReader;
  #hasEnded = false;

  constructor(reader: WebReader) {
    this.#reader = reader;
  }

  async next(): Promise<unknown> {
    const { done, value } = await this.#reader.read();
    if (!done) return value;
    this.#hasEnded = true;
    return END;
  }

  stop(): void {
    // Of a stream that has failed or is left, nobody hears any more.
    if (!this.#hasEnded) this.#reader.cancel(prematureClose()).catch(reasonOf);
    this.#reader.releaseLock();
  }
}

class IteratorPuller implements Puller {
  readonly #iterator: AsyncIterator<unknown>;
  #isOver = false;

  constructor(iterator: AsyncIterator<unknown>) {
    this.#iterator = iterator;
  }

  async next(): Promise<unknown> {
    try {
      const step = await this.#iterator.next();
      if (step.done !== true) return step.value;
      this.#isOver = true;
      return END;
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    void this.#return();
  }

  /** What it does at its end is its own affair. */
  async #return(): Promise<unknown> {
    try {
      return await this.#iterator.return?.();
    } catch (error) {
      return reasonOf(error);
    }
  }
}
