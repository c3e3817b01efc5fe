import { Buffer } from 'node:buffer';
import type { Readable, Writable } from 'node:stream';
import { realClock } from '../host/time.js';
import { CaptureSink, FileSink, type Given, type Sink, sinkOf } from './destination.js';
import { InputFlow } from './input-flow.js';
import { OutputFlow } from './output-flow.js';
import { bytesOfChunk, END, type InputSource, pull } from './source.js';
import type { Capture } from '../io/capture.js';
import type { PlannedDescriptor } from '../plan/descriptors.js';
import type { TeeFiles } from './tee-files.js';

/** What `inputStream()` was given. */
export type GivenSource = InputSource | (() => InputSource);

/** The streams of a command, which are no data. */
export interface GivenStreams {
  readonly input: GivenSource | undefined;
  readonly outputTo: Given | undefined;
  readonly errorTo: Given | undefined;
}

/** Which stream has failed, and why. */
export interface FlowFailure {
  readonly stream: 'stdin' | 'stdout' | 'stderr';
  /** What failed, for a message. */
  readonly what: string;
  readonly error: unknown;
}

/** How long a stream may take nothing once the program was stopped, in milliseconds. */
const STUCK_MS = 1000;

/** What a launch has for its flows. */
export interface FlowPlan {
  readonly streams: GivenStreams | undefined;
  readonly plan: { readonly descriptors: readonly PlannedDescriptor[] };
  readonly captures: ReadonlyMap<1 | 2, Capture>;
  readonly waitForOutputEnd: boolean;
  readonly teeFiles: TeeFiles | undefined;
  /** What reading a source to its end has failed with, in a dry run. */
  readonly inputFailure: { readonly error: unknown } | undefined;
}

/** The streams of a child, as an engine has them. */
export interface ChildStreams {
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
}

/** Whether a standard stream goes through this process to or from a stream, or a file beside a buffer. */
export const isFlow = ({ descriptors }: FlowPlan['plan'], childFd: 0 | 1 | 2): boolean => {
  const source = descriptors.at(childFd)?.source;
  return source?.kind === 'pipe' && source.for === 'flow';
};

/** Whether anything of a launch passes through this process from or to a stream. */
export const hasFlows = ({ plan, inputFailure }: FlowPlan): boolean =>
  inputFailure !== undefined || isFlow(plan, 0) || isFlow(plan, 1) || isFlow(plan, 2);

/** All that passes through this process between a child and streams. */
export class Flows {
  readonly #input: InputFlow | undefined;
  readonly #outputs: readonly OutputFlow[];
  readonly #waitsForEnd: boolean;
  readonly #onFailure: (failure: FlowFailure) => void;
  #failure: FlowFailure | undefined;
  #isStopped = false;
  #hasProgramEnded = false;
  #onGiveUp: () => void = () => undefined;

  /** `onFailure` is told of the first failure, on which the program is to be stopped. */
  constructor(launch: FlowPlan, child: ChildStreams, onFailure: (failure: FlowFailure) => void) {
    this.#onFailure = onFailure;
    this.#waitsForEnd = launch.waitForOutputEnd;
    this.#outputs = [...this.#output(launch, 1, child.stdout), ...this.#output(launch, 2, child.stderr)];
    this.#input = this.#inputOf(launch, child.stdin);
  }

  /** What has failed first. */
  get failure(): FlowFailure | undefined {
    return this.#failure;
  }

  /** How much of the source the program's pipe has taken; `undefined` where there is none. */
  get inputWritten(): number | undefined {
    return this.#input?.written;
  }

  get isHeldOpen(): boolean {
    return this.#outputs.some((output) => output.isHeldOpen);
  }

  /** The program is being stopped: what takes nothing more is not waited for. `onGiveUp` is told where that happens after its end. */
  stopped(onGiveUp: () => void): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#onGiveUp = onGiveUp;
    if (this.#hasProgramEnded) this.#watchProgress();
  }

  /** The program has ended. Resolves when what it wrote has been taken. */
  async settle(): Promise<void> {
    this.#input?.stop();
    this.#hasProgramEnded = true;
    const waits = this.#waitsForEnd && !this.#isStopped;
    if (!waits) for (const output of this.#outputs) output.programEnded();
    if (this.#isStopped) this.#watchProgress();
    await Promise.all(this.#outputs.map((output) => output.done));
  }

  #watchProgress(): void {
    for (const output of this.#outputs) {
      output.programEnded();
      let callOff: () => void = () => undefined;
      const look = (seen: number): void => {
        callOff = realClock.after(STUCK_MS, () => {
          if (output.progress !== seen) {
            look(output.progress);
            return;
          }
          this.#onGiveUp();
          output.giveUp();
        });
      };
      look(output.progress);
      void output.done.then(() => {
        callOff();
      });
    }
  }

  #output(launch: FlowPlan, fd: 1 | 2, stream: Readable | null): OutputFlow[] {
    if (stream === null || !isFlow(launch.plan, fd)) return [];
    const capture = launch.captures.get(fd);
    const given = fd === 1 ? launch.streams?.outputTo : launch.streams?.errorTo;
    const file = launch.teeFiles?.get(fd);
    const sinks: Sink[] = [];
    if (capture !== undefined) sinks.push(new CaptureSink(capture));
    if (file !== undefined) sinks.push(new FileSink(file));
    if (given !== undefined) sinks.push(sinkOf(given));
    const name = fd === 1 ? 'stdout' : 'stderr';
    return [
      new OutputFlow(stream, sinks, (sink, error, isAtEnd) => {
        const what = sink instanceof FileSink ? sink.name : fd === 1 ? 'output stream' : 'error stream';
        this.#fail({ stream: name, what, error }, isAtEnd);
      }),
    ];
  }

  #inputOf(launch: FlowPlan, stdin: Writable | null): InputFlow | undefined {
    const fail = (error: unknown): void => {
      this.#fail({ stream: 'stdin', what: 'input stream', error });
    };
    if (launch.inputFailure !== undefined) fail(launch.inputFailure.error);
    const source = launch.streams?.input;
    if (stdin === null || source === undefined || !isFlow(launch.plan, 0)) return undefined;
    try {
      return new InputFlow(pull(source), stdin, fail);
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  #fail(failure: FlowFailure, isAtEnd = false): void {
    for (const output of this.#outputs) output.spoil();
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    // A program that has written all is about to end, and is left to it.
    if (isAtEnd) return;
    this.stopped(() => undefined);
    this.#onFailure(failure);
  }
}

/** Reads a source to its end, for a program that is played. */
export async function readAll(given: GivenSource): Promise<{ bytes: Buffer; failure: { error: unknown } | undefined }> {
  const pieces: Uint8Array[] = [];
  const all = (): Buffer => Buffer.concat(pieces);
  try {
    const source = pull(given);
    try {
      for (;;) {
        const chunk = await source.next();
        if (chunk === END) return { bytes: all(), failure: undefined };
        pieces.push(bytesOfChunk(chunk));
      }
    } finally {
      source.stop();
    }
  } catch (error) {
    return { bytes: all(), failure: { error } };
  }
}
