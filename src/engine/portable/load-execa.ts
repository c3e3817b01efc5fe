import { createRequire as requireFrom } from 'node:module';
import type * as Package from 'execa';
import type { Subject } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { UnsupportedError } from '../../errors/unsupported-error.js';
import { isBundled, packages } from '../../native/place.js';

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
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EMFILE' || code === 'ENFILE')
      throw new LaunchError(subject, { step: 'pipe', errno: code, syscall: 'open', cause });
    const why = `its package execa cannot be loaded: ${message}`;
    throw new UnsupportedError(subject, { feature: 'launch', engine: 'portable', why });
  }
}

/** File by file: `import()` opens all of them at once, and a process with few descriptors has not so many. */
async function importInstalled(): Promise<typeof Package> {
  try {
    return requireFrom(`${packages.at(0) ?? ''}/package.json`)('execa') as typeof Package;
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
  scope.require = requireFrom(process.execPath);
  try {
    return await import('execa');
  } finally {
    delete scope.require;
  }
}
