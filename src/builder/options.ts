import type { OutputEncoding, OutputLimitPolicy } from '../spec/spec.js';

/** How a descriptor is passed. */
export interface PassOptions {
  /** Its number in the program. Default: the same as here. */
  readonly as?: number;
  /** Whether this process's copy is closed after the launch, failed launches included. Default: false. */
  readonly closeInParent?: boolean;
}

/** The path of a file or a directory: as text, as the address of a `file:`, or as bytes, where its name is not UTF-8. */
export type Path = string | URL | Uint8Array;

/** How a file that takes output is opened. */
export interface FileOptions {
  /** Keeps what is in the file, and writes at its end. Default: false, which empties it. */
  readonly append?: boolean;
}

/** What a file of `tee()` takes, and how it is opened. */
export interface TeeOptions extends FileOptions {
  /** The stream that goes there as well. Default: `'stdout'`. */
  readonly from?: 'stdout' | 'stderr' | undefined;
}

/** Where captured output goes, or how it is handed back in the result. */
export interface CaptureOptions {
  /** The encoding of the text, or `'buffer'` for bytes. Default: `'utf8'`. */
  readonly encoding?: OutputEncoding;
  /** Whether bytes that are no text in that encoding are an {@link OutputError}. Default: false, and each of them becomes U+FFFD. */
  readonly fatal?: boolean | undefined;
  /** Whether the text ends before its last `\n` or `\r\n`, as `$(…)` of a shell gives it, but for one newline only. Default: false. */
  readonly stripFinalNewline?: boolean | undefined;
}

/** How large a terminal is at first. */
export interface TerminalOptions {
  /** How many characters a line has: 1 to 65535. Default: 80. */
  readonly columns?: number | undefined;
  /** How many lines there are: 1 to 65535. Default: 24. */
  readonly rows?: number | undefined;
}

/** How far a stop reaches. */
export interface TreeOptions {
  /**
   * Whether the program's whole tree is stopped with it: all that is in its own control group, session or process group, and all that is found by
   * walking from parent to child. Default: false, which stops the program alone.
   */
  readonly tree?: boolean | undefined;
}

/** A value of a resource limit, in the resource's own unit. `Infinity` and `'unlimited'` are the same. */
export type Limit = number | bigint | 'unlimited';

/** The variables that `virCommandAddEnvPassCommon` passes, in its order. */
export const COMMON_VARIABLES = [
  'LD_PRELOAD',
  'LD_LIBRARY_PATH',
  'DYLD_INSERT_LIBRARIES',
  'DYLD_FORCE_FLAT_NAMESPACE',
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'TMPDIR',
] as const;

/** The masks that everybody knows, as they look without their `0o`: written so, it was forgotten. */
export const umasksInDecimal: readonly number[] = [22, 27, 77];

/** The ids that can be given; the highest number of all means "unchanged" to the kernel. */
export const ids = { min: 0, max: 0xffff_fffe };

export const outputLimitPolicies: readonly OutputLimitPolicy[] = ['truncate', 'kill', 'headAndTail'];
