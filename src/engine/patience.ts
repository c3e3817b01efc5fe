import { clearTimeout, now, setTimeout } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';

/** Why nobody waits any more. */
export type EndOfPatience = { readonly is: 'late' } | { readonly is: 'aborted'; readonly cause: unknown };

/** How long something is waited for: to a deadline, and until a signal is aborted. */
export class Patience {
  /** All that was begun with {@link Patience.until}, over or not. */
  readonly works: Promise<unknown>[] = [];
  #end: EndOfPatience | undefined;
  readonly #waiting = new Set<() => void>();
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #callOff: (() => void) | undefined;

  constructor(deadline: number, signal: AbortSignal | undefined) {
    const end = (why: EndOfPatience): void => {
      this.#end ??= why;
      this.stop();
      for (const tell of this.#waiting) tell();
    };
    if (deadline !== Infinity) {
      this.#timer = setTimeout(
        () => {
          end({ is: 'late' });
        },
        Math.max(0, deadline - now()),
      );
    }
    if (signal !== undefined) {
      this.#callOff = onAbort(signal, (cause) => {
        end({ is: 'aborted', cause });
      });
    }
  }

  /** Why it is over, once it is. */
  get end(): EndOfPatience | undefined {
    return this.#end;
  }

  /** Nothing is waited for any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#callOff?.();
  }

  /** Waits for work that nobody can call off. `undefined`: patience was over first; what comes after all is given to `late`. */
  until<T>(work: Promise<T>, late?: (value: T) => void): Promise<T | undefined> {
    this.works.push(work);
    return new Promise((resolve, reject) => {
      const isOver = (): void => {
        this.#waiting.delete(isOver);
        resolve(undefined);
      };
      this.#waiting.add(isOver);
      work.then(
        (value) => {
          if (this.#waiting.delete(isOver)) resolve(value);
          else late?.(value);
        },
        (error: unknown) => {
          this.#waiting.delete(isOver);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it is what the work threw.
          reject(error);
        },
      );
      if (this.#end !== undefined) isOver();
    });
  }

  /** Waits so many milliseconds, or to the end of patience. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#end !== undefined) {
        resolve();
        return;
      }
      const isOver = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(isOver);
        resolve();
      };
      const timer = setTimeout(isOver, ms);
      this.#waiting.add(isOver);
    });
  }
}
