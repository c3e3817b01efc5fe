import { inspect, types } from 'node:util';

/** What is wrong with a value that was read, in words that complete a sentence. */
export class Wrong {
  readonly wrong: string;

  constructor(wrong: string) {
    this.wrong = wrong;
  }
}

/** What a value is, for a message: `null`, `an array`, `a function` … */
export function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (isArray(value)) return 'an array';
  if (types.isAnyArrayBuffer(value)) return 'a buffer without a view';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}

/** Prints a value of a message, whatever it is: an object whose own code throws is named only. */
export function printAnything(value: unknown, depth = 0): string {
  try {
    return inspect(value, { depth, breakLength: Infinity });
  } catch {
    return describeKind(value);
  }
}

/** `Array.isArray()` throws for a proxy that was revoked. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/**
 * An element of a list, or `undefined` beyond its ends. An index in brackets would lead on to what stands in `Object.prototype` under
 * that number, and so would a negative one; where it cannot be negative, `.at()` is the same.
 */
export function elementAt<T>(list: readonly T[], index: number): T | undefined {
  return index < 0 ? undefined : list.at(index);
}

/** Whether a value is bytes, of whatever realm: `instanceof` knows only those of this one. */
export function isBytes(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** Whether the memory of these bytes was given to another thread: they look like none, and nobody may take them for that. */
export function isDetached(bytes: Uint8Array): boolean {
  if (bytes.byteLength > 0) return false;
  try {
    new Uint8Array(bytes.buffer);
    return false;
  } catch {
    return true;
  }
}

/** An address of whatever realm, as one of this realm; `undefined` for everything else. */
export function asUrl(value: unknown): URL | undefined {
  if (kindOf(value) !== 'URL') return undefined;
  if (value instanceof URL) return value;
  try {
    return new URL((value as URL).href);
  } catch {
    return undefined;
  }
}

/** Whether a value can be listened to as an abort signal is, of whatever realm. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  if (kindOf(value) !== 'AbortSignal') return false;
  if (value instanceof AbortSignal) return true;
  try {
    const parts = value as Readonly<Record<string, unknown>>;
    return (
      typeof parts['aborted'] === 'boolean' &&
      typeof parts['addEventListener'] === 'function' &&
      typeof parts['removeEventListener'] === 'function'
    );
  } catch {
    return false;
  }
}

/** The name of a value's kind, as the platform's own classes have it in every realm. A proxy has none: `instanceof` fails with one that was revoked. */
function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return '';
  try {
    return Object.prototype.toString.call(value).slice('[object '.length, -1);
  } catch {
    return '';
  }
}

/** The options of a call: each of the names, `undefined` where it was not said. */
export type ReadOptions<Name extends string> = Readonly<Partial<Record<Name, unknown>>>;

/**
 * Reads the options of a call: a plain object with these names and no others. Its own properties count, and none that it
 * inherits. Every function that takes options reads them here.
 *
 * @param instead what else could stand in their place, for the message: `'an OutputBuffer, or '`.
 */
export function readOptions<Name extends string>(
  value: unknown,
  names: readonly Name[],
  instead = '',
): ReadOptions<Name> | Wrong {
  const options = Object.create(null) as Partial<Record<Name, unknown>>;
  if (value === undefined) return options;
  const shape = `{ ${names.join(', ')} }`;
  try {
    if (!isPlainObject(value)) return new Wrong(`these are no options; give ${instead}${shape}`);
    for (const name of Reflect.ownKeys(value)) {
      if (!(names as readonly PropertyKey[]).includes(name))
        return new Wrong(`there is no option ${printAnything(name)}; the options are ${shape}`);
      options[name as Name] = (value as Record<PropertyKey, unknown>)[name];
    }
    return options;
  } catch (error) {
    return new Wrong(`the options cannot be read (${reasonOf(error)}); give a plain object, ${shape}`);
  }
}

/** An option that is set or not. Absent: false. */
export function readSwitch(value: unknown, name: string): boolean | Wrong {
  return value === undefined || typeof value === 'boolean' ? value === true : new Wrong(`${name} is true or false`);
}

/** What was thrown, in words: the message of an error, and of everything else its text. */
export function reasonOf(error: unknown): string {
  try {
    return types.isNativeError(error) ? error.message.replace(/\.$/, '') : printAnything(error);
  } catch {
    return 'it threw something that cannot be read';
  }
}

/** Of any realm: a Map, a stream or an OutputBuffer of another copy of this library has more above it. */
function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const above: unknown = Object.getPrototypeOf(value);
  return above === null || Object.getPrototypeOf(above) === null;
}
