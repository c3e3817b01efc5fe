import { AsyncLocalStorage } from 'node:async_hooks';
import { Buffer } from 'node:buffer';
import { inspect, types } from 'node:util';
import { typeError } from '../errors/argument-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { NO_REFUSALS, type Refusal, UnsupportedError } from '../errors/unsupported-error.js';
import { UsageError } from '../errors/usage-error.js';
import { TestClock } from '../host/time.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { fromRoot, keyOf, named, type PidFilePath } from '../pidfile/content.js';
import type { CommandSpec } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import { type DryRunFailure, type DryRunResponse, failLaunch, readResponse } from './answer.js';
import type { Engine, EngineProcess, LaunchResources, SyncProcess } from './engine.js';
import { type DryRunKill, PlayedProcess, PlayedProgram } from './played.js';

/** Answers in the place of the program. `inputText` is what the command would have read from its input buffer. */
export type Respond = (spec: CommandSpec, inputText: string) => DryRunAnswer | Promise<DryRunAnswer>;

/** How a command ends; or that it goes on, by `running()`; or that its launch fails. Nothing: it ends well, and a daemon goes on. */
export type DryRunAnswer = DryRunResponse | { readonly fail: DryRunFailure } | PlayedProgram | undefined;

/** What a command would have sent by `sendBuffer()`. */
export interface SentBuffer {
  /** The command as it may be printed. */
  readonly command: string;
  /** The program's descriptor. */
  readonly fd: number;
  readonly data: Buffer;
}

/** A pidfile that is held in a dry run, by a played daemon, or by this process until it releases it. */
export interface PidFileInMemory {
  readonly pid: number;
  readonly owner: PlayedProcess | { release(): void };
}

/** The process that holds a pidfile in memory; `undefined`: nobody, it is stale. */
export function holderInMemory({ owner }: PidFileInMemory): { pid: number; command: string | undefined } | undefined {
  if (!(owner instanceof PlayedProcess)) return { pid: process.pid, command: undefined };
  return owner.hasEnded ? undefined : { pid: owner.pid, command: owner.programName };
}

/** What launches in earnest are recorded by. */
export interface Recording {
  readonly isOpen: boolean;
  readonly outer: Scope | undefined;
  /** The engine that launches as that one does, and records what comes of it. */
  over(engine: Engine): Engine;
}

/** What a caller stands in: the innermost counts. */
export type Scope = DryRunEngine | Recording;

const scopes = new AsyncLocalStorage<Scope>();

/** The dry run in whose scope the caller stands. */
export function currentDryRun(): DryRunEngine | undefined {
  return asDryRun(currentScope());
}

/** What records the launches of the caller; in a dry run, nothing does. */
export function currentRecording(): Recording | undefined {
  const scope = currentScope();
  return scope instanceof DryRunEngine ? undefined : scope;
}

/** What the caller stands in. */
export const currentScope = (): Scope | undefined => openOne(scopes.getStore());

/** Has what starts from here stand in a scope. Node's types know no way to leave, which is to stand in none. */
export function enterScope(scope: Scope | undefined): void {
  scopes.enterWith(scope!);
}

const asDryRun = (scope: Scope | undefined): DryRunEngine | undefined =>
  scope instanceof DryRunEngine ? scope : undefined;

/** What goes on after the end of an inner scope belongs to the next one that is open. */
function openOne(scope: Scope | undefined): Scope | undefined {
  return scope?.isOpen === false ? openOne(scope.outer) : scope;
}

/** Says what becomes of a launch, at once or later. Where the thread is held for it, no time passes. */
export type Answerer = (
  plan: LaunchPlan,
  resources: LaunchResources,
  isHeld: boolean,
) => DryRunAnswer | Promise<DryRunAnswer>;

