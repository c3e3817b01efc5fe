import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'vitest';
import { FOREVER, useProcesses } from '../helpers/tools.js';
import { inParent, type Library, parentWords, root } from '../helpers/native.js';

/** Processes for tests of pidfiles, which end with the test. */
export function useHolders() {
  const keep = useProcesses();

  /** A pid that is alive, and nobody's business. */
  async function stranger(): Promise<number> {
    const child = spawn('/bin/sleep', [FOREVER], { stdio: 'ignore' });
    await once(child, 'spawn');
    return keep(child.pid ?? expect.fail());
  }

  /** Another process that holds the file until its standard input ends; then it releases it. */
  async function holder(
    name: string,
    options: { pid?: number; detached?: boolean } = {},
  ): Promise<ChildProcess & { pid: number }> {
    const [program = '', ...words] = parentWords(
      async ({ PidFile: Files }, { name: held, pid }) => {
        const lock = await Files.acquire(held, pid === undefined ? {} : { pid });
        process.stdout.write('held\n');
        await process.getBuiltinModule('node:events').once(process.stdin.resume(), 'end');
        lock.release();
      },
      { name, pid: options.pid },
    );
    const child = spawn(program, words, {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: options.detached === true,
      env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
    });
    keep(child.pid ?? expect.fail());
    await once(child.stdout, 'data');
    return child as ChildProcess & { pid: number };
  }

  return { keep, stranger, holder };
}

/** Does the same in several processes at once, each with its own library. */
export const inParents = <T, A>(
  count: number,
  body: (library: Library, argument: A) => Promise<T>,
  argument: A,
): Promise<T[]> => Promise.all(Array.from({ length: count }, () => inParent(body, argument)));
