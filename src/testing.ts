import { Buffer } from 'node:buffer';
import { inspect } from 'node:util';
import { COMMON_VARIABLES } from './builder/options.js';
import { DryRunEngine, guardAgainstLaunches, type Respond, type SentBuffer } from './engine/dry-run.js';
import type { DryRunKill } from './engine/played.js';
import { readOptions } from './errors/argument-error.js';
import { variableOf } from './host/environment.js';
import { type CommandSpec, printable } from './spec/spec.js';
import { type ByteText, isSameText } from './text/bytes.js';
import { printCommand } from './text/quote.js';

export { type Cassette, cassette, type CassetteMode, type CassetteOptions } from './cassette/cassette.js';
export type { DryRunFailure, DryRunResponse } from './engine/answer.js';
export type { DryRunAnswer, Respond, SentBuffer } from './engine/dry-run.js';
export { type DryRunKill, type PlayedAnswer, PlayedProgram, running, type RunningOptions } from './engine/played.js';

/** How a dry run answers, and how strict it is. */
export interface DryRunOptions {
  /** Answers in the place of the program. Default: exit code 0 and no output, and a daemon that goes on. What it throws, `run()` rejects with. */
  readonly respond?: Respond;
  /** Show the variables of `envPassCommon()` in `commands`, which differ from machine to machine. Default: false. */
  readonly env?: boolean;
  /**
   * While the dry run lasts, a command started outside its scope is a `UsageError`, anywhere in this process, and so is a kill, or a
   * pidfile that is taken, released or removed. Default: false.
   */
  readonly strict?: boolean;
}

/** What a dry run has recorded. */
export interface DryRun {
  /** Each command as `toString()` prints it, in the order of the starts; without the variables of `envPassCommon()`, unless `{ env: true }` asks for them. */
  readonly commands: readonly string[];
  /** Each command's words, the program first, as text. Secret arguments stand here as they are. */
  readonly argv: readonly (readonly string[])[];
  /** Each command's spec. */
  readonly specs: readonly CommandSpec[];
  /** Each process that a call has signaled, or would have in earnest, in the order of the calls. */
  readonly kills: readonly DryRunKill[];
  /**
   * What the commands would have sent by `sendBuffer()`, in the order of the starts: the bytes themselves. Answers to `virCommandPeekSendBuffers`.
   *
   * @example
   * using dry = dryRun();
   * const nbd = new Command('nbdkit');
   * await nbd.arg(`password=-${nbd.sendBuffer('hunter2')}`).run();
   * String(dry.peekSendBuffers()[0]?.data); // 'hunter2'
   */
  peekSendBuffers(): readonly SentBuffer[];
  /** Ends the dry run, and what is still played in it. What a function of `running()` has thrown that nobody was told of, it throws. */
  [Symbol.dispose](): void;
}

/**
 * From here on, commands are recorded and answered, and no program is started: until the end of the block with `using`,
 * and in everything that is called or awaited from here. Answers to `virCommandSetDryRun`.
 *
 * Nor is anything else done to this machine: kills are recorded in `kills`, pidfiles are held in memory alone, and no orphan is
 * adopted. A program that goes on is played, see {@link running}; a daemon goes on unless its answer is a failure. What you hold from before is real: `child.abort()` of a child that was launched outside, `lock.release()` of a lock.
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
  const {
    respond,
    env = false,
    strict = false,
  } = readOptions<DryRunOptions>('dryRun', [], options, {
    respond: 'function',
    env: 'boolean',
    strict: 'boolean',
  });
  const engine = new DryRunEngine(
    ({ spec }, { input }) => respond?.(spec, Buffer.from(input ?? []).toString()),
    (spec) => printCommand(printable(env ? spec : withoutCommon(spec), { env: true })),
  );
  const allowLaunches = strict ? guardAgainstLaunches() : undefined;
  engine.enter();
  return {
    commands: engine.commands,
    argv: engine.argv,
    specs: engine.specs,
    kills: engine.kills,
    peekSendBuffers: () => Object.freeze([...engine.sent]),
    [Symbol.dispose]() {
      allowLaunches?.();
      engine.leave();
    },
    [inspect.custom as symbol]: () => inspect(engine),
  };
}

/** A command without what `envPassCommon()` has passed, which is this machine's. It was called where all of its variables are there, be it with other values. */
function withoutCommon(spec: CommandSpec): CommandSpec {
  const { env = [] } = spec;
  const passed = new Map<string, ByteText>([['LC_ALL', 'C']]);
  for (const name of COMMON_VARIABLES) {
    const value = variableOf(name);
    if (value !== undefined && typeof value !== 'symbol') passed.set(name, value);
  }
  if (env.filter(([name]) => passed.has(name)).length < passed.size) return spec;
  const isOwn = ([name, value]: readonly [string, ByteText]): boolean => {
    const common = passed.get(name);
    return common === undefined || !isSameText(common, value);
  };
  return { ...spec, env: env.filter(isOwn) };
}
