import { closeSync, constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { LaunchError } from '../errors/launch-error.js';
import type { Subject } from '../errors/command-error.js';
import type { DescriptorSource, PlannedDescriptor } from '../plan/descriptors.js';
import { fileFromHere } from '../plan/from-here.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { CommandSpec } from '../spec/spec.js';
import { pathOf, readable } from '../text/bytes.js';
import type { LaunchResources } from './engine.js';
import { type Fifos, openInTime, openInTimeSync, type SeenFifos } from './fifo.js';
import { holdDirectory, pathFrom, reopenDirectory } from './here.js';
import { type EndOfPatience, Patience } from './patience.js';

/** The files behind a plan's descriptors, by descriptor of the child. */
export type OpenFiles = ReadonlyMap<number, FileHandle>;

const { O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOCTTY } = constants;
const flags = {
  read: O_RDONLY | O_NOCTTY,
  truncate: O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY,
  append: O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY,
};

/**
 * Opens the files that a plan names. This happens in the parent, off the event loop: to open a file on a dead network mount can take
 * for ever, and in the child it would take the parent with it.
 *
 * When the plan's time is over, or the signal is aborted, nobody waits any more. What waits for another process is given up: see
 * `fifo.ts`. A call that waits for a disk or for a network is left behind, and a file that comes after all is closed.
 *
 * @param held this process's directory as it was at the call, where something has been waited for since.
 * @throws {LaunchError} with the step `open`, or `abort`; the files opened before it are closed again.
 */
export async function openFiles(
  plan: FilePlan,
  { deadline, abortSignal }: OpenLimits,
  fifos: Fifos,
  held?: number,
): Promise<OpenFiles> {
  const files = new Map<number, FileHandle>();
  const here = plan.descriptors.some(
    ({ childFd, source }) => source.kind === 'file' && fileFromHere(plan, childFd) !== undefined,
  )
    ? held === undefined
      ? holdDirectory()
      : reopenDirectory(held)
    : undefined;
  const patience = new Patience(deadline, abortSignal);
  try {
    for (const { childFd, source } of plan.descriptors) {
      if (source.kind !== 'file') continue;
      try {
        const path = pathFrom(here, fileFromHere(plan, childFd) ?? source.path);
        const file = await openInTime(path, flags[source.open], fifos, patience);
        if (file === undefined) throw givenUp(plan, source, patience.end);
        files.set(childFd, file);
      } catch (cause) {
        await closeFiles(files);
        if (cause instanceof LaunchError) throw cause;
        throw openError(plan, source, cause);
      }
    }
    return files;
  } finally {
    patience.stop();
    if (here !== undefined) letGo(here, patience.works);
  }
}

/** What says which files are opened. */
interface FilePlan {
  readonly spec: CommandSpec;
  readonly subject: Subject;
  readonly descriptors: readonly PlannedDescriptor[];
}

/** What ends the wait for a file. */
type OpenLimits = Pick<LaunchResources, 'deadline' | 'abortSignal'>;

type FileSource = Extract<DescriptorSource, { kind: 'file' }>;

/** An opening that nobody waits for any more still goes by the directory. */
function letGo(here: number, openings: readonly Promise<unknown>[]): void {
  void Promise.allSettled(openings).then(() => {
    closeSync(here);
  });
}

function givenUp({ subject, spec }: FilePlan, source: FileSource, end: EndOfPatience | undefined): LaunchError {
  const file = { path: readable(source.path), wanted: wantedOf(source) };
  return end?.is === 'aborted'
    ? new LaunchError(subject, { step: 'abort', cause: end.cause, ...file })
    : new LaunchError(subject, { step: 'open', limitMs: spec.timeoutMs ?? 0, ...file });
}

/** The same without the event loop, to a deadline. */
export function openFilesSync(plan: LaunchPlan, deadline: number, fifos: SeenFifos): Map<number, number> {
  const files = new Map<number, number>();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'file') continue;
    try {
      const path = pathOf(fileFromHere(plan, childFd) ?? source.path);
      const fd = openInTimeSync(path, flags[source.open], fifos, deadline, closeSync);
      if (fd === undefined) throw givenUp(plan, source, { is: 'late' });
      files.set(childFd, fd);
    } catch (cause) {
      closeFilesSync(files);
      if (cause instanceof LaunchError) throw cause;
      throw openError(plan, source, cause);
    }
  }
  return files;
}

function openError(plan: FilePlan, source: FileSource, cause: unknown): LaunchError {
  const { code = 'EIO', syscall = 'open' } = cause as NodeJS.ErrnoException;
  return new LaunchError(plan.subject, {
    step: 'open',
    errno: code,
    syscall,
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
