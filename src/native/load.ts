import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { arch, type Binding, platform } from './binding.js';

/** Where the addon may lie: shipped with the package, for one C library or the other, or built in a checkout. */
const places = [
  `../../prebuilds/${platform}-${arch}-glibc/`,
  `../../prebuilds/${platform}-${arch}-musl/`,
  '../../src/native/build/Release/',
].map((place) => new URL(place, import.meta.url));

/** An addon that works here, and the program of the slow lane that goes with it. */
export interface Native {
  readonly binding: Binding;
  /** The file of the addon. */
  readonly addon: string;
  readonly helper: string;
}

/** The addon, or in words why there is none. */
export const native: Native | string = loadNative();

/** Loads the addon, or says in words why there is none. */
export function loadNative(): Native | string {
  if (platform !== 'linux') return `the native engine is for Linux, and this is ${platform}`;
  const require = createRequire(import.meta.url);
  let why = `no addon was built for ${platform} on ${arch}`;
  for (const place of places) {
    const path = fileURLToPath(new URL('vircommand.node', place));
    const helper = fileURLToPath(new URL('vircommand-helper', place));
    if (!existsSync(path) || !existsSync(helper)) continue;
    try {
      const binding = require(path) as Binding;
      return binding.isPossible()
        ? { binding, addon: path, helper }
        : 'this kernel is older than Linux 5.11, or an emulator or sandbox stands before it: children cannot be started in shared memory';
    } catch (error) {
      // An addon for the other C library cannot be loaded; the next one may be for this.
      why = `the addon could not be loaded: ${(error as Error).message}`;
    }
  }
  return why;
}
