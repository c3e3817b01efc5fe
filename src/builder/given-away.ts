import { close, closeSync, fstatSync } from 'node:fs';
import type { Mistake } from '../errors/usage-error.js';
import type { CommandSpec } from '../spec/spec.js';

/** The highest descriptor number that Linux allows unless an administrator raises `fs.nr_open`. */
export const HIGHEST_FD = 1_048_575;

/** Whether a descriptor is open in this process. */
export function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** A descriptor of this process that a command uses, as its spec has it. */
interface UsedDescriptor {
  readonly fd: number;
  readonly closeInParent?: true;
}

/** The entries of specs whose descriptor a run has closed. Copies of a command share their entries, so they know it too. */
const givenAway = new WeakSet<UsedDescriptor>();

/** Whether a command uses a descriptor of this process at all. Most do not, and need nobody to look after any. */
export function usesDescriptors({ stdin, stdout, stderr, descriptors, listenFds }: CommandSpec): boolean {
  return (
    stdin.from === 'fd' ||
    stdout.to === 'fd' ||
    stderr.to === 'fd' ||
    descriptors !== undefined ||
    listenFds !== undefined
  );
}

/** Every descriptor that a command uses, with the call that named it. */
function usedDescriptors({
  stdin,
  stdout,
  stderr,
  descriptors = [],
  listenFds = [],
}: CommandSpec): { entry: UsedDescriptor; call: string }[] {
  return [
    ...(stdin.from === 'fd' ? [{ entry: stdin, call: streamCall('inputFd', stdin, 0) }] : []),
    ...(stdout.to === 'fd' ? [{ entry: stdout, call: streamCall('outputFd', stdout, 1) }] : []),
    ...(stderr.to === 'fd' ? [{ entry: stderr, call: streamCall('errorFd', stderr, 2) }] : []),
    ...descriptors.map((entry) => ({ entry, call: passCall(entry) })),
    ...listenFds.map((fd) => ({ entry: { fd }, call: `listenFds(${fd})` })),
  ];
}

/** The call that made a descriptor a standard stream. Only passFd() gives it away. */
function streamCall(method: string, { fd, closeInParent }: UsedDescriptor, as: number): string {
  return closeInParent === true ? passCall({ fd, as }) : `${method}(${fd})`;
}

/** The call that passed a descriptor, as it stands in a message. */
export function passCall({ fd, as, closeInParent }: { fd: number; as: number; closeInParent?: true }): string {
  if (as !== fd) return `passFd(${fd}, { as: ${as} })`;
  return closeInParent === true ? `transferFd(${fd})` : `preserveFd(${fd})`;
}

/** The descriptors that cannot be used any more: closed since they were named, or given away by an earlier run. */
export function goneDescriptors(spec: CommandSpec): Mistake[] {
  return usedDescriptors(spec).flatMap(({ entry, call }) => {
    if (givenAway.has(entry))
      return [
        { call, problem: 'an earlier run has given this descriptor away; make a command with a new one for each run' },
      ];
    return isOpen(entry.fd) ? [] : [{ call, problem: `descriptor ${entry.fd} is not open any more` }];
  });
}

/**
 * Runs something that starts a command, and closes afterwards the descriptors that the command was given for good:
 * whatever comes of the start, and once, however many runs there are.
 */
export async function givingAway<T>(spec: CommandSpec, start: () => Promise<T>): Promise<T> {
  const given = givenBy(spec);
  const open = new Set(given.map(({ fd }) => fd).filter(isOpen));
  // The checks of this very start come first: to them, the descriptors are still there.
  const started = start();
  for (const entry of given) givenAway.add(entry);
  try {
    return await started;
  } finally {
    await Promise.all(Array.from(open, closeDescriptor));
  }
}

/** The same for a start that does not wait for the event loop. */
export function givingAwaySync<T>(spec: CommandSpec, start: () => T): T {
  const given = givenBy(spec);
  const open = new Set(given.map(({ fd }) => fd).filter(isOpen));
  try {
    return start();
  } finally {
    for (const entry of given) givenAway.add(entry);
    for (const fd of open) closeSync(fd);
  }
}

/** What a command gives away that no run has given away before. */
function givenBy(spec: CommandSpec): UsedDescriptor[] {
  return usedDescriptors(spec)
    .map(({ entry }) => entry)
    .filter((entry) => entry.closeInParent === true && !givenAway.has(entry));
}

function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve) => {
    close(fd, () => {
      // Whatever close() answers, the descriptor is gone.
      resolve();
    });
  });
}
