import { endOwned } from '../ending/owned-children.js';
import { selectEngine } from '../engine/select.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import type { CommandSpec } from '../spec/spec.js';
import { type Attachments, failed, prepare, started } from './launch.js';

/**
 * Makes this process the program. Returns only by throwing, and then nothing has changed.
 *
 * @throws {LaunchError} {UnsupportedError} {UsageError}
 */
export function replace(spec: CommandSpec, attachments: Attachments): never {
  const engine = selectEngine();
  try {
    const { plan, subject } = prepare(spec, 'exec', attachments, engine);
    if (engine.replace === undefined) {
      throw new UnsupportedError(subject, {
        feature: 'exec',
        engine: engine.name,
        why: 'child_process can only start other processes',
      });
    }
    return engine.replace(plan, () => {
      started(spec, subject, process.pid, engine);
      endOwned();
    });
  } catch (error) {
    throw failed(error, spec, engine);
  }
}
