import { spawn, type SpawnOptions } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL_OF_IT, bare } from '../../spec/bare.js';
import { assertRoom } from './room.js';

/**
 * Makes pipes that programs can have both ends of: two descriptors each, reading and writing in turn. `undefined`: this system has no `mkfifo`.
 *
 * Node makes none, and what it calls a pipe is a socket to its programs: what lies unread in one when its reader ends makes the writer fail
 * by ECONNRESET, where SIGPIPE would have ended it. So they are FIFOs, in a directory that only this user can enter, and which is gone when this returns.
 */
export async function makePipes(count: number): Promise<readonly number[] | undefined> {
  const ends: number[] = [];
  try {
    return (await openPipes(count, ends)) ? ends : undefined;
  } catch (error) {
    for (const fd of ends) closeSync(fd);
    throw error;
  }
}

/** Adds the ends, as far as they can be opened, and leaves no directory. False: there is no `mkfifo`. */
async function openPipes(count: number, ends: number[]): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'vircommand-'));
  try {
    assertRoom();
    const paths = Array.from({ length: count }, (_, index) => join(directory, String(index)));
    if (!(await mkfifo(paths))) return false;
    // Each is opened for reading without waiting, has a reader for who writes then, and blocks in the programs: child_process sees to it.
    for (const path of paths)
      for (const flags of [constants.O_RDONLY, constants.O_WRONLY])
        ends.push(openSync(path, flags | constants.O_NONBLOCK));
    return true;
  } finally {
    await rm(directory, ALL_OF_IT);
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
