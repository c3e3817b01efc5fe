import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { DryRunFailure } from '../engine/answer.js';
import { bare } from '../spec/bare.js';
import { type ByteText, fromBytes, toBytes } from '../text/bytes.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { stepNames } from '../text/step-names.js';

/*
 * What a cassette's file holds. It is JSON with one field to a line and each field in its place, so that a run which is recorded anew
 * differs in the lines that are other ones. It holds no pid and no byte of any input.
 */

/** What a program has read, without what it was. */
export interface Digest {
  readonly bytes: number;
  readonly sha256: string;
}

/** Something that a program does, or waits for: to be written to, to be told that there is no more, and to be signaled. */
export interface TapeEvent {
  /** Milliseconds since the launch, in tens. */
  readonly at: number;
  readonly stdout?: ByteText;
  readonly stderr?: ByteText;
  readonly input?: Digest;
  readonly inputEnd?: true;
  readonly signal?: SignalName;
}

/** One run. Without an end, the program went on. */
export interface TapeEntry {
  readonly argv: readonly ByteText[];
  readonly daemon?: true;
  readonly directory?: ByteText;
  /** The variables that were chosen; `null`: the program has not got it. */
  readonly env?: Readonly<Record<string, ByteText | null>>;
  readonly stdin?: Digest;
  readonly fail?: DryRunFailure;
  readonly events?: readonly TapeEvent[];
  readonly exitCode?: number;
  readonly signal?: SignalName;
}

export const digestOf = (text: string): Digest =>
  bare({ bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') });

export const isSameDigest = (one: Digest, other: Digest): boolean =>
  one.bytes === other.bytes && one.sha256 === other.sha256;

// ---------------------------------------------------------------- writing

const VERSION = 1;

/** The file's text. */
export const printEntries = (entries: readonly TapeEntry[]): string =>
  `${JSON.stringify({ cassette: VERSION, entries: entries.map(entryForFile) }, null, 2)}\n`;

function entryForFile({ argv, daemon, directory, env, stdin, fail, events, exitCode, signal }: TapeEntry): object {
  return { argv, daemon, directory, env, stdin, fail, events: events?.map(eventForFile), exitCode, signal };
}

const eventForFile = ({ at, stdout, stderr, input, inputEnd, signal }: TapeEvent): object => ({
  at,
  stdout: linesForFile(stdout),
  stderr: linesForFile(stderr),
  input,
  inputEnd,
  signal,
});

/** Text of several lines stands as a list of them. */
function linesForFile(text: ByteText | undefined): unknown {
  if (typeof text !== 'string') return text;
  const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  return lines.length > 1 ? lines : text;
}

// ---------------------------------------------------------------- reading

/** Why a file holds no cassette, as the rest of a sentence that begins with its name. */
export class Unreadable {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}

/** The runs that a file's text holds. */
export function readEntries(text: string): TapeEntry[] | Unreadable {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return new Unreadable(`is no JSON: ${(error as Error).message}`);
  }
  const { cassette, entries } = isObject(content) ? bare(content) : bare<Record<string, unknown>>({});
  if (cassette !== VERSION || !Array.isArray(entries))
    return new Unreadable(`is no cassette: it begins with "cassette": ${VERSION}, and has a list of entries`);
  const read: TapeEntry[] = [];
  for (const [index, entry] of (entries as unknown[]).entries()) {
    const wrong = wrongField(entry, entryFields);
    if (wrong !== undefined) return new Unreadable(`is no cassette: in entry ${index + 1}, ${wrong}`);
    read.push(entryFromFile(entry as object));
  }
  return read;
}

type Fields = Readonly<Record<string, (value: unknown) => boolean>>;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean =>
  typeof value === 'string' || (isObject(value) && typeof bare(value)['base64'] === 'string');
const isWords = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isText);
const isLines = (value: unknown): boolean =>
  isText(value) || (Array.isArray(value) && value.every((line) => typeof line === 'string'));
const isTrue = (value: unknown): boolean => value === true;
const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
const isSignal = (value: unknown): boolean => signalNumber(value as SignalName) !== undefined;
const isString = (value: unknown): boolean => typeof value === 'string';
const isDigest = (value: unknown): boolean =>
  isObject(value) && wrongField(value, bare({ bytes: isCount, sha256: isString })) === undefined;
const isEnv = (value: unknown): boolean =>
  isObject(value) && Object.values(value).every((one) => one === null || isText(one));
const isFailure = (value: unknown): boolean =>
  isObject(value) &&
  wrongField(value, bare({ step: (name) => stepNames.includes(name as never), errno: isString, path: isString })) ===
    undefined;

const eventFields: Fields = bare({
  at: isCount,
  stdout: isLines,
  stderr: isLines,
  input: isDigest,
  inputEnd: isTrue,
  signal: isSignal,
});

const entryFields: Fields = bare({
  argv: isWords,
  daemon: isTrue,
  directory: isText,
  env: isEnv,
  stdin: isDigest,
  fail: isFailure,
  events: (value: unknown) =>
    Array.isArray(value) && value.every((event) => wrongField(event, eventFields) === undefined),
  exitCode: isCount,
  signal: isSignal,
});

/** Says which field is not what it has to be. The first of the table must be there. */
function wrongField(value: unknown, fields: Fields): string | undefined {
  if (!isObject(value)) return 'there is no object';
  const names = Object.keys(fields);
  const [needed = ''] = names;
  if (!Object.hasOwn(value, needed)) return `the field ${needed} is missing`;
  for (const [name, held] of Object.entries(value)) {
    if (!names.includes(name)) return `there is no field '${name}'; there are: ${names.join(', ')}`;
    if (!fields[name]!(held)) return `the field ${name} is not as it was written`;
  }
  return undefined;
}

function entryFromFile(value: object): TapeEntry {
  const entry = bare(value as TapeEntry);
  const { events, fail, stdin, env } = entry;
  return bare({
    ...entry,
    ...(events === undefined ? {} : { events: events.map(eventFromFile) }),
    ...(fail === undefined ? {} : { fail: bare(fail) }),
    ...(stdin === undefined ? {} : { stdin: bare(stdin) }),
    ...(env === undefined ? {} : { env: bare(env) }),
  });
}

function eventFromFile(value: TapeEvent): TapeEvent {
  const event = bare(value);
  const { stdout, stderr, input } = event;
  return bare({
    ...event,
    ...(stdout === undefined ? {} : { stdout: linesFromFile(stdout) }),
    ...(stderr === undefined ? {} : { stderr: linesFromFile(stderr) }),
    ...(input === undefined ? {} : { input: bare(input) }),
  });
}

const linesFromFile = (text: ByteText | readonly string[]): ByteText =>
  Array.isArray(text) ? (text as string[]).join('') : fromBytes(toBytes(bareText(text as ByteText)));

const bareText = (text: ByteText): ByteText => (typeof text === 'string' ? text : bare(text));
