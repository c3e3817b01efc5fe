import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ProcessError } from '../../errors/process-error.js';
import { bare } from '../../spec/bare.js';
import { isSingleExecutable } from '../../spec/late.js';
import type { Fifos } from '../fifo.js';
import { O_PATH } from '../here.js';
import type { Patience } from '../patience.js';
import { assertRoom } from './room.js';

/*
 * Node cannot ask whether a FIFO has a writer. So a process of its own opens it, which waits as any `open()` does; it says so when it
 * has, and is a reader until this process is one too. To give up is to end it. It also ends by itself when this process is gone.
 */

const script = `
process.stdin.on('close', () => process.kill(process.pid, 'SIGKILL')).resume();
const fs = require('node:fs');
fs.open(process.argv[1], fs.constants.O_RDONLY, (error) => {
  fs.writeSync(1, error === null ? 'OPEN' : error.code);
});
`;

/** Where the opener has the FIFO, without having it open. */
const PLACE = 3;

export const portableFifos: Fifos = {
  openReader,
  // Files are 0, 1 and 2 of the program, which child_process lets block.
  letBlock: () => undefined,
};

async function openReader(path: string | Buffer, flags: number, patience: Patience): Promise<FileHandle | undefined> {
  const place = holdPlace(path);
  let opener: ChildProcess | undefined;
  try {
    assertRoom();
    // There, another Node would be this application once more.
    if (isSingleExecutable())
      throw new ProcessError('A single-executable application cannot wait for the other side of a FIFO.', {
        code: 'ENOSYS',
        syscall: 'open',
      });
    opener = startOpener(place === undefined ? resolve(path.toString()) : `/proc/self/fd/${PLACE}`, place);
    const answer = await patience.until(answerOf(opener));
    if (answer === undefined) return undefined;
    if (answer !== 'OPEN') throw new ProcessError('The FIFO cannot be opened.', { code: answer, syscall: 'open' });
    // It has a reader and a writer, so this does not wait.
    return await open(place === undefined ? path : `/proc/self/fd/${place}`, flags | constants.O_NONBLOCK);
  } finally {
    if (opener !== undefined) await endOpener(opener);
    if (place !== undefined) closeSync(place);
  }
}

/** Holds the file that a path leads to, here and now, without opening it; `undefined` where that cannot be done. */
function holdPlace(path: string | Buffer): number | undefined {
  if (process.platform !== 'linux' || !existsSync('/proc/self/fd')) return undefined;
  return openSync(path, O_PATH);
}

function startOpener(path: string, place: number | undefined): ChildProcess {
  const env = bare<Record<string, string | undefined>>({ ELECTRON_RUN_AS_NODE: '1' });
  // What would have another Node do what was only meant for this one.
  for (const [name, value] of Object.entries(process.env)) if (!name.startsWith('NODE_')) env[name] = value;
  const stdio = ['pipe', 'pipe', 'ignore', ...(place === undefined ? [] : [place])] as const;
  const options = bare({ env, stdio: [...stdio], windowsHide: true });
  return spawn(process.execPath, ['-e', script, path], options);
}

async function answerOf(opener: ChildProcess): Promise<string> {
  let answer = '';
  opener.stdout?.on('data', (piece: Buffer) => (answer += piece.toString()));
  await Promise.race([once(opener.stdout!, 'data'), once(opener, 'exit')]);
  return answer || 'ECHILD';
}

async function endOpener(opener: ChildProcess): Promise<void> {
  const isStarted = opener.pid !== undefined;
  const ended = !isStarted || opener.exitCode !== null || opener.signalCode !== null ? undefined : once(opener, 'exit');
  if (isStarted) opener.kill('SIGKILL');
  opener.stdin?.destroy();
  await ended;
  opener.stdout?.destroy();
}
