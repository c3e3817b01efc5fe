import { AsyncLocalStorage } from 'node:async_hooks';
import { Buffer } from 'node:buffer';
import { PassThrough, Readable } from 'node:stream';
import { inspect } from 'node:util';
import { typeError } from '../errors/argument-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { TestClock } from '../host/time.js';
import { bare } from '../spec/bare.js';
import { type CommandSpec, printable } from '../spec/spec.js';
import { toBytes } from '../text/bytes.js';
import { printCommand } from '../text/quote.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import type { Engine, EngineProcess, LaunchResources, ProcessEnd, SyncProcess } from './engine.js';

/** How a command that is not really run shall seem to end. What is left out: exit code 0, no signal, no output. */
export interface DryRunResponse {
  readonly exitCode?: number;
  readonly signal?: SignalName;
  readonly stdout?: string | Uint8Array;
  readonly stderr?: string | Uint8Array;
}

/** Answers in the place of the program. `inputText` is what the command would have read from its input buffer. */
export type Respond = (
  spec: CommandSpec,
  inputText: string,
) => DryRunResponse | undefined | Promise<DryRunResponse | undefined>;

/** A process that would have been signaled in earnest. */
export interface DryRunKill {
  /** The function that was called. */
  readonly call: 'killPainfully' | 'killTree' | 'pidAbort' | 'signal' | 'stop';
  readonly pid: number;
  /** The first signal that it would have sent. */
  readonly signal: SignalName;
}

/** A pid that no kernel gives out, so that a signal sent to it reaches no process. Zero and negative numbers mean whole groups. */
const NO_SUCH_PID = 0x7fff_ffff;

const scopes = new AsyncLocalStorage<DryRunEngine>();

/** The dry run in whose scope the caller stands. */
export function currentDryRun(): DryRunEngine | undefined {
  let engine = scopes.getStore();
  // What goes on after the end of an inner scope belongs to the next one that is open.
  while (engine?.isOpen === false) engine = engine.outer;
  return engine;
}

/** Records what would be started, and answers in its place. */
export class DryRunEngine implements Engine {
  readonly name = 'dry-run';
  readonly usesLanes = false;
  readonly environment = undefined;
  readonly clock = new TestClock();
  readonly commands: string[] = [];
  readonly specs: CommandSpec[] = [];
  readonly kills: DryRunKill[] = [];
  /** The pidfiles that are held in this dry run, by absolute path: what stands in them, and how each is given up. */
  readonly pidFiles = new Map<string, { readonly pid: number; release(): void }>();
  readonly #respond: Respond | undefined;
  readonly outer = scopes.getStore();
  isOpen = true;

  constructor(respond?: Respond) {
    this.#respond = respond;
  }

  /** From here on, and in everything that starts from here, commands come to this engine. */
  enter(): void {
    scopes.enterWith(this);
  }

  leave(): void {
    this.isOpen = false;
    // Entered as `undefined` where there was none: Node's types know no way to leave.
    scopes.enterWith(this.outer!);
  }

  refusal(): undefined {
    return undefined;
  }

  note(): undefined {
    return undefined;
  }

  async launch(plan: LaunchPlan, resources: LaunchResources): Promise<EngineProcess> {
    const end = finish(plan, resources, await this.#answer(plan, resources));
    const shakesHands = plan.steps.some(({ step }) => step === 'handshake');
    return {
      pid: NO_SUCH_PID,
      ...end.streams,
      ended: Promise.resolve(end.end),
      signal: () => false,
      stopReading: () => undefined,
      ref: () => undefined,
      unref: () => undefined,
      handshake: shakesHands
        ? {
            wait: () => Promise.resolve(),
            notify: () => Promise.resolve(),
            abort: () => Promise.resolve(),
            isPending: false,
            failure: undefined,
          }
        : undefined,
    };
  }

  launchSync(plan: LaunchPlan, resources: LaunchResources): SyncProcess {
    const answer = this.#answer(plan, resources);
    if (answer instanceof Promise)
      throw typeError('respond() gave a promise, and runSync() cannot wait for one; answer at once.');
    const { end } = finish(plan, resources, answer);
    return { pid: NO_SUCH_PID, signal: () => false, stopReading: () => undefined, turn: () => end };
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
    this.commands.push(printCommand(printable(spec, { env: true })));
    this.specs.push(spec);
  }

  #answer(
    plan: LaunchPlan,
    resources: LaunchResources,
  ): DryRunResponse | undefined | Promise<DryRunResponse | undefined> {
    this.#record(plan.spec);
    return this.#respond?.(plan.spec, Buffer.from(resources.input ?? []).toString());
  }
}

/** Ends a command as the answer says. */
function finish(plan: LaunchPlan, resources: LaunchResources, answer: DryRunResponse | undefined) {
  const { exitCode = 0, signal = null, stdout = '', stderr = '' } = bare(answer ?? {});
  if (!Number.isInteger(exitCode))
    throw typeError(`respond() gave the exit code ${inspect(exitCode)}; it is a whole number.`);
  if (signal !== null && signalNumber(signal) === undefined)
    throw typeError(`respond() gave the signal ${inspect(signal)}; write its name, as 'SIGTERM'.`);
  const out = Buffer.from(stdout as string);
  const err = Buffer.from(stderr as string);
  const shared = plan.descriptors[2]?.source.kind === 'stdout';
  resources.captures.get(1)?.write(shared ? Buffer.concat([out, err]) : out);
  resources.captures.get(2)?.write(err);
  const forCaller = (fd: number): boolean => {
    const source = plan.descriptors[fd]?.source;
    return source?.kind === 'pipe' && source.for === 'caller';
  };
  const end: ProcessEnd = {
    exitCode: signal === null ? exitCode : null,
    signal,
    coreDumped: false,
    outputHeldOpen: false,
    inputWritten: plan.spec.stdin.from === 'buffer' ? toBytes(plan.spec.stdin.data).length : 0,
    resourceUsage: undefined,
    lostOutput: undefined,
  };
  const streams = {
    stdin: forCaller(0) ? new PassThrough().resume() : null,
    stdout: forCaller(1) ? Readable.from([shared ? Buffer.concat([out, err]) : out], { objectMode: false }) : null,
    stderr: forCaller(2) ? Readable.from([err], { objectMode: false }) : null,
  };
  return { end, streams };
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
