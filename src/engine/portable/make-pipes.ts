import { spawn, type SpawnOptions } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL_OF_IT, bare } from '../../spec/bare.js';

/** What a start takes of descriptors: /dev/null, and what libuv opens beside it. */
const NEEDED_DESCRIPTORS = 8;

/**
 * Makes pipes that programs can have both ends of: two descriptors each, reading and writing in turn. `undefined`: this system has no `mkfifo`.
 *
 * Node makes none, and what it calls a pipe is a socket to its programs: what lies unread in one when its reader ends makes the writer fail
 * by ECONNRESET, where SIGPIPE would have ended it. So they are FIFOs, in a directory that only this user can enter, and which is gone when this returns.
 */
export async function makePipes(count: number): Promise<readonly number[] | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'vircommand-'));
  const ends: number[] = [];
  try {
    assertRoom();
    const paths = Array.from({ length: count }, (_, index) => join(directory, String(index)));
    if (!(await mkfifo(paths))) return undefined;
    // Each is opened for reading without waiting, has a reader for who writes then, and blocks in the programs: child_process sees to it.
    for (const path of paths)
      for (const flags of [constants.O_RDONLY, constants.O_WRONLY])
        ends.push(openSync(path, flags | constants.O_NONBLOCK));
    return ends;
  } catch (error) {
    for (const fd of ends) closeSync(fd);
    throw error;
  } finally {
    await rm(directory, ALL_OF_IT);
  }
}

/** Throws as `open()` does where no descriptors are left: a `spawn()` of Node that runs out of them loses those that it had. */
function assertRoom(): void {
  const fds: number[] = [];
  try {
    while (fds.length < NEEDED_DESCRIPTORS) fds.push(openSync('/dev/null', 'r'));
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function mkfifo(paths: readonly string[]): Promise<boolean> {
  const options = bare<SpawnOptions>({ stdio: 'ignore', windowsHide: true });
  const process = spawn('mkfifo', ['-m', '600', '--', ...paths], options);
  return new Promise((resolve) => {
    process
      .once('error', () => {
        resolve(false);
      })
      .once('exit', (code) => {
        resolve(code === 0);
      });
  });
}
