import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { extname } from 'node:path';
import { AS_UTF8 } from '../spec/bare.js';

/** What the kernel takes a file for that it is to execute. */
export type ProgramFormat =
  | { readonly is: 'script'; readonly interpreter: string }
  /** `loader` where it names one. `compat` where it is for a machine that the kernel of this one may be built to emulate. */
  | { readonly is: 'binary'; readonly loader: string | undefined; readonly compat: string | undefined }
  /** An administrator has registered its format. */
  | { readonly is: 'registered' }
  /** It may not be read. */
  | { readonly is: 'unreadable' }
  /** It could not be looked at, for a reason that lies in this process or in the moment: no descriptor is free, or it has gone. */
  | { readonly is: 'unknown'; readonly cause: unknown }
  /** A `#!` line that names nothing, or whose name does not end where the kernel stops to read. */
  | { readonly is: 'no-interpreter' | 'long-line'; readonly errno: 'ENOEXEC' | 'EACCES' }
  | {
      readonly is: 'empty' | 'text' | 'marked-text' | 'foreign' | 'other-system' | 'object' | 'damaged';
      readonly errno: 'ENOEXEC';
      readonly detail?: string;
    };

/** The kinds of what stands in a file system, but for plain files. */
export function specialKind(stats: Stats): 'directory' | 'fifo' | 'socket' | 'device' | undefined {
  if (stats.isFile()) return undefined;
  if (stats.isDirectory()) return 'directory';
  if (stats.isFIFO()) return 'fifo';
  return stats.isSocket() ? 'socket' : 'device';
}

/** How much the kernel reads of a file to find its format. The rest of its room is zero. */
const KERNEL_BYTES = 256;

/**
 * Reads a file as `execve` does, Linux 6: formats in the kernel's order, a `#!` line to its 255th byte, the headers of a binary.
 *
 * To open a FIFO waits for a writer, and to open a device can do anything: only plain files are opened.
 */
