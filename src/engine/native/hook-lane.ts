import { Buffer } from 'node:buffer';
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CommandError } from '../../errors/command-error.js';
import type { HookFailure } from '../../errors/hook-failure.js';
import { LaunchError } from '../../errors/launch-error.js';
import { readAnswer, sealed } from '../../hook/exchange.js';
import type { Native } from '../../native/load.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { errnoName } from '../../text/errno.js';
import { encode, type Operation } from '../../wire/encode.js';
import type { Move } from '../../wire/moves.js';
import { type HandshakeEnds, operationsOf } from '../../wire/operations.js';
import type { HookWatch, LaunchResources, ProcessEnd } from '../engine.js';
import { type Lane, LANE_STEP, unused } from './prepared-child.js';

/** The program that runs a hook, beside this file's directory, or, for a library that runs from its source, in the build of it. */
const runner = ['../../hook/runner.js', '../../../dist/hook/runner.js']
  .map((place) => fileURLToPath(new URL(place, import.meta.url)))
  .find((path) => existsSync(path));

/** Why no hook can be run here, if none can. */
export const noRunner =
  runner === undefined
    ? 'the file hook/runner.js is missing in the library: a bundle leaves it out, and a checkout is built by `npm run build`'
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

/** What a lane needs of the engine. */
export interface LaneTools extends Native {
  /** Where each descriptor of the child comes from. */
  readonly moves: readonly Move[];
  /** The ends of the report, reading and writing; and of a handshake, both directions. */
  readonly pipes: readonly number[];
  /** This process's variables. */
  readonly environment: readonly Uint8Array[];
}

/**
 * A plan with a hook, in three parts. The steps before the hook are taken in shared memory, or by the helper if one of them
 * may wait; then the child executes a Node process, which runs the hook; and that executes the helper, which takes the steps
 * after it. The pid stays.
 */
export function hookLane(plan: LaunchPlan, { opaque }: LaunchResources, tools: LaneTools): Lane {
  const { binding, addon, helper } = tools;
  const at = plan.steps.findIndex(({ step }) => step === 'hook');
  const hook = plan.steps[at];
  if (hook?.step !== 'hook' || runner === undefined) throw new TypeError('The plan has no hook that could be run.');
  const [report = -1, reportEnd = -1, ready = -1, readyEnd = -1, goEnd = -1, go = -1] = tools.pipes;
  const shakesHands = ready >= 0;

  // The helper has nothing open but what it is given, so the pidfile gets the lowest number that is free: this one. It is below
  // that of the report, and a process that dies closes its descriptors from below: at the report's end, the lock has gone.
  const taken = new Set(tools.moves.map(({ to }) => to));
  const pidFileAt = unused(taken);
  const [letterAt, reportAt, planAt, readyAt, goAt] = [
    unused(taken),
    unused(taken),
    unused(taken),
    unused(taken),
    unused(taken),
  ];
  const pidFile = plan.steps.findIndex(({ step }) => step === 'pidfile');

  const files: number[] = [];
  const memoryFile = (content: Buffer): number => {
    const fd = binding.memoryFile(content);
    if (fd < 0) {
      binding.closeAll(Int32Array.of(...tools.pipes, ...files));
      throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(fd), syscall: 'memfd_create' });
    }
    files.push(fd);
    return fd;
  };
  const rest = encodeRest(plan, { at, pidFile, pidFileAt, report: reportAt, handshake: { ready: readyAt, go: goAt } });
  const keep = [
    ...tools.moves.map(({ to }) => to),
    ...(pidFile < 0 ? [] : [pidFileAt]),
    ...(shakesHands ? [readyAt, goAt] : []),
  ];
  const letter = memoryFile(
    sealed({ hook: hook.hook, opaque, addon, helper, rest, step: at, streamFlags: streamFlags(tools.moves), keep }),
  );

  const node = {
    file: process.execPath,
    argv: ['vircommand-hook', '--no-warnings', runner, String(letterAt), String(reportAt)],
    envp: tools.environment.filter((entry) => !isForThisProcess(entry)),
  };
  // Node does not expect to begin with signals blocked.
  const begin: readonly Operation[] = [
    { code: 'sigprocmask', step: at },
    { code: 'execve', step: at },
  ];
  const moves = [
    ...tools.moves,
    { from: letter, to: letterAt },
    { from: reportEnd, to: reportAt },
    ...(shakesHands
      ? [
          { from: readyEnd, to: readyAt },
          { from: goEnd, to: goAt },
        ]
      : []),
  ];
  const parent = process.pid;
  const lane = {
    report,
    handshake: shakesHands ? { ready, go } : undefined,
    hook: new LetterWatch(plan, letter),
    ours: [report, letter, ready, go],
  };

  if (pidFile < 0) {
    const { operations } = operationsOf(plan, plan.steps.slice(0, at), 0, { moves, parent });
    const program = encode({ ...node, operations: [...operations, ...begin] });
    return { ...lane, program, size: program.length, file: node.file, theirs: [reportEnd, readyEnd, goEnd] };
  }
  const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
  const before = operationsOf(plan, plan.steps.slice(placed, at), placed, { moves: [], parent });
  // The helper has marked its report as closed on exec; here it is not the program that is executed next.
  const openReport: Operation = { code: 'dup2', step: at, a: reportAt, b: reportAt };
  const planFd = memoryFile(encode({ ...node, operations: [...before.operations, openReport, ...begin] }));
  const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
    moves: [...moves, { from: planFd, to: planAt }],
    parent,
  });
  const program = encode({
    file: helper,
    argv: ['vircommand-helper', String(planAt), String(reportAt)],
    envp: [],
    operations: [...first.operations, { code: 'execve', step: LANE_STEP }],
  });
  return { ...lane, program, size: program.length, file: helper, theirs: [reportEnd, readyEnd, goEnd, planFd] };
}

