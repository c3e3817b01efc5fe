import { Buffer } from 'node:buffer';
import { closeSync, constants, openSync } from 'node:fs';
import { isIP } from 'node:net';
import { argumentError, readOptions } from '../errors/argument-error.js';
import { DescriptorError } from '../errors/process-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { dryRunOf } from '../engine/dry-run.js';
import { engineInfo } from '../engine/select.js';
import type { Binding } from '../native/binding.js';
import { native } from '../native/load.js';
import { errnoName } from '../text/errno.js';
import { quoted } from '../text/shown.js';
import { Descriptor, PipePair, SocketPair, Tap, TcpListener, UnixListener } from './descriptor.js';

/** How {@link listenUnix} makes its socket. */
export interface ListenOptions {
  /** The permissions of the socket's file, exactly. Default: 0o777 less the umask. */
  readonly mode?: number;
  /** How many connections may wait to be accepted. The kernel takes no more than `net.core.somaxconn`. Default: 4096. */
  readonly backlog?: number;
}

const DEFAULT_BACKLOG = 4096;
const LARGEST_BACKLOG = 0x7fff_ffff;
const LARGEST_MODE = 0o777;
const LARGEST_PORT = 65_535;
/** What a dry run calls a port that is free. */
const SOME_PORT = 49_152;

const LONGEST_SOCKET_PATH = 107;

/** The longest name of a network interface, in bytes, without its NUL. */
const LONGEST_INTERFACE = 15;

const wholeNumber = (from: number, to: number, words: string): { is: (value: unknown) => boolean; words: string } => ({
  is: (value) => typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to,
  words,
});

const listenOptions = {
  mode: wholeNumber(0, LARGEST_MODE, 'the mode is a number from 0 to 0o777'),
  backlog: wholeNumber(0, LARGEST_BACKLOG, 'the backlog is a whole number from 0'),
};

/**
 * Makes a Unix socket that listens at a path, for a program that is given it with `listenFds()` or `passFd()`. A path that begins with
 * `\\0` is a name without a file.
 *
 * The file is made with those permissions and never has more. It stays when the socket is closed: the program listens there. Clients can
 * connect from now on; they wait until the program accepts them.
 *
 * @throws {TypeError} for a path or an option that is none. {DescriptorError} with `EADDRINUSE` where there is a file already, and for
 * everything else that the kernel refuses. {UnsupportedError} without the addon, and with the portable engine.
 *
 * @example
 * const command = new Command('virtlogd').listenFds(listenUnix('/run/virtlogd-sock', { mode: 0o600 }));
 */
export function listenUnix(path: string, options?: ListenOptions): UnixListener {
  const { mode, backlog = DEFAULT_BACKLOG } = readOptions('listenUnix', [path], options, listenOptions);
  const bytes = typeof path === 'string' ? Buffer.from(path) : Buffer.alloc(0);
  if (bytes.length === 0 || path.slice(1).includes('\0') || path === '\0')
    throw argumentError('listenUnix', [path], 'the path is a text, with no NUL but at its beginning');
  if (bytes.length > LONGEST_SOCKET_PATH)
    throw argumentError(
      'listenUnix',
      [path],
      `the path has ${bytes.length} bytes, and that of a socket ${LONGEST_SOCKET_PATH} at most; choose a shorter one`,
    );
  const binding = bindingFor('listenUnix');
  if (binding === undefined) return new UnixListener(standIn(), closeSync, path);
  const made = binding.listenUnix(bytes, mode ?? -1, backlog);
  if (typeof made === 'number') return new UnixListener(made, closer(binding), path);
  throw failure(
    `No socket can listen at ${quoted(path)}`,
    made,
    made[1] === -errnos.EADDRINUSE
      ? 'Remove the file if no process listens there any more, or choose another path.'
      : undefined,
  );
}

/**
 * Makes a TCP socket that listens, for a program that is given it with `listenFds()` or `passFd()`. Port 0 is one that is free, which
 * `.port` tells.
 *
 * The address is one in digits, or `localhost`, which is `127.0.0.1`. Default: `::`, which is every address of this machine, of IPv4 and IPv6,
 * as for `server.listen()`. The port can be bound again at once when connections of an earlier server linger.
 *
 * @throws {TypeError} for a port or an address that is none. {DescriptorError} for what the kernel refuses: `EADDRINUSE`, `EACCES` …
 * {UnsupportedError} without the addon, and with the portable engine.
 *
 * @example
 * const socket = listenTcp(8080, '127.0.0.1');
 * const command = new Command('my-server').listenFds(socket);
 */
export function listenTcp(port: number, host = '::'): TcpListener {
  const address = host === 'localhost' ? '127.0.0.1' : host;
  if (!wholeNumber(0, LARGEST_PORT, '').is(port))
    throw argumentError('listenTcp', [port, host], `a port is a whole number from 0 to ${LARGEST_PORT}`);
  if (typeof address !== 'string' || isIP(address) === 0 || address.includes('%'))
    throw argumentError('listenTcp', [port, host], "an address is written in digits, as '127.0.0.1' or '::1'");
  const binding = bindingFor('listenTcp');
  if (binding === undefined) return new TcpListener(standIn(), closeSync, address, port || SOME_PORT);
  let made = binding.listenTcp(address, port, DEFAULT_BACKLOG);
  // This machine has no IPv6.
  const isWithoutIpv6 = typeof made !== 'number' && made[1] === -errnos.EAFNOSUPPORT && address === '::';
  if (isWithoutIpv6) made = binding.listenTcp('0.0.0.0', port, DEFAULT_BACKLOG);
  if (typeof made === 'number')
    return new TcpListener(made, closer(binding), isWithoutIpv6 ? '0.0.0.0' : address, binding.portOf(made));
  throw failure(`No socket can listen at ${address} port ${port}`, made);
}

