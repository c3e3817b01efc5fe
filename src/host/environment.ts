import { types } from 'node:util';
import { native } from '../native/load.js';
import { isMainThread } from '../spec/late.js';
import { type ByteText, fromBytes } from '../text/bytes.js';

/** The object that was asked about last, and what it is. */
let known: unknown;
let isKnownReal = false;

/**
 * Whether `process.env` is what Node made it: a view of the C library's variables. Frameworks put a plain object in its place,
 * and a worker has a copy of its own; of both, the C library knows nothing.
 */
export function isRealEnvironment(): boolean {
  const { env } = process;
  if (env !== known) {
    known = env;
    isKnownReal = reachesTheSystem(env) && isMainThread();
  }
  return isKnownReal;
}

const PROBE = 'VIRCOMMAND_PROBE';

/** Node's own object is the only one that refuses accessors, with an error of its own. A proxy of it may answer otherwise than it does. */
function reachesTheSystem(env: object): boolean {
  if (typeof env !== 'object' || types.isProxy(env)) return false;
  const accessor = Object.assign(Object.create(null) as PropertyDescriptor, {
    configurable: true,
    enumerable: false,
    get: () => undefined,
  });
  try {
    Object.defineProperty(env, PROBE, accessor);
    Reflect.deleteProperty(env, PROBE);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_INVALID_OBJECT_DEFINE_PROPERTY';
  }
}

/** What stands in a string for bytes that were no UTF-8. */
const LOST = '\ufffd';

/** A variable of this process as it is now, byte for byte where that can be told; `undefined` where it is not set. */
export function variableOf(name: string): ByteText | symbol | undefined {
  const { env } = process;
  if (!isVariable(env, name)) return undefined;
  const value: unknown = env[name];
  if (value === undefined) return undefined;
  const text = textOfVariable(value);
  return typeof text === 'string' && text.includes(LOST) && isRealEnvironment() ? (bytesOf(name) ?? text) : text;
}

/** A value of an object in the place of `process.env`, as child_process reads it: everything but a symbol is text. */
export const textOfVariable = (value: unknown): string | symbol =>
  typeof value === 'symbol' ? value : ''.concat(value as string);

function bytesOf(name: string): ByteText | undefined {
  if (typeof native === 'string') return undefined;
  const bytes = native.binding.environment();
  const start = Buffer.from(`${name}=`);
  for (let at = 0, end = bytes.indexOf(0); end >= 0; at = end + 1, end = bytes.indexOf(0, at)) {
    const entry = bytes.subarray(at, end);
    if (entry.subarray(0, start.length).equals(start)) return fromBytes(entry.subarray(start.length));
  }
  return undefined;
}

/** As in child_process, what an object in the place of `process.env` inherits counts too, but for what all objects inherit. */
export function isVariable(env: Readonly<Record<string, unknown>> | undefined, name: string): boolean {
  return typeof env === 'object' && name in env && (Object.hasOwn(env, name) || !Object.hasOwn(Object.prototype, name));
}
