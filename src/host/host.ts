import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { type ByteText, fromBytes, pathOf } from '../text/bytes.js';
import { type Account, account } from './accounts.js';
import type { Obstacle } from '../errors/exec-obstacle.js';
import { variableOf } from './environment.js';
import { findObstacle } from './obstacle.js';
import { AS_BYTES, MAY_BE_MISSING } from '../spec/bare.js';

/** What stands at a path, seen by somebody who wants to execute it. */
export type FileKind = 'executable' | 'not-executable' | 'directory' | 'missing' | 'unreachable';

/**
 * All that planning a launch asks of the machine: its answers make the plan, and nothing else does.
 * A test gives a host of its own.
 */
export interface Host {
  /** This process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A variable of that as it is, byte for byte. Default: by `env`. */
  variable?(name: string): ByteText | symbol | undefined;
  /** The path of this process's working directory, as it is called now. Throws where it was removed. */
  cwd(): ByteText;
  look(path: ByteText): FileKind;
  /** What stands in the way of a file that cannot be executed, for the error that names it. */
  obstacle?(path: ByteText): Obstacle | undefined;
  account(nameOrUid: string | number): Account | undefined;
}

/** The machine that this process runs on. */
export const thisHost: Host = {
  get env() {
    return process.env;
  },
  variable: variableOf,
  // process.cwd() remembers what it was called once, and loses bytes that are not UTF-8; this asks the kernel.
  cwd: () => fromBytes(realpathSync.native('.', AS_BYTES)),
  look,
  obstacle: (path) =>
    typeof path !== 'string' ? undefined : findObstacle(path, { directory: '/', emulates: () => true }),
  account,
};

function look(file: ByteText): FileKind {
  const path = pathOf(file);
  try {
    const stats = statSync(path, MAY_BE_MISSING);
    if (stats === undefined) return 'missing';
    if (stats.isDirectory()) return 'directory';
  } catch {
    // It lies behind a directory that is closed to us: nobody can say whether it is there.
    return 'unreachable';
  }
  try {
    accessSync(path, constants.X_OK);
    return 'executable';
  } catch {
    return 'not-executable';
  }
}
