import { Buffer, isUtf8 } from 'node:buffer';
import { realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { variableOf } from '../host/environment.js';
import type { SendBuffer } from '../io/send-buffer.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, fromBytes, readable, toBytes } from '../text/bytes.js';

/*
 * What no cassette holds: secrets, which are gone for good, and the names of directories that are others on each machine, which stand
 * there by a word that is the same on all.
 */

/** What stands in the place of a secret. */
const SECRET = '***';

/** Shorter ones are found everywhere. */
const SHORTEST_SECRET = 4;

/** Variables that hold secrets, by what people call them. */
const SECRETIVE = /PASS|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY(?:_|$)/i;

/** The value that the program has for a variable; `undefined` where it has not got it. */
function valueIn({ env, envInherit }: CommandSpec, name: string): ByteText | undefined {
  const said = env?.findLast(([one]) => one === name)?.[1];
  if (said !== undefined || (env !== undefined && envInherit !== true)) return said;
  const inherited = variableOf(name);
  return typeof inherited === 'symbol' ? undefined : inherited;
}

/** What one command has that is not to be seen, and how it is hidden and shown. */
export class Hidden {
  readonly #spec: CommandSpec;
  readonly #secrets: readonly Buffer[];
  /** What is found, and the word for it; the longest first. */
  readonly #places: readonly (readonly [path: string, word: string])[];

  constructor(spec: CommandSpec, sendBuffers: ReadonlyMap<number, SendBuffer>, places: ReadonlyMap<string, string>) {
    this.#spec = spec;
    this.#secrets = secretsOf(spec, sendBuffers);
    const named = Array.from(places, ([word, path]) => [path, `{${word}}`] as const);
    this.#places = [...named, ...temporaryPlaces(spec, named)].sort(([one], [other]) => other.length - one.length);
  }

  /** The command's words. A secret argument is one word. */
  get argv(): readonly ByteText[] {
    const { argv, secretArgs } = this.#spec;
    return argv.map((word, index) => (secretArgs?.includes(index) === true ? SECRET : this.hide(word)));
  }

  /** Variables, in the order in which they were chosen. */
  env(names: readonly string[]): Record<string, ByteText | null> {
    return Object.fromEntries(
      names.map((name) => {
        const value = valueIn(this.#spec, name);
        return [name, value === undefined ? null : SECRETIVE.test(name) ? SECRET : this.hide(value)];
      }),
    );
  }

  /** A text as it is recorded. */
  hide(text: ByteText): ByteText {
    const bytes = this.#withoutSecrets(toBytes(text));
    if (!isUtf8(bytes)) return fromBytes(bytes);
    return this.#places.reduce((told, [path, word]) => told.replaceAll(whole(path), () => word), bytes.toString());
  }

  /** A recorded text as this machine has it. */
  show(text: ByteText): ByteText {
    if (typeof text !== 'string') return text;
    return this.#places.reduce((told, [path, word]) => told.replaceAll(word, () => path), text);
  }

  /** Moves the cuts between pieces of an output, so that none goes through a character, a secret or a path. */
  cut(pieces: readonly Buffer[]): Buffer[] {
    const bytes = Buffer.concat(pieces);
    const needles = [...this.#secrets, ...this.#places.map(([path]) => Buffer.from(path))];
    const found = needles.flatMap((needle) => occurrences(bytes, needle));
    const isText = isUtf8(bytes);
    let from = 0;
    let end = 0;
    return pieces.map((piece) => {
      end += piece.length;
      let cut = Math.max(from, end);
      for (const [start, stop] of found) if (start < cut && cut < stop) cut = stop;
      while (isText && cut < bytes.length && (bytes[cut]! & 0xc0) === 0x80) cut += 1;
      const part = bytes.subarray(from, cut);
      from = cut;
      return part;
    });
  }

  #withoutSecrets(bytes: Buffer): Buffer {
    if (!this.#secrets.some((secret) => bytes.includes(secret))) return bytes;
    const text = this.#secrets.reduce(
      (told, secret) => told.replaceAll(secret.toString('latin1'), () => SECRET),
      bytes.toString('latin1'),
    );
    return Buffer.from(text, 'latin1');
  }
}

function secretsOf(spec: CommandSpec, sendBuffers: ReadonlyMap<number, SendBuffer>): Buffer[] {
  const words = (spec.secretArgs ?? []).map((place) => spec.argv.at(place) ?? '');
  const variables = (spec.env ?? []).filter(([name]) => SECRETIVE.test(name)).map(([, value]) => value);
  const said = [...words, ...variables].map(toBytes);
  // Of `password=…`, a program may print the second part alone.
  const parts = said.map((bytes) => bytes.subarray(bytes.indexOf('=') + 1));
  const sent = Array.from(sendBuffers.values(), ({ bytes }) => trimmed(Buffer.from(bytes ?? '')));
  return [...said, ...parts, ...sent]
    .filter(({ length }) => length >= SHORTEST_SECRET)
    .sort((one, other) => other.length - one.length);
}

/** What was sent, without the newline that ends it. */
const trimmed = (bytes: Buffer): Buffer => Buffer.from(bytes.toString('latin1').trimEnd(), 'latin1');

/** A path where it stands as a whole, and not as the beginning of another name. */
const whole = (path: string): RegExp => new RegExp(`${escaped(path)}(?![\\w-]|\\.\\w)`, 'g');

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`);

/** The files and directories right in the directory for temporary files that a command names, numbered as it names them. */
function temporaryPlaces(
  spec: CommandSpec,
  named: readonly (readonly [path: string, word: string])[],
): (readonly [string, string])[] {
  const text = [...spec.argv, spec.workingDirectory ?? '', ...(spec.env ?? []).map(([, value]) => value)]
    .map(readable)
    .join('\0');
  const found = new Set<string>();
  for (const root of temporaryRoots())
    for (const [path] of text.matchAll(new RegExp(`(?<![\\w.-])${escaped(root)}/[\\w.-]*\\w`, 'g')))
      if (!named.some(([other]) => path === other)) found.add(path);
  const inOrder = Array.from(found).sort((one, other) => text.indexOf(one) - text.indexOf(other));
  return inOrder.map((path, index) => [path, `{tmp:${index + 1}}`] as const);
}

function temporaryRoots(): Set<string> {
  const roots = new Set([tmpdir()]);
  try {
    roots.add(realpathSync(tmpdir()));
  } catch {
    // It is not there, and nothing is in it.
  }
  return roots;
}

function occurrences(bytes: Buffer, needle: Buffer): (readonly [number, number])[] {
  const found: (readonly [number, number])[] = [];
  for (let at = bytes.indexOf(needle); at >= 0 && needle.length > 0; at = bytes.indexOf(needle, at + 1))
    found.push([at, at + needle.length]);
  return found;
}
