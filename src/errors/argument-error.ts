import { inspect } from 'node:util';

/**
 * Makes the error for a call whose values are not what it takes, of a function that is about no command:
 * `killTree('12'): a tree starts at …`. Nothing was done. It is a `TypeError`, as Node's own functions throw it, and the same each
 * time: mend the program.
 */
export function argumentError(method: string, values: readonly unknown[], problem: string, cause?: unknown): TypeError {
  return typeError(`${callText(method, values)}: ${problem}.`, cause);
}

/** Makes the error for a value that a function of the caller gave. */
export const typeError = (message: string, cause?: unknown): TypeError =>
  new TypeError(message, cause === undefined ? undefined : { cause });

const LONGEST_VALUE = 200;

/** Returns the call as it stands in a message, also for values that no function can look into. */
function callText(method: string, values: readonly unknown[]): string {
  return `${method}(${values.map(valueText).join(', ')})`;
}

/** Returns a value as it stands in a message. */
export function valueText(value: unknown): string {
  try {
    return inspect(value, {
      depth: 0,
      breakLength: Infinity,
      customInspect: false,
      maxArrayLength: 3,
      maxStringLength: LONGEST_VALUE,
    });
  } catch {
    // Even the name of its class throws.
    return typeof value;
  }
}

const LARGEST_PID = 0x7fff_ffff;

/** Whether a value is a whole number that the kernel's type for pids can hold. Negative numbers and 0 are in it. */
export const isPidNumber = (value: unknown): value is number =>
  Number.isInteger(value) && Math.abs(value as number) <= LARGEST_PID;

/** What takes no options, so that those of other libraries are told apart from none. */
export type NoOptions = Readonly<Record<string, never>>;

/** What an option may be: `boolean`, `function`, or a check with its words. */
type OptionKind = 'boolean' | 'function' | { readonly is: (value: unknown) => boolean; readonly words: string };

/**
 * Reads the options of a call, which stand after `values` in it: own properties only, each once. Throws a `TypeError` for what
 * is no object, for an option that there is not, for a value of the wrong kind, and for a getter that throws. `undefined` means: not said.
 */
export function readOptions<T extends object>(
  method: string,
  values: readonly unknown[],
  given: T | undefined,
  kinds: { readonly [K in keyof Required<T>]: OptionKind },
): Partial<T> {
  const options = Object.create(null) as Partial<T>;
  if (given === undefined) return options;
  const names = Object.keys(kinds).join(', ');
  const NONE = 'it takes no options';
  if (typeof given !== 'object' || (given as unknown) === null)
    throw argumentError(
      method,
      [...values, given],
      names === '' ? NONE : `options are an object with any of: ${names}`,
    );
  let own: [string, unknown][];
  try {
    own = Object.entries(given);
  } catch (cause) {
    throw argumentError(
      method,
      [...values, given],
      `the options cannot be read; give plain values for: ${names}`,
      cause,
    );
  }
  for (const [name, value] of own) {
    if (value === undefined) continue;
    if (!Object.hasOwn(kinds, name))
      throw argumentError(
        method,
        [...values, { [name]: value }],
        names === '' ? NONE : `there is no such option; there are: ${names}`,
      );
    const kind = kinds[name as keyof T];
    const [fits, words] =
      typeof kind === 'string'
        ? [typeof value === kind, `${name} is ${kind === 'boolean' ? 'true or false' : 'a function'}`]
        : [kind.is(value), kind.words];
    if (!fits) throw argumentError(method, [...values, { [name]: value }], words);
    options[name as keyof T] = value as T[keyof T];
  }
  return options;
}
