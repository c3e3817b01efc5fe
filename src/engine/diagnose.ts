import { accessSync, constants, existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import type { LaunchFailure } from '../errors/launch-error.js';
import { groupMounts } from '../host/control-groups.js';
import { closedDirectory, type Executor, findObstacle } from '../host/obstacle.js';
import { thisHost } from '../host/host.js';
import { privileges } from '../host/privileges.js';
import { programFromHere } from '../plan/from-here.js';
import { isInPath, isPath } from '../plan/program.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { rowOf, type Step } from '../plan/step-table.js';
import { type ByteText, pathOf, readable, toBytes } from '../text/bytes.js';
import { AS_UTF8 } from '../spec/bare.js';
import { errnoName } from '../text/errno.js';
import type { CapabilityName } from '../text/capabilities.js';

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
      return { ...execFailure(plan, errno), cause };
    case 'EPERM': {
      const step = plan.steps.find(changesId);
      if (step !== undefined)
        return { step: step.step, errno, wanted: rowOf(step).wish(step), ...privilegeFor(step), cause };
    }
  }
  const directoryErrno = plan.directory === undefined ? undefined : enterErrno(plan.directory);
  if (directoryErrno !== undefined) return { ...chdirFailure(plan, plan.directory ?? '', directoryErrno), cause };
  return { ...execFailure(plan, errno), cause };
}

/** What is known of a step that the child itself reported. */
export function explainStepFailure(plan: LaunchPlan, step: Step, errno: string): LaunchFailure {
  if (step.step === 'execve') return execFailure(plan, errno);
  if (step.step === 'chdir') return chdirFailure(plan, step.path, errno);
  const row = rowOf(step);
  const path = row.path?.(step);
  return {
    step: step.step,
    errno,
    wanted: row.wish(step),
    ...(path === undefined ? {} : { path }),
    ...(step.step === 'cgroup' ? { group: { isVersion1: false, mounts: groupMounts() } } : {}),
    ...(isDenial(errno, row.capability) ? (ceilingOf(step) ?? privilegeFor(step)) : {}),
  };
}

type IdStep = Extract<Step, { step: 'setgid' | 'setuid' }>;

function changesId(step: Step): step is IdStep {
  if (step.step === 'setgid') return step.id !== process.getegid?.();
  return step.step === 'setuid' && step.id !== process.geteuid?.();
}

