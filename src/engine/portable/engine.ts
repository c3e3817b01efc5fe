import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { TextDecoder } from 'node:util';
import type { ResultPromise } from 'execa';
import { LaunchError, type LaunchFailure } from '../../errors/launch-error.js';
import { NO_REFUSALS, type Refusal, withRefusal } from '../../errors/unsupported-error.js';
import { privileges } from '../../host/privileges.js';
import { realClock } from '../../host/time.js';
import { enteredDirectory, executedFile, heldPidFile, heldProgram } from '../../plan/from-here.js';
import { assertUnheld, claim } from '../../pidfile/claim.js';
import type { PidFilePath } from '../../pidfile/content.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { isPathFromHere } from '../../plan/program.js';
import type { Step } from '../../plan/step-table.js';
import { bare } from '../../spec/bare.js';
import { readable } from '../../text/bytes.js';
import { reasonOf } from '../../text/reading.js';
import { quoted } from '../../text/shown.js';
import { diagnose, hasTooLongWord } from '../diagnose.js';
import type { Engine, EngineProcess, LaunchResources } from '../engine.js';
import { holdDirectory, nameFrom, pathFrom, reopenDirectory } from '../here.js';
import { closeFiles, type OpenFiles, openFiles } from '../redirections.js';
import { portableFifos } from './fifo-opener.js';
import { type Execa, loadExeca } from './load-execa.js';
import { isShell, refuseShell } from './no-shell.js';
import { PortableProcess } from './process.js';
import { portableRefusals } from './refusals.js';
import { type SocketPair, socketPair } from './socket-pair.js';

/**
 * The engine that runs everywhere Node does: execa, and below it `child_process.spawn`.
 *
 * It performs the steps that `child_process` can perform, refuses the others, and makes good what `child_process` gets wrong:
 * it tells which step failed, never lets a shell run a file, keeps the order of two streams, and settles at the child's exit.
 */
export const portableEngine: Engine = {
  name: 'portable',
  usesLanes: false,
  clock: realClock,
  environment: undefined,
  noteFailure: undefined,
  note,
  refusals,
  launch,
};

function note({ step }: Step): string | undefined {
  const why = portableRefusals[step];
  if (why !== undefined) return `refused: ${why}`;
  switch (step) {
    case 'daemon-fork':
      return 'not done: the daemon leads its session, and is a child of this process';
    case 'close_range':
      return 'done for what Node opened; what this process inherited stays open';
    case 'pidfile':
      return 'written after the start, and not locked';
    default:
      return undefined;
  }
}

function refusals(plan: LaunchPlan): readonly Refusal[] {
  let refused = NO_REFUSALS;
  for (const step of plan.steps) refused = withRefusal(refused, refusalOfStep(step, plan));
  if (plan.spec.pipeSize !== undefined) refused = withRefusal(refused, refusalOfPipeSize);
  return refusalsOfBytes(plan).reduce(withRefusal, refused);
}

const refusalOfPipeSize: Refusal = bare({
  feature: 'pipeSize',
  why: 'its pipes are the socket pairs of child_process, which have no such size',
});

function refusalOfStep(step: Step, plan: LaunchPlan): Refusal | undefined {
  const why = portableRefusals[step.step];
  if (why !== undefined) return { feature: step.by, why };
  if (step.step === 'setuid' && plan.directory !== undefined && step.id !== process.geteuid?.()) {
    return {
      feature: 'workingDirectory',
      why: 'child_process enters the directory before it takes the uid, so that rights are not checked for the user that the program runs as',
    };
  }
  if (step.step !== 'setgroups') return undefined;
  const feature = plan.spec.groups === undefined ? step.by : 'groups';
  if (step.groups.some((group) => group !== plan.spec.gid && group !== idOf(plan, 'setgid')))
    return { feature, why: 'child_process always drops all supplementary groups; say groups([]) to have it so' };
  if (!maySetGroups()) {
    return {
      feature,
      why: 'child_process does not tell that the kernel refuses it, and the kernel would: this process has groups, and may not give them up',
    };
  }
  if (idOf(plan, 'setuid') === undefined && idOf(plan, 'setgid') === undefined)
    return { feature: step.by, why: 'child_process changes groups only together with uid and gid' };
  return undefined;
}

function refusalsOfBytes(plan: LaunchPlan): readonly (Refusal | undefined)[] {
  return [
    typeof plan.spec.argv.at(0) === 'string' && typeof executedFile(plan) === 'string'
      ? undefined
      : {
          feature: 'new Command',
          why: 'child_process takes text only, and the path of the program holds bytes that are not UTF-8',
        },
    typeof enteredDirectory(plan) === 'object'
      ? {
          feature: 'workingDirectory',
          why: 'child_process takes text only, and the path holds bytes that are not UTF-8',
        }
      : undefined,
    plan.argv.slice(1).some(isNoText)
      ? { feature: 'arg', why: 'child_process takes text only, and an argument holds bytes that are not UTF-8' }
      : undefined,
    plan.envp.some(isNoText)
      ? { feature: 'env', why: 'child_process takes text only, and a variable holds bytes that are not UTF-8' }
      : undefined,
  ];
}

