import { endOwned } from '../ending/owned-children.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import type { Launch } from './launch.js';

/**
 * Makes this process the program. Returns only by throwing, and then nothing has changed.
 *
 * @throws {LaunchError} {UnsupportedError}
 */
export function execInPlace(launch: Launch, onLaunch: (pid: number) => void): never {
  const { engine, plan, subject } = launch;
  if (engine.exec === undefined) {
    const why = 'child_process can only start other processes';
    throw new UnsupportedError(subject, { feature: 'exec', engine: engine.name, why });
  }
  return engine.exec(plan, launch, () => {
    onLaunch(process.pid);
    endOwned();
  });
}
