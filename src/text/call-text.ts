import { EventEmitter } from 'node:events';
import { inspect } from 'node:util';
import { asUrl, isArray, isBytes, printAnything } from './reading.js';

/** A call as it stands in a message: `env('A=…', …)`. Long texts are cut, bytes are counted, secrets and values are hidden. */
export function printCall(method: string, values: readonly unknown[]): string {
  return `${method}(${values.map(printValue).join(', ')})`;
}

/** Options as a message shows them, with the values of those that were left out. */
export function withDefaults(options: unknown, defaults: object): unknown {
  if (options === undefined) return defaults;
  try {
    return typeof options === 'object' ? { ...options, ...defaults, ...options } : options;
  } catch {
    // A getter threw. The mistake that is about to be recorded says so.
    return options;
  }
}

/** Stands for a value that no message may show. */
export const hidden = Symbol('hidden');

/**
 * The name of a variable as a call in a message shows it. What comes after a `=` may be its value, and so may all that is no name:
 * both were said where an entry, or an object of them, was meant.
 */
export function variableShown(name: unknown): unknown {
  if (typeof name === 'string') return name.replace(/=.+/s, '=…');
  return typeof name === 'object' && name !== null && !isBytes(name) ? hidden : name;
}

/** The class of a FileHandle, a Socket or the like: its fields are Node's affair, and fill a screen. */
function emitterName(value: unknown): string | undefined {
  try {
    return value instanceof EventEmitter || isFileHandle(value) ? value.constructor.name : undefined;
  } catch {
    // A proxy has thrown; it is printed as proxies are.
    return undefined;
  }
}

/** Node does not export the class, which has all that an emitter has but is none. */
const isFileHandle = (value: unknown): value is object =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as { fd?: unknown }).fd === 'number' &&
  typeof (value as { emit?: unknown }).emit === 'function';

const LONGEST_VALUE = 40;

function printValue(value: unknown): string {
  if (value === hidden) return '…';
  if (typeof value === 'string') {
    return inspect(value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE - 1)}…` : value);
  }
  if (isBytes(value)) return `${value.length} bytes`;
  if (typeof value === 'function') return 'function';
  if (isArray(value)) return printArray(value);
  const emitter = emitterName(value);
  if (emitter !== undefined) return emitter;
  const url = asUrl(value);
  return url === undefined ? printAnything(value) : `new URL('${url.href}')`;
}

function printArray(values: readonly unknown[]): string {
  try {
    return `[${values.slice(0, 3).map(printValue).join(', ')}${values.length > 3 ? ', …' : ''}]`;
  } catch {
    // A proxy or an element's getter threw, or the array holds itself.
    return '[…]';
  }
}
