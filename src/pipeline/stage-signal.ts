import { onAbort } from '../io/on-abort.js';

/** What has a stage stopped: the signal of its own command, that of its pipeline, or the failure of another stage's launch. */
export class StageSignal {
  // That of jsdom will do: no function of Node's is given the signal.
  // eslint-disable-next-line no-restricted-globals
  readonly #controller = new AbortController();
  readonly #own: AbortSignal | undefined;
  readonly #letGo: (() => void)[] = [];

  constructor(own: AbortSignal | undefined, ofAll: AbortSignal | undefined) {
    this.#own = own;
    for (const signal of new Set([own, ofAll])) {
      if (signal === undefined) continue;
      if (signal.aborted) this.abort(signal.reason);
      else
        this.#letGo.push(
          onAbort(signal, (reason) => {
            this.abort(reason);
          }),
        );
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether nobody but the pipeline can have aborted it. */
  get isOfAll(): boolean {
    return this.#own?.aborted !== true;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** The stage has ended, or was never launched: nothing is listened to any more. */
  end(): void {
    for (const letGo of this.#letGo) letGo();
  }
}
