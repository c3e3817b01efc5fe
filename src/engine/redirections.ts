import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { LaunchError } from '../errors/launch-error.js';
import { clearTimeout, now, setTimeout } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import type { DescriptorSource } from '../plan/descriptors.js';
import type { LaunchPlan } from '../plan/launch-plan.js';

/** The files behind a plan's descriptors, by descriptor of the child. */
export type OpenFiles = ReadonlyMap<number, FileHandle>;

const { O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOCTTY } = constants;
const flags = {
  read: O_RDONLY | O_NOCTTY,
  truncate: O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY,
  append: O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY,
};

/**
 * Opens the files that a plan names. This happens in the parent, off the event loop: to open a FIFO or a file on a dead
 * network mount can take for ever, and in the child it would take the parent with it.
 *
 * Nobody can take back an `open()` that waits. When the plan's time is over, or the signal is aborted, nobody waits for it any
 * more, and a file that comes after all is closed.
 *
 * @throws {LaunchError} with the step `open`, or `abort`; the files opened before it are closed again.
 */
export async function openFiles(plan: LaunchPlan, abortSignal?: AbortSignal): Promise<OpenFiles> {
  const files = new Map<number, FileHandle>();
  const startedAt = now();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'file') continue;
    try {
      files.set(childFd, await openInTime(plan, source, { startedAt, abortSignal }));
    } catch (cause) {
      await closeFiles(files);
      if (cause instanceof LaunchError) throw cause;
      throw openError(plan, source, cause);
    }
  }
  return files;
}

type FileSource = Extract<DescriptorSource, { kind: 'file' }>;

function openInTime(
  plan: LaunchPlan,
  source: FileSource,
  { startedAt, abortSignal }: { startedAt: number; abortSignal: AbortSignal | undefined },
): Promise<FileHandle> {
  const { subject, mode, spec } = plan;
  // A daemon's time is its hook's.
  const limitMs = mode === 'daemon' && spec.preExecHook === undefined ? undefined : spec.timeoutMs;
  const opening = open(source.path, flags[source.open]);
  if (limitMs === undefined && abortSignal === undefined) return opening;
  return new Promise((resolve, reject) => {
    let hasGivenUp = false;
    const giveUp = (failure: LaunchError): void => {
      hasGivenUp = true;
      settled();
      reject(failure);
    };
    const late = (): void =>
      giveUp(new LaunchError(subject, { step: 'open', path: source.path, wanted: wantedOf(source), limitMs }));
    const timer = limitMs === undefined ? undefined : setTimeout(late, Math.max(0, startedAt + limitMs - now()));
    const callOff =
      abortSignal === undefined
        ? undefined
        : onAbort(abortSignal, (cause) => giveUp(new LaunchError(subject, { step: 'abort', cause })));
    const settled = (): void => {
      clearTimeout(timer);
      callOff?.();
    };
    opening.then(
      (file) => {
        settled();
        if (hasGivenUp) void file.close();
        else resolve(file);
      },
      (error: unknown) => {
        settled();
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it is what open() threw.
        reject(error);
      },
    );
  });
}

/** The same without the event loop. */
export function openFilesSync(plan: LaunchPlan): Map<number, number> {
  const files = new Map<number, number>();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'file') continue;
    try {
      files.set(childFd, openSync(source.path, flags[source.open]));
    } catch (cause) {
      for (const fd of files.values()) closeSync(fd);
      throw openError(plan, source, cause);
    }
  }
  return files;
}

function openError(plan: LaunchPlan, source: FileSource, cause: unknown): LaunchError {
  const { code = 'EIO' } = cause as NodeJS.ErrnoException;
  return new LaunchError(plan.subject, {
    step: 'open',
    errno: code,
    path: source.path,
    wanted: wantedOf(source),
    cause,
  });
}

const wantedOf = (source: FileSource): string =>
  source.open === 'read' ? 'be opened for reading' : 'be opened for writing';

/** Closes this process's copies; the child keeps its own. */
export async function closeFiles(files: OpenFiles): Promise<void> {
  await Promise.all(Array.from(files.values(), (file) => file.close()));
}
