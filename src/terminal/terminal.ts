import { Buffer } from 'node:buffer';
import { constants } from 'node:os';
import { inspect } from 'node:util';
import { argumentError } from '../errors/argument-error.js';
import { LAST_READ } from '../io/output-pipe.js';
import { bare } from '../spec/bare.js';
import { LateDuplex } from '../spec/late.js';
import type { TerminalSize } from '../spec/spec.js';
import type { TerminalDevice } from './device.js';
import { isTerminalSize, LARGEST_SIZE } from './size.js';

/** How much is read at once, at most. The kernel has far less ready. */
const MOST_AT_ONCE = 64 * 1024;

/** The key that ends the input of a program in line mode: Ctrl-D. */
const END_OF_INPUT = 0x04;
const NEWLINE = 0x0a;
const ENTER = 0x0d;

const { EAGAIN } = constants.errno;

/** Every option that a Duplex looks for, so that it finds none of them in `Object.prototype`. */
const NO_OPTIONS = Object.fromEntries(
  [
    'captureRejections',
    'construct',
    'decodeStrings',
    'defaultEncoding',
    'destroy',
    'emitClose',
    'encoding',
    'final',
    'highWaterMark',
    'objectMode',
    'read',
    'readable',
    'readableHighWaterMark',
    'readableObjectMode',
    'signal',
    'writable',
    'writableHighWaterMark',
    'writableObjectMode',
    'write',
    'writev',
  ].map((name) => [name, undefined]),
);

/** Its two sides end at different times, and only `destroy()` hangs up. */
const OPTIONS = Object.freeze(bare({ ...NO_OPTIONS, autoDestroy: false, allowHalfOpen: true }));

/** What is being written. */
interface Pending {
  bytes: Uint8Array;
  readonly done: (error?: Error | null) => void;
}

/**
 * The other end of a program's terminal: what the program writes is read from it, and what is written to it is typed to the program. Made by
 * `terminal()`, and stands at `child.terminal`.
 *
 * The keys are bytes: `'\x03'` is Ctrl-C, `'\x1a'` Ctrl-Z, `'\x04'` Ctrl-D, `'\r'` Enter, and the kernel does with them what it does for a
 * keyboard. What nobody reads blocks the program, as with a pipe. What is typed to a program that has ended is lost, and no error.
 *
 * It ends when the program has ended and nobody else holds the terminal. To destroy it hangs up: the kernel sends SIGHUP to the program.
 *
 * @example
 * await using child = await new Command('sh', '-c', 'read name; echo "hello $name"').terminal().runAsync();
 * child.terminal.write('world\r');
 * for await (const chunk of child.terminal) process.stdout.write(chunk);
 * await child.wait();
 */
export class Terminal extends LateDuplex {
  readonly #device: TerminalDevice;
  /** Where pieces go that are captured, and not for a reader. */
  readonly #sink: ((piece: Buffer) => void) | undefined;
  #size: TerminalSize;
  #isRaw = false;
  #isOpen = true;
  #hasProgram = true;
  #reads = false;
  /** What is taken beyond what is asked for, in bytes. */
  #unasked = 0;
  #pending: Pending | undefined;
  #onPiece: (() => void) | undefined;
  /** The last key, which says whether the line has ended. */
  #lastKey = NEWLINE;

