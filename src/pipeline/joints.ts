import { Buffer } from 'node:buffer';
import { closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { Engine } from '../engine/engine.js';
import { pipeSizeFailure } from '../engine/diagnose.js';
import { makePipes } from '../engine/portable/make-pipes.js';
import { addonInUse } from '../engine/select.js';
import type { Subject } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { type Owner, ownerOf } from '../io/owner.js';
import type { Binding } from '../native/binding.js';
import { connect } from '../plan/descriptors.js';
import type { Launch } from '../running/launch.js';
import { errnoName } from '../text/errno.js';
import { Wrong } from '../text/reading.js';
import { quoted } from '../text/shown.js';

/** The streams of a stage that was launched, as an engine has them. */
export interface StageStreams {
  readonly stdin?: Writable | null;
  readonly stdout?: Readable | null;
}

/** What lies between the stages while they are launched. No byte of it passes through this process. */
export interface JointsOfStages {
  /** Whether a stage has to run before the next one can be launched. */
  readonly isInOrder: boolean;
  /** Gives the pipes of a stage the size that its command says, unless the neighbour's is larger. Before the first stage is launched. */
  setSize(stage: number, launch: Launch): void;
  /** Gives a stage that is about to be launched its ends. */
  giveEnds(stage: number, launch: Launch): void;
  /** The stage has its ends, and this process's are closed: only so does the end of one stage reach the next. */
  letGo(stage: number, streams: StageStreams): void;
  /** Closes what is still open, where a launch has failed. */
  close(): void;
}

/** @throws {LaunchError} with the step `pipe` if there is no pipe left. */
export function makeJoints(
  engine: Engine,
  count: number,
  subject: Subject,
  waits = false,
): JointsOfStages | Promise<JointsOfStages> {
  if (engine.name === 'dry-run') return new PlayedJoints(waits);
  const addon = engine.name === 'native' ? addonInUse() : undefined;
  return addon === undefined ? portableJoints(count, subject) : nativeJoints(addon, count, subject);
}

/** They are no pipes. */
const noSize = (): void => undefined;

function nativeJoints(addon: Binding, count: number, subject: Subject): JointsOfStages {
  const ends = new Int32Array(2 * count);
  const errno = count === 0 ? 0 : addon.pipe(ends);
  if (errno !== 0) throw new LaunchError(subject, { step: 'pipe', errno: errnoName(errno) });
  const close = (fd: number): void => addon.closeAll(Int32Array.of(fd));
  const resize = (ofPipe: Int32Array, bytes: number): number => addon.sizePipes(ofPipe, bytes);
  return new PipeJoints(Array.from(ends), { isInOrder: false, close, resize });
}

async function portableJoints(count: number, subject: Subject): Promise<JointsOfStages> {
  try {
    const ends = count === 0 ? [] : await makePipes(count);
    return ends === undefined
      ? new StreamJoints(count)
      : new PipeJoints(ends, { isInOrder: true, close: closeSync, resize: undefined });
  } catch (cause) {
    const { code = 'EIO', syscall = 'open' } = cause as NodeJS.ErrnoException;
    const wanted = `make a directory in ${quoted(tmpdir())}, which the pipes between stages take; name another one in TMPDIR`;
    throw new LaunchError(subject, {
      step: 'pipe',
      errno: code,
      syscall,
      ...(syscall === 'mkdtemp' ? { wanted } : {}),
      cause,
    });
  }
}

interface PipeTools {
  readonly isInOrder: boolean;
  readonly close: (fd: number) => void;
  /** Returns 0, or an errno. */
  readonly resize: ((ends: Int32Array, bytes: number) => number) | undefined;
}

/** Pipes that are all there before the first stage is. */
class PipeJoints implements JointsOfStages {
  readonly isInOrder: boolean;
  /** Two ends each, reading and writing; `undefined` where one is closed. */
  readonly #ends: (number | undefined)[];
  readonly #close: (fd: number) => void;

  readonly #resize: ((ends: Int32Array, bytes: number) => number) | undefined;
  /** The sizes that were said, by pipe. */
  readonly #sizes = new Map<number, number>();

  constructor(ends: readonly number[], { isInOrder, close, resize }: PipeTools) {
    this.isInOrder = isInOrder;
    this.#ends = [...ends];
    this.#close = close;
    this.#resize = resize;
  }

  setSize(stage: number, { spec: { pipeSize: bytes = 0 }, subject }: Launch): void {
    for (const pipe of [stage - 1, stage]) {
      const ends = this.#ends.slice(2 * Math.max(pipe, 0), 2 * (pipe + 1)) as number[];
      if (ends.length === 0 || bytes <= (this.#sizes.get(pipe) ?? 0)) continue;
      // The portable engine has refused a command that says one.
      const errno = this.#resize?.(Int32Array.from(ends), bytes) ?? 0;
      if (errno !== 0) throw new LaunchError(subject, pipeSizeFailure(bytes, errno));
      this.#sizes.set(pipe, bytes);
    }
  }

  giveEnds(stage: number, { plan }: Launch): void {
    const input = this.#ends.at(2 * stage - 2);
    const output = this.#ends.at(2 * stage + 1);
    if (stage > 0 && input !== undefined) connect(plan.descriptors, 0, { kind: 'fd', fd: input });
    if (output !== undefined) connect(plan.descriptors, 1, { kind: 'fd', fd: output });
  }

  letGo(stage: number): void {
    if (stage > 0) this.#closeEnd(2 * stage - 2);
    this.#closeEnd(2 * stage + 1);
  }

  close(): void {
    for (const index of this.#ends.keys()) this.#closeEnd(index);
  }

  #closeEnd(index: number): void {
    const fd = this.#ends.at(index);
    if (fd === undefined) return;
    this.#ends[index] = undefined;
    this.#close(fd);
  }
}

/** The streams of `child_process` where there is no `mkfifo`: their descriptors are handed on from stage to stage before anything is read from them. */
class StreamJoints implements JointsOfStages {
  readonly isInOrder = true;
  readonly setSize = noSize;
  readonly #count: number;
  #before: Owner | undefined;

  constructor(count: number) {
    this.#count = count;
  }

  giveEnds(stage: number, { plan }: Launch): void {
    if (stage < this.#count) connect(plan.descriptors, 1, { kind: 'pipe', for: 'caller' });
    const fd = this.#before?.fd();
    if (stage > 0) connect(plan.descriptors, 0, fd === undefined ? { kind: 'null' } : { kind: 'fd', fd });
  }

  letGo(_stage: number, { stdout }: StageStreams): void {
    this.close();
    const owner = stdout === null || stdout === undefined ? undefined : ownerOf(stdout);
    if (owner === undefined || owner instanceof Wrong) return;
    owner.stopReading();
    this.#before = owner;
  }

  close(): void {
    void this.#before?.close();
    this.#before = undefined;
  }
}

/** Streams between played programs. What a program has written by the time that the next is launched is the input that this is asked with. */
class PlayedJoints implements JointsOfStages {
  readonly isInOrder = true;
  readonly setSize = noSize;
  /** Whether there is no event loop, and nothing is written later. */
  readonly #waits: boolean;
  #before: Readable | null | undefined;
  #written: Buffer = Buffer.alloc(0);

  constructor(waits: boolean) {
    this.#waits = waits;
  }

  giveEnds(stage: number, launch: Launch): void {
    if (stage === 0) return;
    this.#written = (this.#before?.read() as Buffer | null | undefined) ?? Buffer.alloc(0);
    launch.input = this.#written;
    if (this.#waits) connect(launch.plan.descriptors, 0, { kind: 'pipe', for: 'buffer' });
  }

  letGo(_stage: number, { stdin, stdout }: StageStreams): void {
    if (stdin !== null && stdin !== undefined && this.#before !== undefined) {
      stdin.write(this.#written);
      this.#before?.pipe(stdin);
    }
    this.#before = stdout;
  }

  close(): void {
    this.#before = undefined;
  }
}
