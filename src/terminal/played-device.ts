import { Buffer } from 'node:buffer';
import { StringDecoder } from 'node:string_decoder';
import { constants } from 'node:os';
import { soon } from '../host/time.js';
import type { TerminalDevice } from './device.js';

const { EAGAIN, EIO } = constants.errno;

/** The terminal of a played program: what is typed reaches it as it is, without echo, lines and keys that send signals. */
export class PlayedDevice implements TerminalDevice {
  readonly #type: (text: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #waiting: Buffer[] = [];
  #hasProgram = true;
  #reads = false;
  #onNews = (): void => undefined;

  /** `type` is told what is written to it. */
  constructor(type: (text: string) => void) {
    this.#type = type;
  }

  /** The program writes. */
  put(bytes: Buffer): void {
    this.#waiting.push(bytes);
    if (this.#reads) this.#onNews();
  }

  read(room: Buffer): number {
    const piece = this.#waiting.at(0);
    if (piece === undefined) return this.#hasProgram ? -EAGAIN : -EIO;
    const size = piece.copy(room);
    if (size === piece.length) this.#waiting.shift();
    else this.#waiting[0] = piece.subarray(size);
    return size;
  }

  write(bytes: Uint8Array): number {
    const text = this.#decoder.write(Buffer.from(bytes));
    // An answer comes when the stream has noted that this was written.
    soon(() => {
      this.#type(text);
    });
    return bytes.length;
  }

  resize(): void {
    // There is no program to be told.
  }

  setRaw(): void {
    // It is raw as it is.
  }

  onNews(callback: () => void): void {
    this.#onNews = callback;
  }

  waitFor(reading: boolean): void {
    if (this.#reads === reading) return;
    this.#reads = reading;
    if (reading && this.#waiting.length > 0)
      soon(() => {
        if (this.#reads) this.#onNews();
      });
  }

  leaveProgram(): void {
    this.#hasProgram = false;
  }

  close(): void {
    this.#waiting = [];
  }
}