export function formatOf(file: string): ProgramFormat {
  let fd: number | undefined;
  try {
    if (specialKind(statSync(file)) !== undefined) return { is: 'unreadable' };
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if (specialKind(fstatSync(fd)) !== undefined) return { is: 'unreadable' };
    const header = read(fd, KERNEL_BYTES, 0);
    const format = scriptFormat(header) ?? binaryFormat(header, fd) ?? otherFormat(header, fstatSync(fd).size);
    if (Object.hasOwn(format, 'errno') && registeredFormats().some((matches) => matches(file, header)))
      return { is: 'registered' };
    return format;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    return code === 'EACCES' || code === 'EPERM' ? { is: 'unreadable' } : { is: 'unknown', cause };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** So many bytes of a file; what it does not have is zero. */
function read(fd: number, length: number, position: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, position);
  return bytes;
}

// ---------------------------------------------------------------- scripts

const SPACE = 0x20;
const TAB = 0x09;
const NEWLINE = 0x0a;

function scriptFormat(header: Buffer): ProgramFormat | undefined {
  if (header.toString('latin1', 0, 2) !== '#!') return undefined;
  // The last byte is the kernel's own. A NUL ends the search for the end of the line, and the name.
  const last = KERNEL_BYTES - 1;
  const newline = header.indexOf(NEWLINE);
  const nul = header.indexOf(0);
  const hasLineEnd = newline >= 0 && (nul < 0 || newline < nul);
  let end = hasLineEnd ? newline : last;
  while (end > 2 && isBlank(header[end - 1])) end -= 1;
  let start = 2;
  while (start < end && isBlank(header[start])) start += 1;
  if (start >= end) return { is: 'no-interpreter', errno: 'ENOEXEC' };
  let stop = start;
  while (stop < end && !isBlank(header[stop]) && header[stop] !== 0) stop += 1;
  if (!hasLineEnd && stop === last && header[last] !== 0 && !isBlank(header[last]))
    return { is: 'long-line', errno: 'ENOEXEC' };
  // The kernel then tries to execute the file without a name.
  if (stop === start) return { is: 'no-interpreter', errno: 'EACCES' };
  return { is: 'script', interpreter: header.toString('utf8', start, stop) };
}

const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

// ---------------------------------------------------------------- binaries

const ET_REL = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const ET_CORE = 4;

const PT_INTERP = 3;

/** The length of the header of a binary for 32 bits. */
const SMALLEST_HEADER = 52;

/** In the sixth byte: the highest byte of a number comes first. */
const ORDER_BIG = 2;

/** The most that the kernel reads of program headers, and of the loader's name. */
const MOST_PROGRAM_HEADERS = 65_536;
const LONGEST_PATH = 4096;

/** What is known of a machine by its `e_machine`. */
const machines: ReadonlyMap<number, { readonly name: string; readonly isWide: boolean }> = new Map([
  [3, { name: 'x86 of 32 bits', isWide: false }],
  [8, { name: 'MIPS', isWide: false }],
  [20, { name: 'PowerPC', isWide: false }],
  [21, { name: 'PowerPC of 64 bits', isWide: true }],
  [22, { name: 'S/390', isWide: true }],
  [40, { name: 'ARM of 32 bits', isWide: false }],
  [62, { name: 'x86-64', isWide: true }],
  [183, { name: 'ARM of 64 bits', isWide: true }],
  [243, { name: 'RISC-V', isWide: true }],
  [258, { name: 'LoongArch', isWide: true }],
]);

/** The `e_machine` of an architecture, and that of the one that its kernel may be built, and started, to emulate. */
const own: ReadonlyMap<string, { readonly machine: number; readonly compat?: number }> = new Map([
  ['x64', { machine: 62, compat: 3 }],
  ['arm64', { machine: 183, compat: 40 }],
  ['riscv64', { machine: 243 }],
  ['loong64', { machine: 258 }],
  ['s390x', { machine: 22 }],
]);

const ELF_MAGIC = '\x7fELF';

function binaryFormat(header: Buffer, fd: number): ProgramFormat | undefined {
  if (header.toString('latin1', 0, 4) !== ELF_MAGIC) return undefined;
  if (fstatSync(fd).size < SMALLEST_HEADER) return { is: 'damaged', errno: 'ENOEXEC' };
  // The kernel reads the header in its own order of bytes, and asks neither for the order nor for the class that it states.
  const big = endianness() === 'BE';
  const type = number(header, 16, 2, big);
  const machine = number(header, 18, 2, big);
  const known = own.get(process.arch);
  const isCompat = machine === known?.compat;
  if (known !== undefined && machine !== known.machine && !isCompat) {
    return { is: 'foreign', errno: 'ENOEXEC', detail: nameOf(number(header, 18, 2, header[5] === ORDER_BIG)) };
  }
  if (type === ET_REL || type === ET_CORE) return { is: 'object', errno: 'ENOEXEC' };
  if (type !== ET_EXEC && type !== ET_DYN) return { is: 'damaged', errno: 'ENOEXEC' };

  const wide = machines.get(machine)?.isWide ?? header[4] === 2;
  const at = wide ? { offset: 32, size: 54, count: 56 } : { offset: 28, size: 42, count: 44 };
  const size = number(header, at.size, 2, big);
  const length = size * number(header, at.count, 2, big);
  const start = number(header, at.offset, wide ? 8 : 4, big);
  const isWhole = start + length <= fstatSync(fd).size;
  if (size !== (wide ? 56 : 32) || length === 0 || length > MOST_PROGRAM_HEADERS || !isWhole)
    return { is: 'damaged', errno: 'ENOEXEC' };
  const compat = isCompat ? nameOf(machine) : undefined;
  const programHeaders = read(fd, length, start);
  for (let entry = 0; entry < length; entry += size) {
    if (number(programHeaders, entry, 4, big) !== PT_INTERP) continue;
    const from = number(programHeaders, entry + (wide ? 8 : 4), wide ? 8 : 4, big);
    const bytes = number(programHeaders, entry + (wide ? 32 : 16), wide ? 8 : 4, big);
    if (bytes < 2 || bytes > LONGEST_PATH) return { is: 'damaged', errno: 'ENOEXEC' };
    const name = read(fd, bytes, from);
    if (name[bytes - 1] !== 0) return { is: 'damaged', errno: 'ENOEXEC' };
    return { is: 'binary', loader: name.toString('utf8', 0, name.indexOf(0)), compat };
  }
  return { is: 'binary', loader: undefined, compat };
}

/** Such a number that is too large to be exact lies behind every file's end. */
function number(bytes: Buffer, at: number, length: 2 | 4 | 8, big: boolean): number {
  if (length === 8) return Number(big ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
  return big ? bytes.readUIntBE(at, length) : bytes.readUIntLE(at, length);
}

const nameOf = (machine: number): string => machines.get(machine)?.name ?? `a machine of the number ${machine}`;

// ---------------------------------------------------------------- what is no program

const BYTE_ORDER_MARK = '\xef\xbb\xbf';

/** The first bytes of programs for other systems. */
const otherSystems: readonly (readonly [magic: string, system: string])[] = [
  ['MZ', 'Windows'],
  ['\xcf\xfa\xed\xfe', 'macOS'],
  ['\xce\xfa\xed\xfe', 'macOS'],
  ['\xca\xfe\xba\xbe', 'macOS, or a Java class'],
];

function otherFormat(header: Buffer, size: number): ProgramFormat {
  if (size === 0) return { is: 'empty', errno: 'ENOEXEC' };
  const text = header.toString('latin1');
  const system = otherSystems.find(([magic]) => text.startsWith(magic))?.[1];
  if (system !== undefined) return { is: 'other-system', errno: 'ENOEXEC', detail: system };
  return { is: text.startsWith(`${BYTE_ORDER_MARK}#!`) ? 'marked-text' : 'text', errno: 'ENOEXEC' };
}

const BINFMT_MISC = '/proc/sys/fs/binfmt_misc';

/** The formats that an administrator registered with the kernel, as tests on a file. */
function registeredFormats(): ((file: string, header: Buffer) => boolean)[] {
  let names: string[];
  try {
    names = readdirSync(BINFMT_MISC).filter((name) => name !== 'register' && name !== 'status');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Where nothing is free to look with, nothing is known of them.
    if (code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM') throw error;
    // The file system is not mounted, or closed to this process: no formats are registered that it knows of.
    return [];
  }
  return names
    .map((name) => readFileSync(`${BINFMT_MISC}/${name}`, AS_UTF8))
    .filter((text) => text.startsWith('enabled'))
    .map((text) => {
      const field = (name: string): string | undefined => new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
      const extension = field('extension');
      if (extension !== undefined) return (file: string) => extname(file) === extension;
      const offset = Number(field('offset') ?? 0);
      const magic = Buffer.from(field('magic') ?? '', 'hex');
      const mask = Buffer.from(field('mask') ?? 'ff'.repeat(magic.length), 'hex');
      return (_file: string, header: Buffer) =>
        magic.length > 0 &&
        magic.every((byte, i) => ((header[offset + i] ?? 0) & (mask[i] ?? 0xff)) === (byte & (mask[i] ?? 0xff)));
    });
}
