import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** Offsets in the header of a 64-bit ELF file. */
const E_TYPE = 16;
const E_MACHINE = 18;
const E_PHOFF = 32;
const E_PHENTSIZE = 54;
const E_PHNUM = 56;

const PT_INTERP = 3;
const ET_REL = 1;

/** A machine that Linux has never run on as this one: `EM_NONE` is none at all. */
const EM_NONE = 0;

/** A line that would create a file, were these bytes given to a shell. */
const trap = (marker: string): Buffer => Buffer.from(`\ntouch '${marker}'\nexit 0\n`);

/** The part of this machine's ELF header that tells what kind of file follows; the rest is zero. */
function header(): Buffer {
  const bytes = Buffer.alloc(64);
  const fd = openSync(process.execPath, 'r');
  readSync(fd, bytes, 0, E_MACHINE + 2, 0);
  closeSync(fd);
  return bytes;
}

/** The header of an ELF file for another machine, with a line that a shell would run. */
export function foreignElf(marker: string): Buffer {
  const bytes = header();
  bytes.writeUInt16LE(EM_NONE, E_MACHINE);
  return Buffer.concat([bytes, trap(marker)]);
}

/** The header of an object file of this machine, which is no program, with a line that a shell would run. */
export function objectFile(marker: string): Buffer {
  const bytes = header();
  bytes.writeUInt16LE(ET_REL, E_TYPE);
  return Buffer.concat([bytes, trap(marker)]);
}

/** A copy of a program with another loader, `undefined` if it names none. */
export function withLoader(program: string, loader: string): Buffer | undefined {
  const bytes = Buffer.from(readFileSync(program));
  const size = bytes.readUInt16LE(E_PHENTSIZE);
  const start = Number(bytes.readBigUInt64LE(E_PHOFF));
  for (let at = start; at < start + size * bytes.readUInt16LE(E_PHNUM); at += size) {
    if (bytes.readUInt32LE(at) !== PT_INTERP) continue;
    // It is written behind all else, where there is room for any.
    bytes.writeBigUInt64LE(BigInt(bytes.length), at + 8);
    bytes.writeBigUInt64LE(BigInt(loader.length + 1), at + 32);
    return Buffer.concat([bytes, Buffer.from(`${loader}\0`)]);
  }
  return undefined;
}

/** A program of a few bytes that exits, for another machine than most. */
export function smallBinary(machine: 'i386' | 'aarch64' | 'x86-64'): Buffer {
  const wide = machine !== 'i386';
  const [headerSize, programHeaderSize] = wide ? [64, 56] : [52, 32];
  // i386: exit(43). The others: nothing that has to run here.
  const code = wide ? [] : [0xb8, 1, 0, 0, 0, 0xbb, 43, 0, 0, 0, 0xcd, 0x80];
  const size = headerSize + programHeaderSize + code.length;
  const bytes = Buffer.alloc(size);
  bytes.write(`\x7fELF${wide ? '\x02' : '\x01'}\x01\x01`, 'latin1');
  bytes.writeUInt16LE(2, E_TYPE);
  bytes.writeUInt16LE({ i386: 3, 'x86-64': 62, aarch64: 183 }[machine], E_MACHINE);
  if (wide) {
    bytes.writeBigUInt64LE(64n, E_PHOFF);
    bytes.writeUInt16LE(programHeaderSize, E_PHENTSIZE);
    bytes.writeUInt16LE(1, E_PHNUM);
    return bytes;
  }
  const address = 0x0804_8000;
  bytes.writeUInt32LE(address + headerSize + programHeaderSize, 24);
  bytes.writeUInt32LE(headerSize, 28);
  bytes.writeUInt16LE(headerSize, 40);
  bytes.writeUInt16LE(programHeaderSize, 42);
  bytes.writeUInt16LE(1, 44);
  for (const [index, value] of [1, 0, address, address, size, size, 5, 0x1000].entries())
    bytes.writeUInt32LE(value, headerSize + 4 * index);
  bytes.set(code, headerSize + programHeaderSize);
  return bytes;
}

/** A copy of a program whose loader has another name, of the same length; `undefined` if it names none. */
export function withMissingLoader(program: string): { readonly bytes: Buffer; readonly loader: string } | undefined {
  const bytes = Buffer.from(readFileSync(program));
  const size = bytes.readUInt16LE(E_PHENTSIZE);
  const start = Number(bytes.readBigUInt64LE(E_PHOFF));
  for (let at = start; at < start + size * bytes.readUInt16LE(E_PHNUM); at += size) {
    if (bytes.readUInt32LE(at) !== PT_INTERP) continue;
    const offset = Number(bytes.readBigUInt64LE(at + 8));
    const length = Number(bytes.readBigUInt64LE(at + 32)) - 1;
    const loader = '/nowhere/ld.so'.padEnd(length, 'x').slice(0, length);
    bytes.write(loader, offset, 'latin1');
    return { bytes, loader };
  }
  return undefined;
}
