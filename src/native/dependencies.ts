import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import type * as Printj from 'printj';
import type * as SignalExit from 'signal-exit';
import type { Subject } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { reasonOf } from '../text/reading.js';
import { isBundled, requireBeside } from './place.js';

/** The packages that are loaded at their first use, and at once: by `require()`, which an import of this library does not wait for. */
export interface Dependencies {
  readonly printj: Pick<typeof Printj, 'sprintf'>;
  readonly 'signal-exit': Pick<typeof SignalExit, 'onExit' | 'signals'>;
}

const provided: { -readonly [Name in keyof Dependencies]?: Dependencies[Name] } = {};

/** A bundle has the packages in itself, where no `require()` would find them: its entry hands them in. */
export function provide(dependencies: Dependencies): void {
  provided.printj = dependencies.printj;
  provided['signal-exit'] = dependencies['signal-exit'];
}

/** A package, loaded now if nobody has asked for it before. @throws What `require()` throws, and `EMFILE` where no descriptor is left. */
export function dependency<Name extends keyof Dependencies>(name: Name): Dependencies[Name] {
  return (provided[name] ??= load(name));
}

function load<Name extends keyof Dependencies>(name: Name): Dependencies[Name] {
  assertMayOpen();
  return requireBeside()(name) as Dependencies[Name];
}

/**
 * Where no descriptor is left, Node says that there is no such package, and does so from then on.
 *
 * @throws `EMFILE` or `ENFILE`.
 */
function assertMayOpen(): void {
  try {
    closeSync(openSync(devNull, 'r'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EMFILE' || code === 'ENFILE') throw error;
  }
}

/** In words why a package cannot be loaded, and what helps. */
export function whyNotLoaded(name: string, cause: unknown): string {
  // Node lists the files that asked for it below that.
  const why = `its package ${name} cannot be loaded: ${reasonOf(cause).replace(/\n.*/s, '')}`;
  return isBundled
    ? `${why}; install vircommand beside the bundle, or have the bundler follow the condition 'module' of a package's exports`
    : why;
}

/** The error of a launch that needs a package which cannot be loaded. */
export function notLoaded(
  subject: Subject,
  engine: string,
  name: string,
  cause: unknown,
): LaunchError | UnsupportedError {
  const { code } = cause as NodeJS.ErrnoException;
  return code === 'EMFILE' || code === 'ENFILE'
    ? new LaunchError(subject, { step: 'pipe', errno: code, syscall: 'open', cause })
    : new UnsupportedError(subject, { feature: 'launch', engine, why: whyNotLoaded(name, cause) });
}
