import type { Readable, Writable } from 'node:stream';
import type { CommandError } from '../errors/command-error.js';
import type { Refusal } from '../errors/unsupported-error.js';
import type { Clock } from '../host/time.js';
import type { Capture } from '../io/capture.js';
import type { SendBuffer } from '../io/send-buffer.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Step } from '../plan/step-table.js';
import type { ExitStatus } from '../result/exit-status.js';
import type { ResourceUsage } from '../result/run-result.js';
import type { CommandSpec } from '../spec/spec.js';
import type { Terminal } from '../terminal/terminal.js';
import type { SignalName } from '../text/signals.js';

/** What an engine needs beside the plan: where data comes from and goes to. */
export interface LaunchResources {
  /** What the child reads from its standard input. */
  readonly input: Uint8Array | undefined;
  /** Where output goes that is captured, by descriptor of the child. Streams that share a descriptor have one capture. */
  /** What is sent, by the program's descriptor. */
  readonly sendBuffers: ReadonlyMap<number, SendBuffer>;
  readonly captures: ReadonlyMap<1 | 2, Capture>;
  /** Wait for the end of the output, not only for the end of the child. */
  readonly waitForOutputEnd: boolean;
  /** What the hook is given, serialized. */
  readonly opaque: Uint8Array | undefined;
  /** When the launch has taken too long, by the clock of `host/time.ts`, in opening files or in a hook. `Infinity`: never. */
  readonly deadline: number;
  /** What calls the launch off while its files are being opened; later, that is for who watches the child. */
  readonly abortSignal: AbortSignal | undefined;
  /** Is told of the child as soon as there is one: long before its program runs, if a hook takes its time. */
  readonly onStart: ((process: EngineProcess) => void) | undefined;
  /** Is told of a launch that goes on beside this thread, at the call. Without it, this thread launches. */
  readonly onPending: ((pending: PendingLaunch) => void) | undefined;
}

/** A launch that goes on beside this thread. Who asks for its pid, or signals it, holds this thread until there is a child. */
export interface PendingLaunch {
  /** 0 where there is none after all. */
  readonly pid: number;
  /** Sends a signal to the program, unless it is a daemon. False: there is nobody to be signalled. */
  signal(signal: SignalName): boolean;
  /** Resolves when the child is in care, a daemon runs, or the launch has failed. Never rejects. */
  readonly settled: Promise<void>;
}

/** A child's end, all of its output read. */
export interface ProcessEnd extends ExitStatus {
  readonly outputHeldOpen: boolean;
  /** The stream that this process had no memory for. What came before is there. */
  readonly lostOutput: 'stdout' | 'stderr' | undefined;
  readonly inputWritten: number;
  readonly resourceUsage: ResourceUsage | undefined;
}

/** A child that an engine started: its program is running. */
export interface EngineProcess {
  readonly pid: number;
  /** The caller's ends of the pipes that the plan has for the caller. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** The other end of the terminal that the plan has for the caller. */
  readonly terminal: Terminal | null;
  /** Resolves once, when the child has ended and what it wrote has been read. Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  /** Sends a signal. False: the child has ended, and nobody was signalled. */
  signal(signal: SignalName): boolean;
  /** Whether it has ended and was waited for: its pid may mean another process. */
  readonly isReaped: boolean;
  /** Stops waiting for the end of the output, for a child that is being stopped. */
  stopReading(): void;
  /** Keeps this process alive while the child runs, which is so unless `unref()` was called. */
  ref(): void;
  /** Lets this process exit while the child runs. */
  unref(): void;
  /**
   * Gives what is read for the log alone a reader that outlives this process, as the program is to do. False: nothing is, or there is no
   * such reader. Default: nothing is.
   */
  readonly leaveLog?: () => boolean;
  /** Where the plan has a handshake. */
  readonly handshake: Handshake | undefined;
}

/** The two moments of a handshake, seen from the caller. */
export interface Handshake {
  /** Resolves when the child has performed all steps before the handshake. */
  wait(): Promise<void>;
  /** Lets the child go on, and resolves when it has executed its program. */
  notify(): Promise<void>;
  /** Has the child end without executing its program, and resolves when it has taken back what it made. For daemons; a child of ours can be ended. */
  abort(): Promise<void>;
  /** Whether the child still waits for the caller's word. */
  readonly isPending: boolean;
  /** Why the program was never executed, once that is known. */
  readonly failure: CommandError | undefined;
}

/** Finds out what became of a hook: the report of its process tells only what failed after it. */
export interface HookWatch {
  /**
   * Takes the report, gives whether the program runs, and tells it too, or why not: at once, or at the end of the process.
   * It was silent if nobody has said which step failed, or that the exec came next.
   */
  onReport(
    failure: CommandError | undefined,
    isSilent: boolean,
    tell: (failure: CommandError | undefined) => void,
  ): boolean;
  /** Takes the end of the process. */
  onEnd(end: ProcessEnd): void;
  /** Lets go of what it holds, where there will be no report. */
  close(): void;
}

/** A child that is waited for without the event loop. */
export interface SyncProcess {
  readonly pid: number;
  /** What a played stage of a pipeline writes. Default: the kernel has it. */
  readonly stdout?: Readable | null;
  signal(signal: SignalName): boolean;
  readonly isReaped: boolean;
  stopReading(): void;
  /** Waits for news, for so many milliseconds at most, and gives the end once it has come. */
  turn(timeoutMs: number): ProcessEnd | undefined;
}

/** Obeys plans, or declines them with a sentence. */
export interface Engine {
  readonly name: 'native' | 'portable' | 'dry-run';
  /** Whether it performs the steps in the lanes of the plan. */
  readonly usesLanes: boolean;
  /** The clock by which its programs have their time. */
  readonly clock: Clock;
  /** How it differs from what a step says, for `explain()`; `undefined` where it does just that. */
  note(step: Step): string | undefined;
  /** This process's variables byte for byte, where the engine can tell them: for plans that inherit them. */
  readonly environment: (() => readonly Uint8Array[]) | undefined;
  /** What of the plan this engine cannot do, each method once; none if it can do all. */
  refusals(plan: LaunchPlan): readonly Refusal[];
  /** Starts the program. Throws or rejects with a `LaunchError` that names the failed step; then nothing is left behind. */
  launch(plan: LaunchPlan, resources: LaunchResources): EngineProcess | Promise<EngineProcess>;
  /** The same without the event loop, in the engines that can. Throws as `launch` rejects. */
  launchSync?(plan: LaunchPlan, resources: LaunchResources): SyncProcess;
  /**
   * Makes this process the program, in the engines that can. Calls back once nothing but the exec itself is left to do.
   * Returns only by throwing, as `launch` rejects.
   */
  exec?(plan: LaunchPlan, resources: LaunchResources, onReady: () => void): never;
  /** Is told of a launch that has failed, wherever it did, and of the specs that were to be launched together. */
  readonly noteFailure: ((error: CommandError, together: readonly CommandSpec[]) => void) | undefined;
}
