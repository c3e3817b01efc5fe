import { Buffer } from 'node:buffer';
import { inspect } from 'node:util';
import { Capture } from './capture.js';

let pointAt: (buffer: OutputBuffer, capture: Capture) => void;

/**
 * Takes what a program writes to a stream, and can be read while it runs and after it ended.
 *
 * Give the same buffer to `outputBuffer()` and `errorBuffer()` and both streams share one descriptor: the text is in the
 * order in which it was written. A buffer is emptied when its command starts again. It answers to the `char **` of
 * `virCommandSetOutputBuffer`.
 *
 * @example
 * const both = new OutputBuffer();
 * await new Command('sh', '-c', 'echo one; echo two >&2; echo three').outputBuffer(both).errorBuffer(both).run();
 * String(both); // 'one\ntwo\nthree\n'
 */
export class OutputBuffer {
  #capture = new Capture();

  static {
    pointAt = (buffer, capture) => {
      buffer.#capture = capture;
    };
  }

  /**
   * The bytes taken so far, as a copy of its own.
   *
   * @example
   * const buffer = new OutputBuffer();
   * await new Command('head', '-c', '16', '/dev/urandom').outputBuffer(buffer).run();
   * buffer.bytes().length; // 16
   */
  bytes(): Buffer {
    return Buffer.from(this.#capture.bytes());
  }

  /** The bytes taken so far as text, UTF-8 unless another encoding is named. */
  toString(encoding: BufferEncoding = 'utf8'): string {
    return this.#capture.text(encoding);
  }

  /** A line that tells how much the buffer holds. */
  [inspect.custom](): string {
    return `OutputBuffer { ${this.#capture.totalBytes} bytes }`;
  }
}

/** Makes a buffer show what a new run captures; what it showed before is let go. */
export function connectBuffer(buffer: OutputBuffer, capture: Capture): void {
  capture.addReader();
  pointAt(buffer, capture);
}
