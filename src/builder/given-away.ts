import { close, closeSync, fstatSync } from 'node:fs';
import type { Mistake } from '../errors/usage-error.js';
import type { Owner } from '../io/owner.js';
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

/** The objects that own the descriptors of a spec, by its entry. A spec holds numbers only; copies of a command share its entries. */
const owners = new WeakMap<object, Owner>();

/** The same for sockets to listen on, which are numbers in one list. */
const listOwners = new WeakMap<object, readonly (Owner | undefined)[]>();

/** Keeps the object that owns the descriptor of an entry. */
export function ownedBy<T extends UsedDescriptor>(entry: T, owner: Owner | undefined): T {
  if (owner !== undefined) owners.set(entry, owner);
  return entry;
}

/** Keeps the objects that own the sockets of a list. */
export function listOwnedBy(list: readonly number[], of: readonly (Owner | undefined)[]): readonly number[] {
  if (of.some((owner) => owner !== undefined)) listOwners.set(list, of);
  return list;
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

interface Used {
  readonly entry: UsedDescriptor;
  /** The call that named it, as it stands in a message. */
  readonly call: string;
}

const NO_METHODS: readonly string[] = [];

/** The methods that were given objects, once each: what a spec names as attached. */
export function methodsWithOwners(spec: CommandSpec): readonly string[] {
  if (!usesDescriptors(spec)) return NO_METHODS;
  const calls = usedDescriptors(spec).filter(({ entry }) => owners.has(entry));
  return Array.from(new Set(calls.map(({ call }) => call.replace(/\(.*/s, ''))));
}

/** Every descriptor that a command uses, with the call that named it. */
function usedDescriptors({ stdin, stdout, stderr, descriptors = [], listenFds = [] }: CommandSpec): Used[] {
  return [
    ...(stdin.from === 'fd' ? [{ entry: stdin, call: streamCall('inputFd', stdin, 0) }] : []),
    ...(stdout.to === 'fd' ? [{ entry: stdout, call: streamCall('outputFd', stdout, 1) }] : []),
    ...(stderr.to === 'fd' ? [{ entry: stderr, call: streamCall('errorFd', stderr, 2) }] : []),
    ...descriptors.map((entry) => ({ entry, call: passCall(entry) })),
    ...listenFds.map((fd, index) => ({
      entry: ownedBy({ fd }, listOwners.get(listenFds)?.at(index)),
      call: `listenFds(${fd})`,
    })),
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
    const problem = givenAway.has(entry)
      ? 'an earlier run has given this descriptor away; make a command with a new one for each run'
      : problemOf(entry);
    return problem === undefined ? [] : [{ call, problem }];
  });
}

function problemOf(entry: UsedDescriptor): string | undefined {
  const owner = owners.get(entry);
  if (owner === undefined) return isOpen(entry.fd) ? undefined : `descriptor ${entry.fd} is not open any more`;
  return owner.fd() === entry.fd ? undefined : `${owner.name} is closed by now, and so is its descriptor`;
}

/** What a program would miss that is given a stream. */
export function unreadProblem(owner: Owner): string | undefined {
  const bytes = owner.unread();
  return bytes === 0
    ? undefined
    : `${bytes} bytes have been read from ${owner.name} already, which the program would miss; pass it before this process reads from it, or read them`;
}

/**
 * Runs something that starts a command, and closes afterwards the descriptors that the command was given for good:
 * whatever comes of the start, and once, however many runs there are.
 */
export async function givingAway<T>(spec: CommandSpec | readonly CommandSpec[], start: () => Promise<T>): Promise<T> {
  const given = givenBy(spec);
  const closings = closingsOf(given);
  // The checks of this very start come first: to them, the descriptors are still there.
  const started = start();
  for (const entry of given) givenAway.add(entry);
  try {
    return await started;
  } finally {
    await Promise.all(closings.owners.map(closeOwner));
    await Promise.all(closings.numbers.map(closeDescriptor));
  }
}

/** The same for a start that does not wait for the event loop. A FileHandle is closed by Node's thread pool, soon afterwards. */
export function givingAwaySync<T>(spec: CommandSpec | readonly CommandSpec[], start: () => T): T {
  const given = givenBy(spec);
  const closings = closingsOf(given);
  try {
    return start();
  } finally {
    for (const entry of given) givenAway.add(entry);
    for (const owner of closings.owners) void closeOwner(owner);
    for (const fd of closings.numbers) closeSync(fd);
  }
}

/** What is to be closed: each object and each number once, as far as they are open. */
function closingsOf(given: readonly UsedDescriptor[]): { owners: readonly Owner[]; numbers: readonly number[] } {
  const objects = new Map<object, Owner>();
  const numbers = new Set<number>();
  for (const entry of given) {
    const owner = owners.get(entry);
    if (owner === undefined) numbers.add(entry.fd);
    else if (owner.fd() === entry.fd) objects.set(owner.object, owner);
  }
  const owned = Array.from(objects.values());
  for (const owner of owned) numbers.delete(owner.fd() ?? -1);
  return { owners: owned, numbers: Array.from(numbers).filter(isOpen) };
}

async function closeOwner(owner: Owner): Promise<void> {
  try {
    await owner.close();
  } catch {
    // It is closed already, which is as good.
  }
}

/** What a command gives away, or all stages of a pipeline do, that no run has given away before. */
function givenBy(said: CommandSpec | readonly CommandSpec[]): UsedDescriptor[] {
  const used = 'length' in said ? said.flatMap(usedDescriptors) : usedDescriptors(said);
  return used.map(({ entry }) => entry).filter((entry) => entry.closeInParent === true && !givenAway.has(entry));
}

function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve) => {
    close(fd, () => {
      // Whatever close() answers, the descriptor is gone.
      resolve();
    });
  });
}
