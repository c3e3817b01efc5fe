import { Buffer } from 'node:buffer';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { typeError } from '../../errors/argument-error.js';
import type { CommandError } from '../../errors/command-error.js';
import type { HookFailure } from '../../errors/hook-failure.js';
import { LaunchError } from '../../errors/launch-error.js';
import { readAnswer, sealed } from '../../hook/exchange.js';
import type { Native } from '../../native/load.js';
import { packages } from '../../native/place.js';
import { executedFile } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { operationsOf } from '../../plan/operations.js';
import type { HandshakeEnds, Step } from '../../plan/step-table.js';
import { encode, type Operation } from '../../wire/encode.js';
import { lowestUnused, type Move } from '../../wire/moves.js';
import type { HookWatch, LaunchResources, ProcessEnd } from '../engine.js';
import { type Descriptors, type Ends, helperMoves } from './ends.js';
import { closedByProgram, LANE_STEP, type PreparedChild } from './prepared-child.js';
import { AS_LATIN1 } from '../../spec/bare.js';
import { elementAt } from '../../text/reading.js';

/** The program that runs a hook, as it was built: this code may run from its source, or in a bundle. */
const runner = packages.map((directory) => join(directory, 'dist/hook/runner.js')).find((path) => existsSync(path));

/** Why no hook can be run here, if none can. */
export const noRunner =
  runner === undefined
    ? 'the file dist/hook/runner.js is missing in the library: a bundle finds it beside itself or in an installed vircommand, and a checkout is built by `npm run build`'
    : undefined;

/** Variables of this process that would have another Node do what was only meant for this one. */
const NOT_FOR_THE_RUNNER = [
  'NODE_OPTIONS',
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  'NODE_UNIQUE_ID',
  'NODE_V8_COVERAGE',
  'NODE_DEBUG',
  'NODE_DEBUG_NATIVE',
];

/** What this lane needs of the engine. */
export interface HookTools extends Native {
  readonly descriptors: Descriptors;
  /** This process's variables. */
  readonly environment: readonly Uint8Array[];
}

/** Where the lane's own descriptors stand in the child. */
interface Numbers {
  readonly pidFile: number;
  readonly letter: number;
  readonly report: number;
  readonly plan: number;
  readonly handshake: HandshakeEnds;
}

/**
 * Prepares a child of a plan with a hook, in three parts. The steps before the hook are performed in shared memory, or by the
 * helper if one of them may wait; then the child executes a Node process, which runs the hook; and that executes the helper,
 * which performs the steps after it. The pid stays.
 */
export function prepareWithHook(
  plan: LaunchPlan,
  { opaque }: LaunchResources,
  ends: Ends,
  { descriptors, addon, helper, environment }: HookTools,
): PreparedChild {
  const at = plan.steps.findIndex(({ step }) => step === 'hook');
  const hook = elementAt(plan.steps, at);
  if (hook?.step !== 'hook' || runner === undefined) throw typeError('The plan has no hook that could be run.');
  const pidFile = plan.steps.findIndex(({ step }) => step === 'pidfile');
  const pipes = descriptors.makeHelperPipes(plan);
  const made = [...pipes.kept, ...pipes.handedOver];
  const memoryFile = (content: Buffer): number => {
    const fd = descriptors.makeMemoryFile(plan, content, made);
    made.push(fd);
    return fd;
  };

  const { here } = ends;
  const passed = here === undefined ? ends.moves : [...ends.moves, here];
  const numbers = numbersBeside(passed);
  const letter = memoryFile(
    sealed({
      hook: hook.hook,
      opaque,
      addon,
      helper,
      rest: encodeRest(plan, { at, pidFile, numbers, here }),
      step: at,
      keep: [
        ...passed.map(({ to }) => to),
        ...(pidFile < 0 ? [] : [numbers.pidFile]),
        ...(pipes.handshake === undefined ? [] : [numbers.handshake.ready, numbers.handshake.go]),
      ],
    }),
  );
  const moves = [...passed, { from: letter, to: numbers.letter }, ...helperMoves(pipes, numbers)];
  const node = {
    file: process.execPath,
    argv: ['vircommand-hook', '--no-warnings', runner, String(numbers.letter), String(numbers.report)],
    envp: environment.filter((entry) => !isForThisProcess(entry)),
  };
  // Node does not expect to begin with signals blocked.
  const begin: readonly Operation[] = [
    { code: 'sigprocmask', step: at },
    { code: 'execve', step: at },
  ];
  const parent = process.pid;
  const child = {
    report: pipes.report,
    handshake: pipes.handshake,
    hook: new LetterWatch(plan, letter, descriptors),
    ours: [...pipes.kept, letter],
  };

  if (pidFile < 0) {
    const { operations } = operationsOf(plan, plan.steps.slice(0, at), 0, {
      moves,
      here,
      terminal: ends.controlling,
      parent,
    });
    const encodedPlan = encode({ ...node, operations: [...operations, ...begin] });
    return { ...child, encodedPlan, size: encodedPlan.length, file: node.file, theirs: pipes.handedOver };
  }
  const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
  const before = operationsOf(plan, plan.steps.slice(placed, at), placed, { moves: [], here, parent });
  // The helper has marked its report as closed on exec; here it is not the program that is executed next.
  const openReport: Operation = { code: 'dup2', step: at, a: numbers.report, b: numbers.report };
  const planFd = memoryFile(encode({ ...node, operations: [...before.operations, openReport, ...begin] }));
  const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
    moves: [...moves, { from: planFd, to: numbers.plan }],
    here,
    terminal: ends.controlling,
    parent,
  });
  const encodedPlan = encode({
    file: helper,
    argv: ['vircommand-helper', String(numbers.plan), String(numbers.report)],
    envp: [],
    operations: [...first.operations, { code: 'execve', step: LANE_STEP }],
  });
  return {
    ...child,
    encodedPlan,
    size: encodedPlan.length,
    file: helper,
    theirs: [...pipes.handedOver, planFd],
  };
}

