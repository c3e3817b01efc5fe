// A supervisor: keeps a program running, starts it anew when it fails, and stops it as the program wants to be stopped.
import { type Child, type Command, ExitError } from 'vircommand';

export interface Policy {
  /** The longest pause before a new start, in milliseconds. Each is twice as long as the one before. */
  readonly longestPauseMs?: number;
  /** Is told why the program has ended. */
  readonly onEnd?: (error: unknown) => void;
}

export class Supervisor {
  readonly #command: Command;
  readonly #policy: Policy;
  readonly #running: Promise<void>;
  #child: Child | undefined;
  #isOver = false;
  #wake = (): void => undefined;

  constructor(command: Command, policy: Policy = {}) {
    this.#command = command;
    this.#policy = policy;
    this.#running = this.#run();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Stops the program by its stop sequence, and resolves when it is dead. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#wake();
    await this.#child?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { longestPauseMs = 30_000, onEnd } = this.#policy;
    for (let pauseMs = Math.min(100, longestPauseMs); !this.#isOver; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        this.#child = await this.#command.clone().runAsync();
        // stop() may have been called while it was launched.
        if (this.#isOver as boolean) await this.#child.stop();
        await this.#child.wait();
        return;
      } catch (error) {
        if (this.#isOver as boolean) return;
        onEnd?.(error);
        // A program that cannot be launched cannot be launched a second time either.
        if (!(error instanceof ExitError)) return;
      } finally {
        this.#child = undefined;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
