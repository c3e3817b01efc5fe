import { writeFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { serialize } from 'node:v8';
import { argumentOf, callsOf } from './builder/calls-of-spec.js';
import { callSite, type Entry, saidBy } from './builder/call-site.js';
import { combinationMistakes, streamsInSync } from './builder/clashes.js';
import { type Call, Draft } from './builder/draft.js';
import { goneDescriptors, methodsWithOwners, usesDescriptors } from './builder/given-away.js';
import {
  type CaptureOptions,
  COMMON_VARIABLES,
  type FileOptions,
  ids,
  type Limit,
  outputLimitPolicies,
  type PassOptions,
  type TeeOptions,
  type Path,
  type TerminalOptions,
  type TreeOptions,
} from './builder/options.js';
import { readSpec } from './builder/spec-shape.js';
import { arrayInstead, mostValues, saysMore, tooMany, valuesShown } from './builder/too-many.js';
import {
  type Accepted,
  type Check,
  type Codes,
  type NoOptions,
  readCheck,
  optionsAsMethods,
  readWaitOptions,
  type WaitOptions,
} from './builder/wait-options.js';
import { isStopStep, sequenceWords } from './ending/stop-sequence.js';
import { explainPlan } from './engine/explain.js';
import { engineInfo, selectEngine } from './engine/select.js';
import { readOptions } from './errors/argument-error.js';
import { subjectOf } from './errors/command-error.js';
import { type Mistake, UsageError } from './errors/usage-error.js';
import { type HookAnswer, type HookChild, sourceOf } from './hook/function.js';
import { canBeWrong } from './io/capture.js';
import { OutputBuffer } from './io/output-buffer.js';
import { SendBuffer, WAS_SENT } from './io/send-buffer.js';
import type { DescriptorLike } from './io/owner.js';
import { variableOf } from './host/environment.js';
import type { LaunchPlan } from './plan/launch-plan.js';
import { isPathFromHere } from './plan/program.js';
import type {
  CapturedOf,
  CommandKind,
  ExitCodeOf,
  HasExitCode,
  HasStderr,
  HasStdin,
  HasStdout,
  HasTerminal,
  kindType,
  StderrOf,
  StdinOf,
  StdoutOf,
  StreamOf,
  TerminalOf,
} from './result/chain.js';
import { ONE_OUTPUT, streamsOf } from './lines/child-lines.js';
import {
  commandLines,
  jsonLines,
  type LinedCommand,
  matches,
  type OnItem,
  rows,
  runEach,
} from './lines/command-lines.js';
import { type LineOf, type LineOptions, type LinesFrom, readLineOptions, textLines } from './lines/line-options.js';
import type { OnLine } from './lines/line-watch.js';
import { readMatching, readRowing } from './lines/parser-options.js';
import type { Columns, LineMatch, Patterns, RowOf } from './lines/patterns.js';
import {
  type DestinationOptions,
  destinationProblem,
  endsByItself,
  type OutputDestination,
} from './streams/destination.js';
import type { GivenStreams } from './streams/flows.js';
import { type InputSource, sourceProblem } from './streams/source.js';
import { Pipeline } from './pipeline/pipeline.js';
import type { Stage } from './pipeline/stages.js';
import type { RunResult } from './result/run-result.js';
import type { Child } from './running/child.js';
import type { DaemonResult } from './running/daemon-result.js';
import { type Attachments, planFor } from './running/launch.js';
import { execCommand, runCommand, runCommandSync, type Said } from './running/run-command.js';
import { Bare, bare } from './spec/bare.js';
import { isMainThread } from './spec/late.js';
import {
  type CommandSpec,
  freezeSpec,
  type LaunchMode,
  type LimitResource,
  type Mutable,
  type OutputLimitPolicy,
  printable,
  type StopSequence,
  type Flag,
} from './spec/spec.js';
import type { Terminal } from './terminal/terminal.js';
import { type Argument, joinText, readable, readData, toBytes } from './text/bytes.js';
import { hidden, printCall, variableShown, withDefaults } from './text/call-text.js';
import { type CapabilityName, capabilityNames } from './text/capabilities.js';
import { argLog, printCommand, type PrintOptions } from './text/quote.js';
import { asUrl, describeKind, isAbortSignal, isArray, isBytes, isDetached, reasonOf, Wrong } from './text/reading.js';
import type { SignalName } from './text/signals.js';
import { shownLines } from './text/shown.js';

/** A command of either kind: a program's, or a daemon's. */
export type AnyCommand = Command<CommandKind>;

type RunResultOf<C, K> = RunResult<
  CapturedOf<StdoutOf<C>>,
  CapturedOf<StderrOf<C>>,
  [K] extends [undefined] ? ExitCodeOf<C> : Codes<K>
>;
type ResultOfKind<Kind, C, K> = Kind extends 'daemon'
  ? DaemonResult<StreamOf<StdoutOf<C>>, StreamOf<StderrOf<C>>, StdinOf<C>>
  : RunResultOf<C, K>;
/** What `run()` gives for a command: as exact as the chain of calls that made it. `K` is the type of the option `check`. */
export type ResultOf<C extends AnyCommand, K extends Check | undefined = undefined> =
  C extends Command<infer Kind> ? ResultOfKind<Kind, C, K> : never;
/** What `runAsync()` gives for a command: as exact as the chain of calls that made it. */
export type ChildOf<C extends AnyCommand> = Child<
  StreamOf<StdoutOf<C>>,
  StreamOf<StderrOf<C>>,
  StdinOf<C>,
  RunResultOf<C, undefined>,
  TerminalOf<C, Terminal | null>
>;
/**
 * The command of a daemon, as `daemonize()` gives it: with all that was said, and with the methods of a class of your own. It is no
 * `Command<'program'>`, which is what a plain `Command` means: a function that makes one says so in its type.
 */
export type AsDaemon<C> = Command<'daemon'> & {
  readonly [Name in Exclude<keyof C, keyof AnyCommand>]: C[Name] extends (...values: infer Values) => infer Given
    ? // What gives back the command itself gives back the daemon's.
      [C, Given] extends [Given, C]
      ? (...values: Values) => AsDaemon<C>
      : C[Name]
    : C[Name];
};
/** The spec of a command of that kind. */
export type SpecOf<Kind extends CommandKind> = CommandSpec &
  (Kind extends 'daemon' ? { readonly daemonize: true } : { readonly daemonize?: never });
type KindOf<S> = S extends { readonly daemonize: true }
  ? 'daemon'
  : S extends { readonly daemonize?: never }
    ? 'program'
    : CommandKind;

/** The methods that say nothing: they look at a command, copy it or run it. */
const looks: ReadonlySet<string> = new Set([
  'constructor',
  'clone',
  'prepare',
  'toString',
  'writeArgLog',
  'binaryPath',
  'spec',
  'plan',
  'explain',
  'run',
  'runAsync',
  'runSync',
  'exec',
  'lines',
  'jsonLines',
  'runRegex',
  'runNul',
  'matches',
  'rows',
]);

/** What a stream is where nothing was said about it. */
const NOTHING = Object.freeze({ from: 'null' } as const);
const UNCLAIMED = Object.freeze({ to: 'unclaimed' } as const);
const SHARED = Object.freeze({ to: 'stdout' } as const);
const NOTHING_ATTACHED: readonly string[] = [];
const NO_STREAMS: GivenStreams = Object.freeze({ input: undefined, outputTo: undefined, errorTo: undefined });
const NO_ATTACHMENTS: Attachments = Object.freeze({
  stdoutBuffer: undefined,
  stderrBuffer: undefined,
  abortSignal: undefined,
  abortsTree: false,
  streams: undefined,
  onLine: undefined,
  sendBuffers: Object.freeze(new Map<number, SendBuffer>()),
  opaque: undefined,
});

/** A spec that was checked for one kind of run. */
interface KnownSpec {
  readonly mode: LaunchMode;
  readonly spec: CommandSpec;
}

/** Whether a spec that was right stays right: descriptors of this process may be closed, and what is sent is sent once. */
const staysRight = (spec: CommandSpec): boolean => !usesDescriptors(spec) && spec.sendBuffers === undefined;

/** A copy of a command that was checked. @throws {UsageError} if mistakes were made. */
let preparedCopy: (command: AnyCommand) => AnyCommand;

/** A command as a stage of a pipeline, as it is now. */
let stageOf: (command: AnyCommand) => Stage;

/**
 * A program to run: its arguments, environment, descriptors, privileges and limits, put together call by call.
 *
 * Nothing happens until one of four calls runs it: {@link Command.run} to its end, or as a daemon; {@link Command.runAsync} beside this
 * process; {@link Command.runSync} without the event loop; {@link Command.exec} in the place of this process. Unless told otherwise the program reads
 * `/dev/null`, inherits this process's environment, directory and ids, and has no descriptors but 0, 1 and 2.
 *
 * A setting that is given `undefined` was not said: `.timeout(options.timeout)` needs no `if`. Arguments, and names and descriptors to
 * pass on, are no settings: `undefined` is a mistake there.
 *
 * No call throws for a bad value. Mistakes are recorded, and running the command rejects with one {@link UsageError} that
 * lists them all. A command can be run again and again, and at the same time. Answers to `virCommandPtr`.
 *
 * `Kind` is for the type checker: a plain `Command` is a program's, and {@link Command.daemonize} gives a `Command<'daemon'>`.
 *
 * @example
 * const { stdout } = await new Command('git', 'rev-parse', 'HEAD').outputBuffer().run();
 * const version = stdout.trim();
 */
export class Command<out Kind extends CommandKind = 'program'> {
  /** For the type checker only: a daemon's command is no program's, since its `run()` gives another result. */
  declare readonly [kindType]: Kind;
  #draft: Draft;
  #attachments: Attachments = NO_ATTACHMENTS;
  /** The spec that this came from has a hook, and names an opaque that it does not hold. */
  #lacksOpaque = false;
  /** What was said, checked for one kind of run. It holds until more is said: a command that is run again is not checked again. */
  #known: KnownSpec | undefined;

  /**
   * Names the program and its first arguments: values, or arrays of values. Answers to `virCommandNew` and `virCommandNewArgList`.
   *
   * A bare name is looked for in this process's PATH, when the command runs; empty and relative entries of PATH are
   * skipped. A name with a slash is a path, from this process's directory if it is relative.
   *
   * @category Making one
   *
   * @example
   * const list = new Command('ls', '-l', '/var/log');
   * const files = ['a.txt', 'b.txt'];
   * const count = new Command('wc', ['-l', '--'], files);
   */
  constructor(program: Argument, ...args: (Argument | readonly Argument[])[]) {
    if (Draft.isDraft(program)) {
      this.#draft = program;
      return;
    }
    this.#draft = new Draft();
    this.#say('new Command', [program, ...args], (draft, call) => {
      if (program === '') draft.mistake(call, 'the program has no name; give a name to look for in PATH, or a path');
      // A program that is wrong keeps its place, so that no argument takes it in a message.
      const wrong = arrayInstead(call.method, program);
      if (wrong !== undefined) draft.mistake(call, wrong);
      draft.argv.push(wrong === undefined ? (draft.text(program, call, 'the program') ?? '') : '');
      for (const arg of args) {
        const said = optionsAsMethods(arg, (name) => publicMethods.has(name));
        if (said.length === 0) this.#addAll(draft, arg, call);
        else draft.mistake(call, `it takes arguments, and no options; say ${said.join(', ')}`);
      }
    });
  }

  #addAll(draft: Draft, value: Argument | readonly Argument[], call: Call): void {
    if (isArray(value)) for (const part of value) draft.add(part, call);
    else draft.add(value, call);
  }

  /**
   * Takes a whole argument vector, the program first. Answers to `virCommandNewArgs`.
   *
   * @category Making one
   *
   * @example
   * const list = Command.fromArgv(['ls', '-l', '/var/log']);
   */
  static fromArgv(argv: readonly Argument[]): Command {
    if (isArray(argv)) {
      const [program = '', ...args] = argv;
      return saidBy(publicMethods.get('fromArgv'), () => new Command(program, ...args));
    }
    return fromDraft(new Draft()).#say('fromArgv', [argv], (draft, call) =>
      draft.mistake(call, 'give an array of the program and its arguments'),
    );
  }

  /**
   * Brings a command back from its spec, as {@link Command.spec} gave it or as it came out of JSON.
   *
   * Everything in it is checked as if it were said anew; a field of another shape, or one that no spec has, is a mistake that
   * names it. What the spec names as `attached` is not in it: say it again. Whether it is a daemon's, the compiler knows of a spec
   * of this process; one out of JSON may be either's.
   *
   * @category Making one
   *
   * @example
   * const again = Command.fromSpec(JSON.parse(JSON.stringify(new Command('true').spec())) as CommandSpec);
   */
  static fromSpec<S extends CommandSpec>(spec: S): Command<KindOf<S>> {
    const read = readSpec(spec);
    const command =
      read instanceof Wrong
        ? fromDraft(new Draft()).#say('fromSpec', [hidden], (draft, call) => draft.mistake(call, read.wrong))
        : saidBy(publicMethods.get('fromSpec'), () => Command.#fromSpec(read));
    return command as AnyCommand as Command<KindOf<S>>;
  }

  static #fromSpec(spec: CommandSpec): Command {
    const command = new Command(argumentOf(spec.argv.at(0) ?? ''));
    for (const { method, values } of callsOf(spec))
      (Command.prototype[method] as (...values: readonly unknown[]) => Command).apply(command, [...values]);
    if (spec.sendBuffers !== undefined) command.#draft.sendBuffers.push(...spec.sendBuffers);
    const { preExecHook, stdin, stdout, stderr } = spec;
    const { single } = command.#draft;
    // What has to be said again is not said twice.
    if (stdin.from === 'stream') single.stdin = stdin;
    if (stdout.to === 'stream') single.stdout = stdout;
    if (stderr.to === 'stream') single.stderr = stderr;
    if (preExecHook !== undefined) {
      command.#lacksOpaque = spec.attached?.includes('opaque') === true;
      // A hook that has to be said again is not said twice.
      if (command.#lacksOpaque) command.#draft.single.preExecHook = preExecHook;
      else command.#say('preExecHook', [preExecHook], (draft, call) => draft.set('preExecHook', preExecHook, call));
    }
    return command;
  }

  /**
   * A copy that can be changed on its own. It shares what was attached: buffers, the abort signal.
   *
   * The copy is of the same class. What a subclass keeps in properties is copied as it is; its constructor is not called, so
   * private fields (`#name`) of a subclass are not there: use properties, or clone in a method of your own.
   *
   * @category Making one
   *
   * @example
   * const list = new Command('ls');
   * const long = list.clone().arg('-l');
   */
  clone(): this {
    const copy = fromDraft(this.#draft.copy()) as this;
    copy.#attachments = this.#attachments;
    copy.#lacksOpaque = this.#lacksOpaque;
    copy.#ownSendBuffers();
    const prototype: object = Object.getPrototypeOf(this) as object;
    if (prototype !== Command.prototype) Object.setPrototypeOf(copy, prototype);
    for (const name of Reflect.ownKeys(this)) {
      const descriptor = Object.getOwnPropertyDescriptor(this, name);
      if (descriptor !== undefined) Object.defineProperty(copy, name, bare(descriptor));
    }
    return copy;
  }

  /**
   * A copy that nothing more can be said to, to be run again and again: it is checked now, and decided and written down for the kernel by its first run. A
   * later run looks whether the program, and the directory that it starts in, are still found where they were, and decides anew where they are not.
   *
   * A run of it does what a run of the command would do at that moment: PATH, this process's variables, its directory and its accounts are those
   * of the run. A command that is run again as it is takes the same short way; what this adds is that nobody changes it, and that mistakes are told
   * now. It shares what was attached, as {@link clone} does. What is sent by {@link sendBuffer}, or given away, is there for one run.
   *
   * @category Making one
   *
   * @throws {UsageError} if mistakes were made.
   *
   * @example
   * const probe = new Command('grep', '-c', '^processor', '/proc/cpuinfo').outputBuffer().prepare();
   * const first = await probe.run();
   * const second = await probe.run();
   */
  prepare<C extends AnyCommand>(this: C): PreparedCommand<C> {
    return new PreparedCommand(preparedCopy(this) as C);
  }

  // ---------------------------------------------------------------- arguments

  /**
   * Adds one argument. Numbers are written in decimal; bytes are taken as they are. Answers to `virCommandAddArg`.
   *
   * @category Arguments
   *
   * @example
   * new Command('head').arg('-n').arg(3).arg('/etc/passwd');
   */
  arg(value: Argument): this {
    return this.#say('arg', [value], (draft, call) => {
      const wrong = arrayInstead(call.method, value);
      if (wrong === undefined) draft.add(value, call);
      else draft.mistake(call, wrong);
    });
  }

  /**
   * Adds arguments: values, or arrays of values. Answers to `virCommandAddArgSet` and `virCommandAddArgList`.
   *
   * @category Arguments
   *
   * @example
   * new Command('tar').args('-c', ['-f', 'all.tar'], 'src', 'test');
   */
  args(...values: (Argument | readonly Argument[])[]): this {
    return this.#say('args', values, (draft, call) => {
      for (const value of values) this.#addAll(draft, value, call);
    });
  }

  /**
   * Adds one argument of the form `name=value`. Answers to `virCommandAddArgPair`.
   *
   * @category Arguments
   *
   * @example
   * new Command('dnsmasq').argPair('--conf-file', '/etc/dnsmasq.conf');
   */
  argPair(name: Argument, value: Argument): this {
    return this.#say('argPair', [name, value], (draft, call) => {
      const first = draft.text(name, call, 'the name');
      const second = draft.text(value, call);
      if (first !== undefined && second !== undefined) draft.argv.push(joinText(first, '=', second));
    });
  }

  /**
   * Adds one argument, formatted as by C's `printf`. Answers to `virCommandAddArgFormat`.
   *
   * @category Arguments
   *
   * @example
   * new Command('seq').argFormat('%03d', 7);
   */
  argFormat(format: string, ...values: unknown[]): this {
    return this.#say('argFormat', [format, ...values], (draft, call) => {
      const text = draft.format(format, values, call);
      if (text !== undefined) draft.add(text, call);
    });
  }

  /**
   * Adds one argument that is never printed: `toString()`, errors, events and `console.log` show `***` in its place.
   *
   * **Other users can still read it** in the process list (`/proc/PID/cmdline`) while the program runs. A program that can read a secret from a descriptor
   * is given it by {@link Command.sendBuffer}.
   *
   * @category Arguments
   *
   * @example
   * new Command('mount').args('-o').secretArg('password=hunter2');
   */
  secretArg(value: Argument): this {
    return this.#say('secretArg', [hidden], (draft, call) => {
      const text = draft.text(value, call);
      if (text !== undefined) draft.secretArgs.push(draft.argv.push(text) - 1);
    });
  }

  // ---------------------------------------------------------------- environment

  /**
   * Sets a variable. From the first call about the environment on, the program inherits nothing: it gets exactly what is
   * said, with what {@link Command.envInherit} adds. The same name again replaces the value and keeps its place. `undefined` sets nothing, as in `child_process`.
   * Answers to `virCommandAddEnvPair`.
   *
   * @category Environment
   *
   * @example
   * new Command('date').env('TZ', 'UTC');
   */
  env(name: string, value: Argument | undefined): this {
    return this.#say('env', [variableShown(name), hidden], (draft, call) => {
      draft.isolate();
      if (value !== undefined) draft.variable(name, value, call);
      else draft.variableName(name, call);
    });
  }

  /**
   * Sets a variable from text of the form `NAME=value`. Answers to `virCommandAddEnvString`.
   *
   * @category Environment
   *
   * @example
   * new Command('vi').envString('TERM=xterm');
   */
  envString(entry: string): this {
    return this.#say('envString', [hidden], (draft, call) => {
      draft.isolate();
      const end = typeof entry === 'string' ? entry.indexOf('=') : -1;
      if (end < 1) draft.mistake(call, "the text is not of the form 'NAME=value'");
      else draft.variable(entry.slice(0, end), entry.slice(end + 1), call);
    });
  }

  /**
   * Sets a variable, formatted as by C's `printf`. Answers to `virCommandAddEnvFormat`.
   *
   * @category Environment
   *
   * @example
   * new Command('qemu-system-x86_64').envFormat('QEMU_AUDIO_DRV', '%s', 'none');
   */
  envFormat(name: string, format: string, ...values: unknown[]): this {
    return this.#say('envFormat', [variableShown(name), hidden, ...values.map(() => hidden)], (draft, call) => {
      draft.isolate();
      const text = draft.format(format, values, call);
      if (text !== undefined) draft.variable(name, text, call);
    });
  }

  /**
   * Passes variables on with the values that they have in this process now. One that is not set is not passed, and
   * the environment is closed all the same. Answers to `virCommandAddEnvPass`.
   *
   * @category Environment
   *
   * @example
   * new Command('xterm').envPass('DISPLAY', 'XAUTHORITY');
   */
  envPass(...names: string[]): this {
    return this.#say('envPass', names.map(variableShown), (draft, call) => {
      draft.isolate();
      for (const name of names) {
        if (!draft.variableName(name, call)) continue;
        // A variable that is not set would be looked for in `Object.prototype`.
        const value = variableOf(name);
        if (value === undefined) continue;
        draft.variable(name, typeof value === 'symbol' ? value : argumentOf(value), call);
      }
    });
  }

  /**
   * Makes a small, dependable environment: `LC_ALL=C`, and of this process's variables `LD_PRELOAD`, `LD_LIBRARY_PATH`,
   * `PATH`, `HOME`, `USER`, `LOGNAME` and `TMPDIR`, as far as they are set. Answers to `virCommandAddEnvPassCommon`.
   *
   * @category Environment
   *
   * @example
   * new Command('lvs').envPassCommon();
   */
  envPassCommon(): this {
    return saidBy(publicMethods.get('envPassCommon'), () => this.env('LC_ALL', 'C').envPass(...COMMON_VARIABLES));
  }

  /**
   * Sets `XDG_DATA_HOME`, `XDG_CACHE_HOME` and `XDG_CONFIG_HOME` to their usual places below a directory. Answers to
   * `virCommandAddEnvXDG`.
   *
   * @category Environment
   *
   * @example
   * new Command('swtpm').envXdg('/var/lib/libvirt/swtpm');
   */
  envXdg(baseDir: Path): this {
    return this.#say('envXdg', [baseDir], (draft, call) => {
      draft.isolate();
      const base = draft.path(baseDir, call);
      if (base === undefined) return;
      const below = (name: string): Argument => argumentOf(joinText(base, name));
      draft.variable('XDG_DATA_HOME', below('/.local/share'), call);
      draft.variable('XDG_CACHE_HOME', below('/.cache'), call);
      draft.variable('XDG_CONFIG_HOME', below('/.config'), call);
    });
  }

  /**
   * Keeps all variables of this process, as they are when the command runs; what else is said about the environment is added to
   * them, or takes their place. Without it, the first variable that is said closes the environment. libvirt has no such call.
   *
   * @category Environment
   *
   * @example
   * new Command('make').envInherit().env('LC_ALL', 'C');
   */
  envInherit(): this {
    return this.#flag('envInherit');
  }

  /**
   * Empties the environment, and forgets what was set before. libvirt has no such call.
   *
   * @category Environment
   *
   * @example
   * new Command('/usr/bin/env').envClear().env('ONLY', 'this');
   */
  envClear(): this {
    return this.#say('envClear', [], (draft) => {
      draft.env = new Map();
      delete draft.single.envInherit;
    });
  }

  // ---------------------------------------------------------------- descriptors

  /**
   * Keeps a descriptor open in the program, at the same number and here too. It is a number, or an object that owns one, such as a
   * `FileHandle`, a `net.Server`, a stream of another child or what {@link listenUnix} and the like give. Answers to `virCommandPreserveFD`.
   *
   * @category Descriptors and files
   *
   * @example
   * import { openSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * const log = openSync('/dev/null', 'a');
   * await new Command('sh', '-c', `echo hello >/dev/fd/${log}`).preserveFd(log).run();
   */
  preserveFd(fd: DescriptorLike): this {
    return this.#say('preserveFd', [fd], (draft, call) => draft.pass(fd, { as: fd }, call));
  }

  /**
   * Gives a descriptor away: it is open in the program, at the same number, and closed here as soon as the command has
   * been started, or could not be. Of an object that owns one, the object is closed: never give away the number of what an object
   * owns, whose own `close()` would then hit whatever has the number by that time. Answers to `virCommandTransferFD`.
   *
   * To run the command a second time is a mistake then: the descriptor is gone.
   *
   * @category Descriptors and files
   *
   * @example
   * import { openSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * const config = openSync('/etc/hosts', 'r');
   * await new Command('cat', `/dev/fd/${config}`).transferFd(config).run();
   */
  transferFd(fd: DescriptorLike): this {
    return this.#say('transferFd', [fd], (draft, call) => draft.pass(fd, { as: fd, closeInParent: true }, call));
  }

  /**
   * Passes a descriptor, at another number if `as` says so. Every assignment works, such as 3 to 4 with 4 to 3. It is a number, or an
   * object that owns one; with `closeInParent` the object itself is closed. A stream that is passed is not read here any more, and one of
   * which something was read already is a mistake. Answers to `virCommandPassFD`.
   *
   * @category Descriptors and files
   *
   * @example
   * import { openSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * const log = openSync('/dev/null', 'a');
   * await new Command('sh', '-c', 'echo hello >&9').passFd(log, { as: 9, closeInParent: true }).run();
   */
  passFd(fd: DescriptorLike, options?: PassOptions): this {
    const shown = withDefaults(options, { ...(typeof fd === 'object' ? {} : { as: fd }), closeInParent: false });
    return this.#say('passFd', [fd, shown], (draft, call) => {
      const given = draft.options(options, ['as', 'closeInParent'], call);
      const closeInParent = given && draft.switch(given.closeInParent, 'closeInParent', call);
      if (closeInParent !== undefined) draft.pass(fd, { as: given?.as ?? fd, closeInParent }, call);
    });
  }

  /**
   * Passes listening sockets by systemd's protocol: they become 3, 4 …, and `LISTEN_FDS` and `LISTEN_PID` are set.
   * They are numbers, or objects that own one. What {@link listenUnix} and {@link listenTcp} give blocks, as systemd's do; the socket of a
   * `net.Server` does not. Answers to `virCommandPassListenFDs`.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('virtlogd').listenFds(listenUnix('/run/virtlogd.sock', { mode: 0o600 }), listenTcp(8080));
   */
  listenFds(...fds: DescriptorLike[]): this {
    return this.#say('listenFds', fds, (draft, call) => {
      if (fds.length === 0) draft.mistake(call, 'it names no descriptor');
      else draft.listenFds(fds, call);
    });
  }

  /**
   * Makes a descriptor of this process the program's standard input: a number, or an object that owns one. It stays open here, and a
   * stream is not read here any more. Answers to `virCommandSetInputFD`.
   *
   * @category Descriptors and files
   *
   * @example
   * import { open } from 'node:fs/promises';
   * import { Command } from 'vircommand';
   * await using file = await open('/etc/passwd');
   * await new Command('wc', '-l').inputFd(file).run();
   */
  inputFd(fd: DescriptorLike | undefined): this {
    return this.#setting('inputFd', [fd], (draft, call) => draft.inputFd(fd, call));
  }

  /**
   * Makes a descriptor of this process the program's standard output: a number, or an object that owns one. It stays open here. Answers to `virCommandSetOutputFD`.
   *
   * @category Descriptors and files
   *
   * @example
   * import { openSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * await new Command('ls').outputFd(openSync('/dev/null', 'a')).run();
   */
  outputFd(fd: DescriptorLike | undefined): this {
    return this.#setting('outputFd', [fd], (draft, call) => draft.outputFd('stdout', fd, call));
  }

  /**
   * Makes a descriptor of this process the program's standard error: a number, or an object that owns one. It stays open here. Answers to `virCommandSetErrorFD`.
   *
   * @category Descriptors and files
   *
   * @example
   * import { openSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * const log = openSync('/dev/null', 'a');
   * await new Command('ls').outputFd(log).errorFd(log).run();
   */
  errorFd(fd: DescriptorLike | undefined): this {
    return this.#setting('errorFd', [fd], (draft, call) => draft.outputFd('stderr', fd, call));
  }

  /**
   * Makes a pipe whose writing end is `child.stdin`. Answers to `virCommandSetInputFD` with -1.
   *
   * For `runAsync()` and daemons; with `run()` nobody could write to it.
   *
   * @category Descriptors and files
   *
   * @example
   * await using child = await new Command('sort').inputPipe().outputBuffer().runAsync();
   * child.stdin.end('b\na\n');
   * const { stdout } = await child.wait();
   */
  inputPipe(): this & HasStdin<Writable> {
    return this.#say('inputPipe', [], (draft, call) => draft.set('stdin', { from: 'pipe' }, call)) as this &
      HasStdin<Writable>;
  }

  /**
   * Makes a pipe whose reading end is `child.stdout`. Answers to `virCommandSetOutputFD` with -1.
   *
   * For `runAsync()` and daemons; with `run()` nobody could read it.
   *
   * @category Descriptors and files
   *
   * @example
   * await using child = await new Command('ls').outputPipe().runAsync();
   * for await (const chunk of child.stdout) process.stdout.write(chunk);
   */
  outputPipe(): this & HasStdout<Readable> {
    return this.#say('outputPipe', [], (draft, call) => draft.set('stdout', { to: 'pipe' }, call)) as this &
      HasStdout<Readable>;
  }

  /**
   * Makes a pipe whose reading end is `child.stderr`. Answers to `virCommandSetErrorFD` with -1.
   *
   * @category Descriptors and files
   *
   * @example
   * await using child = await new Command('ls', '/nowhere').errorPipe().runAsync();
   * child.stderr.pipe(process.stderr);
   */
  errorPipe(): this & HasStderr<Readable> {
    return this.#say('errorPipe', [], (draft, call) => draft.set('stderr', { to: 'pipe' }, call)) as this &
      HasStderr<Readable>;
  }

  /**
   * Makes standard error the same open file as standard output, as `2>&1` does: what is written keeps its order.
   * Answers to `virCommandSetErrorFD` with the address that `virCommandSetOutputFD` was given.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('make').outputFile('/tmp/make.log').errorToOutput();
   */
  errorToOutput(): this {
    return this.#say('errorToOutput', [], (draft, call) => draft.set('stderr', { to: 'stdout' }, call));
  }

  /**
   * Opens a file as the program's standard input; a relative path begins in this process's directory. The descriptor is the program's own: no byte goes through this process.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('wc', '-l').inputFile('/etc/passwd');
   */
  inputFile(path: Path | undefined): this {
    return this.#setting('inputFile', [path], (draft, call) => {
      const text = draft.path(path, call);
      if (text !== undefined) draft.set('stdin', { from: 'file', path: text }, call);
    });
  }

  /**
   * Opens a file as the program's standard output, new or emptied, or at its end with `append`. The program writes
   * to it by itself, so a daemon's log goes on when this process has ended.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('dnsmasq').outputFile('/var/log/dnsmasq.log', { append: true }).errorToOutput();
   */
  outputFile(path: Path | undefined, options?: FileOptions): this {
    if (path === undefined) return this;
    return this.#say('outputFile', options === undefined ? [path] : [path, options], (draft, call) =>
      draft.outputFile('stdout', path, options, call),
    );
  }

  /**
   * Opens a file as the program's standard error. The same file as standard output's is opened once, and both share it.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('dnsmasq').errorFile('/var/log/dnsmasq.err', { append: true });
   */
  errorFile(path: Path | undefined, options?: FileOptions): this {
    if (path === undefined) return this;
    return this.#say('errorFile', options === undefined ? [path] : [path, options], (draft, call) =>
      draft.outputFile('stderr', path, options, call),
    );
  }

  /**
   * Gives the program this process's own standard input, output and error.
   *
   * @category Descriptors and files
   *
   * @example
   * await new Command('vi', 'notes.txt').inheritStdio().run();
   */
  inheritStdio(): this {
    return this.#say('inheritStdio', [], (draft, call) => {
      draft.set('stdin', bare({ from: 'fd', fd: 0 }), call);
      draft.set('stdout', bare({ to: 'fd', fd: 1 }), call);
      draft.set('stderr', bare({ to: 'fd', fd: 2 }), call);
    });
  }

  /**
   * Gives the program a terminal of its own, which controls its session: as standard input, output and error in one. Its other end is
   * `child.terminal`, of {@link Command.runAsync}: a {@link Terminal}, to read what the program writes, to type, to resize, and to hang up.
   *
   * With `run()` nobody types, and what the program writes is kept for the error, or captured by {@link Command.outputBuffer}: a newline is
   * `\\r\\n` there, and colors and the like are in it. The program is the leader of a session of its own. Its variable `TERM` is this
   * process's, unless `env()` says another one. Other settings of the three streams are mistakes, and so are daemons, `runSync()` and pipelines.
   * Answers to `openpty()` and `login_tty()`.
   *
   * @category Descriptors and files
   *
   * @example
   * await using child = await new Command('bash', '-i').terminal({ columns: 120, rows: 40 }).runAsync();
   * child.terminal.write('tty; exit\\r');
   * for await (const chunk of child.terminal) process.stdout.write(chunk);
   * await child.wait();
   */
  terminal(options?: TerminalOptions): this & HasTerminal<Terminal> {
    return this.#say('terminal', options === undefined ? [] : [options], (draft, call) => {
      const given = draft.options(options, ['columns', 'rows'], call);
      if (given !== undefined) draft.terminal(given, call);
    }) as this & HasTerminal<Terminal>;
  }

  /**
   * Runs the program in the foreground of this process's own terminal, as a shell runs an editor, a pager or ssh: in a process group of its own, so that
   * Ctrl-C and Ctrl-\\ reach it alone, and with the streams of this process where nobody has named others.
   *
   * Ctrl-Z stops it, and this process takes the terminal back and stops itself, with all of its process group, so that the shell comes to its prompt;
   * after `fg` both go on. At its end the terminal comes back here, and its modes as they were if a signal has ended it. The same happens
   * where a launch fails, and at the end of this process. Where this process has no terminal, or is in its background, only the streams are inherited.
   * Whatever reads from the terminal here is to be paused first: the kernel would stop this process for it. Works with {@link Command.runSync}
   * as well; daemons, pipelines and worker threads are mistakes. Answers to `tcsetpgrp()`.
   *
   * @category Descriptors and files
   *
   * @example
   * await new Command('vi', 'notes.txt').inheritTerminal().run();
   */
  inheritTerminal(): this {
    return this.#flag('inheritTerminal');
  }

  /**
   * Makes this process's ends of the pipes non-blocking, which streams are in Node anyway. Answers to `virCommandNonblockingFDs`.
   *
   * @category Descriptors and files
   *
   * @example
   * new Command('cat').inputPipe().nonblockingFds();
   */
  nonblockingFds(): this {
    return this.#flag('nonblockingFds');
  }

  // ---------------------------------------------------------------- streams

  /**
   * Feeds the program's standard input from a stream: a `Readable`, a `ReadableStream` of the web, an async iterable of strings and bytes, or a function that
   * gives one of them, which is called for each run. It is read no faster than the program reads, and its end is that of the input.
   *
   * A program that does not read it all is no error: `result.inputWritten` tells how much it took. Then the source is destroyed, or told to return, unless it is
   * `process.stdin`, which is paused. A source that fails stops the program by its {@link Command.stopSequence}, and the run rejects with an
   * {@link ExitError} with the reason `stream` and the error as its `cause`. For `run()` and `runAsync()`.
   *
   * @category Streams
   *
   * @example
   * import { createReadStream } from 'node:fs';
   * import { Command } from 'vircommand';
   * const { stdout } = await new Command('wc', '-l').inputStream(createReadStream('/etc/passwd')).outputBuffer().run();
   * @example
   * const rows = async function* () {
   *   yield 'b\n';
   *   yield 'a\n';
   * };
   * await new Command('sort').inputStream(rows).outputTo(process.stdout).run();
   */
  inputStream(source: InputSource | (() => InputSource) | undefined): this & HasStdin<null> {
    return this.#setting('inputStream', [source], (draft, call) => {
      const problem = sourceProblem(source);
      if (problem !== undefined) draft.mistake(call, problem);
      else if (draft.set('stdin', bare({ from: 'stream' as const }), call)) this.#attachStream({ input: source });
    }) as this & HasStdin<null>;
  }

  /**
   * Passes the program's standard output to a stream: a `Writable`, or a `WritableStream` of the web. The program is held where that is slow. `run()` and `wait()`
   * resolve when it has taken all of it.
   *
   * It is ended with the output, unless `end` is false, or it is `process.stdout` or `process.stderr`. One that fails, or is closed before, stops the
   * program by its {@link Command.stopSequence}, and the run rejects with an {@link ExitError} with the reason `stream` and the error as its `cause`. Once
   * the program was stopped, by whatever, a stream that takes nothing for a second is given up, and destroyed where it would have been ended. For `run()` and
   * `runAsync()`.
   *
   * @category Streams
   *
   * @example
   * import { createWriteStream } from 'node:fs';
   * import { createGzip } from 'node:zlib';
   * import { Command } from 'vircommand';
   * const gzip = createGzip();
   * gzip.pipe(createWriteStream('/tmp/passwd.gz'));
   * await new Command('cat', '/etc/passwd').outputTo(gzip).errorTo(process.stderr).run();
   */
  outputTo(destination: OutputDestination | undefined, options?: DestinationOptions): this & HasStdout<null> {
    return this.#passTo('outputTo', destination, options) as this & HasStdout<null>;
  }

  /**
   * Passes the program's standard error to a stream, as {@link Command.outputTo} does. It may be the same stream: the last one ends it.
   *
   * @category Streams
   *
   * @example
   * await new Command('sh', '-c', 'echo careful >&2').errorTo(process.stderr).run();
   */
  errorTo(destination: OutputDestination | undefined, options?: DestinationOptions): this & HasStderr<null> {
    return this.#passTo('errorTo', destination, options) as this & HasStderr<null>;
  }

  /**
   * Writes what `outputBuffer()` or `outputTo()` takes to a file as well, new or emptied, or at its end with `append`; with `{ from: 'stderr' }`, what
   * `errorBuffer()` or `errorTo()` takes. Each stream has one such file.
   *
   * The file is opened before the launch, by this process, in the way of {@link Command.outputFile}. It gets all of the output, whatever
   * `outputLimit()` keeps, and the program is held where the disk is slow. One that fails is as a stream that fails: see {@link Command.outputTo}.
   *
   * @category Streams
   *
   * @example
   * const { stdout } = await new Command('uname', '-a').outputBuffer().tee('/tmp/uname.log', { append: true }).run();
   */
  tee(path: Path | undefined, options?: TeeOptions): this {
    if (path === undefined) return this;
    return this.#say('tee', options === undefined ? [path] : [path, options], (draft, call) =>
      draft.tee(path, options, call),
    );
  }

  /**
   * Sets how many bytes a pipe of the program's standard streams holds, at least; the kernel rounds up, to a page and a power of two. It concerns
   * each pipe of which this process has the other end, be it for a stream, a buffer or a file of `tee()`, and those to the neighbours in a pipeline, where the
   * larger size counts if both have said one. What is no pipe stays as it is. Default: what the kernel gives, 64 KiB, and 1 MiB where much is captured. *Native.*
   *
   * A large one has program and reader wait for each other less often; a small one keeps a program from running far ahead of its reader. Above
   * `/proc/sys/fs/pipe-max-size`, 1 MiB, it takes CAP_SYS_RESOURCE; what the kernel does not grant is a {@link LaunchError} of the step `pipe`.
   * Answers to `F_SETPIPE_SZ` of fcntl(2).
   *
   * @category Streams
   *
   * @throws {UnsupportedError} in the portable engine, when it is run.
   *
   * @example
   * await using child = await new Command('yes').outputPipe().pipeSize(4096).runAsync();
   * for await (const line of child.lines()) if (line === 'y') break;
   */
  pipeSize(bytes: number | undefined): this {
    return this.#setting('pipeSize', [bytes], (draft, call) =>
      draft.setInteger('pipeSize', bytes, { what: 'the size of a pipe', min: 1, max: LARGEST_PIPE }, call),
    );
  }

  #passTo(method: 'outputTo' | 'errorTo', destination: unknown, options: DestinationOptions | undefined): this {
    if (destination === undefined) return this;
    return this.#say(method, options === undefined ? [destination] : [destination, options], (draft, call) => {
      const problem = destinationProblem(destination);
      const read = draft.options(options, ['end'], call);
      if (problem !== undefined) draft.mistake(call, problem);
      if (problem !== undefined || read === undefined) return;
      const given = destination as OutputDestination;
      const ends = read.end === undefined ? endsByItself(given) : draft.switch(read.end, 'end', call);
      const stream = method === 'outputTo' ? 'stdout' : 'stderr';
      if (ends !== undefined && draft.set(stream, bare({ to: 'stream' as const }), call))
        this.#attachStream({ [method]: Object.freeze({ destination: given, ends }) });
    });
  }

  #attachStream(more: Partial<GivenStreams>): void {
    this.#attach({ streams: Object.freeze({ ...(this.#attachments.streams ?? NO_STREAMS), ...more }) });
  }

  // ---------------------------------------------------------------- buffers

  /**
   * Feeds text or bytes to the program's standard input, and then its end. A program that does not read it all is no
   * error: `result.inputWritten` tells how much it took. Bytes are copied now: what becomes of them later does not matter.
   * Answers to `virCommandSetInputBuffer`.
   *
   * @category Buffers
   *
   * @example
   * const { stdout } = await new Command('sort').inputBuffer('b\na\n').outputBuffer().run();
   */
  inputBuffer(data: string | Uint8Array | undefined): this {
    if (data === undefined) return this;
    return this.#say('inputBuffer', [hidden], (draft, call) => {
      const read = readData(data);
      if (read instanceof Wrong) draft.mistake(call, `the data ${read.wrong}`);
      else draft.set('stdin', { from: 'buffer', data: read }, call);
    });
  }

  /**
   * Sends bytes to the program by a descriptor of their own, and **gives its number**, for an argument. The program reads all of them, and then the end
   * of the file. It is the way for a password or a key: an argument is visible to others in `/proc`, and a variable to programs that are started further on.
   *
   * Several can be sent, of any size, beside input and output, with `run()`, `runAsync()`, `runSync()` and to a daemon. A program that does not read them hurts nobody. The
   * bytes stand in no error, log, spec or print. What is kept of them here is wiped when the program has been launched: a second run is a {@link UsageError}. A string
   * itself cannot be wiped; give a `Buffer`, and fill it afterwards. In the native engine the kernel holds them from the launch on: in a pipe, and above what a pipe may be
   * (1 MiB for most users) in a sealed file in memory. In the portable engine it is a socket, which no program can open anew by `/dev/fd/3`. Answers to `virCommandSetSendBuffer`.
   *
   * @category Descriptors
   *
   * @example
   * const cat = new Command('cat');
   * const { stdout } = await cat.arg(`/dev/fd/${cat.sendBuffer('hunter2')}`).outputBuffer().run(); // 'hunter2'
   */
  sendBuffer(data: string | Uint8Array): number {
    const { sendBuffers } = this.#attachments;
    const fd = this.#draft.sendBuffers.find((number) => !sendBuffers.has(number)) ?? this.#draft.unusedFd();
    this.#say('sendBuffer', [hidden], (draft, call) => {
      if ((typeof data !== 'string' && !isBytes(data)) || (isBytes(data) && isDetached(data))) {
        draft.mistake(
          call,
          `the data ${typeof data === 'object' ? 'is no string, Buffer or Uint8Array' : `is ${describeKind(data)}; give a string, a Buffer or a Uint8Array`}`,
        );
        return;
      }
      if (!draft.sendBuffers.includes(fd)) draft.sendBuffers.push(fd);
      this.#attach({ sendBuffers: new Map([...sendBuffers, [fd, new SendBuffer(data)]]) });
    });
    return fd;
  }

  /**
   * Captures what the program writes to its standard output: as `result.stdout`, and in an {@link OutputBuffer} if one
   * is given. The same buffer here and in `errorBuffer()` takes both streams in the order in which they were written.
   *
   * There is no limit unless {@link Command.outputLimit} sets one. `{ fatal: true }` makes bytes that are no text an {@link OutputError} where the program
   * has ended well; `{ stripFinalNewline: true }` leaves the last newline out of the result. Answers to `virCommandSetOutputBuffer`.
   *
   * @category Buffers
   *
   * @example
   * const { stdout } = await new Command('head', '-c', '16', '/dev/urandom').outputBuffer({ encoding: 'buffer' }).run();
   */
  outputBuffer(target: { readonly encoding: 'buffer' }): this & HasStdout<Buffer>;
  outputBuffer(target?: OutputBuffer | TextCaptureOptions): this & HasStdout<string>;
  outputBuffer(target: OutputBuffer | CaptureOptions | undefined): this & HasStdout<string | Buffer>;
  outputBuffer(target?: OutputBuffer | CaptureOptions): this {
    return this.#capture('stdout', 'outputBuffer', target);
  }

  /**
   * Captures what the program writes to its standard error, as {@link Command.outputBuffer} does for standard output.
   * Answers to `virCommandSetErrorBuffer`.
   *
   * @category Buffers
   *
   * @example
   * const both = new OutputBuffer();
   * await new Command('ls', '/nowhere').outputBuffer(both).errorBuffer(both).run({ check: false });
   */
  errorBuffer(target: { readonly encoding: 'buffer' }): this & HasStderr<Buffer>;
  errorBuffer(target?: OutputBuffer | TextCaptureOptions): this & HasStderr<string>;
  errorBuffer(target: OutputBuffer | CaptureOptions | undefined): this & HasStderr<string | Buffer>;
  errorBuffer(target?: OutputBuffer | CaptureOptions): this {
    return this.#capture('stderr', 'errorBuffer', target);
  }

  /**
   * Keeps at most so many bytes of each captured stream. `truncate` (the default) keeps the head, `headAndTail` the first
   * and the last half, `kill` keeps the head and stops the program, which is an {@link ExitError} then. `kill` counts what
   * nobody claimed of `run()` as well; where no output is captured at all, it is a mistake. With `kill`, `{ tree: true }` stops the program's whole
   * tree, as {@link Command.timeout} tells.
   *
   * @category Buffers
   *
   * @example
   * const { stdout, outputTruncated } = await new Command('seq', '100000').outputBuffer().outputLimit(1000, 'headAndTail').run();
   */
  outputLimit(bytes: number | undefined, policy: OutputLimitPolicy = 'truncate', options?: TreeOptions): this {
    return this.#saidWithTree('outputLimit', [bytes, policy], options, (draft, call, tree) => {
      const limit = draft.integer(bytes, call, { what: 'the limit', min: 0, max: Number.MAX_SAFE_INTEGER });
      if (!outputLimitPolicies.includes(policy))
        draft.mistake(call, `the policies are ${outputLimitPolicies.map((name) => `'${name}'`).join(', ')}`);
      else if (tree && policy !== 'kill')
        draft.mistake(call, "only the policy 'kill' stops the program; leave { tree: true } out");
      else if (limit !== undefined)
        draft.set('outputLimit', bare({ bytes: limit, policy, ...(tree ? { tree: true as const } : {}) }), call);
    });
  }

  /**
   * Waits for the end of the output instead of the end of the program, as libvirt does: a process that the program left
   * behind, and that holds an output pipe, keeps `run()` waiting.
   *
   * @category Buffers
   *
   * @example
   * await new Command('sh', '-c', '(sleep 1; echo late) &').outputBuffer().waitForOutputEnd().run();
   */
  waitForOutputEnd(): this {
    return this.#flag('waitForOutputEnd');
  }

  // ---------------------------------------------------------------- attributes of the process

  /**
   * Starts the program in a directory; a relative one is meant from this process's. A daemon's is always `/`.
   * Answers to `virCommandSetWorkingDirectory`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('git', 'status').workingDirectory('/srv/app');
   */
  workingDirectory(dir: Path | undefined): this {
    return this.#setting('workingDirectory', [dir], (draft, call) => {
      const path = draft.path(dir, call);
      if (path !== undefined) draft.set('workingDirectory', path, call);
    });
  }

  /**
   * Sets the file mode creation mask, 0 to 0o777; 0 is a value like any other. Answers to `virCommandSetUmask`.
   *
   * A mask is written in octal: 22, 27 and 77 are mistakes, since 0o022, 0o027 and 0o077 are meant. As text, `'0o026'` is what
   * it says.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('touch', 'secret').umask(0o077);
   */
  umask(mask: number | `0o${string}` | undefined): this {
    return this.#setting('umask', [mask], (draft, call) => draft.umask(mask, call));
  }

  /**
   * Sets a resource limit, soft and hard; without `hard`, both are the same. Values are in the resource's own unit and exact.
   * Answers to `setrlimit()`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('qemu-system-x86_64').limit('memlock', 'unlimited').limit('core', 0);
   */
  limit(resource: LimitResource, soft: Limit | undefined, hard: Limit | undefined = soft): this {
    if (hard === undefined) return this;
    const values = hard === soft ? [resource, soft] : [resource, soft, hard];
    return this.#say('limit', values, (draft, call) => draft.limit(resource, soft, hard, call));
  }

  /**
   * Limits the memory that the program may lock, in bytes. Answers to `virCommandSetMaxMemLock`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('qemu-system-x86_64').maxMemLock('unlimited');
   */
  maxMemLock(bytes: Limit | undefined): this {
    return this.#setting('maxMemLock', [bytes], (draft, call) => draft.limit('memlock', bytes, bytes, call));
  }

  /**
   * Limits the processes of the program's user. Answers to `virCommandSetMaxProcesses`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('make', '-j8').maxProcesses(100);
   */
  maxProcesses(count: Limit | undefined): this {
    return this.#setting('maxProcesses', [count], (draft, call) => draft.limit('nproc', count, count, call));
  }

  /**
   * Limits the open files: the number is the limit itself, where libvirt adds one. Answers to `virCommandSetMaxFiles`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('nginx').maxFiles(65_536);
   */
  maxFiles(count: Limit | undefined): this {
    return this.#setting('maxFiles', [count], (draft, call) => draft.limit('nofile', count, count, call));
  }

  /**
   * Limits the size of a core file, in bytes; 0 for none. Answers to `virCommandSetMaxCoreSize`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('qemu-system-x86_64').maxCoreSize(0);
   */
  maxCoreSize(bytes: Limit | undefined): this {
    return this.#setting('maxCoreSize', [bytes], (draft, call) => draft.limit('core', bytes, bytes, call));
  }

  /**
   * Sets the nice value, -20 (first) to 19 (last). Answers to `setpriority()`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('make').nice(10);
   */
  nice(value: number | undefined): this {
    return this.#setting('nice', [value], (draft, call) =>
      draft.setInteger('nice', value, { what: 'the nice value', min: -20, max: 19 }, call),
    );
  }

  /**
   * Sets how readily the kernel ends the program when memory runs out, -1000 (never) to 1000 (first).
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('make').oomScoreAdjust(500);
   */
  oomScoreAdjust(score: number | undefined): this {
    return this.#setting('oomScoreAdjust', [score], (draft, call) =>
      draft.setInteger('oomScoreAdjust', score, { what: 'the score', min: -1000, max: 1000 }, call),
    );
  }

  /**
   * Starts the program in a control group, named by its directory: `/sys/fs/cgroup/machine.slice/vm`. Default: this process's own.
   * The directory is made and removed by the caller. One that is no group of version 2, such as one of version 1, is a `LaunchError` of the
   * step `cgroup`, before anything was started. Answers to `cgroup.procs` of cgroups(7).
   *
   * @category Attributes of the process
   *
   * @example
   * import { mkdirSync } from 'node:fs';
   * import { Command } from 'vircommand';
   * mkdirSync('/sys/fs/cgroup/machine.slice/vm', { recursive: true });
   * await new Command('sleep', '1').cgroup('/sys/fs/cgroup/machine.slice/vm').run();
   */
  cgroup(dir: Path | undefined): this {
    return this.#setting('cgroup', [dir], (draft, call) => {
      const path = draft.path(dir, call, 'the directory');
      if (path !== undefined && isPathFromHere(path))
        draft.mistake(call, 'the directory is relative; name it from /, such as /sys/fs/cgroup/…');
      else if (path !== undefined) draft.set('cgroup', path, call);
    });
  }

  /**
   * Starts the program in a session, and so in a process group, of its own. Answers to `setsid()`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('dnsmasq', '--keep-in-foreground').newSession();
   */
  newSession(): this {
    return this.#flag('newSession');
  }

  /**
   * Starts the program in a process group of its own, in this session. Answers to `setpgid()`.
   *
   * @category Attributes of the process
   *
   * @example
   * const job = await new Command('make').processGroup().runAsync();
   * await killPainfully(job.pid, { group: true });
   */
  processGroup(): this {
    return this.#flag('processGroup');
  }

  /**
   * Has the kernel send the program a signal when this process dies, even by SIGKILL. Default: SIGKILL. Answers to `PR_SET_PDEATHSIG`.
   *
   * @category Attributes of the process
   *
   * @example
   * new Command('qemu-system-x86_64').dieWithParent('SIGTERM');
   */
  dieWithParent(signal: SignalName = 'SIGKILL'): this {
    return this.#say('dieWithParent', [signal], (draft, call) => {
      if (draft.signal(signal, call)) draft.set('dieWithParent', signal, call);
    });
  }

  // ---------------------------------------------------------------- privileges

  /**
   * Runs the program as a user, with that user's uid, gid and supplementary groups, by name or number.
   *
   * @category Privileges
   *
   * @example
   * new Command('dnsmasq').user('nobody');
   */
  user(nameOrUid: string | number | undefined): this {
    return this.#setting('user', [nameOrUid], (draft, call) => {
      const user =
        typeof nameOrUid === 'number'
          ? draft.integer(nameOrUid, call, { what: 'a uid', ...ids })
          : draft.string(nameOrUid, call, 'the name');
      if (user !== undefined) draft.set('user', user, call);
    });
  }

  /**
   * Sets the user id. It goes with {@link Command.gid}, or the program would keep this process's group. Answers to `virCommandSetUID`.
   *
   * @category Privileges
   *
   * @example
   * new Command('dnsmasq').uid(65_534).gid(65_534);
   */
  uid(id: number | undefined): this {
    return this.#setting('uid', [id], (draft, call) => draft.setInteger('uid', id, { what: 'a uid', ...ids }, call));
  }

  /**
   * Sets the group id. Answers to `virCommandSetGID`.
   *
   * @category Privileges
   *
   * @example
   * new Command('dnsmasq').uid(65_534).gid(65_534);
   */
  gid(id: number | undefined): this {
    return this.#setting('gid', [id], (draft, call) => draft.setInteger('gid', id, { what: 'a gid', ...ids }, call));
  }

  /**
   * Sets the supplementary groups, all of them. Default: those of the user. Answers to `setgroups()`.
   *
   * @category Privileges
   *
   * @example
   * new Command('qemu-system-x86_64').user('qemu').groups([36]);
   */
  groups(list: readonly number[] | undefined): this {
    return this.#setting('groups', [list], (draft, call) => {
      if (!isArray(list)) {
        draft.mistake(call, 'the groups are an array of numbers');
        return;
      }
      const groups = list
        .map((id) => draft.integer(id, call, { what: 'a gid', ...ids }))
        .filter((id) => id !== undefined);
      if (groups.length === list.length) draft.set('groups', groups, call);
    });
  }

  /**
   * Takes all capabilities from the program, but those of {@link Command.allowCap}. Answers to `virCommandClearCaps`.
   *
   * @category Privileges
   *
   * @example
   * new Command('dnsmasq').clearCaps().allowCap('CAP_NET_BIND_SERVICE');
   */
  clearCaps(): this {
    return this.#flag('clearCaps');
  }

  /**
   * Leaves or gives the program a capability: effective, permitted, inheritable, ambient and bounding. Answers to `virCommandAllowCap`.
   *
   * @category Privileges
   *
   * @example
   * new Command('dnsmasq').user('nobody').clearCaps().allowCap('CAP_NET_ADMIN').allowCap('CAP_NET_BIND_SERVICE');
   */
  allowCap(name: CapabilityName): this {
    return this.#say('allowCap', [name], (draft, call) => {
      if (!(capabilityNames as readonly string[]).includes(name)) {
        const noSuch = "there is no such capability; capabilities(7) names them, as 'CAP_NET_ADMIN'";
        draft.mistake(call, arrayInstead(call.method, name) ?? noSuch);
      } else if (!draft.allowCaps.includes(name)) draft.allowCaps.push(name);
    });
  }

  /**
   * Makes sure that the program, and all that it starts, never gains privileges by executing a file. Answers to `PR_SET_NO_NEW_PRIVS`.
   *
   * @category Privileges
   *
   * @example
   * new Command('sh', '-c', 'sudo true').noNewPrivileges();
   */
  noNewPrivileges(): this {
    return this.#flag('noNewPrivileges');
  }

  /**
   * Runs the program under a SELinux label. Answers to `virCommandSetSELinuxLabel`.
   *
   * @category Privileges
   *
   * @example
   * new Command('qemu-system-x86_64').selinuxLabel('system_u:system_r:svirt_t:s0:c1,c2');
   */
  selinuxLabel(label: string | undefined): this {
    return this.#setting('selinuxLabel', [label], (draft, call) =>
      draft.setString('selinuxLabel', label, 'the label', call),
    );
  }

  /**
   * Runs the program under an AppArmor profile. Answers to `virCommandSetAppArmorProfile`.
   *
   * @category Privileges
   *
   * @example
   * new Command('qemu-system-x86_64').appArmorProfile('libvirt-11111111-2222-3333-4444-555555555555');
   */
  appArmorProfile(profile: string | undefined): this {
    return this.#setting('appArmorProfile', [profile], (draft, call) =>
      draft.setString('appArmorProfile', profile, 'the profile', call),
    );
  }

  /**
   * Gives the program a core-scheduling group of its own: no other program shares a core with it. Answers to `virCommandSetRunAlone`.
   *
   * @category Privileges
   *
   * @example
   * new Command('qemu-system-x86_64').runAlone();
   */
  runAlone(): this {
    return this.#say('runAlone', [], (draft, call) => draft.set('coreScheduling', 'alone', call));
  }

  /**
   * Puts the program into the core-scheduling group of another process. Answers to `virCommandSetRunAmong`.
   *
   * @category Privileges
   *
   * @example
   * const first = await new Command('qemu-system-x86_64').runAlone().runAsync();
   * new Command('qemu-system-x86_64').runAmong(first.pid);
   */
  runAmong(pid: number | undefined): this {
    return this.#setting('runAmong', [pid], (draft, call) => {
      const among = draft.integer(pid, call, { what: 'a pid', min: 1, max: 0x7fff_ffff });
      if (among !== undefined) draft.set('coreScheduling', { among }, call);
    });
  }

  // ---------------------------------------------------------------- daemons, hooks, handshake

  /**
   * Starts the program as a daemon: a session of its own, `/` as its directory, `/dev/null` where no stream is set.
   * It outlives this process. To the compiler it is a `Command<'daemon'>` from here on, which is no plain `Command`. `run()` resolves when it has been executed, and rejects with the step that failed if it was not.
   * Answers to `virCommandDaemonize`.
   *
   * @category Daemons, hooks, handshake
   *
   * @example
   * const { pid } = await new Command('sleep', '1').daemonize().run();
   */
  daemonize(): AsDaemon<this> {
    return this.#flag('daemonize') as unknown as AsDaemon<this>;
  }

  /**
   * Writes the daemon's pid to a file, before `run()` resolves. A file that a living process holds is a
   * {@link PidFileError}; one that a crash left behind is taken over. Answers to `virCommandSetPidFile`.
   *
   * @category Daemons, hooks, handshake
   *
   * @example
   * new Command('dnsmasq', '--keep-in-foreground').daemonize().pidFile('/run/dnsmasq.pid');
   */
  pidFile(path: Path | undefined): this {
    return this.#setting('pidFile', [path], (draft, call) => {
      const text = draft.path(path, call);
      if (text !== undefined) draft.set('pidFile', text, call);
    });
  }

  /**
   * Runs JavaScript in the child, after its descriptors are placed and before limits, labels, ids, capabilities and directory
   * are set; the pid stays. Answers to `virCommandSetPreExecHook`.
   *
   * The hook is a module's default export, named by its address, or a function that stands by itself: only its source reaches the
   * child, which is a Node process. It is given a copy of `opaque`, as it is now, and a {@link HookChild}. It may be
   * async. If it returns anything but 0 or nothing, throws, rejects or ends its process, the program does not run. `timeout()` and `abortSignal()`
   * reach it; for a daemon, `timeout()` covers the launch only. Most of what hooks are used for needs none: see docs/hooks.md.
   *
   * A mistake if `opaque` cannot be cloned, or the function's source cannot stand alone. The run rejects with a {@link LaunchError} of the
   * step `hook`, with the hook's own words, if it fails; {@link UnsupportedError} in the portable engine.
   *
   * @category Daemons, hooks, handshake
   *
   * @example
   * const write = (path: string) => process.getBuiltinModule('node:fs').writeFileSync(path, String(process.pid));
   * new Command('sleep', '1').preExecHook(write, '/sys/fs/cgroup/machine/cgroup.procs');
   */
  preExecHook<T>(hook: URL | ((opaque: T, child: HookChild) => HookAnswer | Promise<HookAnswer>), opaque?: T): this {
    return this.#say('preExecHook', [hook], (draft, call) => {
      const url = asUrl(hook);
      const source = typeof hook === 'function' ? sourceOf(hook) : new Wrong(noHook(hook));
      if (url === undefined && source instanceof Wrong) draft.mistake(call, source.wrong);
      else if (
        draft.set('preExecHook', bare(url === undefined ? { source: source as string } : { module: url.href }), call)
      )
        this.#attachOpaque(opaque, draft, call);
    });
  }

  #attachOpaque(opaque: unknown, draft: Draft, call: Call): void {
    this.#lacksOpaque = false;
    try {
      this.#attach({ opaque: opaque === undefined ? undefined : serialize(opaque) });
    } catch (error) {
      // V8's own words begin with the value, which is told to nobody.
      const isUncloneable = error instanceof Error && error.message.endsWith(' could not be cloned.');
      const why = isUncloneable
        ? 'it holds a function, a symbol, or another thing of this process alone'
        : reasonOf(error);
      draft.mistake(call, `its second argument cannot be copied into another process: ${why}`);
    }
  }

  /**
   * Holds the program before its first instruction until `child.handshakeNotify()`, or, for a daemon, until its result's. If this
   * process ends without it, the program is not executed. Answers to `virCommandRequireHandshake`.
   *
   * @category Daemons, hooks, handshake
   *
   * @example
   * await using daemon = await new Command('sleep', '1').daemonize().requireHandshake().run();
   * await daemon.handshakeNotify();
   */
  requireHandshake(): this {
    return this.#say('requireHandshake', [], (draft, call) => draft.set('handshake', true, call));
  }

  // ---------------------------------------------------------------- its end

  /**
   * Says which ends are no {@link ExitError}: these exit codes, and no others. Default: 0 alone. `false` takes every exit code and every
   * signal; `true` is the default again.
   *
   * Other codes, signals, a timeout, an abort and an overrun of the output limit stay errors. The option `check` of `run()` and
   * `wait()` comes before it. Answers to what a caller does with the status of `virCommandRun(cmd, &status)`.
   *
   * @category Its end
   *
   * @example
   * const { exitCode } = await new Command('grep', '-q', 'nobody', '/etc/passwd').check([0, 1]).run();
   * console.log(exitCode === 0 ? 'found' : 'not found'); // A file that cannot be read is code 2, and an ExitError.
   */
  check<const K extends Check | undefined>(codes: K): this & HasExitCode<Codes<K>> {
    return this.#setting('check', [codes], (draft, call) => {
      const accepted = readCheck(codes);
      if (accepted instanceof Wrong) draft.mistake(call, accepted.wrong);
      else if (accepted !== undefined) draft.set('check', accepted, call);
    }) as this & HasExitCode<Codes<K>>;
  }

  // ---------------------------------------------------------------- time

  /**
   * Stops the program if it runs longer, by {@link Command.stopSequence}. The promise rejects with an {@link ExitError} of the
   * reason `timeout`, once the program is dead. A launch that by then has not come to its program, since a hook or the opening
   * of a file takes so long, is a {@link LaunchError} of that reason. `runSync()` obeys it from the program's start on.
   *
   * With `{ tree: true }` the program's whole tree is stopped: its own control group, session or process group, and what is found by walking from
   * parent to child. Each of its processes gets the signals of the sequence, and SIGKILL ends the rest, also where the program itself has ended by then. The
   * promise rejects when all of it is gone, or cannot be ended; `result.tree` and the message tell how surely it was found, and what is left. A program that ends in its
   * time is not stopped, and neither is what it leaves behind. See docs/reaping.md.
   *
   * @category Time
   *
   * @example
   * await new Command('sleep', '0.1').timeout(5000).run();
   * @example
   * await new Command('sh', '-c', 'sleep 0.1 & wait').newSession().timeout(5000, { tree: true }).run();
   */
  timeout(ms: number | undefined, options?: TreeOptions): this {
    return this.#saidWithTree('timeout', [ms], options, (draft, call, tree) => {
      draft.timeout(ms, tree, call);
    });
  }

  /**
   * Stops the program if it writes nothing for so long, by {@link Command.stopSequence}. The promise rejects with an {@link ExitError} of the reason `silence`. Counted from
   * the start, anew with each piece of output that passes through this process: what is captured, or read from a pipe, and with `run()` also what nobody claimed.
   * While output waits here for somebody to read it, the program is not silent, and after that it has its whole time again.
   *
   * @category Time
   *
   * @example
   * await new Command('sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done').silenceTimeout(5000).run();
   */
  silenceTimeout(ms: number | undefined): this {
    return this.#setting('silenceTimeout', [ms], (draft, call) => {
      draft.silenceTimeout(ms, call);
    });
  }

  /**
   * Stops the program when the signal is aborted, by {@link Command.stopSequence}. A signal that is aborted before the
   * start means that nothing is started. With `{ tree: true }` the program's whole tree is stopped, as by {@link Command.timeout}.
   *
   * @category Time
   *
   * @example
   * await new Command('sleep', '0.1').abortSignal(AbortSignal.timeout(5000)).run();
   */
  abortSignal(signal: AbortSignal | undefined, options?: TreeOptions): this {
    return this.#saidWithTree('abortSignal', [signal], options, (draft, call, tree) => {
      if (!isAbortSignal(signal))
        draft.mistake(call, 'give an AbortSignal, as a controller has in its property signal');
      else if (this.#attachments.abortSignal !== undefined)
        draft.mistake(call, 'this was said before; AbortSignal.any([a, b]) makes one signal of two');
      else this.#attach({ abortSignal: signal, abortsTree: tree });
    });
  }

  /**
   * Says how to stop the program: signals, each with the milliseconds to wait for its effect. After the last, SIGKILL.
   * Default: SIGTERM, 5 s, SIGKILL.
   *
   * All that stops the program obeys it: timeout, abort signal, output limit, {@link Child.stop}, {@link Child.abort}, {@link Child.free} and the
   * end of an `await using` block. So does the end of this process, be it by Ctrl-C, for 5 s at most; then SIGKILL. Without one,
   * `abort()`, `free()` and the end of this process give it 10 ms, as libvirt does.
   *
   * @category Time
   *
   * @example
   * new Command('postgres').timeout(60_000).stopSequence([['SIGINT', 2000], ['SIGQUIT', 500], ['SIGKILL', 0]]);
   */
  stopSequence(sequence: StopSequence | undefined): this {
    return this.#setting('stopSequence', [sequence], (draft, call) => {
      if (!isArray(sequence) || sequence.length === 0 || !sequence.every(isStopStep)) {
        draft.mistake(call, sequenceWords);
      } else if (sequence.every(([signal]) => draft.signal(signal, call))) {
        draft.set(
          'stopSequence',
          sequence.map(([signal, ms]) => [signal, ms] as const),
          call,
        );
      }
    });
  }

  // ---------------------------------------------------------------- its lines

  /**
   * Calls back with each line that the program writes, while it runs, and with the name of the stream. The output is captured, or not, as without it.
   *
   * It sees what passes through this process: what `outputBuffer()` or `errorBuffer()` takes, and with `run()` and `runSync()` also what nobody claimed. If it
   * throws, the program is stopped by its stop sequence, and the run rejects with that error; so it does with an {@link OutputError} for a line longer
   * than `maxLineBytes`. A promise that it gives is not waited for: {@link Command.lines} waits.
   *
   * @category Its lines
   *
   * @example
   * await new Command('sh', '-c', 'echo 10%; echo 100%').onLine((line) => console.log(line)).run(); // 10%, then 100%
   */
  onLine(callback: OnLine | undefined, options?: LineOptions<LinesFrom, TextEncoding>): this {
    if (callback === undefined) return this;
    return this.#say('onLine', options === undefined ? [callback] : [callback, options], (draft, call) => {
      const read = readLineOptions(options);
      if (typeof callback !== 'function') draft.mistake(call, 'give a function, which is called with each line');
      else if (read instanceof Wrong) draft.mistake(call, read.wrong);
      else if (read.format.encoding === 'buffer') draft.mistake(call, 'it takes lines of text; lines() gives bytes');
      else if (this.#attachments.onLine !== undefined)
        draft.mistake(call, 'this was said before; one function can call two');
      else this.#attach({ onLine: { callback, format: read.format, from: read.from } });
    });
  }

  // ---------------------------------------------------------------- looking at it

  /**
   * Prints the command so that a shell would run the same: quoted, with its variables. Secret arguments are `***`.
   * Answers to `virCommandToString` and `virCommandToStringFull`.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made: what would be printed is not what was said. {TypeError} for options that are none.
   *
   * @example
   * new Command('true').env('A', 'B').arg('a b').toString(); // "A=B true 'a b'"
   */
  toString(options?: PrintOptions): string {
    const read = readOptions<PrintOptions>('toString', [], options, { lineBreaks: 'boolean', stripPath: 'boolean' });
    this.#assertNoMistakes();
    return printCommand(printable(this.#data(), { env: true }), read);
  }

  /**
   * Writes variables and arguments to a descriptor, unquoted, as one line. Answers to `virCommandWriteArgLog`.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made.
   *
   * @example
   * new Command('true').arg('a b').writeArgLog(1); // true a b
   */
  writeArgLog(fd: number): void {
    this.#assertNoMistakes();
    writeFileSync(fd, argLog(printable(this.#data(), { env: true })));
  }

  /**
   * The arguments, without the program: text, or bytes where they are no UTF-8. Answers to `virCommandGetArgList`.
   *
   * @category Looking at it
   *
   * @example
   * new Command('ls', '-l').arg('/').argList; // ['-l', '/']
   */
  get argList(): readonly (string | Uint8Array)[] {
    return this.#draft.argv.slice(1).map((word) => (typeof word === 'string' ? word : toBytes(word)));
  }

  /**
   * The file that would be executed. Bytes that are not UTF-8 stand as `\xff`. Answers to `virCommandGetBinaryPath`.
   *
   * @category Looking at it
   *
   * @throws {LaunchError} if PATH gives none.
   *
   * @example
   * new Command('sh').binaryPath(); // '/bin/sh'
   */
  binaryPath(): string {
    return readable(this.plan().file);
  }

  /**
   * Everything that was said, as frozen, plain data.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made.
   *
   * @example
   * const text = JSON.stringify(new Command('true').spec());
   */
  spec(): SpecOf<Kind> {
    this.#assertNoMistakes();
    return freezeSpec(this.#data()) as SpecOf<Kind>;
  }

  /**
   * Answers every question about the launch and starts nothing: the file, the exact vectors, where each descriptor comes
   * from, and the steps of the child in order.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made. {LaunchError} if PATH gives no such program.
   *
   * @example
   * const { file, steps } = new Command('true').plan();
   */
  plan(): LaunchPlan {
    const mode = this.#likelyMode();
    return planFor(this.#specFor(mode), mode);
  }

  /**
   * Prints the plan for a person, with the engine and the steps of the child, numbered.
   *
   * @category Looking at it
   *
   * @throws {UsageError} if mistakes were made. {LaunchError} if PATH gives no such program.
   *
   * @example
   * process.stdout.write(new Command('true').explain());
   */
  explain(): string {
    return explainPlan(this.plan(), selectEngine(), engineInfo().why);
  }

  /** A line that shows the command without values of variables and secrets, and how many mistakes it has. */
  [inspect.custom](): string {
    const mistakes = this.#draft.mistakes.length;
    return `Command { ${shownLines(printCommand(printable(this.#data(), { env: false })))}${mistakes === 0 ? '' : `, ${mistakes} mistakes`} }`;
  }

  // ---------------------------------------------------------------- running it

  /**
   * **Runs the program**, and resolves when it has ended with exit code 0, or, for a daemon, when it is running.
   *
   * Output that nobody claimed is kept in small, for the error's message and for `vircommand:exit`. Answers to `virCommandRun`.
   *
   * @category Running it
   *
   * @throws {UsageError} if mistakes were made. {LaunchError} if it could not be started; {UnsupportedError} if the engine cannot do it;
   * {PidFileError} if the pidfile is held. {ExitError} for every other end than exit code 0, unless `check` is false; always after
   * a timeout, an abort or an overrun of the output limit.
   *
   * @example
   * const { exitCode } = await new Command('grep', '-q', 'nobody', '/etc/passwd').run({ check: false });
   */
  run<C extends AnyCommand, const K extends Check | undefined = undefined>(
    this: C,
    options?: WaitOptions<K>,
  ): Promise<ResultOf<C, K>> {
    // The chain of calls knows its result's type better than the draft behind it.
    return this.#run(readOptionsOf('run', options)) as Promise<ResultOf<C, K>>;
  }

  async #run({ check, mistakes }: GivenOptions): Promise<unknown> {
    if (this.#draft.single.daemonize === true) return await runCommand(this.#said('daemon', mistakes));
    const child = await runCommand(this.#said('run', mistakes));
    return check === undefined ? child.wait() : child.wait({ check });
  }

  /**
   * **Starts the program**, and resolves when it is running. Buffers, timeout and abort signal work as with `run()`.
   *
   * Of a standard error that nobody has claimed, the last 4 KiB are kept for the error of `child.wait()`.
   *
   * The child belongs to this process and ends with it, unless {@link Child.release} lets it go. Answers to `virCommandRunAsync`.
   *
   * @category Running it
   *
   * @throws {UsageError} {LaunchError} {UnsupportedError} as `run()`.
   *
   * @example
   * await using child = await new Command('cat').inputPipe().outputBuffer().runAsync();
   * child.stdin.end('hello');
   * const { stdout } = await child.wait();
   */
  async runAsync<C extends AnyCommand>(this: C, options?: NoOptions): Promise<ChildOf<C>> {
    const child = await runCommand(this.#said('async', readOptionsOf('runAsync', options).mistakes));
    // The chain of calls knows its types better than the draft behind it.
    return child as ChildOf<C>;
  }

  /**
   * **Runs the program and holds this thread** until it has ended, with the same result and the same errors as {@link Command.run}.
   * Buffers, timeout, stop sequence and output limit work as there; an abort signal counts only before the start.
   *
   * @category Running it
   *
   * @throws {UnsupportedError} in the portable engine, which cannot read, wait and obey a timeout at once without the event loop.
   * {UsageError} {LaunchError} {ExitError} as `run()`.
   *
   * @example
   * const { stdout } = new Command('uname', '-r').outputBuffer().runSync();
   */
  runSync<C extends AnyCommand, const K extends Check | undefined = undefined>(
    this: C,
    options?: WaitOptions<K>,
  ): RunResultOf<C, K> {
    const data = this.#dataFor('run');
    const { check, mistakes } = readOptionsOf('runSync', options);
    const isDaemon = data.daemonize === true;
    const problem = 'a daemon is not waited for; start it with run(), which resolves when it is running';
    const served = 'the event loop serves a terminal, and this call holds it; use run()';
    const said = this.#said('run', [
      ...(isDaemon ? [{ call: 'runSync()', problem }] : []),
      ...(data.terminal === undefined ? [] : [{ call: 'runSync()', problem: served }]),
      ...(isDaemon ? [] : streamsInSync(data)),
      ...mistakes,
    ]);
    return runCommandSync(said).unwrap(check) as RunResult<unknown, unknown> as RunResultOf<C, K>;
  }

  /**
   * **Replaces this process by the program**: same pid, same parent; descriptors, environment, directory, ids, capabilities and
   * limits as the command says. Returns only by throwing, and then this process is unharmed.
   *
   * Standard streams that nobody named stay this process's own; all other descriptors are closed. A child rehearses the
   * launch first, up to the exec itself, so that what can fail fails there. Then the children that this process owns are
   * ended, as at its exit. Listeners of `'exit'` are not called, and nothing of this process goes on: no timer, no thread.
   * Answers to `virCommandExec`, and to `execve(2)`.
   *
   * @category Running it
   *
   * @throws {UsageError} if mistakes were made, if the command needs somebody who is still there (a buffer, a pipe, a timeout),
   * or in a worker thread. {LaunchError} with the step that failed. {UnsupportedError} in the portable engine and in a dry run.
   *
   * @example
   * if (process.argv.includes('--shell')) new Command('/bin/sh', '-i').exec();
   */
  exec(options?: NoOptions): never {
    const problem = 'a worker thread is not the process; call it in the main thread';
    const { mistakes } = readOptionsOf('exec', options);
    const all = isMainThread() ? mistakes : [{ call: 'exec()', problem }, ...mistakes];
    return execCommand(this.#said('exec', all));
  }

  /**
   * **Runs the program and gives its lines**, one at a time, as it writes them. It is started when the first is asked for.
   *
   * The loop holds the program when it is slow, and ends when the program has ended: with its {@link ExitError}, where that is one. A loop that is left early, by
   * `break` or an error, stops the program by its {@link Command.stopSequence}, and waits for its end. What the program leaves behind is not waited for.
   *
   * @category Its lines
   *
   * @throws {UsageError} in the loop, for options that are none, and where another call takes the stream; {OutputError} for a line longer than
   * `maxLineBytes`; and what `runAsync()` and `wait()` throw.
   *
   * @example
   * for await (const line of new Command('ls', '/').lines()) console.log(line);
   * @example
   * for await (const { stream, line } of new Command('sh', '-c', 'echo a; echo b >&2').lines({ from: 'both' })) console.log(stream, line);
   */
  lines<const O extends LineOptions>(options?: O): AsyncGenerator<LineOf<O>, undefined, undefined> {
    const read = readLineOptions(options);
    const { format, from } = read instanceof Wrong ? NO_LINES : read;
    return commandLines<LineOf<O>>(this.#lined({ method: 'lines', values: [options], read, from }), format, from);
  }

  /**
   * **Runs the program and gives the values that it writes as JSON**, one in each line. Otherwise as {@link Command.lines}. The type is the
   * caller's word: nothing is checked.
   *
   * @category Its lines
   *
   * @throws {OutputError} in the loop, for a line that is no JSON: the message names the command and the line, and the program is stopped.
   *
   * @example
   * const events = new Command('printf', '{"id": 1}\\n{"id": 2}\\n').jsonLines<{ id: number }>();
   * for await (const { id } of events) console.log(id); // 1, then 2
   */
  jsonLines<T = unknown>(options?: JsonLineOptions): AsyncGenerator<T, undefined, undefined> {
    const read = readLineOptions(options, [], ['maxLineBytes']);
    const { format } = read instanceof Wrong ? NO_LINES : read;
    return jsonLines<T>(this.#lined({ method: 'jsonLines', values: [options], read }), format);
  }

  /**
   * **Runs the program and calls back with each line that matches all patterns**: with the groups of all of them, in their order, and the named ones
   * in `groups`. A line that does not match is passed over. A callback that gives `false` stops the program, and that is no error; what it throws stops it too, and is thrown.
   *
   * A `prefix` is taken off a line that begins with it. Unlike libvirt, it calls back as the lines come. Answers to `virCommandRunRegex`.
   *
   * @category Its lines
   *
   * @throws {UsageError} for a pattern that cannot be read: nothing is started. Else as `run()`.
   *
   * @example
   * await new Command('printf', '  a=1\\n  b=2\\n').runRegex(/^(\w+)=(\d+)$/, ([name, value]) => console.log(name, value), { prefix: '  ' });
   */
  async runRegex<const K extends Check | undefined = undefined>(
    patterns: Patterns,
    onMatch: OnItem<LineMatch>,
    options?: MatchOptions & WaitOptions<K>,
  ): Promise<RunResult<undefined, undefined>> {
    const read = readMatching(patterns, options, ['prefix', 'check'], onMatch);
    const { regexes, prefix, check } = read instanceof Wrong ? NO_MATCHES : read;
    const each = (command: LinedCommand): AsyncIterable<LineMatch> => matches(command, regexes, prefix);
    const command = this.#lined({ method: 'runRegex', values: [patterns, onMatch, options], read });
    return (await runEach(command, each, onMatch, check)) as RunResult<undefined, undefined>;
  }

  /**
   * **Runs the program and gives the groups of each line that matches all patterns**, as {@link Command.runRegex} does, to a loop, as
   * {@link Command.lines} does.
   *
   * @category Its lines
   *
   * @throws {UsageError} in the loop, for a pattern that cannot be read. Else as that of `lines()`.
   *
   * @example
   * const all = new Command('cat', '/proc/meminfo').matches<{ name: string; kib: string }>(/^(?<name>\w+): +(?<kib>\d+) kB/);
   * for await (const { groups } of all) console.log(groups.name, Number(groups.kib));
   */
  matches<Groups extends object = Readonly<Record<string, string | undefined>>>(
    patterns: Patterns,
    options?: MatchOptions,
  ): AsyncGenerator<LineMatch<Groups>, undefined, undefined> {
    const read = readMatching(patterns, options, ['prefix']);
    const { regexes, prefix } = read instanceof Wrong ? NO_MATCHES : read;
    return matches<Groups>(this.#lined({ method: 'matches', values: [patterns, options], read }), regexes, prefix);
  }

  /**
   * **Runs the program and calls back with each row**: so many tokens, each with a zero byte behind it, as `find -print0` writes them. With names for the columns, a row
   * is an object. The last row may be shorter; empty output has none. A callback that gives `false` stops the program, and that is no error; what it throws stops it
   * too, and is thrown. Answers to `virCommandRunNul`.
   *
   * @category Its lines
   *
   * @throws {UsageError} for columns that are none: nothing is started. Else as `run()`.
   *
   * @example
   * await new Command('find', '/etc', '-maxdepth', 1, '-printf', '%f\\0%s\\0').runNul(2, ([name, size]) => console.log(name, Number(size)));
   */
  async runNul<const C extends Columns, const K extends Check | undefined = undefined>(
    columns: C,
    onRow: OnItem<RowOf<C>>,
    options?: WaitOptions<K>,
  ): Promise<RunResult<undefined, undefined>> {
    const read = readRowing(columns, options, ['check'], onRow);
    const { shape, check } = read instanceof Wrong ? NO_ROWS : read;
    const each = (command: LinedCommand): AsyncIterable<RowOf<C>> => rows(command, shape);
    const command = this.#lined({ method: 'runNul', values: [columns, onRow, options], read });
    return (await runEach(command, each, onRow, check)) as RunResult<undefined, undefined>;
  }

  /**
   * **Runs the program and gives its rows**, as {@link Command.runNul} does, to a loop, as {@link Command.lines} does.
   *
   * @category Its lines
   *
   * @throws {UsageError} in the loop, for columns that are none. Else as that of `lines()`.
   *
   * @example
   * const files = new Command('find', '/etc', '-maxdepth', 1, '-printf', '%f\\0%s\\0').rows(['name', 'size']);
   * for await (const { name, size } of files) console.log(name, Number(size));
   */
  rows<const C extends Columns>(columns: C): AsyncGenerator<RowOf<C>, undefined, undefined> {
    const read = readRowing(columns);
    const { shape } = read instanceof Wrong ? NO_ROWS : read;
    return rows<RowOf<C>>(this.#lined({ method: 'rows', values: [columns], read }), shape);
  }

  /** This command as it is now, with pipes for what is read line by line. */
  #lined({ method, values, read, from = 'stdout' }: LinedCall): LinedCommand {
    const copy = fromDraft(this.#draft.copy());
    copy.#attachments = this.#attachments;
    copy.#lacksOpaque = this.#lacksOpaque;
    const { single } = copy.#draft;
    const mistakes: Mistake[] = [];
    if (read instanceof Wrong) {
      const at = callSite(publicMethods.get(method) ?? Command);
      const said = values.filter((value) => value !== undefined);
      mistakes.push({ call: printCall(method, said), problem: read.wrong, ...(at === undefined ? {} : { at }) });
    }
    const { stdin, handshake, daemonize, terminal } = single;
    if (terminal !== undefined && from !== 'stdout') mistakes.push({ call: `${method}()`, problem: ONE_OUTPUT });
    for (const stream of terminal === undefined ? streamsOf(from) : []) {
      if (single[stream] === undefined) single[stream] = bare({ to: 'pipe' });
      else if (single[stream].to !== 'pipe') {
        const problem = `it reads the program's ${stream}, and another call takes that; leave the other out`;
        mistakes.push({ call: `${method}()`, problem });
      }
    }
    if (stdin?.from === 'pipe')
      mistakes.push({
        call: 'inputPipe()',
        problem: `${method}() gives nobody the other end of the pipe; use inputBuffer()`,
      });
    if (handshake === true)
      mistakes.push({
        call: 'requireHandshake()',
        problem: `with ${method}() nobody could answer; use runAsync(), and child.lines()`,
      });
    if (daemonize === true)
      mistakes.push({ call: `${method}()`, problem: 'a daemon is not waited for; run() gives its pipes' });
    return { subject: subjectOf(copy.#data()), start: () => runCommand(copy.#said('async', mistakes)) };
  }

  /** This command for a run of that kind, with the mistakes that only this kind knows. */
  #said<Mode extends LaunchMode>(mode: Mode, mistakes: readonly Mistake[] = []): Said & { readonly mode: Mode } {
    const data = this.#dataFor(mode);
    const check = (): CommandSpec => {
      if (mistakes.length > 0) this.#assertNoMistakes(mistakes);
      if (data === this.#known?.spec) return this.#known.spec;
      const spec = this.#checked(data, mode);
      if (staysRight(spec)) this.#known = { mode, spec };
      return spec;
    };
    return { data, mode, attachments: this.#attachments, check };
  }

  /** What was said, for a run of that kind: checked already where such a run was checked, and nothing was said since. */
  #dataFor(mode: LaunchMode): CommandSpec {
    return this.#known?.mode === mode ? this.#known.spec : this.#data();
  }

  /** The run that a plan is made for, where nobody has said yet how the command will be run. */
  #likelyMode(): LaunchMode {
    const { daemonize, stdin, stdout, stderr, handshake, terminal } = this.#draft.single;
    if (daemonize === true) return 'daemon';
    if (terminal !== undefined && stdout?.to !== 'buffer') return 'async';
    return stdin?.from === 'pipe' || stdout?.to === 'pipe' || stderr?.to === 'pipe' || handshake === true
      ? 'async'
      : 'run';
  }

  /** The spec for a run of that kind, with the checks that only this kind needs. */
  #specFor(mode: LaunchMode): CommandSpec {
    return this.#checked(this.#data(), mode);
  }

  #checked(data: CommandSpec, mode: LaunchMode): CommandSpec {
    const mistakes = [
      ...combinationMistakes(data, mode),
      ...this.#missingOpaque(),
      ...this.#missingSendBuffers(data),
      ...this.#missingStreams(data),
    ];
    this.#assertNoMistakes(usesDescriptors(data) ? [...mistakes, ...goneDescriptors(data)] : mistakes);
    return freezeSpec(data);
  }

  #assertNoMistakes(more: readonly Mistake[] = []): void {
    const { mistakes } = this.#draft;
    if (mistakes.length + more.length > 0)
      throw new UsageError(subjectOf(freezeSpec(this.#data())), [...mistakes, ...more]);
  }

  #missingOpaque(): Mistake[] {
    return this.#lacksOpaque
      ? [
          {
            call: 'fromSpec(…)',
            problem:
              'the hook was said with a second argument, which no spec holds; say preExecHook() again, with both',
          },
        ]
      : [];
  }

  #missingSendBuffers({ sendBuffers = [] }: CommandSpec): Mistake[] {
    return sendBuffers.flatMap((fd) => {
      const buffer = this.#attachments.sendBuffers.get(fd);
      if (buffer?.bytes !== undefined) return [];
      const problem =
        buffer === undefined ? 'the spec names what is sent, which no spec holds; call sendBuffer() again' : WAS_SENT;
      return [{ call: buffer === undefined ? 'fromSpec(…)' : 'sendBuffer(…)', problem }];
    });
  }

  /** What a copy sends is its own: it is sent for itself. */
  #ownSendBuffers(): void {
    const { sendBuffers } = this.#attachments;
    if (sendBuffers.size === 0) return;
    this.#attach({ sendBuffers: new Map(Array.from(sendBuffers, ([fd, buffer]) => [fd, buffer.copy()])) });
  }

  /** The streams that a spec names, and does not hold. */
  #missingStreams({ stdin, stdout, stderr }: CommandSpec): Mistake[] {
    const { streams } = this.#attachments;
    const missing = [
      ...(stdin.from === 'stream' && streams?.input === undefined ? ['inputStream()'] : []),
      ...(stdout.to === 'stream' && streams?.outputTo === undefined ? ['outputTo()'] : []),
      ...(stderr.to === 'stream' && streams?.errorTo === undefined ? ['errorTo()'] : []),
    ];
    return missing.map((call) => ({
      call: 'fromSpec(…)',
      problem: `it was said with a stream, which no spec holds; say ${call} again`,
    }));
  }

  /** What was said, as data. */
  #data(): CommandSpec {
    const { argv, secretArgs, env, descriptors, sendBuffers, limits, allowCaps, single } = this.#draft;
    const { stdoutBuffer, stderrBuffer } = this.#attachments;
    const sharesBuffer = stdoutBuffer !== undefined && stdoutBuffer === stderrBuffer;
    // One field after the other: to spread conditional objects takes ten times as long, and this is on the way of each launch.
    const data = new Bare() as Mutable<CommandSpec>;
    data.version = 1;
    data.argv = argv.slice();
    data.stdin = NOTHING;
    data.stdout = UNCLAIMED;
    data.stderr = UNCLAIMED;
    if (secretArgs.length > 0) data.secretArgs = secretArgs.slice();
    if (env !== undefined) data.env = Array.from(env);
    if (descriptors.length > 0) data.descriptors = descriptors.slice();
    if (sendBuffers.length > 0) data.sendBuffers = sendBuffers.slice();
    if (limits.length > 0) data.limits = limits.slice();
    if (allowCaps.length > 0) data.allowCaps = allowCaps.slice();
    Object.assign(data, single);
    if (sharesBuffer) data.stderr = SHARED;
    const attached = this.#attached();
    const owners = methodsWithOwners(data);
    if (attached.length + owners.length > 0) data.attached = [...attached, ...owners];
    return data;
  }

  #attached(): readonly string[] {
    if (this.#attachments === NO_ATTACHMENTS) return NOTHING_ATTACHED;
    const { stdoutBuffer, stderrBuffer, abortSignal, streams, onLine, sendBuffers, opaque } = this.#attachments;
    const things: readonly (readonly [string, unknown])[] = [
      ['outputBuffer', stdoutBuffer],
      ['errorBuffer', stderrBuffer],
      ['abortSignal', abortSignal],
      ['inputStream', streams?.input],
      ['outputTo', streams?.outputTo],
      ['errorTo', streams?.errorTo],
      ['onLine', onLine],
      ['sendBuffer', sendBuffers.size > 0 ? sendBuffers : undefined],
      ['opaque', opaque],
    ];
    return things.filter(([, thing]) => thing !== undefined).map(([name]) => name);
  }

  #attach(more: Partial<Attachments>): void {
    this.#known = undefined;
    this.#attachments = Object.freeze({ ...this.#attachments, ...more });
  }

  /** Records a call: what it says, or what is wrong with it. */
  #say(method: string, values: readonly unknown[], record: (draft: Draft, call: Call) => void): this {
    const call = { method, values, called: publicMethods.get(method) ?? Command };
    try {
      record(this.#draft, call);
    } catch (error) {
      // A getter or a proxy of the caller threw.
      this.#draft.mistake(call, `a value cannot be read (${reasonOf(error)})`);
    }
    this.#known = undefined;
    return this;
  }

  /** A setting with options that say whether it reaches the whole tree. */
  #saidWithTree(
    method: string,
    values: readonly unknown[],
    options: TreeOptions | undefined,
    record: (draft: Draft, call: Call, tree: boolean) => void,
  ): this {
    if (values.at(0) === undefined) return this;
    return this.#say(method, options === undefined ? values : [...values, options], (draft, call) => {
      const read = draft.options(options, ['tree'], call);
      const tree = read === undefined ? undefined : draft.switch(read.tree, 'tree', call);
      if (tree !== undefined) record(draft, call, tree);
    });
  }

  /**
   * Has a method record as a mistake what is said beyond the values that it takes: JavaScript would drop `'b'` of `arg('a', 'b')`, and take
   * `newSession(false)` for its contrary.
   */
  static #guard(name: string, work: (this: Command, ...values: readonly unknown[]) => Command): void {
    const most = mostValues(name, work);
    if (most === Infinity) return;
    const guarded = {
      [name](this: Command, ...values: readonly unknown[]): Command {
        if (!saysMore(values, most)) return work.apply(this, [...values]);
        return this.#say(name, valuesShown(name, values), (draft, call) => {
          const said = optionsAsMethods(values.at(-1), (method) => publicMethods.has(method));
          draft.mistake(call, tooMany(name, values, most, said));
        });
      },
    }[name];
    Object.defineProperty(guarded, 'length', bare({ value: work.length, configurable: true }));
    Object.defineProperty(Command.prototype, name, bare({ value: guarded, writable: true, configurable: true }));
  }

  static {
    preparedCopy = (command) => {
      const copy = Command.prototype.clone.call(command) as Command;
      copy.#said(copy.#likelyMode()).check();
      return copy;
    };
    stageOf = (command) => {
      // What is said to the command later is said to no pipeline.
      const copy = Command.prototype.clone.call(command) as Command;
      return {
        said: (mode) => copy.#said(mode),
        print: (options) => Command.prototype.toString.call(copy, options),
      };
    };
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(Command.prototype)))
      if (typeof value === 'function' && !looks.has(name)) Command.#guard(name, value as never);
  }

  /** The same for a setting that can be left out: `undefined` says nothing. The value stands last. */
  #setting(method: string, values: readonly unknown[], record: (draft: Draft, call: Call) => void): this {
    return values.at(-1) === undefined ? this : this.#say(method, values, record);
  }

  /** Records a call that says one thing and can be repeated without harm. */
  #flag(name: Flag): this {
    this.#known = undefined;
    this.#draft.single[name] = true;
    return this;
  }

  #capture(stream: 'stdout' | 'stderr', method: string, target: OutputBuffer | CaptureOptions | undefined): this {
    return this.#say(method, target === undefined ? [] : [target], (draft, call) => {
      const buffer = target instanceof OutputBuffer ? target : undefined;
      const attachment = stream === 'stdout' ? 'stdoutBuffer' : 'stderrBuffer';
      if (buffer !== undefined && this.#attachments[attachment] === undefined) this.#attach({ [attachment]: buffer });
      const options = draft.options(
        buffer === undefined ? target : undefined,
        ['encoding', 'fatal', 'stripFinalNewline'],
        call,
        'an OutputBuffer, or ',
      );
      if (options === undefined) return;
      const encoding = draft.encoding(options.encoding, call);
      const fatal = draft.switch(options.fatal, 'fatal', call);
      const strips = draft.switch(options.stripFinalNewline, 'stripFinalNewline', call);
      if (encoding === undefined || fatal === undefined || strips === undefined) return;
      if (fatal && !canBeWrong(encoding))
        draft.mistake(call, `every byte is right in the encoding '${encoding}'; leave { fatal: true } out`);
      else if (strips && encoding === 'buffer')
        draft.mistake(call, 'bytes are handed back as they came; leave { stripFinalNewline: true } out');
      else
        draft.set(
          stream,
          bare({
            to: 'buffer',
            encoding,
            ...(fatal ? { fatal: true as const } : {}),
            ...(strips ? { stripFinalNewline: true as const } : {}),
          }),
          call,
        );
    });
  }
}

