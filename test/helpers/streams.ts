import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { type Library, type ParentOptions, parentWords, resultIn, root } from './native.js';

/** What stands at the other ends of a parent's pipes: scripts of `sh`. The directory of the test is theirs. */
interface OtherEnds {
  /** What is written to the parent's standard input. */
  readonly feed?: string;
  /** How its output and its errors are read, which are one pipe. */
  readonly drain?: string;
  readonly directory: string;
}

export interface Piped<T> {
  /** What was written to the pipe before the result. */
  readonly output: string;
  readonly result: T;
}

/**
 * Runs a function in a Node process of its own, as `inParent()` does, whose standard streams are pipes and not the socket pairs
 * that child_process makes. The engine is the one that this process asks for.
 */
export async function inPipes<T, A = undefined>(
  body: (library: Library, argument: A) => Promise<T>,
  argument: A,
  { feed = ':', drain = 'cat', directory }: OtherEnds,
  options: ParentOptions = {},
): Promise<Piped<T>> {
  const script = `{ ${feed}; } | (cd '${root}' && exec "$@" 2>&1) | { ${drain}; }`;
  const shell = spawn('sh', ['-c', script, 'sh', ...parentWords(body, argument, options)], {
    cwd: directory,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  onTestFinished(() => {
    if (shell.exitCode === null && shell.signalCode === null) process.kill(-(shell.pid ?? NaN), 'SIGKILL');
  });
  const pieces: Buffer[] = [];
  let errors = '';
  shell.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  shell.stderr.on('data', (piece: Buffer) => (errors += piece.toString()));
  await once(shell, 'close');
  const all = Buffer.concat(pieces).toString('latin1');
  const end = all.lastIndexOf('\nRESULT ');
  const told = end < 0 ? all.slice(-4096) : all.slice(end);
  return { output: all.slice(0, Math.max(end, 0)), result: resultIn(told, errors) as T };
}