/** The flags of the open files that the child will have at 0, 1 and 2, as this process has them now. */
function streamFlags(moves: readonly Move[]): number[] {
  return [0, 1, 2].map((fd) => {
    try {
      const info = readFileSync(`/proc/self/fdinfo/${moves.find(({ to }) => to === fd)?.from}`, 'latin1');
      return Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? '-1', 8);
    } catch {
      // There is no /proc: then Node's choice stays.
      return -1;
    }
  });
}

interface RestNumbers {
  readonly at: number;
  readonly pidFile: number;
  readonly pidFileAt: number;
  readonly report: number;
  readonly handshake: HandshakeEnds;
}

/** The steps after the hook, for the helper. Before them it undoes what Node has done to the signals, and takes over a pidfile. */
function encodeRest(plan: LaunchPlan, { at, pidFile, pidFileAt, report, handshake }: RestNumbers): Buffer {
  const { file, argv, steps } = plan;
  const { envp, operations } = operationsOf(plan, steps.slice(at + 1), at + 1, {
    moves: [],
    parent: process.pid,
    report,
    handshake,
  });
  const held = steps[pidFile];
  const before: Operation[] = [{ code: 'sigaction', step: at }];
  if (held?.step === 'pidfile') before.push({ code: 'pidfile', step: pidFile, a: pidFileAt, text: held.path });
  return encode({ file, argv, envp, operations: [...before, ...operations] });
}

function isForThisProcess(entry: Uint8Array): boolean {
  const name = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).toString('latin1').split('=', 1)[0] ?? '';
  return NOT_FOR_THE_RUNNER.includes(name);
}

/** Reads what became of the hook from its letter, when the report has come. */
class LetterWatch implements HookWatch {
  readonly #plan: LaunchPlan;
  readonly #letter: number;
  #tell: ((failure: CommandError | undefined) => void) | undefined;

  constructor(plan: LaunchPlan, letter: number) {
    this.#plan = plan;
    this.#letter = letter;
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
    closeSync(this.#letter);
  }

  #failure(hook: HookFailure): LaunchError {
    return new LaunchError(this.#plan.subject, { step: 'hook', hook });
  }
}
