import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { LaunchError } from '../errors/launch-error.js';
import { clearTimeout, now, setTimeout } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import type { DescriptorSource } from '../plan/descriptors.js';
import { fileFromHere } from '../plan/from-here.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { pathOf, readable } from '../text/bytes.js';
import type { LaunchResources } from './engine.js';
import { holdDirectory, pathFrom, reopenDirectory } from './here.js';

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
 * @param held this process's directory as it was at the call, where something has been waited for since.
 * @throws {LaunchError} with the step `open`, or `abort`; the files opened before it are closed again.
 */
export async function openFiles(plan: LaunchPlan, limits: OpenLimits, held?: number): Promise<OpenFiles> {
  const files = new Map<number, FileHandle>();
  const here = plan.descriptors.some(
    ({ childFd, source }) => source.kind === 'file' && fileFromHere(plan, childFd) !== undefined,
  )
    ? held === undefined
      ? holdDirectory()
      : reopenDirectory(held)
    : undefined;
  const openings: Promise<unknown>[] = [];
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'file') continue;
    try {
      const opening = open(pathFrom(here, fileFromHere(plan, childFd) ?? source.path), flags[source.open]);
      openings.push(opening);
      files.set(childFd, await inTime(opening, plan, source, limits));
    } catch (cause) {
      await closeFiles(files);
      letGo(here, openings);
      if (cause instanceof LaunchError) throw cause;
      throw openError(plan, source, cause);
    }
  }
  letGo(here, openings);
  return files;
}

/** What ends the wait for a file. */
type OpenLimits = Pick<LaunchResources, 'deadline' | 'abortSignal'>;

type FileSource = Extract<DescriptorSource, { kind: 'file' }>;

/** An opening that nobody waits for any more still goes by the directory. */
function letGo(here: number | undefined, openings: readonly Promise<unknown>[]): void {
  if (here === undefined) return;
  void Promise.allSettled(openings).then(() => {
    closeSync(here);
  });
}

function inTime(
  opening: Promise<FileHandle>,
  plan: LaunchPlan,
  source: FileSource,
  { deadline, abortSignal }: OpenLimits,
): Promise<FileHandle> {
  const { subject, spec } = plan;
  const limitMs = deadline === Infinity ? undefined : spec.timeoutMs;
  if (limitMs === undefined && abortSignal === undefined) return opening;
  return new Promise((resolve, reject) => {
    let hasGivenUp = false;
    const giveUp = (failure: LaunchError): void => {
      hasGivenUp = true;
      settled();
      reject(failure);
    };
    const late = (): void =>
      giveUp(
        new LaunchError(subject, { step: 'open', path: readable(source.path), wanted: wantedOf(source), limitMs }),
      );
    const timer = limitMs === undefined ? undefined : setTimeout(late, Math.max(0, deadline - now()));
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
      files.set(childFd, openSync(pathOf(fileFromHere(plan, childFd) ?? source.path), flags[source.open]));
    } catch (cause) {
      closeFilesSync(files);
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
    path: readable(source.path),
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

/** The same for files that were opened without the event loop. Node keeps account of them, so Node closes them. */
export function closeFilesSync(files: ReadonlyMap<number, number>): void {
  for (const fd of files.values()) closeSync(fd);
}
