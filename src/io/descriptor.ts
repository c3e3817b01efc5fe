import { inspect } from 'node:util';
import { quoted } from '../text/shown.js';

/**
 * A descriptor of this process that is there to be given to a program: to `inputFd()`, `passFd()`, `listenFds()` and the others. It is
 * closed on exec, so a program has it only if it is given it; it blocks, and no event loop looks at it.
 *
 * It stays open until {@link Descriptor.close}, the end of a `using` block, or the end of this thread, and if no variable holds it, too. With
 * `transferFd()` or `closeInParent` the command closes it.
 */
export class Descriptor implements Disposable {
  readonly #fd: number;
  #close: ((fd: number) => void) | undefined;

  /** @internal */
  constructor(fd: number, close: (fd: number) => void) {
    this.#fd = fd;
    this.#close = close;
  }

  /** Its number, and -1 once it is closed. */
  get fd(): number {
    return this.#close === undefined ? -1 : this.#fd;
  }

  /**
   * Closes it here; what a program was given stays open there. A second call does nothing.
   *
   * @example
   * const socket = listenTcp(8080, '127.0.0.1');
   * const child = await new Command('my-server').listenFds(socket).runAsync();
   * socket.close(); // the server goes on to listen
   */
  close(): void {
    const close = this.#close;
    this.#close = undefined;
    close?.(this.#fd);
  }

  /** The same as {@link Descriptor.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** One line for `console.log`. */
  [inspect.custom](): string {
    return `${this.constructor.name} { ${[this.fd < 0 ? 'closed' : String(this.fd), ...this.shown()].join(', ')} }`;
  }

  /** @internal What else the line says. */
  protected shown(): readonly string[] {
    return [];
  }
}

/** A Unix socket that listens, from {@link listenUnix}. To close it leaves its file, which the program that has it still needs. */
export class UnixListener extends Descriptor {
  /** Where it listens. */
  readonly path: string;

  /** @internal */
  constructor(fd: number, close: (fd: number) => void, path: string) {
    super(fd, close);
    this.path = path;
  }

  /** @internal */
  protected override shown(): readonly string[] {
    return [quoted(this.path)];
  }
}

/** A TCP socket that listens, from {@link listenTcp}. */
export class TcpListener extends Descriptor {
  /** The address, in digits. */
  readonly host: string;
  /** The port: the one that was free, where 0 was asked for. */
  readonly port: number;

  /** @internal */
  constructor(fd: number, close: (fd: number) => void, host: string, port: number) {
    super(fd, close);
    this.host = host;
    this.port = port;
  }

  /** @internal */
  protected override shown(): readonly string[] {
    return [`${this.host} port ${this.port}`];
  }
}

/** A tap device, from {@link openTap}. It is gone with its last descriptor, unless it was made persistent. */
export class Tap extends Descriptor {
  /** Its name: the one that the kernel chose, where `%d` was asked for. */
  readonly name: string;

  /** @internal */
  constructor(fd: number, close: (fd: number) => void, name: string) {
    super(fd, close);
    this.name = name;
  }

  /** @internal */
  protected override shown(): readonly string[] {
    return [this.name];
  }
}

/** Two descriptors that belong together. `using` closes both; so does {@link DescriptorPair.close}. It can be taken apart like an array. */
abstract class DescriptorPair implements Disposable {
  /** The first of the two. */
  readonly 0: Descriptor;
  /** The second of the two. */
  readonly 1: Descriptor;

  /** @internal */
  constructor(first: Descriptor, second: Descriptor) {
    this[0] = first;
    this[1] = second;
  }

  /** Closes both; one that is closed already is left alone. */
  close(): void {
    for (const end of [this[0], this[1]]) end.close();
  }

  /** The same as `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Gives the two, so that `const [one, other] = pair` takes it apart. */
  [Symbol.iterator](): Iterator<Descriptor, undefined> {
    const both: readonly Descriptor[] = [this[0], this[1]];
    return both.values();
  }

  /** One line for `console.log`. */
  [inspect.custom](): string {
    return `${this.constructor.name} { ${[this[0], this[1]].map(({ fd }) => (fd < 0 ? 'closed' : String(fd))).join(', ')} }`;
  }
}

/** A pipe, from {@link pipePair}: what is written to the one end is read from the other. */
export class PipePair extends DescriptorPair {
  /** For the program that reads. */
  readonly readEnd: Descriptor;
  /** For the program that writes. */
  readonly writeEnd: Descriptor;

  /** @internal */
  constructor(readEnd: Descriptor, writeEnd: Descriptor) {
    super(readEnd, writeEnd);
    this.readEnd = readEnd;
    this.writeEnd = writeEnd;
  }
}

/** Two connected sockets, from {@link socketPair}: what is written to either is read from the other. */
export class SocketPair extends DescriptorPair {
  /** One of them. */
  readonly first: Descriptor;
  /** The other. */
  readonly second: Descriptor;

  /** @internal */
  constructor(first: Descriptor, second: Descriptor) {
    super(first, second);
    this.first = first;
    this.second = second;
  }
}
