import { LaunchError } from '../../errors/launch-error.js';
import { UsageError } from '../../errors/usage-error.js';
import { type SendBuffer, WAS_SENT } from '../../io/send-buffer.js';
import type { Binding } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { HandshakeEnds } from '../../plan/step-table.js';
import type { TerminalSize } from '../../spec/spec.js';
import { errnoName } from '../../text/errno.js';
import { lowestUnused, type Move } from '../../wire/moves.js';
import { pipeSizeFailure } from '../diagnose.js';
import { inRoomForClosing, roomForPipes } from './scratch.js';

/** The descriptors of the files behind a plan's descriptors, by number in the child. */
export type OpenFds = ReadonlyMap<number, number>;

export const NO_FILES: OpenFds = new Map();

/** What is sent, by the program's descriptor. */
type SendBuffers = ReadonlyMap<number, SendBuffer>;

const NOTHING_SENT: SendBuffers = new Map();

/** Something for each of a child's standard streams, by its number. */
export type Triple = [stdin: number, stdout: number, stderr: number];

/** This process's ends of a child's pipes; -1 where there is none. */
export interface OurEnds {
  /** Those that the watcher writes to and reads from. */
  readonly ours: Readonly<Triple>;
  /** Those that the caller gets, as streams. */
  readonly callers: Readonly<Triple>;
}

/** The descriptors of one launch in this process. */
export interface Ends extends OurEnds {
  /** Where each descriptor of the child comes from. */
  readonly moves: readonly Move[];
  /** The child's ends, which are closed here when it has its own. */
  readonly theirs: readonly number[];
  /** This process's directory, where the child needs it, and a number for it that the program does not have. */
  readonly here: Move | undefined;
  /** The two ends of a terminal: this process's, and the program's. Both stay here as long as the program runs. */
  readonly terminal: TerminalEnds | undefined;
  /** The terminal that is to control the child's session, or to have the child in its foreground, until descriptors are placed. */
  readonly controlling: number | undefined;
}

/** The ends of a terminal. */
export interface TerminalEnds {
  readonly ours: number;
  readonly programs: number;
}

/** Two directions of a handshake, and the pipe of a report, between this process and a helper. */
export interface HelperPipes {
  /** The reading end of the report. */
  readonly report: number;
  /** This process's ends of a handshake, where the plan has one. */
  readonly handshake: HandshakeEnds | undefined;
  /** The helper's ends. */
  readonly theirs: { readonly report: number; readonly handshake: HandshakeEnds | undefined };
  /** All of them that this process keeps, and all that it closes after the launch. */
  readonly kept: readonly number[];
  readonly handedOver: readonly number[];
}