/**
 * A command that nothing more can be said to, checked and ready to be run again and again. Made by {@link Command.prepare}.
 *
 * @example
 * const list = new Command('ls', '-A').workingDirectory('/var/spool').outputBuffer().prepare();
 * const before = await list.run();
 * const after = await list.run();
 */
export class PreparedCommand<C extends AnyCommand = AnyCommand> {
  readonly #command: C;

  /** @internal Made by `Command.prepare()`. */
  constructor(command: C) {
    this.#command = command;
  }

  /**
   * Runs the program, as {@link Command.run} does.
   *
   * @throws {LaunchError} {UnsupportedError} {PidFileError} {ExitError} as `Command.run()`; {UsageError} for options that are none, and where what was said
   * cannot be done a second time.
   *
   * @example
   * const { exitCode } = await new Command('true').prepare().run();
   */
  run<const K extends Check | undefined = undefined>(options?: WaitOptions<K>): Promise<ResultOf<C, K>> {
    return saidBy(preparedMethods.get('run'), () => this.#command.run(options));
  }

  /**
   * Starts the program, as {@link Command.runAsync} does.
   *
   * @throws {LaunchError} {UnsupportedError} {UsageError} as {@link PreparedCommand.run}.
   *
   * @example
   * await using child = await new Command('sleep', 60).prepare().runAsync();
   */
  runAsync(options?: NoOptions): Promise<ChildOf<C>> {
    return saidBy(preparedMethods.get('runAsync'), () => this.#command.runAsync(options));
  }

  /**
   * Runs the program and holds this thread until it has ended, as {@link Command.runSync} does.
   *
   * @throws {LaunchError} {UnsupportedError} {ExitError} {UsageError} as `Command.runSync()`.
   *
   * @example
   * const { stdout } = new Command('uname', '-r').outputBuffer().prepare().runSync();
   */
  runSync<const K extends Check | undefined = undefined>(options?: WaitOptions<K>): RunResultOf<C, K> {
    return saidBy(preparedMethods.get('runSync'), () => this.#command.runSync(options));
  }

  /**
   * The command, quoted for a shell, as {@link Command.toString} prints it.
   *
   * @throws {TypeError} for options that are none.
   *
   * @example
   * String(new Command('true').arg('a b').prepare()); // "true 'a b'"
   */
  toString(options?: PrintOptions): string {
    return this.#command.toString(options);
  }

  /** A line that shows the command without values of variables and secrets. */
  [inspect.custom](): string {
    return `Prepared${inspect(this.#command)}`;
  }
}

/** What text is to be captured as. */
type TextCaptureOptions = CaptureOptions & { readonly encoding?: BufferEncoding };

/** What {@link Command.jsonLines} takes. */
export interface JsonLineOptions {
  /** The longest line that is taken, in bytes. Default: 1 MiB. */
  readonly maxLineBytes?: number | undefined;
}

/** How {@link Command.runRegex} and {@link Command.matches} look at a line. */
export interface MatchOptions {
  /** What is taken off a line that begins with it, before it is matched. Default: nothing. */
  readonly prefix?: string | undefined;
}

type TextEncoding = Exclude<LineOptions['encoding'], 'buffer' | undefined>;

/** A call that reads lines: what it was given, and what could be made of that. */
interface LinedCall {
  readonly method: string;
  readonly values: readonly unknown[];
  readonly read: unknown;
  readonly from?: LinesFrom;
}

/** The kernel takes no larger size of a pipe. */
const LARGEST_PIPE = 2 ** 31;

/** What stands in the place of what could not be read. Nothing is started then. */
const NO_LINES = Object.freeze({ format: textLines, from: 'stdout' } as const);
const NO_MATCHES = Object.freeze({ regexes: [], prefix: '', check: undefined });
const NO_ROWS = Object.freeze({ shape: 1, check: undefined });

/** The type of the first, or the last, of several commands. */
type FirstOf<Stages> = Stages extends readonly [infer First, ...unknown[]] ? First : unknown;
type LastOf<Stages> = Stages extends readonly [...unknown[], infer Last] ? Last : unknown;

/**
 * Joins commands to a pipeline, as `|` does in a shell: each reads what the one before it writes. Nothing is started until {@link Pipeline.run},
 * {@link Pipeline.runAsync} or {@link Pipeline.runSync}.
 *
 * The commands are taken as they are now. The first may say where its standard input comes from, and the last what becomes of its standard output; for the
 * others that is a mistake, and so are `daemonize()` and `requireHandshake()` of any.
 *
 * @example
 * const { stdout } = await pipeline(
 *   new Command('ls', '-l', '/'),
 *   new Command('sort', '-k', 5),
 *   new Command('tail', '-n', 1).outputBuffer(),
 * ).run();
 */
export function pipeline<const Stages extends readonly Command[]>(
  ...commands: Stages
): Pipeline<FirstOf<Stages>, LastOf<Stages>> {
  const mistakes: Mistake[] = [];
  const stages = commands.flatMap((command: unknown) => {
    if (command instanceof Command) return [stageOf(command as AnyCommand)];
    const at = callSite(pipeline);
    const problem = "a stage is a Command; write new Command('sort') for a program";
    mistakes.push({ call: printCall('pipeline', [command]), problem, ...(at === undefined ? {} : { at }) });
    return [];
  });
  return new Pipeline(stages, mistakes);
}

const noHook = (hook: unknown): string =>
  `a hook is a URL of a module, or a function${typeof hook === 'string' ? '; new URL(path, import.meta.url) makes one' : ''}`;

/** A command of what was said elsewhere: no program is named, and none is missing. */
function fromDraft(draft: Draft): Command {
  // The constructor of everybody else takes a program; the type checker need not know of this one.
  return new Command(draft as unknown as Argument);
}

/** The functions that callers call, as they are when this file is loaded: a mistake lies below them in the stack. */
function functionsOf(...holders: readonly object[]): ReadonlyMap<string, Entry> {
  const functions = new Map<string, Entry>();
  for (const holder of holders)
    for (const name of Object.getOwnPropertyNames(holder)) {
      const value: unknown = Object.getOwnPropertyDescriptor(holder, name)?.value;
      if (typeof value === 'function') functions.set(name, value);
    }
  return functions;
}

const publicMethods = functionsOf(Command, Command.prototype);
const preparedMethods = functionsOf(PreparedCommand.prototype);

/** The options of a call that runs a command, as they were read. */
interface GivenOptions {
  readonly check: Accepted | undefined;
  readonly mistakes: readonly Mistake[];
}

const NO_OPTIONS: GivenOptions = { check: undefined, mistakes: [] };

function readOptionsOf(method: 'run' | 'runAsync' | 'runSync' | 'exec', options: unknown): GivenOptions {
  if (options === undefined) return NO_OPTIONS;
  return readWaitOptions(options, {
    method,
    called: publicMethods.get(method),
    names: method === 'run' || method === 'runSync' ? ['check'] : [],
    isMethod: (name) => publicMethods.has(name),
  });
}
