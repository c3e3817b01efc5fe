import { inspect } from 'node:util';
import { valueDescriptor } from './bare.js';
import type { ByteText } from '../text/bytes.js';
import type { Printable } from '../text/quote.js';
import type { SignalName } from '../text/signals.js';

/** Where the program's standard input comes from. */
export type InputSpec =
  | { readonly from: 'null' }
  | { readonly from: 'fd'; readonly fd: number; readonly closeInParent?: true }
  | { readonly from: 'file'; readonly path: ByteText }
  | { readonly from: 'pipe' }
  /** A stream or an iterable of this process, which stays with the `Command`. */
  | { readonly from: 'stream' }
  | { readonly from: 'buffer'; readonly data: ByteText };

/** Where a stream that the program writes goes to. */
export type OutputSpec =
  /** Nobody asked for it: kept in small for the log by `run()`, and standard error by `runAsync()`; `/dev/null` otherwise. */
  | { readonly to: 'unclaimed' }
  | { readonly to: 'fd'; readonly fd: number; readonly closeInParent?: true }
  | { readonly to: 'file'; readonly path: ByteText; readonly append?: true }
  | { readonly to: 'pipe' }
  /** A stream of this process, which stays with the `Command`. */
  | { readonly to: 'stream' }
  | {
      readonly to: 'buffer';
      readonly encoding: OutputEncoding;
      /** Bytes that are no text in that encoding are an error. */
      readonly fatal?: true;
      readonly stripFinalNewline?: true;
    };

/** A file that takes what also goes elsewhere. */
export interface TeeSpec {
  readonly path: ByteText;
  readonly append?: true;
}

/** How captured output is handed back: as a string in that encoding, or as bytes. */
export type OutputEncoding = BufferEncoding | 'buffer';

/** A descriptor of this process that the program gets. */
export interface DescriptorSpec {
  readonly fd: number;
  /** Its number in the program. */
  readonly as: number;
  readonly closeInParent?: true;
}

/** The resources that `setrlimit()` knows, by the names that `prlimit(1)` uses. */
export const limitResources = [
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
] as const;

/** One of the resources that `setrlimit()` knows. */
export type LimitResource = (typeof limitResources)[number];

/** A limit's value, in the resource's own unit. A value above 2^53 is written in decimal digits. */
export type LimitValue = number | `${bigint}` | 'unlimited';

/** One resource limit. */
export interface LimitSpec {
  readonly resource: LimitResource;
  readonly soft: LimitValue;
  readonly hard: LimitValue;
}

/** What happens to output beyond the limit. */
export type OutputLimitPolicy = 'truncate' | 'kill' | 'headAndTail';

/** How large a terminal is, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** The signals that stop a command, in order, each with the milliseconds to wait for its effect. */
export type StopSequence = readonly (readonly [signal: SignalName, graceMs: number])[];

/** The hook to run in the child: a module's address, or a self-contained function's source. */
export type HookSpec = { readonly module: string } | { readonly source: string };

/** What is said of a command without a value, each by the method of its name. */
export const flags = [
  'clearCaps',
  'noNewPrivileges',
  'newSession',
  'processGroup',
  'daemonize',
  'waitForOutputEnd',
  'nonblockingFds',
  'envInherit',
  'inheritTerminal',
] as const;

/** One of the {@link flags}. */
export type Flag = (typeof flags)[number];

/**
 * Everything that was said about a command: frozen, plain, and the same after `JSON.stringify` or `structuredClone`.
 *
 * A field that is absent was not asked for. What cannot be data (an `OutputBuffer`, an `AbortSignal`, a hook's `opaque`)
 * stays with the `Command` and is named in `attached`.
 */