/** Records what would be started, and answers in its place. */
export class DryRunEngine implements Engine {
  readonly name = 'dry-run';
  readonly usesLanes = false;
  readonly environment = undefined;
  readonly noteFailure = undefined;
  readonly clock = new TestClock();
  readonly commands: string[] = [];
  readonly argv: (readonly string[])[] = [];
  readonly specs: CommandSpec[] = [];
  readonly kills: DryRunKill[] = [];
  readonly sent: SentBuffer[] = [];
  /** The pidfiles of this dry run, by absolute path. */
  readonly #pidFiles = new Map<string, PidFileInMemory>();
  readonly #answerer: Answerer;
  readonly #print: (spec: CommandSpec) => string;
  readonly #played: PlayedProcess[] = [];
  readonly outer = scopes.getStore();
  isOpen = true;

  /** `print` gives a command as it is recorded. */
  constructor(answerer: Answerer, print: (spec: CommandSpec) => string) {
    this.#answerer = answerer;
    this.#print = print;
  }

  /** Short: Node keeps an engine with what began under it, and prints it there, and the commands have values in them. */
  [inspect.custom](): string {
    return `DryRun { ${this.commands.length} commands }`;
  }

  /** From here on, and in everything that starts from here, commands come to this engine. */
  enter(): void {
    enterScope(this);
  }

  /** What is still played ends. @throws what a function of the test has thrown that nobody was told of. */
  leave(): void {
    this.isOpen = false;
    enterScope(this.outer);
    for (const process of this.#played) process.finish(readResponse('dryRun()', { signal: 'SIGTERM' }));
    for (const process of this.#played) throwFrom(process);
  }

  /** A pidfile of this dry run, or of one that it lies in. */
  pidFile(file: PidFilePath): PidFileInMemory | undefined {
    return this.#pidFiles.get(keyOf(file)) ?? this.#enclosing()?.pidFile(file);
  }

  /** Writes a pidfile, in the place of one that nobody holds. */
  writePidFile(file: PidFilePath, content: PidFileInMemory): void {
    this.removePidFile(file);
    this.#pidFiles.set(keyOf(file), content);
  }

  /** Forgets a pidfile. */
  removePidFile(file: PidFilePath): void {
    if (!this.#pidFiles.delete(keyOf(file))) this.#enclosing()?.removePidFile(file);
  }

  /** Whether somebody owns a pidfile of this dry run, or of one that it lies in. */
  knows(owner: PidFileInMemory['owner']): boolean {
    return (
      Array.from(this.#pidFiles.values()).some((file) => file.owner === owner) ||
      this.#enclosing()?.knows(owner) === true
    );
  }

  #enclosing(): DryRunEngine | undefined {
    return asDryRun(openOne(this.outer));
  }

  refusals(): readonly Refusal[] {
    return NO_REFUSALS;
  }

  note(): undefined {
    return undefined;
  }

  async launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
    const path = pidFileOf(plan);
    if (path !== undefined) this.#assertUnheld(path, plan);
    const answer = await this.#answer(plan, resources, false);
    // Another daemon may have come while the answer was thought about.
    if (path !== undefined) this.#assertUnheld(path, plan);
    const process = this.#cast(plan, resources, answer);
    if (path !== undefined) this.#hold(path, process);
    if (process.handshake === undefined) process.begin();
    return process;
  }

  launchSync(plan: LaunchPlan, resources: LaunchResources): SyncProcess {
    const answer = this.#answer(plan, resources, true);
    if (types.isPromise(answer))
      throw typeError('respond() gave a promise, and runSync() cannot wait for one; answer at once.');
    const process = this.#cast(plan, resources, answer);
    process.begin();
    return {
      pid: process.pid,
      stdout: process.stdout,
      signal: (name) => process.signal(name),
      isReaped: false,
      stopReading: () => undefined,
      turn: (timeoutMs) => {
        throwFrom(process);
        if (process.end !== undefined) return process.end;
        if (timeoutMs < 0)
          throw typeError(
            'respond() gave running(), and runSync() would wait for ever; say timeout(), or how the program ends.',
          );
        // The thread is held, so that nothing but the time can go on.
        this.clock.pass(timeoutMs);
        return undefined;
      },
    };
  }

  /** Records the command. What would follow it can be written by no test, so the caller sees that nothing was replaced. */
  exec({ spec, subject }: LaunchPlan): never {
    this.#record(spec);
    throw new UnsupportedError(subject, {
      feature: 'exec',
      engine: this.name,
      why: 'a dry run leaves this process as it is',
    });
  }

  #record(spec: CommandSpec): void {
    this.commands.push(this.#print(spec));
    this.argv.push(Object.freeze(spec.argv.map(readable)));
    this.specs.push(spec);
  }

  #answer(plan: LaunchPlan, resources: LaunchResources, isHeld: boolean): DryRunAnswer | Promise<DryRunAnswer> {
    this.#record(plan.spec);
    for (const [fd, { bytes }] of resources.sendBuffers)
      this.sent.push(Object.freeze({ command: plan.subject.command, fd, data: Buffer.from(bytes ?? '') }));
    return this.#answerer(plan, resources, isHeld);
  }

  /** Gives a command the process that the answer says. @throws {LaunchError} where it says that the launch fails. */
  #cast(plan: LaunchPlan, resources: LaunchResources, answer: DryRunAnswer): PlayedProcess {
    const said: unknown = answer;
    if (typeof said === 'object' && said !== null && Object.hasOwn(said, 'fail'))
      failLaunch(plan, (said as { fail: unknown }).fail);
    const role = answer instanceof PlayedProgram ? answer : readResponse('respond()', answer ?? {});
    const process = new PlayedProcess(role, plan, resources, this);
    this.#played.push(process);
    processes.set(process.pid, process);
    void process.ended.then(() => processes.delete(process.pid));
    return process;
  }

