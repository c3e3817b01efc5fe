import { Buffer } from 'node:buffer';
import { TextDecoder } from 'node:util';
import { bare } from '../spec/bare.js';
import type { OutputEncoding, OutputLimitPolicy } from '../spec/spec.js';

/** How much is kept, in bytes, and what becomes of the rest. */
export interface CaptureLimit {
  readonly bytes: number;
  readonly policy: OutputLimitPolicy;
  /** How much a program may write before it is stopped, where that is not what is kept. */
  readonly stopAbove?: number;
}

/** The encodings that not all bytes are text in, by the names that {@link TextDecoder} has for them. */
const checked: ReadonlyMap<string, string> = new Map([
  ['utf8', 'utf-8'],
  ['utf-8', 'utf-8'],
  ['utf16le', 'utf-16le'],
  ['utf-16le', 'utf-16le'],
  ['ucs2', 'utf-16le'],
  ['ucs-2', 'utf-16le'],
]);

const STRICT = Object.freeze(bare({ fatal: true, ignoreBOM: true }));
const TO_ITS_END = Object.freeze(bare({ stream: false }));
const GOING_ON = Object.freeze(bare({ stream: true }));

/** Whether bytes can be wrong in an encoding. */
export const canBeWrong = (encoding: OutputEncoding): boolean => checked.has(encoding);

const NOBODY: ((piece: Buffer) => void)[] = [];

/** How much of the output a message looks at. */
const TAIL_BYTES = 4096;

/**
 * What a program wrote to one stream, or to two that share a descriptor: bytes, kept as they came and decoded once.
 *
 * The limit counts bytes and cuts exactly. `headAndTail` keeps the first half of them and the last; the other policies keep the head.
 */
export class Capture {
  readonly #limit: CaptureLimit | undefined;
  readonly #headBytes: number;
  readonly #tailBytes: number;
  readonly #stopAbove: number;
  readonly #head: Uint8Array[] = [];
  readonly #tail: Uint8Array[] = [];
  #headLength = 0;
  #tailLength = 0;
  #totalBytes = 0;
  #hasReader = false;
  #onOverrun: (() => void) | undefined;
  #onPiece: ((piece: Buffer) => void)[] = NOBODY;

  constructor(limit?: CaptureLimit) {
    this.#limit = limit;
    this.#tailBytes = limit?.policy === 'headAndTail' ? Math.floor(limit.bytes / 2) : 0;
    this.#headBytes = (limit?.bytes ?? Infinity) - this.#tailBytes;
    this.#stopAbove = limit?.stopAbove ?? (limit?.policy === 'kill' ? limit.bytes : Infinity);
  }

  /** Whether somebody looks at the output while it comes: a limit, or an {@link OutputBuffer}. Else it may come all at once. */
  get isWatched(): boolean {
    return this.#limit !== undefined || this.#hasReader || this.#onPiece.length > 0;
  }

  /** An {@link OutputBuffer} shows what comes, from now on. */
  addReader(): void {
    this.#hasReader = true;
  }

  /** How much the program wrote, kept or not. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** How much of it is not kept. */
  get lostBytes(): number {
    return this.#totalBytes - this.#headLength - this.#tailLength;
  }

  /** Calls back once the program has written more than a limit with the policy `kill` allows. */
  whenOverrun(callback: () => void): void {
    this.#onOverrun = callback;
    this.#checkOverrun();
  }

  /** Calls back with each piece as it comes, kept or not. */
  onPiece(callback: (piece: Buffer) => void): void {
    this.#onPiece = [...this.#onPiece, callback];
  }

