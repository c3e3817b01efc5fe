import { readFileSync } from 'node:fs';
import { createRequire as requireFrom } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AS_UTF8 } from '../spec/bare.js';

const NAME = 'vircommand';

/** Of a CommonJS module; and of a CommonJS bundle, which knows no `import.meta.url`. */
declare const __filename: string | undefined;

/** The file that this code stands in, as a URL: this very file or, in a bundle, the bundle. */
const thisFile =
  (Object.hasOwn(import.meta, 'url') ? (import.meta as { readonly url?: string }).url : undefined) ??
  (typeof __filename === 'string' ? pathToFileURL(__filename).href : 'bundle:unknown');

/** The package that this file belongs to: it lies in src/native/ or, packed, in dist/. `undefined` in somebody else's bundle. */
const ownPackage = thisFile.startsWith('file:')
  ? ['..', '../..'].map((way) => fileURLToPath(new URL(way, thisFile))).find(isPackage)
  : undefined;

function isPackage(directory: string): boolean {
  try {
    return (JSON.parse(readFileSync(join(directory, 'package.json'), AS_UTF8)) as { name?: unknown }).name === NAME;
  } catch {
    // There is none, or another one that cannot be read.
    return false;
  }
}

/** Whether a bundler has moved this code away from the files that belong to it: the addon, its helper, and the hook runner. */
export const isBundled = ownPackage === undefined;

/** Where the package may lie, nearest first: around this file or, for a bundle, beside it, and installed where it can find it. */
export const packages: readonly string[] = ownPackage === undefined ? packagesOfBundle() : [ownPackage];

/** Loads a package that this one depends on: from beside it or, in a bundle, from beside that. */
export const requireBeside = (): NodeJS.Require =>
  requireFrom(isBundled && thisFile.startsWith('file:') ? thisFile : `${packages.at(0) ?? ''}/package.json`);

function packagesOfBundle(): string[] {
  if (!thisFile.startsWith('file:')) return [];
  const beside = dirname(fileURLToPath(thisFile));
  try {
    return [beside, dirname(requireFrom(thisFile).resolve(`${NAME}/package.json`))];
  } catch {
    // It is not installed, and need not be: the portable engine stands in the bundle.
    return [beside];
  }
}
