import { accessSync, closeSync, constants, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import type { LaunchFailure } from '../errors.js';
import type { LaunchPlan, Step } from '../plan.js';

/**
 * Names the step that failed, from nothing but the errno that `child_process` gives, by looking at what the steps needed.
 *
 * `child_process` blames the program for everything. The directory comes first, as it does in the child.
 */
export function diagnose(plan: LaunchPlan, errno: string, cause: unknown): LaunchFailure {
  switch (errno) {
    case 'EMFILE':
    case 'ENFILE':
      return { step: 'pipe', errno, cause };
    case 'EAGAIN':
    case 'ENOMEM':
      return { step: 'clone', errno, cause };
    case 'E2BIG':
      return { step: 'execve', errno, path: plan.file, bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp), cause };
    case 'EPERM': {
      const step = plan.steps.find(changesId);
      if (step !== undefined) return { step: step.step, errno, wanted: `take the ${step.step === 'setgid' ? 'gid' : 'uid'} ${step.id}`, cause };
    }
  }
  const directoryErrno = plan.directory === undefined ? undefined : enterErrno(plan.directory);
  if (directoryErrno !== undefined) return { step: 'chdir', errno: directoryErrno, path: plan.directory ?? '', cause };
  return { step: 'execve', errno, path: plan.file, ...lookBehind(plan.file, errno), cause };
}

/** What is known of a step that the child itself reported. */
export function explainStepFailure(plan: LaunchPlan, step: Step, errno: string): LaunchFailure {
  switch (step.step) {
    case 'execve':
      return { step: 'execve', errno, path: step.path, ...lookBehind(step.path, errno), bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp) };
    case 'chdir':
      return { step: 'chdir', errno, path: step.path };
    case 'prlimit':
      return { step: step.step, errno, wanted: `set the limit of ${step.limit.resource} to ${step.limit.soft} (hard ${step.limit.hard})` };
    case 'setgroups':
      return { step: step.step, errno, wanted: `take the groups ${step.groups.join(', ')}` };
    case 'setgid':
      return { step: step.step, errno, wanted: `take the gid ${step.id}` };
    case 'setuid':
      return { step: step.step, errno, wanted: `take the uid ${step.id}` };
    case 'setpriority':
      return { step: step.step, errno, wanted: `take the nice value ${step.nice}` };
    case 'oom_score_adj':
      return { step: step.step, errno, wanted: `take the out-of-memory score ${step.score}` };
    case 'cgroup':
      return { step: step.step, errno, path: step.directory, wanted: `enter the control group '${step.directory}'` };
    case 'hook':
      return { step: step.step, errno, wanted: 'run its pre-exec hook' };
    default:
      return { step: step.step, errno };
  }
}

type IdStep = Extract<Step, { step: 'setgid' | 'setuid' }>;

function changesId(step: Step): step is IdStep {
  if (step.step === 'setgid') return step.id !== process.getegid?.();
  return step.step === 'setuid' && step.id !== process.geteuid?.();
}

function enterErrno(directory: string): string | undefined {
  try {
    if (!statSync(directory).isDirectory()) return 'ENOTDIR';
    accessSync(directory, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EACCES';
  }
}

function lookBehind(file: string, errno: string): Partial<LaunchFailure> {
  if (errno === 'EACCES') return { isDirectory: isDirectory(file) };
  if (errno !== 'ENOENT') return {};
  const header = readHeader(file);
  if (header === undefined) return {};
  const interpreter = interpreterOf(header);
  if (interpreter !== undefined) return { missing: { what: 'interpreter', path: interpreter } };
  const loader = loaderOf(header);
  return loader === undefined ? {} : { missing: { what: 'loader', path: loader } };
}

function isDirectory(file: string): boolean {
  try {
    return statSync(file).isDirectory();
  } catch {
    // It lies behind a directory that is closed to us: that is the reason for the EACCES.
    return false;
  }
}

/** How many bytes a vector takes, its NULs and pointers included, as the kernel counts them. */
function vectorBytes(words: readonly Uint8Array[]): number {
  return words.reduce((sum, word) => sum + word.length + 1 + 8, 0);
}

// ---------------------------------------------------------------- what a file is

/** Enough for a `#!` line, and for the header and program headers of an ELF file. */
const HEADER_BYTES = 4096;

function readHeader(file: string): Buffer | undefined {
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

function interpreterOf(header: Buffer): string | undefined {
  return /^#![ \t]*([^ \t\n]+)/.exec(header.toString('latin1'))?.[1];
}

const isElf = (header: Buffer): boolean => header.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'));

const PT_INTERP = 3;

/** The loader (`PT_INTERP`) that a little-endian ELF file names. */
function loaderOf(header: Buffer): string | undefined {
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
const machines: Readonly<Record<string, readonly number[] | undefined>> = { x64: [62, 3], ia32: [3], arm64: [183, 40], arm: [40] };

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
        magic.length > 0 && magic.every((byte, i) => ((header[offset + i] ?? 0) & (mask[i] ?? 0xff)) === (byte & (mask[i] ?? 0xff)));
    });
}
