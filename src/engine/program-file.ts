import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { extname } from 'node:path';

/** Enough for a `#!` line, and for the header and program headers of an ELF file. */
const HEADER_BYTES = 4096;

export function readHeader(file: string): Buffer | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    const header = Buffer.alloc(HEADER_BYTES);
    return header.subarray(0, readSync(fd, header, 0, HEADER_BYTES, 0));
  } catch {
    // It is not there, or it may be executed and not read: then there is nothing to tell from its bytes.
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

export function interpreterOf(header: Buffer): string | undefined {
  return /^#![ \t]*([^ \t\n]+)/.exec(header.toString('latin1'))?.[1];
}

const isElf = (header: Buffer): boolean => header.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'));

const PT_INTERP = 3;

/** The loader (`PT_INTERP`) that a little-endian ELF file names. */
export function loaderOf(header: Buffer): string | undefined {
  if (!isElf(header) || header.length < 64 || header[5] !== 1) return undefined;
  const wide = header[4] === 2;
  const start = wide ? Number(header.readBigUInt64LE(32)) : header.readUInt32LE(28);
  const size = header.readUInt16LE(wide ? 54 : 42);
  const count = header.readUInt16LE(wide ? 56 : 44);
  for (let at = start; at + size <= Math.min(header.length, start + size * count); at += size) {
    if (header.readUInt32LE(at) !== PT_INTERP) continue;
    const offset = wide ? Number(header.readBigUInt64LE(at + 8)) : header.readUInt32LE(at + 4);
    const length = wide ? Number(header.readBigUInt64LE(at + 32)) : header.readUInt32LE(at + 16);
    return header.toString('latin1', offset, offset + length - 1);
  }
  return undefined;
}

/** The `e_machine` values that a kernel of an architecture executes. */
const machines: Readonly<Record<string, readonly number[] | undefined>> = {
  x64: [62, 3],
  ia32: [3],
  arm64: [183, 40],
  arm: [40],
};

/**
 * Whether `execve` would answer `ENOEXEC` for a file that is there.
 *
 * libuv executes with `execvp`, which hands such a file to `/bin/sh`. A shell is not what was said, so it must be known before.
 */
export function isForeignFormat(file: string, depth = 0): boolean {
  if (process.platform !== 'linux' || depth > DEEPEST_SCRIPT) return false;
  const header = readHeader(file);
  if (header === undefined || isOwnElf(header)) return false;
  const interpreter = interpreterOf(header);
  if (interpreter !== undefined) return isForeignFormat(interpreter, depth + 1);
  return !registeredFormats().some((matches) => matches(file, header));
}

/** How many scripts the kernel lets be the interpreters of each other. */
const DEEPEST_SCRIPT = 4;

const ELF_HEADER_BYTES = 52;

const ET_EXEC = 2;

const ET_DYN = 3;

/** A program or a library for this machine, to judge by its header; an object file is neither. */
function isOwnElf(header: Buffer): boolean {
  if (!isElf(header) || header.length < ELF_HEADER_BYTES) return false;
  const type = header.readUInt16LE(16);
  const known = machines[process.arch];
  return (type === ET_EXEC || type === ET_DYN) && (known === undefined || known.includes(header.readUInt16LE(18)));
}

const BINFMT_MISC = '/proc/sys/fs/binfmt_misc';

/** The formats that an administrator registered with the kernel, as tests on a file. */
function registeredFormats(): ((file: string, header: Buffer) => boolean)[] {
  let names: string[];
  try {
    names = readdirSync(BINFMT_MISC).filter((name) => name !== 'register' && name !== 'status');
  } catch {
    // The file system is not mounted: no formats are registered.
    return [];
  }
  return names
    .map((name) => readFileSync(`${BINFMT_MISC}/${name}`, 'utf8'))
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
