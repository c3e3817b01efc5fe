import { inspect } from 'node:util';
import { DryRunEngine, type DryRunKill, guardAgainstLaunches, type Respond } from './engine/dry-run.js';
import { readOptions } from './errors/argument-error.js';
import type { CommandSpec } from './spec/spec.js';

export type { DryRunKill, DryRunResponse, Respond } from './engine/dry-run.js';

/** How a dry run answers, and how strict it is. */
export interface DryRunOptions {
  /** Answers in the place of the program. Default: exit code 0 and no output. What it throws, `run()` rejects with. */
  readonly respond?: Respond;
  /**
   * While the dry run lasts, a command started outside its scope is a `UsageError`, anywhere in this process, and so is a kill, or a
   * pidfile that is taken, released or removed. Default: false.
   */
  readonly strict?: boolean;
}

/** What a dry run has recorded. */
export interface DryRun {
  /** Each command as `toString()` prints it, in the order of the starts. */
  readonly commands: readonly string[];
  /** Each command's spec. */
  readonly specs: readonly CommandSpec[];
  /** Each process that `killPainfully()`, `killTree()` or `pidAbort()` would have ended, in the order of the calls. */
  readonly kills: readonly DryRunKill[];
  /** Ends the dry run. */
  [Symbol.dispose](): void;
}

/**
 * From here on, commands are recorded and answered, and no program is started: until the end of the block with `using`,
 * and in everything that is called or awaited from here. Answers to `virCommandSetDryRun`.
 *
 * Nor is anything else done to this machine: kills are recorded in `kills`, pidfiles are held in memory alone, and no orphan is
 * adopted. What you hold from before is real: `child.abort()` of a child that was launched outside, `lock.release()` of a lock.
 *
 * All checks run first, so a mistake is an error here as in earnest; the program need not exist. The scope follows the
 * asynchronous context, so tests that run at the same time do not see each other's.
 *
 * @example
 * using dry = dryRun({ respond: () => ({ stdout: 'eth0\n' }) });
 * await new Command('ip', 'link').outputBuffer().run();
 * dry.commands; // ['ip link']
 */
export function dryRun(options?: DryRunOptions): DryRun {
  const { respond, strict = false } = readOptions<DryRunOptions>('dryRun', [], options, {
    respond: 'function',
    strict: 'boolean',
  });
  const engine = new DryRunEngine(respond);
  const allowLaunches = strict ? guardAgainstLaunches() : undefined;
  engine.enter();
  return {
    commands: engine.commands,
    specs: engine.specs,
    kills: engine.kills,
    [Symbol.dispose]() {
      engine.leave();
      allowLaunches?.();
    },
    [inspect.custom as symbol]: () => `DryRun { ${engine.commands.length} commands }`,
  };
}
