import { createRequire as requireFrom } from 'node:module';
import type * as Net from 'node:net';
import type * as Sea from 'node:sea';
import type * as Streams from 'node:stream';
import type * as Vm from 'node:vm';
import type * as Threads from 'node:worker_threads';

/** Loads a module of Node's own. Where `/proc` is not mounted, `process.execPath` is no path. */
export const loadBuiltin = requireFrom('/');

/*
 * Modules of Node that it loads a dozen others for, and whose classes are wanted by few launches: an import of the library, and a first
 * launch, are quicker without them. Where only functions of such a module are wanted, .ci/pack.js sees to that.
 */

export const net = (): typeof Net => loadBuiltin('node:net') as typeof Net;
export const streams = (): typeof Streams => loadBuiltin('node:stream') as typeof Streams;
export const vm = (): typeof Vm => loadBuiltin('node:vm') as typeof Vm;
const threads = (): typeof Threads => loadBuiltin('node:worker_threads') as typeof Threads;

/** A class to extend, which stands for one of Node's: that one is loaded when the first object is made. */
function late<Class extends new (...values: never[]) => object>(real: () => Class): Class {
  function Late(...values: never[]): object {
    const base = real();
    if (Object.getPrototypeOf(Late) !== base) {
      Object.setPrototypeOf(Late, base);
      Object.setPrototypeOf(Late.prototype as object, base.prototype as object);
    }
    return Reflect.construct<never[], object>(base, values, new.target as unknown as Class);
  }
  return Late as unknown as Class;
}

export const LateReadable = late(() => streams().Readable);
export const LateWritable = late(() => streams().Writable);
export const LateDuplex = late(() => streams().Duplex);

/** Whether Node and the application are one file, which runs the application whenever it is executed. */
export const isSingleExecutable = (): boolean => (loadBuiltin('node:sea') as typeof Sea).isSea();

let isMain: boolean | undefined;

/**
 * Whether this is no worker. Node refuses `chdir()` in a worker, and elsewhere refuses that it has no argument. To ask `worker_threads`
 * costs two milliseconds, since that loads all streams: it is asked where the answer is neither of them.
 */
export function isMainThread(): boolean {
  return (isMain ??= refusesToChange() ?? threads().isMainThread);
}

function refusesToChange(): boolean | undefined {
  try {
    (process as { chdir(directory?: string): void }).chdir();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ERR_INVALID_ARG_TYPE') return true;
    if (code === 'ERR_WORKER_UNSUPPORTED_OPERATION') return false;
  }
  return undefined;
}