const isNoText = (word: Uint8Array): boolean => decode(word) === undefined;

/** Whether supplementary groups are given up where that is asked for: libuv ignores it if the kernel refuses. */
function maySetGroups(): boolean {
  const { capabilities, groups, deniesGroups } = privileges();
  if (groups.length === 0) return true;
  return !deniesGroups && (capabilities?.has('CAP_SETGID') ?? process.geteuid?.() === 0);
}

async function launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
  // The start waits for its files: what begins in this process's directory is meant from where that is now.
  const here = holdDirectory();
  const pidFile = pidFileOf(plan, here);
  let files: OpenFiles = new Map();
  let pair: SocketPair | undefined;
  try {
    if (pidFile !== undefined) await assertUnheld(pidFile, plan.subject);
    const mayBecomeShell = refuseShell(plan);
    files = await openFiles(plan, resources, portableFifos, here);
    const execa = await loadExeca(plan.subject);
    pair = sharesPipe(plan) ? await pairFor(plan) : undefined;
    const subprocess = start(execa, plan, files, pair, here);
    // A process that was not started has no pid, or the one that stands in `Object.prototype`; then it has told of its error at once.
    const pid = Object.hasOwn(subprocess, 'pid') ? subprocess.pid : undefined;
    const error = pid === undefined ? await failureOf(subprocess) : await startError(subprocess);
    if (pid === undefined || error !== undefined) throw failedStart(plan, subprocess, error);
    if (mayBecomeShell && isShell(pid)) throw await endedShell(plan, subprocess);
    // The child has its copy of the shared end; ours would keep the pipe from ever ending.
    pair?.theirs.destroy();
    const process = new PortableProcess(pid, subprocess, plan, resources, pair?.ours);
    resources.onStart?.(process);
    if (pidFile !== undefined) await claimOrEnd(pidFile, process, plan);
    return process;
  } catch (error) {
    pair?.theirs.destroy();
    pair?.ours.destroy();
    throw error;
  } finally {
    if (here !== undefined) closeSync(here);
    await closeFiles(files);
  }
}

// ---------------------------------------------------------------- the pidfile of a daemon

/** The pidfile that a plan's daemon is to have. */
function pidFileOf(plan: LaunchPlan, here: number | undefined): PidFilePath | undefined {
  for (const step of plan.steps)
    if (step.step === 'pidfile')
      return { name: readable(step.path), path: pathFrom(here, heldPidFile(plan) ?? step.path) };
  return undefined;
}

/** Writes the pidfile of a daemon that was started. A daemon that has lost the race for it is ended, before the caller hears of it. */
async function claimOrEnd(pidFile: PidFilePath, process: EngineProcess, { subject }: LaunchPlan): Promise<void> {
  try {
    await claim(pidFile, process.pid, subject);
  } catch (error) {
    process.signal('SIGKILL');
    await process.ended;
    throw error;
  }
}

// ---------------------------------------------------------------- starting

async function pairFor(plan: LaunchPlan): Promise<SocketPair> {
  try {
    return await socketPair();
  } catch (cause) {
    const { code = 'EIO', syscall = 'socket' } = cause as NodeJS.ErrnoException;
    const wanted = `make a directory in ${quoted(tmpdir())}, which one pipe for both outputs takes; name another one in TMPDIR`;
    throw new LaunchError(plan.subject, {
      step: 'pipe',
      errno: code,
      syscall,
      ...(syscall === 'mkdtemp' ? { wanted } : {}),
      cause,
    });
  }
}

/** Every option that execa and `child_process` look for, so that they find none of them in `Object.prototype`. */
const noOptions = Object.freeze(
  Object.fromEntries(
    [
      'all',
      'cancelSignal',
      'cwd',
      'detached',
      'encoding',
      'gid',
      'gracefulCancel',
      'input',
      'inputFile',
      'ipc',
      'ipcInput',
      'killSignal',
      'lines',
      'localDir',
      'maxBuffer',
      'node',
      'nodeOptions',
      'nodePath',
      'preferLocal',
      'serialization',
      'shell',
      'signal',
      'stderr',
      'stdin',
      'stdout',
      'timeout',
      'uid',
      'verbose',
      'windowsVerbatimArguments',
    ].map((name) => [name, undefined]),
  ),
);

