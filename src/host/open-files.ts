import { readFileSync } from 'node:fs';

let openFiles: { soft: number; hard: number } | undefined;

let openFilesAreKnown = false;

/**
 * Node raises its soft limit of open files to the hard one when it starts, and its children would inherit that; a program
 * that walks through all descriptors, or uses `select()`, suffers. What Node found is not kept anywhere, but a process
 * starts with its parent's limits: where the parent has the same hard limit and a lower soft one, that is what it was.
 */
export function openFilesAtStart(): { soft: number; hard: number } | undefined {
  if (!openFilesAreKnown) {
    const own = openFilesOf('self');
    const parent = openFilesOf(String(process.ppid));
    if (
      own !== undefined &&
      parent !== undefined &&
      own.soft === own.hard &&
      parent.hard === own.hard &&
      parent.soft < own.soft
    )
      openFiles = parent;
    openFilesAreKnown = true;
  }
  return openFiles;
}

function openFilesOf(pid: string): { soft: number; hard: number } | undefined {
  try {
    const [, soft, hard] = /^Max open files +(\d+) +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
    return soft === undefined ? undefined : { soft: Number(soft), hard: Number(hard) };
  } catch {
    // There is no /proc here, or the parent is somebody else's: then nothing is known, and nothing is changed.
    return undefined;
  }
}
