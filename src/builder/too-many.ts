import { hidden, printCall } from '../text/call-text.js';
import { isArray } from '../text/reading.js';

/** How many values a method takes where its parameters do not tell: they have a default, or take the rest. */
const takes = new Map<string, number>([
  ['dieWithParent', 1],
  ['outputLimit', 3],
  ['limit', 3],
  ['args', Infinity],
  ['argFormat', Infinity],
  ['envFormat', Infinity],
  ['envPass', Infinity],
  ['listenFds', Infinity],
]);

/** What to say instead. */
const instead = new Map([
  ['arg', 'args() takes as many as there are'],
  ['secretArg', 'call it once for each'],
  ['allowCap', 'call it once for each'],
  ['preserveFd', 'call it once for each'],
  ['transferFd', 'call it once for each'],
  ['sendBuffer', 'call it once for each'],
  ['env', 'call it once for each variable'],
  ['groups', 'give one array'],
  ['stopSequence', 'give one array of pairs'],
]);

/** Those that may hold secrets: no message shows their values. */
const secretive = /^(?:env|secretArg$|inputBuffer$|sendBuffer$|preExecHook$)/;

/** How many values a method of a command takes at most. */
export const mostValues = (method: string, work: { readonly length: number }): number =>
  takes.get(method) ?? work.length;

/** Whether values were said beyond those that a method takes. `undefined` says nothing where there could have been a value. */
export const saysMore = (values: readonly unknown[], most: number): boolean =>
  values.length > most && (most === 0 || values.some((value, index) => index >= most && value !== undefined));

/** The values as a message shows them. */
export const valuesShown = (method: string, values: readonly unknown[]): readonly unknown[] =>
  secretive.test(method) ? values.map(() => hidden) : values;

/** What is wrong with more values than a method takes, and what to do. `said`: the calls that say what an object of options says. */
export function tooMany(method: string, values: readonly unknown[], most: number, [said]: readonly string[]): string {
  if (said !== undefined) return `it takes no such options; say ${said}`;
  if (most === 0) return 'it takes no value; leave the whole call out where it is not meant';
  const way = instead.get(method);
  return `it takes ${most === 1 ? 'one value' : `${most} values`}, and ${values.length} came${way === undefined ? '' : `; ${way}`}`;
}

/** What is wrong with an array where one value is taken, and the call that takes it. */
export function arrayInstead(method: string, value: unknown): string | undefined {
  if (!isArray(value)) return undefined;
  switch (method) {
    case 'new Command':
      return `the program is an array; say ${printCall('Command.fromArgv', [value])}`;
    case 'arg':
      return 'the value is an array; args() takes arrays';
    case 'allowCap':
      return 'the name is an array; call it once for each';
    default:
      return undefined;
  }
}
