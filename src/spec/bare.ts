import { inspect } from 'node:util';

/**
 * What stands above a {@link Bare} object: the names that every object answers to, as they were when this file was loaded, and
 * nothing that anybody put into `Object.prototype`.
 */
const above: object = Object.create(null) as object;
for (const name of [
  'constructor',
  'hasOwnProperty',
  'isPrototypeOf',
  'propertyIsEnumerable',
  'toLocaleString',
  'toString',
  'valueOf',
]) {
  define(above, name, Object.getOwnPropertyDescriptor(Object.prototype, name)?.value);
}
// Printed as a plain object is, which is what it stands for.
define(above, inspect.custom, function (this: object, _depth: number, options: object, print: typeof inspect) {
  return print({ ...this }, options);
});
Object.freeze(above);

function BareObject(): void {
  // Its fields come later.
}
BareObject.prototype = above;

/**
 * An object without inherited fields: a field that is absent reads as `undefined` whatever `Object.prototype` holds.
 *
 * V8 keeps it as fast as a literal. An object whose prototype is `null` is twenty times slower to fill in.
 */
export const Bare = BareObject as unknown as new () => object;

/** The own fields of an object, in one that inherits none. */
export function bare<T extends object>(fields: T): T {
  return Object.assign(new Bare(), fields);
}

/** Defines a constant property that is not enumerable. A descriptor inherits too: with a `get` in `Object.prototype`, a literal is an error. */
export function define<T extends object>(object: T, name: PropertyKey, value: unknown): T {
  return Object.defineProperty(object, name, valueDescriptor(value, false));
}

/** The descriptor of a constant property, with every field that `Object.defineProperty()` may look for, and none inherited. */
export function valueDescriptor(value: unknown, enumerable: boolean): PropertyDescriptor {
  const descriptor = Object.create(null) as PropertyDescriptor;
  descriptor.value = value;
  descriptor.enumerable = enumerable;
  return descriptor;
}

// ---------------------------------------------------------------- options of node:fs

/*
 * Node makes a plain object of options that are text, and looks for all others in it and in what it inherits. So each options object
 * that is handed to Node is one without inherited fields; a test looks for literals.
 */

/** Reads a file as text. */
export const AS_UTF8 = Object.freeze(bare({ encoding: 'utf8' } as const));

/** Reads a file of `/proc` as text, whatever its bytes are. */
export const AS_LATIN1 = Object.freeze(bare({ encoding: 'latin1' } as const));

/** Gives a path as bytes. */
export const AS_BYTES = Object.freeze(bare({ encoding: 'buffer' } as const));

/** Looks at a file that may be missing. */
export const MAY_BE_MISSING = Object.freeze(bare({ throwIfNoEntry: false } as const));

/** Gives numbers of files in full. */
export const WITH_BIGINT = Object.freeze(bare({ bigint: true } as const));

/** Removes a directory and what is in it. */
export const ALL_OF_IT = Object.freeze(bare({ recursive: true, force: true } as const));
