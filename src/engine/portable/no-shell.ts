import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { LaunchError } from '../../errors/launch-error.js';
import { UnsupportedError } from '../../errors/unsupported-error.js';
import { findObstacle } from '../../host/obstacle.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { readable } from '../../text/bytes.js';
import { enterErrno, fileToLookAt } from '../diagnose.js';
import { ALL_OF_IT, AS_UTF8, bare } from '../../spec/bare.js';

// libuv executes with execvp, and that hands to /bin/sh whatever the kernel refuses with ENOEXEC. A shell is not what was said.

/**
 * Refuses a program that the kernel would refuse with ENOEXEC, so that no shell is given it. True: it may not be read, and nobody
 * can tell before the start; then {@link isShell} tells after it.
 *
 * @throws {LaunchError} with the errno that the kernel would give; EACCES for an interpreter that may not be read; with the errno of
 * the look at a file that could not be looked at. {UnsupportedError} for a binary of which it cannot be found out whether the kernel
 * executes it.
 */
export function refuseShell(plan: LaunchPlan): boolean {
  if (process.platform !== 'linux') return false;
  // The directory comes first, and a start that fails there gives nothing to a shell.
  if (plan.directory !== undefined && enterErrno(plan.directory) !== undefined) return false;
  const file = fileToLookAt(plan) ?? '';
  const obstacle = findObstacle(file, {
    directory: readable(plan.directory ?? '.'),
    unseen: (cause) => {
      const { code = 'EIO', syscall = 'open' } = cause as NodeJS.ErrnoException;
      // A file that has gone is no program for a shell either.
      if (code === 'ENOENT') return;
      const step = code === 'EMFILE' || code === 'ENFILE' ? 'pipe' : 'execve';
      throw new LaunchError(plan.subject, { step, errno: code, syscall, path: file, cause });
    },
    emulates: () => {
      emulation ??= probe();
      if (emulation !== undefined) return emulation;
      throw new UnsupportedError(plan.subject, {
        feature: 'run',
        engine: 'portable',
        why: 'child_process would hand a binary that the kernel does not execute to a shell, and whether it executes those for 32 bits could not be tried in the directory for temporary files',
      });
    },
  });
  if (obstacle === undefined) return false;
  const isUnread = obstacle.is === 'unreadable';
  const canBeSeen = nameOf('thread-self') !== undefined && basename(file) !== SHELL;
  if (isUnread && obstacle.role === 'program' && canBeSeen) return true;
  if (obstacle.errno !== 'ENOEXEC' && !isUnread) return false;
  throw new LaunchError(plan.subject, { step: 'execve', errno: obstacle.errno, path: readable(plan.file), obstacle });
}

/** The name of the process that a file is in which the kernel refused. */
const SHELL = 'sh';

/** How often a new process is looked at, until it has the name of its program: the kernel lets us go on a moment before. */
const NAME_LOOKS = 1000;

/**
 * Whether a process that has just been started is a shell in the place of its program. It must be asked before the event loop goes on,
 * which may reap the process. The shell runs nothing meanwhile: what this process may not read, it may not read either.
 */
export function isShell(pid: number): boolean {
  const before = nameOf('thread-self');
  for (let look = 0; look < NAME_LOOKS; look += 1) {
    const name = nameOf(pid);
    if (name !== before) return name === SHELL;
  }
  return false;
}

function nameOf(pid: number | 'thread-self'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, AS_UTF8).trimEnd();
  } catch {
    // There is no /proc.
    return undefined;
  }
}

// ---------------------------------------------------------------- binaries for 32 bits

/** Whether the kernel executes binaries for the elder machine that it may be built to emulate, once that has been tried. */
let emulation: boolean | undefined;

const EXIT_CODE = 43;

/** Programs that do nothing but to exit with that code, by the architecture whose kernel may execute them: machine, flags, instructions. */
const smallest: ReadonlyMap<string, readonly [machine: number, flags: number, code: readonly number[]]> = new Map([
  // mov eax, 1; mov ebx, 43; int 0x80
  ['x64', [3, 0, [0xb8, 1, 0, 0, 0, 0xbb, EXIT_CODE, 0, 0, 0, 0xcd, 0x80]]],
  // mov r7, #1; mov r0, #43; svc 0
  ['arm64', [40, 0x0500_0000, [1, 0x70, 0xa0, 0xe3, EXIT_CODE, 0, 0xa0, 0xe3, 0, 0, 0, 0xef]]],
]);

/** Tries it. `undefined`: it could not be tried, since there is no place for a program. */
function probe(): boolean | undefined {
  const program = smallest.get(process.arch);
  if (program === undefined) return false;
  let directory: string | undefined;
  try {
    directory = mkdtempSync(join(tmpdir(), 'vircommand-probe-'));
    const file = join(directory, 'probe');
    writeFileSync(file, binary(...program), bare({ mode: 0o700 }));
    const { error, status } = spawnSync(file, bare({ stdio: 'ignore', env: bare({}), cwd: '/' } as const));
    return error === undefined ? status === EXIT_CODE : undefined;
  } catch {
    // The file system is full, or is read only.
    return undefined;
  } finally {
    if (directory !== undefined) rmSync(directory, ALL_OF_IT);
  }
}

const HEADER_SIZE = 52;
const PROGRAM_HEADER_SIZE = 32;
/** Where the file lies in memory. */
const ADDRESS = 0x0001_0000;

/** A file of the ELF format for 32 bits: a header, a program header, and the instructions. */
function binary(machine: number, flags: number, code: readonly number[]): Buffer {
  const start = HEADER_SIZE + PROGRAM_HEADER_SIZE;
  const size = start + code.length;
  const bytes = Buffer.alloc(size);
  bytes.write('\x7fELF\x01\x01\x01', 'latin1');
  const words: readonly (readonly [at: number, value: number])[] = [
    [20, 1], // version
    [24, ADDRESS + start], // entry
    [28, HEADER_SIZE], // where the program headers begin
    [36, flags],
    [52, 1], // PT_LOAD
    [60, ADDRESS],
    [64, ADDRESS],
    [68, size],
    [72, size],
    [76, 5], // may be read and executed
    [80, 0x1000], // alignment
  ];
  const halves: readonly (readonly [at: number, value: number])[] = [
    [16, 2], // ET_EXEC
    [18, machine],
    [40, HEADER_SIZE],
    [42, PROGRAM_HEADER_SIZE],
    [44, 1], // one program header
  ];
  for (const [at, value] of words) bytes.writeUInt32LE(value, at);
  for (const [at, value] of halves) bytes.writeUInt16LE(value, at);
  bytes.set(code, start);
  return bytes;
}