  #assertUnheld(file: PidFilePath, { subject }: LaunchPlan): void {
    const found = this.pidFile(file);
    const heldBy = found === undefined ? undefined : holderInMemory(found);
    if (heldBy !== undefined) throw new PidFileError(file.name, { heldBy }, subject);
  }

  /** The daemon writes its pidfile, and takes it back if it never comes to its program. */
  #hold(file: PidFilePath, process: PlayedProcess): void {
    const content: PidFileInMemory = { pid: process.pid, owner: process };
    this.writePidFile(file, content);
    void process.ended.then(() => {
      if (!process.hasBegun && this.pidFile(file) === content) this.removePidFile(file);
    });
  }
}

function pidFileOf({ steps }: LaunchPlan): PidFilePath | undefined {
  const step = steps.find((one) => one.step === 'pidfile');
  return step?.step === 'pidfile' ? fromRoot(named(step.path)) : undefined;
}

/** The processes that are played now. */
const processes = new Map<number, PlayedProcess>();

/** The process that is played with a pid. */
export const playedBy = (pid: number): PlayedProcess | undefined => processes.get(pid);

/** Tells what a function of the test has thrown in the place of a program, to one caller. */
export function throwFrom(process: EngineProcess): void {
  const thrown = process instanceof PlayedProcess ? process.takeThrown() : undefined;
  if (thrown !== undefined) throw thrown.error;
}

let guards = 0;

/** While a guard stands, a launch, a kill or a pidfile outside every dry run is a mistake, anywhere in this process. */
export function guardAgainstLaunches(): () => void {
  guards += 1;
  let standing = true;
  return () => {
    if (standing) guards -= 1;
    standing = false;
  };
}

export const launchesAreForbidden = (): boolean => guards > 0;

/**
 * The dry run that has to answer a call which acts on processes or pidfiles; `undefined`: act in earnest.
 *
 * @throws {UsageError} outside every dry run while a strict one stands.
 */
export function dryRunOf(method: string): DryRunEngine | undefined {
  const dryRun = currentDryRun();
  if (dryRun !== undefined || !launchesAreForbidden()) return dryRun;
  const problem =
    'a strict dryRun() stands, and this call came from outside its scope; enter a dryRun() where the call is made';
  throw new UsageError({ command: '', spec: undefined }, [{ call: `${method}()`, problem }]);
}
