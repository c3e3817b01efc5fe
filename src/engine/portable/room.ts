import { closeSync, openSync } from 'node:fs';

/** What a start takes of descriptors: three pipes and /dev/null, and what libuv opens beside them. */
const NEEDED_DESCRIPTORS = 8;

/** Throws as `open()` does where no descriptors are left: a `spawn()` of Node that runs out of them loses those that it had. */
export function assertRoom(): void {
  const fds: number[] = [];
  try {
    while (fds.length < NEEDED_DESCRIPTORS) fds.push(openSync('/dev/null', 'r'));
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}
