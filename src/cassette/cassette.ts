import { Buffer } from 'node:buffer';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { type DryRunAnswer, DryRunEngine, currentDryRun } from '../engine/dry-run.js';
import type { LaunchResources } from '../engine/engine.js';
import { argumentError, readOptions } from '../errors/argument-error.js';
import { fromHere, type Subject } from '../errors/command-error.js';
import { type Mistake, UsageError } from '../errors/usage-error.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { ALL_OF_IT, AS_UTF8, bare } from '../spec/bare.js';
import { readable } from '../text/bytes.js';
import { printCommand } from '../text/quote.js';
import { quoted } from '../text/shown.js';
import { digestOf, isSameDigest, printEntries, readEntries, type TapeEntry, Unreadable } from './entry.js';
import { Hidden } from './hidden.js';
import { type Choice, Recording } from './recording.js';
import { Tape } from './tape.js';

/** Whether commands are run and recorded, or played: `'auto'` plays a file that is there, and records one that is not. */
export type CassetteMode = 'auto' | 'record' | 'replay';

/** How a {@link cassette} is recorded and played. */
export interface CassetteOptions {
  /**
   * Default: what the variable `VIRCOMMAND_CASSETTE` says, else `'auto'`. Where the variable `CI` is set, nothing is recorded unless
   * `VIRCOMMAND_CASSETTE` is `record`: a file that is not there is an error.
   */
  readonly mode?: CassetteMode | undefined;
  /** The variables of the programs that are recorded, and have to be the same in a replay. Default: none, since they are others on each machine. */
  readonly env?: readonly string[] | undefined;
  /** Directories that are others on each machine, by the words that stand for them in the file: `{ project: root }` makes `{project}/a` of what begins there. */
  readonly paths?: Readonly<Record<string, string>> | undefined;
  /** Whether a replay takes the time that the programs took, by the test's timers; not with `runSync()`. Default: false. */
  readonly timed?: boolean | undefined;
}

/** The variable that says the mode where no option does, and that allows recording in CI. */
const MODE_VARIABLE = 'VIRCOMMAND_CASSETTE';

const MODES: readonly string[] = ['auto', 'record', 'replay'] satisfies CassetteMode[];

const modeKind = bare({
  is: (value: unknown) => MODES.includes(value as string),
  words: "mode is 'auto', 'record' or 'replay'",
});

const envKind = bare({
  is: (value: unknown) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
  words: 'env is a list of names',
});

const pathsKind = bare({
  is: (value: unknown) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(value).every(
      ([word, path]) => /^[\w-]+$/.test(word) && typeof path === 'string' && path.startsWith('/'),
    ),
  words: 'paths has words of letters, digits, - and _, and for each of them a path that begins with /',
});

/**
 * From here on, real runs are recorded in a file, or played from it where the programs are not: until the cassette is closed, and in everything that is called
 * or awaited from here.
 *
 * A command is found by its words, its directory, the variables that were chosen and the hash of its input; those that are equal come in their order. A command that is
 * not in the file rejects, and {@link Cassette.close} does too, also where a run of the file was not asked for. Secret arguments, what `sendBuffer()` sends, and variables by the name of
 * a secret are hidden, in the output as well; input stands there as a hash alone.
 *
 * @throws {UsageError} for a file that cannot be read, and where something would have to be recorded in CI, or within a dry run. {TypeError} for options that are none.
 *
 * @example
 * await using tape = cassette('test/cassettes/kernel.cassette');
 * const { stdout } = await new Command('uname', '-r').outputBuffer().run();
 * console.log(tape.mode, stdout); // 'replay', and what was recorded
 */
export function cassette(path: string | URL, options?: CassetteOptions): Cassette {
  if ((typeof path !== 'string' && !(path instanceof URL)) || path === '')
    throw argumentError('cassette', [path], "give the path of a file, as text or as the address of a 'file:'");
  const file = resolve(path instanceof URL ? fileURLToPath(path) : path);
  const said = readOptions('cassette', [path], options, {
    mode: modeKind,
    env: envKind,
    paths: pathsKind,
    timed: 'boolean',
  });
  const choice: Choice = bare({ env: [...(said.env ?? [])], places: new Map(Object.entries(said.paths ?? {})) });
  const mistake = (problem: string): UsageError => errorOf(file, NO_COMMAND, problem);
  const isInCi = !['', '0', 'false'].includes(process.env['CI'] ?? '');
  const variable = process.env[MODE_VARIABLE];
  if (variable !== undefined && variable !== '' && !MODES.includes(variable))
    throw mistake(`the variable ${MODE_VARIABLE} is ${quoted(variable)}; it is one of: ${MODES.join(', ')}`);
  const mode = said.mode ?? (((variable ?? '') || 'auto') as CassetteMode);
  const text = mode === 'record' ? undefined : contentOf(file, mistake);
  if (text !== undefined) {
    const entries = readEntries(text);
    if (entries instanceof Unreadable) throw mistake(`the file ${entries.problem}; ${RECORD_ANEW}`);
    return new Playing(file, entries, choice, said.timed === true);
  }
  if (mode === 'replay') throw mistake(`there is no such file; record it with ${MODE_VARIABLE}=record`);
  if (isInCi && variable !== 'record')
    throw mistake(
      `${mode === 'record' ? '' : 'there is no such file, and '}nothing is recorded in CI; record it on your machine and commit it, or set ${MODE_VARIABLE}=record`,
    );
  if (currentDryRun() !== undefined)
    throw mistake('it would record what a dry run plays; begin it outside of the dry run');
  return new Recorder(file, choice);
}