function start(
  execa: Execa,
  plan: LaunchPlan,
  files: OpenFiles,
  pair: SocketPair | undefined,
  here: number | undefined,
): ResultPromise {
  const [argv0 = '', ...args] = plan.argv.map((word) => decode(word) ?? '');
  const fillers = occupyNumbers(plan);
  let hereAbove: number | undefined;
  try {
    // All numbers that the child will have are occupied by now: it finds the directory at one that nothing is placed over.
    if (here !== undefined) fillers.push((hereAbove = reopenDirectory(here)));
    const subprocess = execa(programFile(plan, hereAbove), args, {
      ...noOptions,
      argv0,
      ...directoryOption(plan, hereAbove),
      env: environment(plan),
      extendEnv: false,
      stdio: stdioFor(plan, files, pair) as ['ignore', 'pipe', 'pipe'],
      ...(plan.steps.some(({ step }) => step === 'setsid') ? { detached: true } : {}),
      ...idOptions(plan),
      // Everything below switches off what execa does beyond launching; the spawner does it for all engines alike.
      buffer: false,
      reject: false,
      cleanup: false,
      stripFinalNewline: false,
      forceKillAfterDelay: false,
      // Left to itself, execa prints each command with all its arguments where NODE_DEBUG says so.
      verbose: 'none',
      windowsHide: true,
    }) as unknown as ResultPromise;
    // Where execa fails to make its own error, its promise is rejected whatever `reject` says, and an end that nobody waits for there
    // would end this process. What this engine tells, it hears from Node's events.
    subprocess.catch(() => undefined);
    return subprocess;
  } catch (cause) {
    if (cause instanceof LaunchError) throw cause;
    throw new LaunchError(plan.subject, withoutDirectory(plan, hereAbove, cause));
  } finally {
    for (const fd of fillers) closeSync(fd);
  }
}

/** The path of the program for `child_process`, which gives it to the child after it has entered its directory. */
function programFile(plan: LaunchPlan, here: number | undefined): string {
  const path = heldProgram(plan);
  const file = path === undefined || here === undefined ? executedFile(plan) : nameFrom(here, path, plan.file);
  if (typeof file === 'string' && (path === undefined || !isPathFromHere(file))) return file;
  throw new LaunchError(plan.subject, { step: 'execve', errno: 'ENOENT', path: readable(plan.file) });
}

/** Whether Node could not tell its working directory, which it asks the kernel for by this call of libuv. */
const isNoDirectory = (cause: unknown): boolean =>
  cause instanceof Error && Object.hasOwn(cause, 'syscall') && (cause as NodeJS.ErrnoException).syscall === 'uv_cwd';

/** execa asks for this process's own working directory, for the child's and for its errors, and throws where that has been removed. */
function withoutDirectory(plan: LaunchPlan, here: number | undefined, cause: unknown): LaunchFailure {
  // Anything else that it throws is no news of the directory, and is told as it is.
  if (!isNoDirectory(cause)) return { step: 'clone', wanted: `be started: ${reasonOf(cause)}`, cause };
  if (here === undefined && plan.directory === undefined) return { step: 'chdir', errno: 'ENOENT', path: '.', cause };
  // Then the kernel has refused the start itself, and what it answered is lost.
  if (hasTooLongWord(plan)) return diagnose(plan, 'E2BIG', cause);
  const wanted = 'be started, and why is not told where the working directory of this process has been removed';
  return { step: 'clone', wanted, cause };
}

/** What libuv opens for a start beside the ends of the pipes: two for the news of a failed exec, and some for good measure. One more is this process's directory. */
const SPARE_DESCRIPTORS = 7;

/**
 * Makes sure that the start has the descriptors it needs, and occupies the numbers that the child will have.
 *
 * Node does not survive to run out of descriptors within `spawn`: it throws where nobody can catch. And libuv does not
 * protect the pipe on which it hears of a failed exec: a descriptor that the child gets at that very number destroys it.
 */
function occupyNumbers(plan: LaunchPlan): number[] {
  const highest = plan.descriptors.at(-1)?.childFd ?? 2;
  const pipes = plan.descriptors.filter(({ source }) => source.kind === 'pipe' || source.kind === 'send').length;
  const spare: number[] = [];
  const fillers: number[] = [];
  try {
    while (spare.length < SPARE_DESCRIPTORS + 2 * pipes) {
      const fd = openSync('/dev/null', 'r');
      (fd <= highest ? fillers : spare).push(fd);
    }
    return fillers;
  } catch (cause) {
    for (const fd of fillers) closeSync(fd);
    const { code = 'EMFILE' } = cause as NodeJS.ErrnoException;
    const isFull = code === 'EMFILE' || code === 'ENFILE';
    const failure = isFull
      ? ({ step: 'pipe' } as const)
      : ({ step: 'open', path: '/dev/null', wanted: 'be opened' } as const);
    throw new LaunchError(plan.subject, { ...failure, errno: code, cause });
  } finally {
    for (const fd of spare) closeSync(fd);
  }
}