  write(chunk: Uint8Array): void {
    this.#totalBytes += chunk.length;
    this.#checkOverrun();
    if (this.#onPiece.length > 0) {
      const piece = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      for (const callback of this.#onPiece) callback(piece);
    }
    const room = this.#headBytes - this.#headLength;
    if (chunk.length <= room) {
      this.#head.push(chunk);
      this.#headLength += chunk.length;
      return;
    }
    if (room > 0) {
      this.#head.push(chunk.subarray(0, room));
      this.#headLength += room;
    }
    this.#writeTail(chunk.subarray(Math.max(room, 0)));
  }

  /** The bytes kept. */
  bytes(): Buffer {
    const [only] = this.#head;
    // A single large piece is handed on as it is: to copy it would double the memory it takes.
    if (only !== undefined && this.#head.length === 1 && this.#tail.length === 0)
      return Buffer.from(only.buffer, only.byteOffset, only.byteLength);
    return Buffer.concat([...this.#head, ...this.#tail], this.#headLength + this.#tailLength);
  }

  /** The bytes kept, as text. Where the limit cut a character in two, its half is left out, and a gap is marked. */
  text(encoding: BufferEncoding): string {
    if (this.#totalBytes === 0) return '';
    if (this.lostBytes === 0) return this.bytes().toString(encoding);
    const head = wholeCharactersAtEnd(Buffer.concat(this.#head), encoding).toString(encoding);
    if (this.#tailBytes === 0) return head;
    const tail = wholeCharactersAtStart(Buffer.concat(this.#tail), encoding).toString(encoding);
    return `${head}\n[… ${this.lostBytes} bytes left out …]\n${tail}`;
  }

  /** The place of the first byte that is no text in an encoding, as far as bytes are kept; `undefined` where all are. What a limit has cut is no fault. */
  firstWrong(encoding: OutputEncoding): number | undefined {
    const label = checked.get(encoding);
    if (label === undefined) return undefined;
    const bytes = this.#lossless();
    const isRight = (length: number, isWhole: boolean): boolean => {
      try {
        new TextDecoder(label, STRICT).decode(bytes.subarray(0, length), isWhole ? TO_ITS_END : GOING_ON);
        return true;
      } catch {
        return false;
      }
    };
    if (isRight(bytes.length, this.lostBytes === 0)) return undefined;
    // What is right up to somewhere, is right up to every place before it.
    let [right, wrong] = [0, bytes.length + 1];
    while (wrong - right > 1) {
      const middle = (right + wrong) >>> 1;
      if (middle <= bytes.length && isRight(middle, false)) right = middle;
      else wrong = middle;
    }
    // The character that it breaks may have begun before.
    while (right > 0 && !isRight(right, true)) right -= 1;
    return right;
  }

  /** The bytes before anything that is not kept. */
  #lossless(): Buffer {
    return this.lostBytes === 0 ? this.bytes() : Buffer.concat(this.#head);
  }

  /** What the caller asked for: text, or bytes. */
  read(encoding: OutputEncoding): string | Buffer {
    return encoding === 'buffer' ? this.bytes() : this.text(encoding);
  }

  /** The last bytes kept, as text for a message: enough for some lines. */
  tail(): string {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (const chunk of [...this.#head, ...this.#tail].reverse()) {
      if (length >= TAIL_BYTES) break;
      chunks.unshift(chunk);
      length += chunk.length;
    }
    const bytes = wholeCharactersAtStart(Buffer.concat(chunks).subarray(-TAIL_BYTES), 'utf8');
    return (this.lostBytes > 0 ? wholeCharactersAtEnd(bytes, 'utf8') : bytes).toString();
  }

  #checkOverrun(): void {
    if (this.#totalBytes <= this.#stopAbove) return;
    const callback = this.#onOverrun;
    this.#onOverrun = undefined;
    callback?.();
  }

  #writeTail(chunk: Uint8Array): void {
    if (this.#tailBytes === 0 || chunk.length === 0) return;
    this.#tail.push(chunk);
    this.#tailLength += chunk.length;
    while (this.#tailLength > this.#tailBytes) {
      const oldest = this.#tail[0]!;
      const surplus = this.#tailLength - this.#tailBytes;
      if (oldest.length <= surplus) this.#tail.shift();
      else this.#tail[0] = oldest.subarray(surplus);
      this.#tailLength -= Math.min(oldest.length, surplus);
    }
  }
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

function wholeCharactersAtEnd(bytes: Buffer, encoding: BufferEncoding): Buffer {
  if (encoding !== 'utf8' && encoding !== 'utf-8') return bytes;
  let lead = bytes.length - 1;
  while (lead >= 0 && lead > bytes.length - 4 && isContinuation(bytes[lead])) lead -= 1;
  const first = bytes[lead] ?? 0;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  return lead >= 0 && lead + length > bytes.length ? bytes.subarray(0, lead) : bytes;
}

function wholeCharactersAtStart(bytes: Buffer, encoding: BufferEncoding): Buffer {
  if (encoding !== 'utf8' && encoding !== 'utf-8') return bytes;
  let start = 0;
  while (start < 3 && isContinuation(bytes[start])) start += 1;
  return bytes.subarray(start);
}
