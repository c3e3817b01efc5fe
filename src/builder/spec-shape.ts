import { bare } from '../spec/bare.js';
import { type CommandSpec, type Flag, flags } from '../spec/spec.js';
import { describeKind, isArray, printAnything, reasonOf, Wrong } from '../text/reading.js';

/** More than any list of a command can hold: the kernel takes fewer arguments, variables and descriptors. */
const LONGEST_LIST = 10_000_000;

/** Reads a part of a spec, and throws a {@link Misfit} if it is of another shape. `where` names the part. */
type Reader = (value: unknown, where: string) => unknown;

/** What keeps a value from being a spec, in words. */
class Misfit extends Error {}

/**
 * Reads a spec from elsewhere into a copy with its own fields and none inherited, or says which field is of the wrong shape.
 * Whether the values are right is checked call by call, as if a caller had said them.
 */
export function readSpec(value: unknown): CommandSpec | Wrong {
  try {
    if (typeof value !== 'object' || value === null)
      return new Wrong(`a spec is an object, and this is ${kindOf(value)}`);
    if (ownOf(value, 'it')['version'] !== 1) return new Wrong('it is no spec of the version 1, as spec() gives it');
    const spec = record(fields)(value, 'it') as CommandSpec;
    const missing = ['argv', 'stdin', 'stdout', 'stderr'].find((name) => !Object.hasOwn(spec, name));
    if (missing !== undefined) return new Wrong(`it has no field ${missing}; spec() gives all that are needed`);
    if (spec.timeoutTree === true && spec.timeoutMs === undefined)
      return new Wrong('it has a field timeoutTree, and none timeoutMs, which it belongs to');
    const stray = spec.secretArgs?.find((place) => !Number.isInteger(place) || place < 1 || place >= spec.argv.length);
    return stray === undefined ? spec : new Wrong(`its field secretArgs names no argument: ${stray}`);
  } catch (error) {
    return new Wrong(error instanceof Misfit ? error.message : `it cannot be read: ${reasonOf(error)}`);
  }
}

// ---------------------------------------------------------------- kinds of parts

const text: Reader = (value, where) => (typeof value === 'string' ? value : misfit(where, 'is a string', value));

const number: Reader = (value, where) => (typeof value === 'number' ? value : misfit(where, 'is a number', value));

const flag: Reader = (value, where) => (value === true ? value : misfit(where, 'is true, or absent', value));

/** Text, or bytes as base64. */
const byteText: Reader = (value, where) => {
  if (typeof value === 'string') return value;
  const words = "is a string, or { base64: '…' }";
  if (typeof value !== 'object' || value === null || isArray(value)) return misfit(where, words, value);
  // Not read: to ask for it may write many bytes in base64, and what holds them is handed on as it is.
  const descriptor = Object.getOwnPropertyDescriptor(value, 'base64');
  if (descriptor === undefined || Object.keys(value).length !== 1) return misfit(where, words, value);
  if (Object.hasOwn(descriptor, 'value') && typeof descriptor.value !== 'string') return misfit(where, words, value);
  return value;
};

const oneOf =
  (...names: readonly string[]): Reader =>
  (value, where) =>
    names.includes(value as string)
      ? value
      : misfit(where, `is ${names.map((name) => `'${name}'`).join(' or ')}`, value, anotherKind(value));

const either =
  (words: string, readers: readonly Reader[], kind = kindOf): Reader =>
  (value, where) => {
    for (const reader of readers) {
      try {
        return reader(value, where);
      } catch (error) {
        if (!(error instanceof Misfit)) throw error;
      }
    }
    return misfit(where, words, value, kind(value));
  };

const list =
  (reader: Reader): Reader =>
  (value, where) => {
    if (!isArray(value)) return misfit(where, 'is an array', value);
    if (value.length > LONGEST_LIST)
      throw new Misfit(`${where} has ${value.length} entries, more than any program can get`);
    return Array.from(value, (part, index) => reader(part, `${where}[${index}]`));
  };

const tuple =
  (words: string, ...readers: readonly Reader[]): Reader =>
  (value, where) =>
    isArray(value) && value.length === readers.length
      ? readers.map((reader, index) => reader(value.at(index), `${where}[${index}]`))
      : misfit(where, words, value);

/** An object with these fields, of which some may be absent, and no others. */
function record(readers: Readonly<Record<string, Reader>>, needed: readonly string[] = []): Reader {
  return (value, where) => {
    if (typeof value !== 'object' || value === null || isArray(value)) return misfit(where, 'is an object', value);
    const own = ownOf(value, where);
    const read: Record<string, unknown> = bare({});
    for (const name of Object.keys(own)) {
      const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
      if (reader === undefined)
        throw new Misfit(`${where} has a field ${printAnything(name)}, which no spec has there`);
      if (own[name] !== undefined) read[name] = reader(own[name], within(where, name));
    }
    for (const name of needed) if (read[name] === undefined) throw new Misfit(`${within(where, name)} is missing`);
    return read;
  };
}

