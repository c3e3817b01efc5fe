import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { type AnyCommand, Command } from 'vircommand';
import { beforeAll, onTestFinished } from 'vitest';
import { holdersOf } from '../helpers/daemons.js';

export const sh = (script: string, ...words: string[]) => new Command('sh', '-c', script, ...words);

/** Launches a program before the tests of a file: the first launch of a thread opens what that keeps, and no test shall find it. */
export const useOpenEngine = (): void =>
  beforeAll(async () => {
    await new Command('true').run();
  });

/** What this process has open. */
export const descriptors = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // The descriptor of the listing itself.
    }
  });

/** Gives a command a descriptor of a file of its own, by which every process of its launch is known. */
export function marked<C extends AnyCommand>(command: C, file: string): { command: C; holders: () => number[] } {
  const fd = openSync(file, 'w');
  onTestFinished(() => closeSync(fd));
  return {
    command: command.preserveFd(fd),
    holders: () => holdersOf(file).filter((pid) => pid !== process.pid),
  };
}
