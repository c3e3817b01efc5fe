import { ProcessError } from '../errors/process-error.js';
import { inspectProcess, type ProcessRow } from '../host/process-table.js';
import { delay } from '../host/time.js';
import type { KillTreeResult } from '../result/tree-result.js';
import type { SignalName } from '../text/signals.js';
import type { Root } from './roots.js';

/**
 * What the end of a tree waits for next: so many milliseconds; or, where there is nothing but to ask `ps`, an answer, which is handed back. What
 * waits for numbers only can be done without an event loop.
 */
export type Pause = number | Promise<unknown>;

/** Work that pauses. Who drives it decides how it waits. */
export type Steps<T> = Generator<Pause, T, unknown>;

/** Drives it by the event loop. */
export async function drive<T>(steps: Steps<T>): Promise<T> {
  for (let step = steps.next(); ;) {
    if (step.done === true) return step.value;
    let answer: unknown;
    if (typeof step.value === 'number') await delay(step.value);
    else answer = await step.value;
    step = steps.next(answer);
  }
}

/** The root of a tree as the engine has it that launched it. */
export interface OwnRoot {
  /** Sends a signal and notes how that went. */
  readonly signal: (signal: SignalName) => void;
  /** Whether it has ended, and its pid may mean another process. */
  readonly isReaped: () => boolean;
}

/** What is known of a tree before it is looked at. */
export interface TreeFacts {
  readonly pid: number;
  /** What is known of the root from elsewhere than from its launch here: then no other process of that pid is meant. */
  readonly known?: Root | undefined;
  /** Whether the root has ended, and its pid may mean another process. */
  readonly isReaped?: boolean | undefined;
  /** Where the root is a child of this process that is being stopped. Then what cannot be seen is no error: the root is ended all the same. */
  readonly own?: OwnRoot | undefined;
  /** What is told of a SIGKILL that is sent. */
  readonly call: string;
}

/** A process and its descendants, which are ended together. */
export interface Tree {
  /** Finds what is in the tree, and sends a signal to all of it. */
  ask(signal: SignalName): Steps<void>;
  /** Whether all of it has ended. What has come meanwhile is sent the last signal as well. */
  isOver(): Steps<boolean>;
  /** Stops all of it until nothing moves, ends it by SIGKILL, and looks again for what has come meanwhile. */
  kill(): Steps<void>;
  /** What was reached. */
  readonly result: KillTreeResult;
  /** Lets go of what is held. */
  close(): void;
}

/** Whether `/proc` hides processes from this one. Process 1 is always there, and another user's, or nobody may look. */
export const hidesSome = (): boolean => typeof inspectProcess(1) === 'string';

/**
 * Whether a process is in the session or group that the root leads, or led. All in a session that a process leads descend from it;
 * of a group that is certain only where the command was launched into one of its own.
 *
 * @param isStranger whether the pid of the root means another process by now.
 */
export function isInGroupOf(
  pid: number,
  root: Root | undefined,
  isStranger: boolean,
): (row: ProcessRow, table: { has(pid: number): boolean }) => boolean {
  return ({ session, group }, table) => {
    if (!isStranger && (session === pid || group === root?.group)) return true;
    // While a session has members, its number is not given out again.
    return session === root?.session && !table.has(session);
  };
}

export const ownTree = (pid: number): ProcessError =>
  new ProcessError(
    `killTree(${pid}): this process is in that tree, and would end before it could tell; give a child of this process.`,
    { code: 'EINVAL', pid },
  );