export function enterErrno(path: ByteText): string | undefined {
  const directory = pathOf(path);
  try {
    if (!statSync(directory).isDirectory()) return 'ENOTDIR';
    accessSync(directory, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EACCES';
  }
}

function chdirFailure(plan: LaunchPlan, path: ByteText, errno: string): LaunchFailure {
  const failure = { step: 'chdir', errno, path: readable(path) } as const;
  // What is behind a name that is no text is not looked at.
  if (errno !== 'EACCES' || typeof path !== 'string') return failure;
  const closed = closedDirectory(`${path}/.`, executorOf(plan).ids);
  return closed === undefined ? failure : { ...failure, closed };
}

/** An exec that failed, with what stands in its way: only if the kernel would have said the same of it. */
function execFailure(plan: LaunchPlan, errno: string): LaunchFailure {
  const failure = { step: 'execve', errno, path: readable(plan.file) } as const;
  if (errno === 'E2BIG') return { ...failure, ...sizeOf(plan) };
  // Of a binary for a machine that the kernel may emulate, its own answer says whether it does.
  const file = fileToLookAt(plan);
  const obstacle =
    file === undefined ? undefined : findObstacle(file, { ...executorOf(plan), emulates: () => errno !== 'ENOEXEC' });
  const found = obstacle?.errno === errno ? { ...failure, obstacle } : failure;
  return isLine(plan, errno) ? { ...found, isLine: true } : found;
}

/** The program's file by a name that is text, if it has one. */
export function fileToLookAt(plan: LaunchPlan): string | undefined {
  const fromHere = plan.directory === undefined ? programFromHere(plan) : undefined;
  return [plan.file, fromHere].find((file) => typeof file === 'string');
}

/** Whether the program was named by its path and its arguments: it is not there, and its first word is. */
function isLine({ spec }: LaunchPlan, errno: string): boolean {
  const program = toBytes(spec.argv.at(0) ?? '').toString();
  const end = program.search(/ +[^ ]/);
  if (errno !== 'ENOENT' || end <= 0) return false;
  const first = program.slice(0, end);
  return isPath(first) ? existsSync(first) : isInPath(first, thisHost);
}

/** Who executes the program of a plan, and in which directory. */
function executorOf(plan: LaunchPlan): Omit<Executor, 'emulates'> {
  const directory = typeof plan.directory === 'string' ? plan.directory : workingDirectory();
  const uid = idOf(plan, 'setuid');
  const gid = idOf(plan, 'setgid');
  if (uid === undefined && gid === undefined) return { directory };
  const groups = plan.steps.find((step) => step.step === 'setgroups');
  const ids = {
    uid: uid ?? process.geteuid?.() ?? 0,
    gid: gid ?? process.getegid?.() ?? 0,
    groups: groups?.step === 'setgroups' ? groups.groups : (process.getgroups?.() ?? []),
  };
  return { directory, ids };
}

function idOf(plan: LaunchPlan, name: 'setuid' | 'setgid'): number | undefined {
  const step = plan.steps.find((one) => one.step === name);
  return step?.step === 'setuid' || step?.step === 'setgid' ? step.id : undefined;
}

function workingDirectory(): string {
  try {
    return realpathSync.native('.');
  } catch {
    // It has been removed, and nothing can be found from it.
    return '/';
  }
}

// ---------------------------------------------------------------- privileges

/** No privilege goes beyond what the kernel allows anybody of open files. */
function ceilingOf(step: Step): Pick<LaunchFailure, 'ceiling'> | undefined {
  if (step.step !== 'prlimit' || step.limit.resource !== 'nofile') return undefined;
  const file = '/proc/sys/fs/nr_open';
  const most = numberIn(file);
  const { hard } = step.limit;
  return most !== undefined && (hard === 'unlimited' || Number(hard) > most) ? { ceiling: { most, file } } : undefined;
}

function numberIn(file: string): number | undefined {
  try {
    return Number(readFileSync(file, AS_UTF8));
  } catch {
    // There is no /proc to tell it.
    return undefined;
  }
}

/** Why pipes cannot be given a size. */
export function pipeSizeFailure(bytes: number, errno: number): LaunchFailure {
  const most = numberIn('/proc/sys/fs/pipe-max-size');
  // The kernel rounds up, and then compares.
  const isAbove = most !== undefined && 2 ** Math.ceil(Math.log2(bytes)) > most;
  const pipeSize = { bytes, most: isAbove ? most : undefined };
  return { step: 'pipe', errno: errnoName(errno), syscall: 'fcntl', pipeSize };
}

/** Whether an errno says that a privilege is missing: for some steps, such as a better nice value, that is EACCES. */
export const isDenial = (errno: string, capability: string | undefined): boolean =>
  errno === 'EPERM' || (errno === 'EACCES' && capability !== undefined);

/** What this process lacks for a step that it may not take. */
function privilegeFor(step: Step): Pick<LaunchFailure, 'privilege'> {
  const { capabilities, isInNamespace, deniesGroups } = privileges();
  // Who may change capabilities can still give the program none that it does not have itself.
  const lacking =
    step.step === 'capset' || step.step === 'cap_ambient'
      ? (step.keep as readonly CapabilityName[]).find((name) => capabilities?.has(name) === false)
      : undefined;
  const capability = lacking ?? rowOf(step).capability;
  return {
    privilege: {
      isRoot: process.geteuid?.() === 0,
      capability,
      isHeld: capability === undefined ? undefined : capabilities?.has(capability),
      isInNamespace: isInNamespace || (step.step === 'setgroups' && deniesGroups),
    },
  };
}

// ---------------------------------------------------------------- size

/** The most that the kernel takes of one argument or variable, its NUL included: 32 pages of 4 KiB. */
const LONGEST_WORD = 131_072;

/** What an E2BIG is about. */
export const sizeOf = (plan: LaunchPlan): Pick<LaunchFailure, 'bytes' | 'longest'> => ({
  bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp),
  ...longestWord(plan),
});

/** How many bytes a vector takes, its NULs and pointers included, as the kernel counts them. */
function vectorBytes(words: readonly Uint8Array[]): number {
  return words.reduce((sum, word) => sum + word.length + 1 + 8, 0);
}

/** The first argument or variable that is too long by itself, if one is. */
function longestWord({ argv, envp }: LaunchPlan): Pick<LaunchFailure, 'longest'> {
  const isLong = (word: Uint8Array): boolean => word.length >= LONGEST_WORD;
  const index = argv.findIndex(isLong);
  if (index >= 0) return { longest: { what: `the argument ${index}`, bytes: argv.at(index)?.length ?? 0 } };
  const variable = envp.find(isLong);
  if (variable === undefined) return {};
  const name = Buffer.from(variable.subarray(0, variable.indexOf(EQUALS, 1))).toString();
  return { longest: { what: `the variable ${name}`, bytes: variable.length } };
}

/** Whether the kernel is certain to refuse a plan with E2BIG. */
export const hasTooLongWord = (plan: LaunchPlan): boolean => longestWord(plan).longest !== undefined;

const EQUALS = 0x3d;