/** Makes and closes the descriptors of launches. */
export class Descriptors {
  readonly #binding: Binding;

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  /**
   * Makes the pipes of a plan, and says where each descriptor of the child comes from. `here` is one of this process's directory,
   * `foreground` of its terminal.
   */
  makeEnds(
    plan: LaunchPlan,
    files: OpenFds,
    here: number | undefined,
    sendBuffers: SendBuffers = NOTHING_SENT,
    foreground?: number,
  ): Ends {
    const { descriptors } = plan;
    let pipes = 0;
    let nullFd = -1;
    for (const { source } of descriptors) {
      if (source.kind === 'pipe') pipes += 1;
      else if (source.kind === 'null') nullFd = this.#nullDevice(plan);
    }
    const sent = sendBuffers.size === 0 ? NO_FILES : this.#send(plan, sendBuffers);
    const terminal =
      plan.spec.terminal === undefined
        ? undefined
        : this.#beside([...sent.values()], () => this.#openTerminal(plan, plan.spec.terminal!));
    const ends =
      terminal === undefined && sent.size === 0
        ? this.#makeStreamPipes(plan, pipes)
        : this.#beside([...sent.values(), terminal?.ours ?? -1, terminal?.programs ?? -1], () =>
            this.#makeStreamPipes(plan, pipes),
          );
    const ours: Triple = [-1, -1, -1];
    const callers: Triple = [-1, -1, -1];
    const theirs: number[] = [];
    const moves: Move[] = [];
    let next = 0;
    for (const { childFd: to, source } of descriptors) {
      let from = nullFd;
      let isShared = false;
      switch (source.kind) {
        case 'null':
          break;
        case 'fd':
          from = source.fd;
          // exec() leaves nobody who shares it in this process, and does not have it changed for a rehearsal.
          isShared = plan.mode !== 'exec';
          break;
        case 'file':
          from = files.get(to) ?? -1;
          break;
        case 'send':
          from = sent.get(to) ?? -1;
          theirs.push(from);
          break;
        case 'stdout':
          from = moves.at(1)?.from ?? -1;
          isShared = moves.at(1)?.isShared === true;
          break;
        case 'terminal':
          from = terminal?.programs ?? -1;
          break;
        case 'pipe': {
          const readEnd = ends[next]!;
          const writeEnd = ends[next + 1]!;
          next += 2;
          from = to === 0 ? readEnd : writeEnd;
          theirs.push(from);
          (source.for === 'caller' || source.for === 'flow' ? callers : ours)[to as 0 | 1 | 2] =
            to === 0 ? writeEnd : readEnd;
        }
      }
      moves.push({ from, to, isShared });
    }
    const from = here;
    return {
      moves,
      ours,
      callers,
      theirs,
      terminal,
      controlling: terminal?.programs ?? foreground,
      here: from === undefined ? undefined : { from, to: lowestUnused(new Set(moves.map(({ to }) => to))) },
    };
  }

  /** Makes the pipes between this process and a helper: one for its report, and two for a handshake where the plan has one. */
  makeHelperPipes(plan: LaunchPlan): HelperPipes {
    const shakesHands = plan.steps.some(({ step }) => step === 'handshake');
    const [report = -1, reportEnd = -1, ready = -1, readyEnd = -1, goEnd = -1, go = -1] = this.#makePipes(
      plan,
      shakesHands ? 3 : 1,
    );
    return {
      report,
      handshake: shakesHands ? { ready, go } : undefined,
      theirs: { report: reportEnd, handshake: shakesHands ? { ready: readyEnd, go: goEnd } : undefined },
      kept: shakesHands ? [report, ready, go] : [report],
      handedOver: shakesHands ? [reportEnd, readyEnd, goEnd] : [reportEnd],
    };
  }

  /** Makes a file in memory that holds the bytes. If that fails, the descriptors of `otherwise` are closed. */
  makeMemoryFile(plan: LaunchPlan, bytes: Buffer, otherwise: readonly number[]): number {
    const fd = this.#binding.memoryFile(bytes);
    if (fd >= 0) return fd;
    this.close(otherwise);
    throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(fd), syscall: 'memfd_create' });
  }

  /** Closes those of the addon that are 0 or above. */
  close(...lists: readonly (readonly number[] | undefined)[]): void {
    inRoomForClosing(lists, (fds) => {
      this.#binding.closeAll(fds);
    });
  }

  /** Gives up descriptors of the addon that streams of Node own from now on. */
  giveAway(fds: readonly number[]): void {
    this.#binding.giveAway(Int32Array.from(fds));
  }

  /** Has the kernel hold what is sent, so that nobody has to write it: in a pipe, or in a file in memory where no pipe may be that large. All or none. */
  #send(plan: LaunchPlan, sendBuffers: SendBuffers): OpenFds {
    const sent = new Map<number, number>();
    for (const [childFd, { bytes }] of sendBuffers) {
      if (bytes === undefined) {
        this.close([...sent.values()]);
        throw new UsageError(plan.subject, [{ call: 'sendBuffer(…)', problem: WAS_SENT }]);
      }
      const fd = this.#binding.sendBuffer(bytes);
      if (fd < 0) {
        this.close([...sent.values()]);
        throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(fd) });
      }
      sent.set(childFd, fd);
    }
    return sent;
  }

  /** Makes something. If that fails, what was made before is closed. */
  #beside<T>(made: readonly number[], make: () => T): T {
    try {
      return make();
    } catch (error) {
      this.close(made);
      throw error;
    }
  }

  #nullDevice(plan: LaunchPlan): number {
    const fd = this.#binding.nullDevice();
    if (fd >= 0) return fd;
    const wanted = 'be opened';
    throw new LaunchError(plan.subject, { step: 'open', errno: errnoName(fd), path: '/dev/null', wanted });
  }

  /** The terminal of a plan that has one. Its user owns it, as login(1) has it. */
  #openTerminal({ steps, subject }: LaunchPlan, size: TerminalSize): TerminalEnds {
    const uid = steps.find((step) => step.step === 'setuid')?.id ?? -1;
    const ends = roomForPipes(1);
    const failed = this.#binding.openTerminal(size.columns, size.rows, uid, ends);
    if (failed === 0) return { ours: ends[0]!, programs: ends[1]! };
    const [syscall, errno] = failed;
    const wanted = 'be opened for a terminal';
    throw new LaunchError(subject, { step: 'open', errno: errnoName(errno), syscall, path: '/dev/ptmx', wanted });
  }

  /** Makes the pipes of standard streams, of the size that was said. */
  #makeStreamPipes(plan: LaunchPlan, count: number): Int32Array {
    const ends = this.#makePipes(plan, count);
    const { pipeSize } = plan.spec;
    const errno = pipeSize === undefined || count === 0 ? 0 : this.#binding.sizePipes(ends, pipeSize);
    if (errno === 0) return ends;
    this.#binding.closeAll(ends);
    throw new LaunchError(plan.subject, pipeSizeFailure(pipeSize ?? 0, errno));
  }

  /** Makes pipes, all or none. Returns their ends, reading and writing in turn, in an array of {@link roomForPipes}. */
  #makePipes(plan: LaunchPlan, count: number): Int32Array {
    const ends = roomForPipes(count);
    const errno = count === 0 ? 0 : this.#binding.pipe(ends);
    if (errno !== 0) throw new LaunchError(plan.subject, { step: 'pipe', errno: errnoName(errno) });
    return ends;
  }
}

/** Where the helper's own descriptors go: its ends of the pipes, to the numbers that it is told. */
export function helperMoves(
  { theirs }: HelperPipes,
  { report, handshake }: { report: number; handshake: HandshakeEnds },
): Move[] {
  const moves = [{ from: theirs.report, to: report }];
  if (theirs.handshake !== undefined)
    moves.push({ from: theirs.handshake.ready, to: handshake.ready }, { from: theirs.handshake.go, to: handshake.go });
  return moves;
}