export interface CommandSpec extends Readonly<Partial<Record<Flag, true>>> {
  readonly version: 1;
  /** The program as it was named, then its arguments. */
  readonly argv: readonly ByteText[];
  /** The places in `argv` that are never printed. */
  readonly secretArgs?: readonly number[];
  /** Absent: the program inherits this process's environment. Present: it gets exactly these, in this order; with `envInherit`, behind those that it inherits. */
  readonly env?: readonly (readonly [name: string, value: ByteText])[];
  readonly stdin: InputSpec;
  readonly stdout: OutputSpec;
  /** `{ to: 'stdout' }`: both streams share one descriptor, so what is written keeps its order. */
  readonly stderr: OutputSpec | { readonly to: 'stdout' };
  /** A terminal of its own, which is standard input, output and error in one. */
  readonly terminal?: TerminalSize;
  /** The file that standard output goes to as well. */
  readonly stdoutTee?: TeeSpec;
  /** The same for standard error. */
  readonly stderrTee?: TeeSpec;
  /** How many bytes the pipes of the standard streams hold, at least. Absent: as many as the kernel gives. */
  readonly pipeSize?: number;
  readonly descriptors?: readonly DescriptorSpec[];
  readonly listenFds?: readonly number[];
  /** The descriptors of the program from which it reads what `sendBuffer()` sends. The bytes stand in no spec. */
  readonly sendBuffers?: readonly number[];
  readonly workingDirectory?: ByteText;
  readonly umask?: number;
  readonly limits?: readonly LimitSpec[];
  readonly nice?: number;
  readonly oomScoreAdjust?: number;
  readonly coreScheduling?: 'alone' | { readonly among: number };
  readonly cgroup?: ByteText;
  readonly selinuxLabel?: string;
  readonly appArmorProfile?: string;
  readonly user?: string | number;
  readonly uid?: number;
  readonly gid?: number;
  readonly groups?: readonly number[];
  readonly allowCaps?: readonly string[];
  readonly dieWithParent?: SignalName;
  readonly pidFile?: ByteText;
  readonly preExecHook?: HookSpec;
  readonly handshake?: true;
  /** The exit codes that are no error; `false`: every end is none. Absent: 0 alone. */
  readonly check?: false | readonly number[];
  readonly timeoutMs?: number;
  /** With `timeoutMs`: the whole tree of the program is stopped. */
  readonly timeoutTree?: true;
  /** The longest time without output. */
  readonly silenceTimeoutMs?: number;
  readonly stopSequence?: StopSequence;
  readonly outputLimit?: { readonly bytes: number; readonly policy: OutputLimitPolicy; readonly tree?: true };
  /** What belongs to the command but is not data, by name. */
  readonly attached?: readonly string[];
}

/** The same fields, while they are being filled in. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The first descriptor of socket activation, by systemd's convention. */
export const FIRST_LISTEN_FD = 3;

/** How a command is started: `run()`, `runAsync()`, `run()` of a daemon, or `exec()`. */
export type LaunchMode = 'run' | 'async' | 'daemon' | 'exec';

/** What stands in the place of a secret argument. */
const HIDDEN = '***';

/** The command as it may be shown: secret arguments hidden, and no variables unless they are asked for. */
export function printable(
  spec: Pick<CommandSpec, 'argv' | 'secretArgs' | 'env'>,
  { env }: { env: boolean },
): Printable {
  const { argv, secretArgs } = spec;
  return {
    env: env ? (spec.env ?? []) : [],
    argv: secretArgs === undefined ? argv : argv.map((word, index) => (secretArgs.includes(index) ? HIDDEN : word)),
  };
}

/** Freezes a spec to its leaves, and lets `console.log` show it without variables' values and secrets. */
export function freezeSpec(spec: CommandSpec): CommandSpec {
  Object.defineProperty(spec, inspect.custom, shownSafely);
  return deepFreeze(spec);
}

const shownSafely = valueDescriptor(inspectSpec, false);

function inspectSpec(this: CommandSpec, _depth: number, options: object, print: typeof inspect): string {
  const shown: Record<string, unknown> = { ...this, argv: printable(this, { env: false }).argv };
  if (this.env !== undefined) shown['env'] = this.env.map(([name]) => name);
  if (this.stdin.from === 'buffer') shown['stdin'] = { from: 'buffer' };
  return `CommandSpec ${print(shown, { ...options, compact: 3 })}`;
}

function deepFreeze<T extends object>(value: T): T {
  const parts = Array.isArray(value) ? (value as unknown[]) : (Object.values(value) as unknown[]);
  for (const part of parts) {
    // Held bytes are frozen already: they are not asked for their base64 here.
    if (typeof part === 'object' && part !== null && !Object.isFrozen(part)) deepFreeze(part);
  }
  return Object.freeze(value);
}