/** Resolves before the event loop goes on, which could reap the process: with the error of a start that failed, or `undefined`. */
const startError = (subprocess: ResultPromise): Promise<unknown> =>
  new Promise((resolve) => {
    subprocess.once('spawn', resolve).once('error', resolve);
  });

/** The error of a process that was not started, as Node tells it, or as execa keeps it. */
async function failureOf(subprocess: ResultPromise): Promise<unknown> {
  const told = new Promise<unknown>((resolve) => {
    subprocess.once('error', resolve);
  });
  return await subprocess.then(
    (result) => (result as { cause?: unknown }).cause,
    () => told,
  );
}

function failedStart(plan: LaunchPlan, subprocess: ResultPromise, cause: unknown): LaunchError {
  for (const stream of subprocess.stdio) stream?.destroy();
  // Node's error carries all arguments, secret ones too.
  delete (cause as { spawnargs?: unknown }).spawnargs;
  const { code = 'EIO' } = cause as NodeJS.ErrnoException;
  return new LaunchError(plan.subject, diagnose(plan, code, cause));
}

/** Ends a shell that was given a file which it cannot read. */
async function endedShell(plan: LaunchPlan, subprocess: ResultPromise): Promise<LaunchError> {
  subprocess.kill('SIGKILL');
  for (const stream of subprocess.stdio) stream?.destroy();
  await subprocess.catch(() => undefined);
  const obstacle = { role: 'program', path: readable(plan.file), is: 'unreadable', errno: 'EACCES' } as const;
  return new LaunchError(plan.subject, { step: 'execve', errno: 'EACCES', path: readable(plan.file), obstacle });
}

function environment(plan: LaunchPlan): Record<string, string | undefined> {
  const variables = plan.envp.map((entry) => {
    const text = decode(entry) ?? '';
    const end = text.indexOf('=', 1);
    return [text.slice(0, end), text.slice(end + 1)] as const;
  });
  // child_process adds this variable to every environment that does not mention it; `undefined` mentions it. And it passes on what
  // the object inherits. execa mixes a plain object with one that it finds in `Object.prototype`, so this is none to it.
  return Object.assign(Object.create(notPlain) as Record<string, string | undefined>, {
    NODE_V8_COVERAGE: undefined,
    ...Object.fromEntries(variables),
  });
}

/** Stands above an object without inherited fields that shall not be taken for a plain one. */
const notPlain: object = Object.freeze(Object.create(Object.create(null) as object) as object);

/**
 * The directory that the child enters. Left to itself, execa names the one that `process.cwd()` remembers, which may be called
 * otherwise by now, or be lost.
 */
function directoryOption(plan: LaunchPlan, here: number | undefined): { cwd?: string } {
  const directory = enteredDirectory(plan);
  if (here === undefined || !(directory === undefined || isPathFromHere(directory)))
    return directory === undefined ? {} : { cwd: readable(directory) };
  return { cwd: `/proc/self/fd/${here}/${readable(directory ?? '')}` };
}

function idOptions(plan: LaunchPlan): { uid?: number; gid?: number } {
  const uid = idOf(plan, 'setuid');
  const gid = idOf(plan, 'setgid');
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}

function idOf(plan: LaunchPlan, name: 'setuid' | 'setgid'): number | undefined {
  for (const step of plan.steps)
    if ((step.step === 'setuid' || step.step === 'setgid') && step.step === name) return step.id;
  return undefined;
}

const sharesPipe = ({ descriptors }: LaunchPlan): boolean =>
  descriptors.at(1)?.source.kind === 'pipe' && descriptors.at(2)?.source.kind === 'stdout';

type StdioEntry = 'ignore' | 'pipe' | number | SocketPair['theirs'];

function stdioFor(plan: LaunchPlan, files: OpenFiles, pair: SocketPair | undefined): StdioEntry[] {
  const highest = plan.descriptors.at(-1)?.childFd ?? 2;
  const stdio: StdioEntry[] = new Array<StdioEntry>(highest + 1).fill('ignore');
  for (const { childFd, source } of plan.descriptors) {
    switch (source.kind) {
      case 'null':
        break;
      case 'fd':
        stdio[childFd] = source.fd;
        break;
      case 'file':
        stdio[childFd] = files.get(childFd)?.fd ?? 'ignore';
        break;
      case 'pipe':
        stdio[childFd] = childFd > 0 && pair !== undefined ? pair.theirs : 'pipe';
        break;
      case 'send':
        stdio[childFd] = 'pipe';
        break;
      case 'stdout':
        stdio[childFd] = stdio.at(1) ?? 'ignore';
        break;
    }
  }
  return stdio;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decode(word: Uint8Array): string | undefined {
  try {
    return utf8.decode(word);
  } catch {
    return undefined;
  }
}

// ---------------------------------------------------------------- running
