import { formatDuration } from '../text/duration.js';
import type { SignalName } from '../text/signals.js';
import { type Explanation, reasonText } from './explanation.js';

/** An error of another process. */
interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
}

/** What became of a hook that did not let the program run. */
export type HookFailure =
  | ({ readonly what: 'threw' } & Thrown)
  /** The module, or the source of the function, could not be read. */
  | ({ readonly what: 'unloadable'; readonly module?: string } & Thrown)
  | { readonly what: 'no-function'; readonly module?: string }
  | { readonly what: 'returned'; readonly value: string }
  | { readonly what: 'closed'; readonly fd: number }
  /** It ended its own process. */
  | { readonly what: 'exited'; readonly code: number }
  /** It gave a promise, and then there was nothing left that could settle it. */
  | { readonly what: 'unsettled' }
  /** Its process is gone without a word. Both are `null` for a daemon, whose end only its new parent knows. */
  | { readonly what: 'died'; readonly exitCode: number | null; readonly signal: SignalName | null }
  | { readonly what: 'timeout'; readonly limitMs: number }
  | { readonly what: 'aborted'; readonly cause: unknown };

/** `isFunction`: the hook was no module. */
export function explainHook(hook: HookFailure, isFunction: boolean): Explanation {
  switch (hook.what) {
    case 'threw': {
      const missing = isFunction && hook.name === 'ReferenceError' ? MISSING.exec(hook.message)?.[1] : undefined;
      const what = `its pre-exec hook failed: ${thrownText(hook)}`;
      if (missing === undefined) return { what };
      return {
        what,
        wayOut: `Only the hook's source reaches the child: pass ${missing} as opaque, the second argument of preExecHook(), or import it in the hook.`,
      };
    }
    case 'unloadable':
      return {
        what:
          hook.module === undefined
            ? `the source of its pre-exec hook cannot be read: ${thrownText(hook)}`
            : `the module of its pre-exec hook, '${hook.module}', cannot be loaded: ${thrownText(hook)}`,
      };
    case 'no-function':
      return hook.module === undefined
        ? { what: 'the source of its pre-exec hook is no function', wayOut: 'Write `(opaque) => …`, or a function.' }
        : {
            what: `the module of its pre-exec hook, '${hook.module}', has no function as its default export`,
            wayOut: 'Write `export default (opaque) => …` in it.',
          };
    case 'returned':
      return { what: `its pre-exec hook returned ${hook.value}`, wayOut: 'Only 0, or nothing, lets the program run.' };
    case 'closed':
      return { what: `its pre-exec hook closed descriptor ${hook.fd}, which is not its own` };
    case 'exited':
      return {
        what: `its pre-exec hook ended its own process, with code ${hook.code}`,
        wayOut: 'A hook that is done returns.',
      };
    case 'unsettled':
      return { what: 'the promise of its pre-exec hook never settled, and there was nothing left to wait for' };
    case 'died':
      if (hook.signal !== null) return { what: `the process of its pre-exec hook was ended by ${hook.signal}` };
      return {
        what: `the process of its pre-exec hook ${hook.exitCode === null ? 'died' : `exited with code ${hook.exitCode}`}`,
      };
    case 'timeout':
      return {
        what: `its pre-exec hook was not done within ${formatDuration(hook.limitMs)}, and was ended by SIGKILL`,
      };
    case 'aborted':
      return {
        what: `it was aborted while its pre-exec hook ran${hook.cause === undefined ? '' : `: ${reasonText(hook.cause)}`}`,
      };
  }
}

/** V8's words for a name that is not there. */
const MISSING = /^(\S+) is not defined$/;

/** What was thrown, with its kind where that tells more than `Error`. */
function thrownText({ name, message }: Thrown): string {
  const text = message.replace(/\.$/, '');
  return name === 'Error' && text !== '' ? text : text === '' ? name : `${name}: ${text}`;
}