  /** @internal Made by the engines. */
  constructor(device: TerminalDevice, size: TerminalSize, sink?: (piece: Buffer) => void) {
    super(OPTIONS);
    this.#device = device;
    this.#size = size;
    this.#sink = sink;
    // A failure shows to the caller who listens or reads, and is nobody else's.
    this.on('error', () => undefined);
    this.once('end', () => this.destroy());
    device.onNews(this.#onNews);
    if (sink !== undefined) this._read();
  }

  /** How many characters a line has. */
  get columns(): number {
    return this.#size.columns;
  }

  /** How many lines there are. */
  get rows(): number {
    return this.#size.rows;
  }

  /** Whether {@link setRawMode} is on. What the program itself has made of the modes, it does not tell. */
  get isRaw(): boolean {
    return this.#isRaw;
  }

  /**
   * Tells the terminal its new size. The kernel sends SIGWINCH to the program in its foreground, if the size is another one. After the
   * end of the terminal, nothing happens. Answers to `ioctl(TIOCSWINSZ)`.
   *
   * @throws {TypeError} for a size that is no whole number from 1 to 65535.
   *
   * @example
   * await using child = await new Command('top').terminal().runAsync();
   * process.stdout.on('resize', () => child.terminal.resize(process.stdout.columns, process.stdout.rows));
   */
  resize(columns: number, rows: number): this {
    if (!isTerminalSize(columns) || !isTerminalSize(rows))
      throw argumentError('resize', [columns, rows], `columns and rows are whole numbers from 1 to ${LARGEST_SIZE}`);
    this.#size = bare({ columns, rows });
    if (this.#isOpen) this.#device.resize(columns, rows);
    return this;
  }

  /**
   * Passes every byte as it is, in both directions, or has the terminal as it was before: no echo, no line mode, no key that sends a signal, and no
   * carriage return in front of a newline. Programs that draw a screen set this themselves. Answers to `cfmakeraw()`.
   *
   * @throws {TypeError} for a value that is not true or false.
   *
   * @example
   * await using child = await new Command('cat').terminal().runAsync();
   * child.terminal.setRawMode(true).write(Buffer.from([0, 3, 4, 255]));
   */
  setRawMode(isOn: boolean): this {
    if (typeof isOn !== 'boolean') throw argumentError('setRawMode', [isOn], 'give true or false');
    this.#isRaw = isOn;
    if (this.#isOpen) this.#device.setRaw(isOn);
    return this;
  }

  /** One line: the size, and whether it is open. */
  [inspect.custom](): string {
    return `Terminal { ${this.columns} columns, ${this.rows} rows, ${this.#isOpen ? 'open' : 'ended'} }`;
  }

  /** @internal Calls back whenever something comes, and has it come, as far as there is room, before anybody asks for it. */
  onPiece(callback: () => void): void {
    this.#onPiece = callback;
    this.read(0);
  }

  /**
   * @internal The program has ended. What it left is taken without waiting for a reader, and what was typed meanwhile is lost. True: another
   * process still holds the terminal, and may go on to write; what is captured ends here all the same.
   */
  programEnded(): boolean {
    if (!this.#isOpen) return false;
    this.#hasProgram = false;
    this.#device.leaveProgram();
    this.#dropPending();
    this.#unasked = LAST_READ;
    let taken = 0;
    let size = this.#take();
    for (; size > 0 && taken < LAST_READ; size = this.#take()) taken += size;
    const isHeldOpen = size >= 0;
    if (this.#sink !== undefined) this.#close();
    else if (isHeldOpen) {
      this.#reads = true;
      this.#listen();
    }
    return isHeldOpen;
  }

  // ---------------------------------------------------------------- the stream

  /** @internal More is asked for. */
  override _read(): void {
    this.#reads = true;
    if (this.#isOpen) this.#listen();
  }

  /** @internal Somebody types. */
  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#lastKey = bytes.at(-1) ?? this.#lastKey;
    this.#pending = { bytes, done };
    this.#type();
  }

  /** @internal A terminal has no end of input but the key for it. It counts at the beginning of a line; behind anything else, the first one only hands that over. */
  override _final(done: (error?: Error | null) => void): void {
    const isInLine = this.#lastKey !== NEWLINE && this.#lastKey !== ENTER && this.#lastKey !== END_OF_INPUT;
    this.#pending = { bytes: Uint8Array.from(isInLine ? [END_OF_INPUT, END_OF_INPUT] : [END_OF_INPUT]), done };
    this.#type();
  }

  /** @internal Hangs up. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#close();
    done(error);
  }

  readonly #onNews = (): void => {
    if (this.#isOpen && this.#reads) this.#take();
    if (this.#isOpen && this.#pending !== undefined) this.#type();
  };

  /** Takes a piece, and gives its size. 0: there is none now; -1: there will be none any more. */
  #take(): number {
    const size = this.#device.read(room);
    if (size < 0) {
      if (size === -EAGAIN) return 0;
      // EIO once nobody has the other end; anything else is the end as well.
      this.#end();
      return -1;
    }
    const piece = Buffer.from(room.subarray(0, size));
    this.#onPiece?.();
    if (this.#sink !== undefined) this.#sink(piece);
    else if (!this.push(piece) && (this.#hasProgram || (this.#unasked -= size) <= 0)) {
      this.#reads = false;
      this.#listen();
    }
    return size;
  }

  #type(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    const size = this.#isOpen && this.#hasProgram ? this.#device.write(pending.bytes) : pending.bytes.length;
    if (size >= 0) pending.bytes = pending.bytes.subarray(size);
    if (size !== -EAGAIN && (size < 0 || pending.bytes.length === 0)) this.#dropPending();
    else this.#listen();
  }

  #dropPending(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (this.#isOpen) this.#listen();
    pending?.done();
  }

  #listen(): void {
    this.#device.waitFor(this.#reads, this.#pending !== undefined);
  }

  #end(): void {
    this.#close();
    this.push(null);
    // What was empty ends without a reader.
    this.read(0);
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#device.close();
    this.#dropPending();
  }
}

/** Where a piece is read to, before it is copied into one of its own size. */
const room = Buffer.alloc(MOST_AT_ONCE);
