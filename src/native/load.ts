import { existsSync } from 'node:fs';
import { createRequire as requireFrom } from 'node:module';
import { join } from 'node:path';
import { arch, type Binding, platform } from './binding.js';
import { isBundled, packages } from './place.js';
import { errnoName } from '../text/errno.js';

/** Where the addon may lie in a package: shipped with it, for one C library or the other, or built in a checkout. */
const places = [
  `prebuilds/${platform}-${arch}-glibc`,
  `prebuilds/${platform}-${arch}-musl`,
  'src/native/build/Release',
];

/** What is most likely in the way. */
const BARRIER = 'the kernel is older than Linux 5.11, or a sandbox or an emulator stands before it';

/** An addon that works here, and the helper program that goes with it. */
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
  let why = isBundled
    ? `no addon for ${platform} on ${arch} lies beside the bundle, as prebuilds/, or in a package vircommand that it finds`
    : `no addon was built for ${platform} on ${arch}`;
  for (const place of packages.flatMap((directory) => places.map((name) => join(directory, name)))) {
    const path = join(place, 'vircommand.node');
    const helper = join(place, 'vircommand-helper');
    if (!existsSync(path) || !existsSync(helper)) continue;
    try {
      const binding = requireFrom(path)(path) as Binding;
      const refused = binding.probe();
      return refused === undefined ? { binding, addon: path, helper } : refusalText(...refused);
    } catch (error) {
      // An addon for the other C library cannot be loaded; the next one may be for this.
      why = `the addon could not be loaded: ${(error as Error).message.replace(/\.$/, '')}`;
    }
  }
  return why;
}

function refusalText(call: string, errno: number): string {
  return errno < 0
    ? `a child does not share this process's memory here: ${BARRIER}`
    : `the native engine needs ${call}(), which is refused here (${errnoName(errno)}): ${BARRIER}`;
}
