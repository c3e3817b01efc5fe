import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { LaunchError } from '../errors.js';
import type { DescriptorSource, LaunchPlan } from '../plan.js';

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
 * @throws {LaunchError} with the step `open`; the files opened before it are closed again.
 */
export async function openFiles(plan: LaunchPlan): Promise<OpenFiles> {
  const files = new Map<number, FileHandle>();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'file') continue;
    try {
      files.set(childFd, await open(source.path, flags[source.open]));
    } catch (cause) {
      await closeFiles(files);
      throw openError(plan, source, cause);
    }
  }
  return files;
}

type FileSource = Extract<DescriptorSource, { kind: 'file' }>;

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
  const wanted = source.open === 'read' ? 'be opened for reading' : 'be opened for writing';
  return new LaunchError(plan.subject, { step: 'open', errno: code, path: source.path, wanted, cause });
}

/** Closes this process's copies; the child keeps its own. */
export async function closeFiles(files: OpenFiles): Promise<void> {
  await Promise.all(Array.from(files.values(), (file) => file.close()));
}
