import type { Mistake } from '../errors/usage-error.js';
import { printCall } from '../text/call-text.js';
import { isArray, printAnything, readOptions, Wrong } from '../text/reading.js';
import { callSite, type Entry } from './call-site.js';

/** Which ends are no error: exit code 0 (`true`), these exit codes, or every exit code and signal (`false`). */
export type Check = boolean | readonly number[];

/** The exit codes of a result that is no error, where that is what `check` takes. */
export type Codes<K> = K extends readonly (infer N extends number)[] ? N : number | null;

/** What {@link Child.wait} and `Command.run` take. */
export interface WaitOptions<C extends Check | undefined = Check | undefined> {
  /**
   * Which ends are no {@link ExitError}. True: exit code 0 alone. An array: these exit codes, and no signal. False: every exit code and
   * signal. Default: what `check()` of the command says, else true. A timeout, an abort and an overrun of the output limit are always errors.
   */
  readonly check?: C;
}

export type { NoOptions } from '../errors/argument-error.js';

/** The ends that are accepted, as a spec holds them: exit codes, or all (`false`). */
export type Accepted = false | readonly number[];

const SUCCESS: Accepted = Object.freeze([0]);

/** On Windows, exit codes have 32 bits. */
const HIGHEST_CODE = process.platform === 'win32' ? 0xffff_ffff : 255;

/** Whether an end is accepted. A signal is accepted only where every end is. */
export const accepts = (accepted: Accepted | undefined, exitCode: number | null): boolean =>
  accepted === false || (exitCode !== null && (accepted ?? SUCCESS).includes(exitCode));

/** Reads which ends are accepted; `undefined` where nothing was said. */
export function readCheck(check: unknown): Accepted | undefined | Wrong {
  if (check === undefined || check === false) return check;
  if (check === true) return SUCCESS;
  if (!isArray(check)) return new Wrong('check is true, false, or an array of exit codes: [0, 1]');
  if (check.length === 0) return new Wrong('check names no exit code; false takes every end');
  const codes = Array.from(check);
  return codes.every((code) => Number.isInteger(code) && (code as number) >= 0 && (code as number) <= HIGHEST_CODE)
    ? (codes as number[])
    : new Wrong(`an exit code is a whole number from 0 to ${HIGHEST_CODE}`);
}

/** What the options of other libraries are called here. Values that may be secret are not repeated. */
const calls: ReadonlyMap<PropertyKey, string | ((value: unknown) => string)> = new Map<
  string,
  string | ((value: unknown) => string)
>([
  ['timeout', (ms) => `.${printCall('timeout', [ms])}`],
  ['signal', '.abortSignal(signal)'],
  ['cancelSignal', '.abortSignal(signal)'],
  ['cwd', (dir) => `.${printCall('workingDirectory', [dir])}`],
  ['env', '.env(name, value) for each, behind .envInherit() to keep the others'],
  ['extendEnv', '.envInherit()'],
  ['input', '.inputBuffer(data)'],
  ['inputFile', (path) => `.${printCall('inputFile', [path])}`],
  ['stdin', '.inputBuffer(data), .inputFile(path) or .inputPipe()'],
  ['stdout', '.outputBuffer(), .outputFile(path) or .outputPipe()'],
  ['stderr', '.errorBuffer(), .errorFile(path) or .errorPipe()'],
  ['stdio', '.inheritStdio(), or a call for each stream'],
  ['all', 'the same OutputBuffer to .outputBuffer() and .errorBuffer()'],
  ['encoding', (encoding) => `.${printCall('outputBuffer', [{ encoding }])}`],
  ['maxBuffer', (bytes) => `.${printCall('outputLimit', [bytes, 'kill'])}`],
  ['killSignal', (signal) => `.stopSequence([[${printAnything(signal)}, 5000], ['SIGKILL', 0]])`],
  ['forceKillAfterDelay', ".stopSequence([['SIGTERM', milliseconds], ['SIGKILL', 0]])"],
  ['detached', '.daemonize(), or .newSession()'],
  ['cleanup', '.daemonize() for what is to outlive this process'],
  ['shell', "new Command('sh', '-c', line)"],
  ['reject', '{ check: false }'],
  ['throwOnError', '{ check: false }'],
]);

