import { types } from 'node:util';
import { vm } from '../spec/late.js';
import { Wrong } from '../text/reading.js';

/** A hook's answer: nothing, or 0, to go on. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- most hooks end without a word, and their type says void.
export type HookAnswer = number | void;

/** What a hook is told of the process that it runs in, which will be the program. */
export interface HookChild {
  /** The pid, which stays to the end. */
  readonly pid: number;
  /**
   * Leaves a descriptor that the hook has opened to the program, at the same number. All others that it has opened are closed.
   *
   * @throws {TypeError} if it is not open.
   */
  keepFd(fd: number): void;
}

/** A hook that runs in the child before the program: self-contained, since it runs in a process of its own. */
export type PreExecHook = URL | ((opaque: never, child: HookChild) => HookAnswer | Promise<HookAnswer>);

/** The source of a function that can stand by itself, as an expression; or what is wrong with the function. */
export function sourceOf(hook: (...values: never[]) => unknown): string | Wrong {
  // Not `String(hook)`: a function may have a toString() of its own.
  const text = Function.prototype.toString.call(hook);
  if (/\{\s*\[native code\]\s*\}$/.test(text))
    return new Wrong('the function has no source (it is bound, or built in); wrap it in one of its own');
  if (/^class\b/.test(text)) return new Wrong('a class cannot be called; give a function');
  if (types.isGeneratorFunction(hook)) {
    return new Wrong('a generator does nothing when it is called; give a function, or an async function');
  }
  if (isExpression(text)) return text;
  // A method without the word `function`, `prepare(opaque) { … }`, is taken out of an object of its own.
  const method = `((object) => object[Reflect.ownKeys(object)[0]])({ ${text} })`;
  const isAccessor = /^[gs]et\s+[^\s(]/.test(text);
  if (!isAccessor && isExpression(method)) return method;
  return new Wrong(
    'the source of this function cannot stand by itself (it is an accessor, or a private method); wrap it in a function of its own',
  );
}

function isExpression(text: string): boolean {
  try {
    new (vm().Script)(`(${text}\n)`);
    return true;
  } catch {
    // A SyntaxError; where in the text is of no interest.
    return false;
  }
}
