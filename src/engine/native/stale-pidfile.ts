import { constants } from 'node:fs';
import { readFile, unlink } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { delay } from '../../host/time.js';
import type { Binding } from '../../native/binding.js';
import { heldPidFile } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { bare } from '../../spec/bare.js';
import { type HeldDirectory, pathFrom } from '../here.js';

/** Reads a file that somebody else may have put there: through no link, and without waiting for a FIFO. */
const PLAIN_FILE = bare({
  encoding: 'utf8',
  flag: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
} as const);

/** How often, and after how long, a pidfile is looked at again that a failed daemon is about to let go. */
const RELEASE_LOOKS = 1000;
const RELEASE_LOOK_MS = 1;

/** The pidfile of a daemon that is being launched. */
export class DaemonPidFile {
  readonly #binding: Binding;
  readonly #pid: number;
  readonly #path: string | Buffer | undefined;
  #here: HeldDirectory | undefined;

  /** `here` is the directory that a relative path begins in; it is kept until {@link letGo}. */
  constructor(binding: Binding, plan: LaunchPlan, pid: number, here: HeldDirectory | undefined) {
    const step = plan.steps.find((one) => one.step === 'pidfile');
    const fromHere = heldPidFile(plan);
    this.#binding = binding;
    this.#pid = pid;
    this.#here = fromHere === undefined ? undefined : here?.keep();
    this.#path = step === undefined ? undefined : pathFrom(this.#here?.fd, fromHere ?? step.path);
  }

  letGo(): void {
    this.#here?.release();
    this.#here = undefined;
  }

  /**
   * Removes the pidfile that the failed daemon has left, if it has left one. By now the file could be somebody else's: so it is
   * looked at, and acquired by its lock as any starter does, before it goes.
   */
  async removeStale(): Promise<void> {
    const path = this.#path;
    if (path === undefined) return;
    try {
      for (let look = 0; look < RELEASE_LOOKS; look += 1) {
        if ((await readFile(path, PLAIN_FILE)) !== String(this.#pid)) return;
        const [errno, holder, lock] = (await this.#binding.takePidFile(path, String(this.#pid), 0)) ?? [-1];
        if (lock !== undefined) {
          await unlink(path).finally(() => {
            this.#binding.releasePidFile(lock);
          });
          return;
        }
        if (errno !== system.errno.EAGAIN || holder !== this.#pid) return;
        // The daemon has reported its failure, and is about to end.
        await delay(RELEASE_LOOK_MS);
      }
    } catch {
      // The daemon has removed it itself, which is the rule; or it lies where this process may not remove it either.
    }
  }
}