/** What to say in the place of an option that there is not; `undefined` where nothing is known. */
function callForOption(name: PropertyKey, value: unknown, isMethod: (name: string) => boolean): string | undefined {
  if (typeof name !== 'string') return undefined;
  const call = calls.get(name);
  if (call !== undefined) return typeof call === 'string' ? call : call(value);
  if (!isMethod(name)) return undefined;
  return typeof value === 'number' ? `.${printCall(name, [value])}` : `.${name}(${value === true ? '' : '…'})`;
}

/** The calls that say what an object of options says, where it is one. */
export function optionsAsMethods(value: unknown, isMethod: (name: string) => boolean): string[] {
  if (typeof value !== 'object' || !(readOptions(value, ['check']) instanceof Wrong)) return [];
  return unknownOptions(value, []).flatMap(([name, given]) => callForOption(name, given, isMethod) ?? []);
}

/** A call that may take options, for the messages about it. */
interface CallWithOptions {
  readonly method: string;
  readonly called: Entry;
  /** The names that it takes. */
  readonly names: readonly 'check'[];
  /** Whether a command has a method of that name. */
  readonly isMethod: (name: string) => boolean;
}

const NOT_SAID = Object.freeze({ check: undefined, mistakes: [] });

/** Reads the options of a call that runs a command or waits for it. Each unknown one is a mistake, which names the method to say instead. */
export function readWaitOptions(
  options: unknown,
  { method, called, names, isMethod }: CallWithOptions,
): { readonly check: Accepted | undefined; readonly mistakes: readonly Mistake[] } {
  if (options === undefined) return NOT_SAID;
  const at = callSite(called);
  const mistake = (shown: string, problem: string): Mistake => ({
    call: `${method}(${shown})`,
    problem,
    ...(at === undefined ? {} : { at }),
  });
  const read = readOptions(options, names);
  if (!(read instanceof Wrong)) {
    const check = readCheck(read.check);
    if (!(check instanceof Wrong)) return { check, mistakes: [] };
    return { check: undefined, mistakes: [mistake(`{ check: ${printAnything(read.check, 1)} }`, check.wrong)] };
  }
  const unknown = unknownOptions(options, names);
  if (unknown.length === 0) {
    const problem = names.length === 0 ? 'it takes no options; each has a method of the command' : read.wrong;
    return {
      check: undefined,
      mistakes: [mistake(typeof options === 'object' ? '…' : printAnything(options), problem)],
    };
  }
  return {
    check: undefined,
    mistakes: unknown.map(([name, value]) => {
      const call = callForOption(name, value, isMethod);
      const shown = typeof value === 'number' || typeof value === 'boolean' ? String(value) : '…';
      const instead =
        call === undefined
          ? names.length === 0
            ? 'there are none'
            : `the options are { ${names.join(', ')} }`
          : `say ${call}${call.startsWith('.') && method === 'wait' ? ' of the command, before it runs' : ''}`;
      return mistake(`{ ${String(name)}: ${shown} }`, `there is no option ${printAnything(name)}; ${instead}`);
    }),
  };
}

/** The options that a call does not take, with their values. None where the options are none at all. */
function unknownOptions(options: unknown, names: readonly string[]): (readonly [PropertyKey, unknown])[] {
  try {
    if (typeof options !== 'object' || options === null || isArray(options)) return [];
    const values = options as Readonly<Record<PropertyKey, unknown>>;
    return Reflect.ownKeys(values)
      .filter((name) => !(names as readonly PropertyKey[]).includes(name))
      .map((name) => [name, values[name]] as const);
  } catch {
    // A getter or a proxy threw. That they cannot be read has been said.
    return [];
  }
}