/** An object whose fields follow from one of them. */
function variants(tag: string, kinds: Readonly<Record<string, Readonly<Record<string, Reader>>>>): Reader {
  const names = Object.keys(kinds);
  const tagged = oneOf(...names);
  return (value, where) => {
    if (typeof value !== 'object' || value === null || isArray(value)) return misfit(where, 'is an object', value);
    const kind = tagged(ownOf(value, where)[tag], within(where, tag)) as string;
    const all = Object.entries(kinds[kind] ?? {});
    const needed = Object.fromEntries(all.filter(([, reader]) => reader !== flag));
    const optional = Object.fromEntries(all.filter(([, reader]) => reader === flag));
    return record({ [tag]: tagged, ...needed, ...optional }, Object.keys(needed))(value, where);
  };
}

/** An object's own fields that JSON would hold. */
function ownOf(value: object, where: string): Readonly<Record<string, unknown>> {
  const own = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(value)) {
    try {
      own[name] = (value as Record<string, unknown>)[name];
    } catch (error) {
      throw new Misfit(`${within(where, name)} cannot be read: ${reasonOf(error)}`);
    }
  }
  return own;
}

const within = (where: string, name: string): string => (where === 'it' ? `its field ${name}` : `${where}.${name}`);

function misfit(where: string, words: string, value: unknown, kind = kindOf(value)): never {
  throw new Misfit(`${where} ${words}, and not ${kind}`);
}

/** Where some strings are right, it would help nobody to hear that a string is wrong. */
function anotherKind(value: unknown): string {
  return typeof value === 'string' ? 'another string' : kindOf(value);
}

/** A value is not printed: it may be a secret that came to the wrong place. */
function kindOf(value: unknown): string {
  return describeKind(value);
}

// ---------------------------------------------------------------- the fields of a spec

const output = {
  unclaimed: {},
  fd: { fd: number, closeInParent: flag },
  file: { path: byteText, append: flag },
  pipe: {},
  buffer: { encoding: text, fatal: flag, stripFinalNewline: flag },
  stream: {},
};
const tee = record({ path: byteText, append: flag }, ['path']);
const limitValue: Reader = (value, where) =>
  typeof value === 'number' || (typeof value === 'string' && /^(?:\d{1,20}|unlimited)$/.test(value))
    ? value
    : misfit(where, "is a number, a string of digits, or 'unlimited'", value, anotherKind(value));
const limit = record({ resource: text, soft: limitValue, hard: limitValue }, ['resource', 'soft', 'hard']);

const said = Object.fromEntries(flags.map((name) => [name, flag])) as Readonly<Record<Flag, Reader>>;

const fields: { readonly [K in keyof Required<CommandSpec>]: Reader } = {
  ...said,
  version: number,
  argv: list(byteText),
  secretArgs: list(number),
  env: list(tuple('is a pair of a name and a value', text, byteText)),
  stdin: variants('from', {
    null: {},
    fd: { fd: number, closeInParent: flag },
    file: { path: byteText },
    pipe: {},
    stream: {},
    buffer: { data: byteText },
  }),
  stdout: variants('to', output),
  stderr: variants('to', { ...output, stdout: {} }),
  terminal: record({ columns: number, rows: number }, ['columns', 'rows']),
  stdoutTee: tee,
  stderrTee: tee,
  pipeSize: number,
  descriptors: list(record({ fd: number, as: number, closeInParent: flag }, ['fd', 'as'])),
  listenFds: list(number),
  sendBuffers: list(number),
  workingDirectory: byteText,
  umask: number,
  limits: list(limit),
  nice: number,
  oomScoreAdjust: number,
  coreScheduling: either(
    "is 'alone', or { among: pid }",
    [oneOf('alone'), record({ among: number }, ['among'])],
    anotherKind,
  ),
  cgroup: byteText,
  selinuxLabel: text,
  appArmorProfile: text,
  user: either('is a name or a number', [text, number]),
  uid: number,
  gid: number,
  groups: list(number),
  allowCaps: list(text),
  dieWithParent: text,
  pidFile: byteText,
  preExecHook: either('is { module: address } or { source: text }', [
    record({ module: text }, ['module']),
    record({ source: text }, ['source']),
  ]),
  handshake: flag,
  check: either('is false, or an array of numbers', [
    (value, where) => (value === false ? value : list(number)(value, where)),
  ]),
  timeoutMs: number,
  timeoutTree: flag,
  silenceTimeoutMs: number,
  stopSequence: list(tuple('is a pair of a signal and milliseconds', text, number)),
  outputLimit: record({ bytes: number, policy: text, tree: flag }, ['bytes', 'policy']),
  attached: list(text),
};
