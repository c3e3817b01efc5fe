import { AsyncLocalStorage } from 'node:async_hooks';
import { Buffer } from 'node:buffer';
import { PassThrough, Readable } from 'node:stream';
import { toBytes } from '../bytes.js';
import type { LaunchPlan } from '../plan.js';
import { printCommand } from '../quote.js';
import type { SignalName } from '../signals.js';
import { type CommandSpec, printable } from '../spec.js';
import type { Engine, EngineProcess, LaunchResources } from './types.js';

/** How a command that is not really run shall seem to end. What is left out: exit code 0, no signal, no output. */
export interface DryRunResponse {
  readonly exitCode?: number;
  readonly signal?: SignalName;
  readonly stdout?: string | Uint8Array;
  readonly stderr?: string | Uint8Array;
}

/** Answers in the place of the program. `inputText` is what the command would have read from its input buffer. */
export type Respond = (spec: CommandSpec, inputText: string) => DryRunResponse | undefined | Promise<DryRunResponse | undefined>;

/** A pid that no kernel gives out, so that a signal sent to it reaches nobody. Zero and negative numbers mean whole groups. */
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
  readonly pidFileWriter = 'nobody';
  readonly usesLanes = false;
  readonly commands: string[] = [];
  readonly specs: CommandSpec[] = [];
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
    this.commands.push(printCommand(printable(plan.spec, { env: true })));
    this.specs.push(plan.spec);
    const inputText = Buffer.from(resources.input ?? []).toString();
    const { exitCode = 0, signal = null, stdout = '', stderr = '' } = (await this.#respond?.(plan.spec, inputText)) ?? {};

    const out = Buffer.from(stdout as string);
    const err = Buffer.from(stderr as string);
    const shared = plan.descriptors[2]?.source.kind === 'stdout';
    resources.captures.get(1)?.write(shared ? Buffer.concat([out, err]) : out);
    resources.captures.get(2)?.write(err);
    const forCaller = (fd: number): boolean => {
      const source = plan.descriptors[fd]?.source;
      return source?.kind === 'pipe' && source.for === 'caller';
    };
    return {
      pid: NO_SUCH_PID,
      stdin: forCaller(0) ? new PassThrough().resume() : null,
      stdout: forCaller(1) ? Readable.from([shared ? Buffer.concat([out, err]) : out], { objectMode: false }) : null,
      stderr: forCaller(2) ? Readable.from([err], { objectMode: false }) : null,
      ended: Promise.resolve({
        exitCode: signal === null ? exitCode : null,
        signal,
        coreDumped: false,
        outputHeldOpen: false,
        inputWritten: plan.spec.stdin.from === 'buffer' ? toBytes(plan.spec.stdin.data).length : 0,
        resourceUsage: undefined,
      }),
      signal: () => false,
      stopReading: () => undefined,
      ref: () => undefined,
      unref: () => undefined,
    };
  }
}

let guards = 0;

/** While a guard stands, a launch outside every dry run is a mistake, anywhere in this process. */
export function guardAgainstLaunches(): () => void {
  guards += 1;
  let standing = true;
  return () => {
    if (standing) guards -= 1;
    standing = false;
  };
}

export const launchesAreForbidden = (): boolean => guards > 0;
