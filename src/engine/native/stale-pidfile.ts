import { constants } from 'node:fs';
import { readFile, unlink } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { delay } from '../../host/time.js';
import type { Binding } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { pathOf } from '../../text/bytes.js';
import { bare } from '../../spec/bare.js';

/** Reads a file that somebody else may have put there: through no link, and without waiting for a FIFO. */
const PLAIN_FILE = bare({
  encoding: 'utf8',
  flag: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
} as const);

/** How often, and after how long, a pidfile is looked at again that a failed daemon is about to let go. */
const RELEASE_LOOKS = 1000;
const RELEASE_LOOK_MS = 1;

/**
 * Removes the pidfile that a failed daemon has left, if it has left one. By now the file could be somebody else's: so it is
 * looked at, and acquired by its lock as any starter does, before it goes.
 */
export async function removeStalePidFile(binding: Binding, plan: LaunchPlan, pid: number): Promise<void> {
  const step = plan.steps.find((one) => one.step === 'pidfile');
  if (step?.step !== 'pidfile') return;
  const path = pathOf(step.path);
  try {
    for (let look = 0; look < RELEASE_LOOKS; look += 1) {
      if ((await readFile(path, PLAIN_FILE)) !== String(pid)) return;
      const [errno, holder, lock] = (await binding.takePidFile(path, String(pid), 0)) ?? [-1];
      if (lock !== undefined) {
        await unlink(path).finally(() => {
          binding.releasePidFile(lock);
        });
        return;
      }
      if (errno !== system.errno.EAGAIN || holder !== pid) return;
      // The daemon has reported its failure, and is about to end.
      await delay(RELEASE_LOOK_MS);
    }
  } catch {
    // The daemon has removed it itself, which is the rule; or it lies where this process may not remove it either.
  }
}
