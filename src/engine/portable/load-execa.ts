import type * as Package from 'execa';
import type { Subject } from '../../errors/command-error.js';
import { notLoaded } from '../../native/dependencies.js';
import { isBundled, requireBeside } from '../../native/place.js';
import { loadBuiltin } from '../../spec/late.js';

export type Execa = typeof Package.execa;

let loading: Promise<typeof Package> | undefined;

/**
 * Loads execa, at the first launch that needs it: it is a hundred files, looks at the terminal, and the native engine never
 * uses it.
 *
 * @throws {LaunchError} without a descriptor to read it by. {UnsupportedError} if it cannot be loaded for another reason.
 */
export async function loadExeca(subject: Subject): Promise<Execa> {
  try {
    loading ??= isBundled ? importBundled() : importInstalled();
    return (await loading).execa;
  } catch (cause) {
    // The next launch tries again.
    loading = undefined;
    throw notLoaded(subject, 'portable', 'execa', cause);
  }
}

/** File by file: `import()` opens all of them at once, and a process with few descriptors has not so many. */
async function importInstalled(): Promise<typeof Package> {
  try {
    return requireBeside()('execa') as typeof Package;
  } catch (error) {
    // Somebody else is importing it at this very moment, and `require()` does not wait for that.
    if ((error as NodeJS.ErrnoException).code?.startsWith('ERR_REQUIRE_') === true) return import('execa');
    throw error;
  }
}

/**
 * execa brings a CommonJS package. In a bundle of ES modules by esbuild, that asks for Node's own modules by a `require`
 * which an ES module does not have: it has one while the package is evaluated, which is done before anything else runs.
 */
async function importBundled(): Promise<typeof Package> {
  const scope = globalThis as { require?: unknown };
  if (Object.hasOwn(scope, 'require')) return import('execa');
  scope.require = loadBuiltin;
  try {
    return await import('execa');
  } finally {
    delete scope.require;
  }
}