/**
 * Makes a pipe between two programs: `writeEnd` for the one, `readEnd` for the other. No byte of it comes through this process.
 *
 * Give both ends away with `closeInParent`: a reader is at its end only when nobody has the writing end any more.
 *
 * @throws {DescriptorError} for what the kernel refuses: `EMFILE` … {UnsupportedError} without the addon, and with the portable engine.
 *
 * @example
 * const { readEnd, writeEnd } = pipePair();
 * const writer = new Command('seq', 1, 1000).passFd(writeEnd, { as: 1, closeInParent: true });
 * const reader = new Command('wc', '-l').passFd(readEnd, { as: 0, closeInParent: true }).outputBuffer();
 * const [, { stdout }] = await Promise.all([writer.run(), reader.run()]);
 */
export function pipePair(): PipePair {
  const binding = bindingFor('pipePair');
  const [readEnd, writeEnd] = pairOf(binding, 'pipe2', (addon, ends) => addon.pipe(ends));
  return new PipePair(readEnd, writeEnd);
}

/**
 * Makes two connected stream sockets, as `socketpair()` does: `first` and `second` are alike.
 *
 * @throws {DescriptorError} for what the kernel refuses: `EMFILE` … {UnsupportedError} without the addon, and with the portable engine.
 *
 * @example
 * const [ours, theirs] = socketPair();
 * const command = new Command('my-worker', '--control', 3).passFd(theirs, { as: 3, closeInParent: true });
 */
export function socketPair(): SocketPair {
  const binding = bindingFor('socketPair');
  const [first, second] = pairOf(binding, 'socketpair', (addon, ends) => addon.socketPair(ends));
  return new SocketPair(first, second);
}

/**
 * Opens a tap device, an Ethernet interface whose frames a program reads and writes, and makes it if there is none of that name. A `%d` in the
 * name is a number that the kernel chooses; `.name` tells the whole. Frames come without a header of `tun`.
 *
 * The device is gone with its last descriptor, here and in programs. It takes CAP_NET_ADMIN. Answers to `virNetDevTapCreate`.
 *
 * @throws {TypeError} for a name that no interface can have. {DescriptorError} for what the kernel refuses: `EPERM`, `EBUSY`, `ENOENT` where
 * there is no `/dev/net/tun`. {UnsupportedError} without the addon, and with the portable engine.
 *
 * @example
 * function withNetwork(qemu: Command): Command {
 *   const tap = openTap('vnet%d');
 *   return qemu.args('-netdev', 'tap,id=net0,fd=3').passFd(tap, { as: 3, closeInParent: true });
 * }
 */
export function openTap(name: string): Tap {
  if (
    typeof name !== 'string' ||
    !/^[^\s/:\0]+$/.test(name) ||
    Buffer.byteLength(name) > LONGEST_INTERFACE ||
    name === '.' ||
    name === '..'
  )
    throw argumentError(
      'openTap',
      [name],
      `the name of an interface has 1 to ${LONGEST_INTERFACE} bytes, and no space, '/' or ':'`,
    );
  const binding = bindingFor('openTap');
  if (binding === undefined) return new Tap(standIn(), closeSync, name.replace('%d', '0'));
  const given = Buffer.alloc(LONGEST_INTERFACE + 1);
  const made = binding.openTap(name, given);
  if (typeof made === 'number') return new Tap(made, closer(binding), given.toString('utf8', 0, given.indexOf(0)));
  const isDenied = made[1] === -errnos.EPERM;
  throw failure(
    `The tap device ${quoted(name)} cannot be opened`,
    made,
    isDenied ? 'Run as root, or with the capability CAP_NET_ADMIN.' : undefined,
  );
}

// ---------------------------------------------------------------- the addon

const errnos = { EPERM: 1, EAFNOSUPPORT: 97, EADDRINUSE: 98 } as const;

/** The addon; `undefined` in a dry run, where nothing is made; or an error that says why there is none. */
function bindingFor(feature: string): Binding | undefined {
  if (dryRunOf(feature) !== undefined) return undefined;
  const { engine, why } = engineInfo();
  if (typeof native !== 'string' && engine !== 'portable') return native.binding;
  const reason = typeof native === 'string' ? native : why;
  throw new UnsupportedError(
    { command: '', spec: undefined },
    {
      feature,
      engine: 'portable',
      why: `Node makes descriptors for its own event loop only, the addon of the native engine makes others, and ${reason}`,
    },
  );
}

/** What stands for a descriptor in a dry run: a number that is open, and leads nowhere. */
const standIn = (): number => openSync('/dev/null', constants.O_RDWR);

const closer =
  (binding: Binding) =>
  (fd: number): void =>
    binding.closeAll(Int32Array.of(fd));

function pairOf(
  binding: Binding | undefined,
  syscall: string,
  make: (addon: Binding, ends: Int32Array) => number,
): [Descriptor, Descriptor] {
  if (binding === undefined) return [new Descriptor(standIn(), closeSync), new Descriptor(standIn(), closeSync)];
  const ends = new Int32Array(2);
  const errno = make(binding, ends);
  if (errno !== 0) throw failure('No two descriptors can be made', [syscall, -errno]);
  const close = closer(binding);
  return [new Descriptor(ends[0]!, close), new Descriptor(ends[1]!, close)];
}

const failure = (what: string, [syscall, errno]: readonly [string, number], wayOut?: string): DescriptorError =>
  new DescriptorError(what, wayOut, { code: errnoName(errno), syscall });