/**
 * Chooses numbers that the program does not have. The helper has nothing open but what it is given, so the pidfile gets the
 * lowest number that is free: the first one here. It is below that of the report, and a process that dies closes its
 * descriptors from below: at the report's end, the lock has gone.
 */
function numbersBeside(moves: readonly Move[]): Numbers {
  const taken = new Set(moves.map(({ to }) => to));
  return {
    pidFile: lowestUnused(taken),
    letter: lowestUnused(taken),
    report: lowestUnused(taken),
    plan: lowestUnused(taken),
    handshake: { ready: lowestUnused(taken), go: lowestUnused(taken) },
  };
}

/**
 * Encodes the steps after the hook, for the helper. Before them it undoes what Node has done to the signals and to the
 * limit of open files, and takes over a pidfile.
 */
function encodeRest(
  plan: LaunchPlan,
  { at, pidFile, numbers, here }: { at: number; pidFile: number; numbers: Numbers; here: Move | undefined },
): Buffer {
  const { argv, steps } = plan;
  const { envp, operations } = operationsOf(plan, steps.slice(at + 1), at + 1, {
    moves: [],
    here,
    parent: process.pid,
    report: numbers.report,
    handshake: numbers.handshake,
  });
  const held = elementAt(steps, pidFile);
  const before: Operation[] = [{ code: 'sigaction', step: at }, ...closedByProgram(here, at)];
  if (held?.step === 'pidfile') {
    const [acquired] = operationsOf(plan, [held], pidFile, { moves: [], here, parent: process.pid }).operations;
    before.push({ ...acquired!, a: numbers.pidFile });
  }
  const limit = openFilesStep();
  if (limit !== undefined)
    before.push(...operationsOf(plan, [limit], at, { moves: [], parent: process.pid }).operations);
  return encode({ file: executedFile(plan), argv, envp, operations: [...before, ...operations] });
}

/**
 * The limit of open files as this process has it. The Node process of the hook raises its soft one to the hard one at its start, and the
 * program is to have what it would have without a hook. `undefined` where Node finds nothing to raise, or nothing tells the limit.
 */
function openFilesStep(): Step | undefined {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', AS_LATIN1);
  } catch {
    // There is no /proc: then Node's choice stays.
    return undefined;
  }
  const [, soft = '', hard = ''] = /^Max open files +(\w+) +(\w+)/m.exec(limits) ?? [];
  if (soft === hard) return undefined;
  const value = (word: string): number | 'unlimited' => (word === 'unlimited' ? word : Number(word));
  return { step: 'prlimit', by: '', limit: { resource: 'nofile', soft: value(soft), hard: value(hard) } };
}

function isForThisProcess(entry: Uint8Array): boolean {
  const name =
    Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).toString('latin1').split('=', 1).at(0) ?? '';
  return NOT_FOR_THE_RUNNER.includes(name);
}

/** Reads what became of the hook from its letter, when the report has come. */
class LetterWatch implements HookWatch {
  readonly #plan: LaunchPlan;
  readonly #letter: number;
  readonly #descriptors: Descriptors;
  #tell: ((failure: CommandError | undefined) => void) | undefined;

  constructor(plan: LaunchPlan, letter: number, descriptors: Descriptors) {
    this.#plan = plan;
    this.#letter = letter;
    this.#descriptors = descriptors;
  }

  onReport(
    failure: CommandError | undefined,
    isSilent: boolean,
    tell: (failure: CommandError | undefined) => void,
  ): boolean {
    const answer = readAnswer(this.#letter);
    this.close();
    const isReported = failure !== undefined && !isSilent;
    if (isReported || answer === 'done') tell(failure);
    // How a process died that has not answered is known at its end, which comes next.
    else if (answer === undefined) this.#tell = tell;
    else tell(this.#failure(answer));
    return failure === undefined && answer === 'done';
  }

  onEnd({ exitCode, signal }: ProcessEnd): void {
    this.#tell?.(this.#failure({ what: 'died', exitCode, signal }));
  }

  close(): void {
    this.#descriptors.close([this.#letter]);
  }

  #failure(hook: HookFailure): LaunchError {
    return new LaunchError(this.#plan.subject, { step: 'hook', hook });
  }
}
