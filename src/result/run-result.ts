import { Buffer } from 'node:buffer';
import { inspect } from 'node:util';
import { notJson } from '../errors/output-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { Mutable } from '../spec/spec.js';
import { formatDuration } from '../text/duration.js';
import type { SignalName } from '../text/signals.js';
import { linesOf } from '../text/lines.js';
import { isBytes } from '../text/reading.js';
import { inBackticks, shown } from '../text/shown.js';
import type { KillTreeResult } from './tree-result.js';

/** What the kernel counted for a process and the children that it waited for. */
export interface ResourceUsage {
  /** Time on a processor in the program's own code, in milliseconds. */
  readonly userMs: number;
  /** Time on a processor in the kernel, in milliseconds. */
  readonly systemMs: number;
  /**
   * The largest resident set, in KiB. It has a floor: the peak of the process that launched the program,
   * because the kernel carries that over into the new program. A value near the launcher's own peak tells nothing.
   */
  readonly maxRssKib: number;
}

/** What captured output can be. */
export type Captured = string | Buffer | undefined;

/** The fields of a {@link RunResult}. */
export interface RunResultFields<Stdout = Captured, Stderr = Captured, Code extends number | null = number | null> {
  /** The command as it may be printed: no values of variables, no secret arguments. */
  readonly command: string;
  readonly pid: number;
  /** The exit code, or `null` if a signal ended the program. */
  readonly exitCode: Code;
  /** The signal that ended the program, or `null`. */
  readonly signal: SignalName | null;
  /** Whether a core file was written; `undefined` in the portable engine, which is not told. */
  readonly coreDumped: boolean | undefined;
  /** The status as `waitpid()` gives it. */
  readonly rawStatus: number;
  /** What the program wrote to its standard output: text, bytes if asked, `undefined` if it was not captured. */
  readonly stdout: Stdout;
  /** The same for standard error. `undefined` also where it shares standard output's buffer. */
  readonly stderr: Stderr;
  /** How many bytes the program wrote to each stream that was captured, kept or not. */
  readonly outputBytes: { readonly stdout: number; readonly stderr: number };
  /** Whether another process still held an output pipe when the program had ended. What that one writes later is not read. */
  readonly outputHeldOpen: boolean;
  /** Whether the output limit cut something off. */
  readonly outputTruncated: boolean;
  /** How many bytes of the input buffer the program's pipe took; fewer than were given if it did not read them all. */
  readonly inputWritten: number;
  /** Whether the program overran its timeout, however it ended then. */
  readonly timedOut: boolean;
  /**
   * What became of the program's tree, where that was stopped with it: by `timeout(ms, { tree: true })` and its like. `undefined`: it was not, and
   * what the program has left behind, if anything, goes on.
   */
  readonly tree: KillTreeResult | undefined;
  /** From the launch to the end, in milliseconds. */
  readonly durationMs: number;
  /** What the program used; `undefined` in the portable engine. */
  readonly resourceUsage: ResourceUsage | undefined;
}

/** How a program ended, and what it wrote. Plain, frozen fields. */
export interface RunResult<
  Stdout = Captured,
  Stderr = Captured,
  Code extends number | null = number | null,
> extends RunResultFields<Stdout, Stderr, Code> {}

/** How a program ended, and what it wrote. Plain, frozen fields. */
export class RunResult<Stdout = Captured, Stderr = Captured, Code extends number | null = number | null> {
  constructor(fields: RunResultFields<Stdout, Stderr, Code>) {
    fill(this, fields);
    Object.freeze(this);
  }

  /**
   * A sentence: the command, how it ended, and after how long. It stands in a template as well.
   *
   * @example
   * const result = await new Command('grep', '-q', 'nobody', '/etc/passwd').run({ check: false });
   * console.log(String(result)); // `grep -q nobody /etc/passwd` exited with code 0 after 2 ms.
   */
  toString(): string {
    const end = this.signal === null ? `exited with code ${String(this.exitCode)}` : `was ended by ${this.signal}`;
    return `${inBackticks(this.command)} ${end} after ${formatDuration(this.durationMs)}.`;
  }

  /**
   * The lines of what the program wrote to its standard output, without their ends. Empty output has none. Bytes are read as UTF-8.
   *
   * @throws {UsageError} if it was not captured.
   *
   * @example
   * const { lines } = await new Command('printf', 'a\\nb\\n').outputBuffer().run();
   * console.log(lines); // ['a', 'b']
   */
  get lines(): readonly string[] {
    return linesOf(textOf(this, 'lines'));
  }

  /**
   * What the program wrote to its standard output, as JSON. The type is the caller's word: nothing is checked.
   *
   * @throws {OutputError} if it is no JSON: the message names the command, and what its output begins with. {UsageError} if it was not captured.
   *
   * @example
   * const result = await new Command('echo', '{"mtu": 1500}').outputBuffer().run();
   * console.log(result.json<{ mtu: number }>().mtu); // 1500
   */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- nobody but the caller knows what the program writes.
  json<T = unknown>(): T {
    const text = textOf(this, 'json()');
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw notJson({ command: this.command, spec: undefined }, text, cause);
    }
  }

  /** One line: the command, how it ended, and after how long. */
  [inspect.custom](): string {
    const end = this.signal === null ? `exit code ${String(this.exitCode)}` : this.signal;
    return `RunResult { ${shown(this.command)} → ${end} after ${formatDuration(this.durationMs)} }`;
  }
}

/** What was captured of standard output, as text. */
export function textOf(
  { command, stdout }: { readonly command: string; readonly stdout: unknown },
  call: string,
): string {
  if (typeof stdout === 'string') return stdout;
  if (isBytes(stdout)) return Buffer.from(stdout).toString();
  const problem = 'standard output was not captured; say outputBuffer() before the run';
  throw new UsageError({ command, spec: undefined }, [{ call, problem }]);
}

/** One field after the other: `Object.assign()` took a hundredth of a launch. */
function fill<Stdout, Stderr>(
  result: Mutable<RunResultFields<Stdout, Stderr>>,
  fields: RunResultFields<Stdout, Stderr>,
): void {
  result.command = fields.command;
  result.pid = fields.pid;
  result.exitCode = fields.exitCode;
  result.signal = fields.signal;
  result.coreDumped = fields.coreDumped;
  result.rawStatus = fields.rawStatus;
  result.stdout = fields.stdout;
  result.stderr = fields.stderr;
  result.outputBytes = fields.outputBytes;
  result.outputHeldOpen = fields.outputHeldOpen;
  result.outputTruncated = fields.outputTruncated;
  result.inputWritten = fields.inputWritten;
  result.timedOut = fields.timedOut;
  result.tree = fields.tree;
  result.durationMs = fields.durationMs;
  result.resourceUsage = fields.resourceUsage;
}