const NO_COMMAND: Subject = Object.freeze(bare({ command: '', spec: undefined }));

const RECORD_ANEW = `record it anew with ${MODE_VARIABLE}=record`;

const errorOf = (file: string, subject: Subject, problem: string): UsageError =>
  new UsageError(subject, [bare<Mistake>({ call: `cassette(${quoted(file)})`, problem })]);

/** What a file holds; `undefined`: there is none. */
function contentOf(file: string, mistake: (problem: string) => UsageError): string | undefined {
  try {
    return readFileSync(file, AS_UTF8);
  } catch (error) {
    const { code = 'EIO' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw mistake(`the file cannot be read (open: ${code}); ${RECORD_ANEW}`);
  }
}

/** Runs that are recorded, or played. Made by {@link cassette}. */
export interface Cassette {
  /** What it does. */
  readonly mode: 'record' | 'replay';
  /** The file. */
  readonly path: string;
  /**
   * Ends it: a file that was recorded is written, and one that was played must have been played to its end. It can be called again.
   *
   * @throws {UsageError} for a command that was not in the file, also where its own rejection was caught; for a program that was written to, or signaled, otherwise than when it was recorded; for a run of
   * the file that nobody has asked for; and for a launch that failed in a way that cannot be played.
   *
   * @example
   * const tape = cassette('test/cassettes/kernel.cassette');
   * await new Command('uname', '-r').run();
   * await tape.close();
   */
  close(): Promise<void>;
  /** The same as {@link close}, at the end of the block with `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

// ---------------------------------------------------------------- recording

class Recorder implements Cassette {
  readonly mode = 'record';
  readonly path: string;
  readonly #recording: Recording;
  #closed: Promise<void> | undefined;

  constructor(path: string, choice: Choice) {
    this.path = path;
    this.#recording = new Recording(choice);
    this.#recording.enter();
  }

  close(): Promise<void> {
    if (this.#closed !== undefined) return Promise.resolve();
    this.#recording.leave();
    this.#closed = this.#write();
    return this.#closed;
  }

  async #write(): Promise<void> {
    await this.#recording.settled();
    const unfinished = `${this.path}.${process.pid}`;
    try {
      mkdirSync(dirname(this.path), bare({ recursive: true }));
      writeFileSync(unfinished, printEntries(this.#recording.entries));
      renameSync(unfinished, this.path);
    } catch (error) {
      remove(unfinished);
      const { code = 'EIO', syscall = 'write' } = error as NodeJS.ErrnoException;
      throw errorOf(this.path, NO_COMMAND, `the file cannot be written (${syscall}: ${code}); name another one`);
    }
    const [unplayable] = this.#recording.unplayable;
    if (unplayable !== undefined) throw errorOf(this.path, unplayable.error, unplayable.problem);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Short, as Node prints what it keeps. */
  [inspect.custom](): string {
    return `Cassette { record, ${quoted(this.path)} }`;
  }
}

function remove(unfinished: string): void {
  try {
    rmSync(unfinished, ALL_OF_IT);
  } catch {
    // Where it cannot be removed, it was not made: what is told is why.
  }
}

// ---------------------------------------------------------------- playing

/** A run of the file, and whether it has been played. */
interface Slot {
  readonly entry: TapeEntry;
  readonly number: number;
  isUsed: boolean;
}

class Playing implements Cassette {
  readonly mode = 'replay';
  readonly path: string;
  readonly #slots: readonly Slot[];
  readonly #choice: Choice;
  readonly #isTimed: boolean;
  readonly #engine: DryRunEngine;
  #failure: UsageError | undefined;
  #isClosed = false;

  constructor(path: string, entries: readonly TapeEntry[], choice: Choice, isTimed: boolean) {
    this.path = path;
    this.#slots = entries.map((entry, index) => ({ entry, number: index + 1, isUsed: false }));
    this.#choice = choice;
    this.#isTimed = isTimed;
    this.#engine = new DryRunEngine(
      (plan, resources, isHeld) => this.#answer(plan, resources, isHeld),
      () => '',
    );
    this.#engine.enter();
  }

  #answer({ spec, subject, mode }: LaunchPlan, resources: LaunchResources, isHeld: boolean): DryRunAnswer {
    const hidden = new Hidden(spec, resources.sendBuffers, this.#choice.places);
    const input = spec.stdin.from === 'buffer' || spec.stdin.from === 'stream' ? resources.input : undefined;
    const asked: Asked = bare({
      argv: hidden.argv,
      daemon: mode === 'daemon',
      directory: spec.workingDirectory === undefined ? undefined : hidden.hide(spec.workingDirectory),
      env: hidden.env(this.#choice.env),
      stdin: input === undefined ? undefined : digestOf(Buffer.from(input).toString()),
    });
    const equal = this.#slots.filter(({ entry }) => difference(entry, asked) === undefined);
    const slot = equal.find(({ isUsed }) => !isUsed);
    const object = (problem: string): UsageError => this.#object(subject, problem);
    if (slot === undefined) throw fromHere(object(`${this.#whyMissing(equal, asked)}; ${RECORD_ANEW}`));
    slot.isUsed = true;
    const { fail } = slot.entry;
    if (fail !== undefined)
      return bare({
        fail: fail.path === undefined ? fail : bare({ ...fail, path: readable(hidden.show(fail.path)) }),
      });
    const inEntry = (problem: string): UsageError => object(`entry ${slot.number}: ${problem}; ${RECORD_ANEW}`);
    const clock = this.#isTimed && !isHeld ? this.#engine.clock : undefined;
    return new Tape(slot.entry, { hidden, clock, object: inEntry }).program;
  }

  #object(subject: Subject, problem: string): UsageError {
    const error = errorOf(this.path, subject, problem);
    this.#failure ??= error;
    return error;
  }

  #whyMissing(equal: readonly Slot[], asked: Asked): string {
    const [only, ...others] = equal;
    if (only !== undefined)
      return others.length === 0
        ? `entry ${only.number} is this command, and was played already`
        : `the ${equal.length} entries of this command were played already`;
    const [program] = asked.argv.map(readable);
    const near = this.#slots.find(({ entry, isUsed }) => !isUsed && readable(entry.argv.at(0) ?? '') === program);
    const none = 'no entry is this command';
    return near === undefined ? none : `${none}; entry ${near.number} has ${difference(near.entry, asked) ?? ''}`;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is a rejection, and the scope is left at the call.
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#engine.leave();
    if (this.#failure !== undefined) throw this.#failure;
    const [first, ...others] = this.#slots.filter(({ isUsed }) => !isUsed);
    if (first === undefined) return;
    const numbers = others.map(({ number }) => number).join(', ');
    const unused =
      numbers === ''
        ? `entry ${first.number} was not asked for`
        : `entry ${first.number} was not asked for, nor were: ${numbers}`;
    const command = printCommand(bare({ argv: first.entry.argv, env: [] }));
    throw errorOf(
      this.path,
      bare({ command, spec: undefined }),
      `${unused}; take out of the file what is not needed, or ${RECORD_ANEW}`,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Short, as Node prints what it keeps. */
  [inspect.custom](): string {
    return `Cassette { replay, ${quoted(this.path)} }`;
  }
}

/** What a command is found by. */
interface Asked {
  readonly argv: TapeEntry['argv'];
  readonly directory: TapeEntry['directory'] | undefined;
  readonly stdin: TapeEntry['stdin'] | undefined;
  readonly daemon: boolean;
  readonly env: NonNullable<TapeEntry['env']>;
}

/** What of an entry is another than what is asked for, in words; `undefined`: nothing. */
function difference(entry: TapeEntry, asked: Asked): string | undefined {
  const words = entry.argv.map(readable);
  const place = asked.argv.map(readable).findIndex((word, index) => word !== words.at(index));
  if (place >= 0 || words.length !== asked.argv.length) {
    const at = place < 0 ? asked.argv.length : place;
    const word = words.at(at);
    return word === undefined ? `only ${words.length} words` : `${quoted(word)} as its word ${at}`;
  }
  if ((entry.daemon === true) !== asked.daemon) return entry.daemon === true ? 'a daemon' : 'no daemon';
  if (readable(entry.directory ?? '') !== readable(asked.directory ?? ''))
    return entry.directory === undefined
      ? 'no working directory'
      : `the working directory ${quoted(readable(entry.directory))}`;
  for (const [name, value] of Object.entries(asked.env)) {
    const recorded = entry.env?.[name] ?? null;
    if (recorded === null ? value !== null : value === null || readable(recorded) !== readable(value))
      return `another value of the variable ${name}`;
  }
  if (entry.stdin !== undefined && asked.stdin !== undefined && !isSameDigest(entry.stdin, asked.stdin))
    return `another input, of ${entry.stdin.bytes} bytes`;
  return undefined;
}
