import { Buffer } from 'node:buffer';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { types } from 'node:util';
import type { DryRunFailure } from '../engine/answer.js';
import { currentScope, enterScope, type Recording as RecordingScope } from '../engine/dry-run.js';
import type { Engine, EngineProcess, LaunchResources, ProcessEnd, SyncProcess } from '../engine/engine.js';
import type { CommandError } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { type Refusal, UnsupportedError } from '../errors/unsupported-error.js';
import { UsageError } from '../errors/usage-error.js';
import { type Clock, delay, now } from '../host/time.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Step } from '../plan/step-table.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, fromBytes, readable } from '../text/bytes.js';
import type { SignalName } from '../text/signals.js';
import type { StepName } from '../text/step-names.js';
import { type Digest, digestOf, type TapeEntry, type TapeEvent } from './entry.js';
import { Hidden } from './hidden.js';

/** What is recorded of each command. */
export interface Choice {
  readonly env: readonly string[];
  /** The directories that stand there by a word. */
  readonly places: ReadonlyMap<string, string>;
}

/** Times are recorded in steps of so many milliseconds: what is shorter is chance. */
const TICK_MS = 10;

/** Pieces that come closer than that are one. */
const PAUSE_MS = 50;

/** How long the output of a program that has ended may take to be read, where another process holds the pipe. */
const LAST_OUTPUT_MS = 1000;

/** Launches go on as ever, and what comes of them is written down. */
export class Recording implements RecordingScope {
  readonly outer = currentScope();
  isOpen = true;
  /** Launches that no cassette can play, in words. */
  readonly unplayable: { readonly error: CommandError; readonly problem: string }[] = [];
  readonly #choice: Choice;
  readonly #runs: Run[] = [];
  readonly #engines = new Map<Engine, RecordingEngine>();
  readonly #noted = new WeakSet<CommandError>();

  constructor(choice: Choice) {
    this.#choice = choice;
  }

  enter(): void {
    enterScope(this);
  }

  leave(): void {
    this.isOpen = false;
    enterScope(this.outer);
  }

  over(engine: Engine): Engine {
    const known = this.#engines.get(engine) ?? new RecordingEngine(engine, this);
    this.#engines.set(engine, known);
    return known;
  }

  begin(spec: CommandSpec, resources: Pick<LaunchResources, 'sendBuffers'>, isDaemon: boolean): Run {
    const run = new Run(spec, new Hidden(spec, resources.sendBuffers, this.#choice.places), isDaemon, this.#choice.env);
    this.#runs.push(run);
    return run;
  }

  /** A launch has failed. `together` are the stages of its pipeline: in a replay, those before it are launched. */
  fail(error: CommandError, together: readonly CommandSpec[]): void {
    if (this.#noted.has(error) || error instanceof UsageError || error.spec === undefined) return;
    this.#noted.add(error);
    const { spec } = error;
    const run = this.#runs.findLast((one) => one.spec === spec && !one.isRunning);
    const problem = problemOf(error);
    const fail = failureOf(error);
    if (problem !== undefined) this.unplayable.push({ error, problem });
    if (fail === undefined) {
      if (run !== undefined) this.#runs.splice(this.#runs.indexOf(run), 1);
      return;
    }
    for (const earlier of together.slice(0, error.stage ?? together.indexOf(spec)))
      if (!this.#runs.some((one) => one.spec === earlier)) this.begin(earlier, NOTHING_SENT, false);
    (run ?? this.begin(spec, NOTHING_SENT, spec.daemonize === true)).fail = fail;
  }

  /** Resolves when what has ended has been read. */
  async settled(): Promise<void> {
    const all = Promise.all(this.#runs.map((run) => run.settled));
    await Promise.race([all, delay(LAST_OUTPUT_MS)]);
  }

  get entries(): TapeEntry[] {
    return this.#runs.map((run) => run.entry);
  }
}

const NOTHING_SENT = bare({ sendBuffers: new Map<number, never>() });

/** How a launch is made to fail in a replay. */
function failureOf(error: CommandError): DryRunFailure | undefined {
  if (error instanceof PidFileError)
    return error.errno === undefined ? undefined : told('pidfile', error.errno, error.path);
  if (!(error instanceof LaunchError) || error.errno === undefined) return undefined;
  return told(error.step, error.errno, error.step === 'path-search' ? undefined : error.path);
}

const told = (step: StepName, errno: string, path: string | undefined): DryRunFailure =>
  bare({ step, errno, ...(path === undefined ? {} : { path }) });

/** Why a failure cannot be played, where it does not come by itself in a replay: as an abort does, and a pidfile that a daemon holds. */
function problemOf(error: CommandError): string | undefined {
  if (error instanceof UnsupportedError)
    return 'the engine refuses this command, and a replay refuses nothing; record it on another engine, or leave it out';
  if (!(error instanceof LaunchError) || error.errno !== undefined || error.step === 'abort') return undefined;
  return `its launch failed at the step ${error.step} without an errno, which no replay can tell again; answer it by dryRun()`;
}

// ---------------------------------------------------------------- one run

/** One run while it is recorded. */
class Run {
  readonly spec: CommandSpec;
  fail: DryRunFailure | undefined;
  isRunning = false;
  readonly #hidden: Hidden;
  readonly #isDaemon: boolean;
  readonly #env: readonly string[];
  readonly #startedAt = now();
  readonly #events: RawEvent[] = [];
  readonly #reading: Promise<void>[] = [];
  #stdin: Digest | undefined;
  #end: Pick<ProcessEnd, 'exitCode' | 'signal'> | undefined;

  constructor(spec: CommandSpec, hidden: Hidden, isDaemon: boolean, env: readonly string[]) {
    this.spec = spec;
    this.#hidden = hidden;
    this.#isDaemon = isDaemon;
    this.#env = env;
  }

  get settled(): Promise<unknown> {
    return this.#end === undefined ? Promise.resolve() : Promise.all(this.#reading);
  }

  /** Listens to what is captured, and takes what is given at once. */
  listen({ captures, input }: LaunchResources): void {
    for (const [fd, capture] of captures) {
      // The program may be stopped for what it wrote, and has written it before.
      const write = capture.write.bind(capture);
      capture.write = (piece) => {
        this.#note(fd === 1 ? 'stdout' : 'stderr', piece);
        write(piece);
      };
      capture.addReader();
    }
    if (this.spec.stdin.from === 'buffer') this.#stdin = digestOf(Buffer.from(input ?? []).toString());
  }

  /** Listens to a program that runs. */
  begin(process: EngineProcess): void {
    this.#watchSignals(process);
    if (process.stdout !== null) this.#read('stdout', process.stdout);
    if (process.stderr !== null) this.#read('stderr', process.stderr);
    if (process.terminal !== null) {
      this.#read('stdout', process.terminal);
      this.#watchInput(process.terminal, true);
    }
    if (process.stdin !== null) this.#watchInput(process.stdin, this.spec.stdin.from === 'pipe');
    if (!this.#isDaemon) void process.ended.then((end) => (this.#end = end));
  }

  /** The same without the event loop. */
  beginSync(process: SyncProcess): void {
    this.#watchSignals(process);
    const turn = process.turn.bind(process);
    process.turn = (timeoutMs) => {
      const end = turn(timeoutMs);
      this.#end ??= end;
      return end;
    };
  }

  #note(kind: 'stdout' | 'stderr' | 'input', data: Uint8Array): void {
    const at = now() - this.#startedAt;
    const last = this.#events.at(-1);
    if (last?.kind === kind && (kind === 'input' || at - last.lastAt < PAUSE_MS)) {
      last.pieces.push(Buffer.from(data));
      last.lastAt = at;
    } else this.#events.push({ kind, at, lastAt: at, pieces: [Buffer.from(data)], signal: undefined });
  }

  #watchSignals(process: Pick<EngineProcess, 'signal'>): void {
    this.isRunning = true;
    const send = process.signal.bind(process);
    process.signal = (signal) => {
      const at = now() - this.#startedAt;
      // What it answers with comes after it.
      const event: RawEvent = { kind: 'signal', at, lastAt: at, pieces: [], signal };
      this.#events.push(event);
      let isSent = false;
      try {
        isSent = send(signal);
      } finally {
        if (!isSent) this.#events.splice(this.#events.indexOf(event), 1);
      }
      return isSent;
    };
  }

  #read(kind: 'stdout' | 'stderr', stream: Readable): void {
    const push = stream.push.bind(stream);
    let tellEnd = (): void => undefined;
    this.#reading.push(new Promise((resolve) => (tellEnd = resolve)));
    stream.push = (piece: unknown, encoding?: BufferEncoding) => {
      if (piece === null) tellEnd();
      else this.#note(kind, piece as Buffer);
      return push(piece, encoding);
    };
    stream.once('close', tellEnd);
  }

  /** What is written to a program that reads it bit by bit is what it waits for in a replay; else it is known at the launch. */
  #watchInput(stream: Writable, isAwaited: boolean): void {
    const decoder = new StringDecoder('utf8');
    let text = '';
    const take = (piece: unknown, encoding: unknown): void => {
      const bytes =
        typeof piece === 'string' ? Buffer.from(piece, encodingOf(encoding)) : Buffer.from(piece as Uint8Array);
      if (isAwaited) this.#note('input', bytes);
      else text += decoder.write(bytes);
    };
    const write = stream.write.bind(stream) as (...given: unknown[]) => boolean;
    const end = stream.end.bind(stream) as (...given: unknown[]) => Writable;
    let isEnding = false;
    Object.assign(stream, {
      write: (...given: unknown[]): boolean => {
        if (!isEnding && !stream.writableEnded && isData(given.at(0))) take(given.at(0), given.at(1));
        return write(...given);
      },
      end: (...given: unknown[]): Writable => {
        if (!isEnding && isData(given.at(0))) take(given.at(0), given.at(1));
        if (!isEnding && isAwaited) {
          const at = now() - this.#startedAt;
          this.#events.push({ kind: 'inputEnd', at, lastAt: at, pieces: [], signal: undefined });
        } else if (!isEnding) this.#stdin = digestOf(text + decoder.end());
        isEnding = true;
        return end(...given);
      },
    });
  }

  get entry(): TapeEntry {
    const { spec, fail } = this;
    const { exitCode, signal } = this.#end ?? bare<Partial<ProcessEnd>>({});
    const hidden = this.#hidden;
    const events = this.#told();
    return bare({
      argv: hidden.argv,
      ...(this.#isDaemon ? { daemon: true } : {}),
      ...(spec.workingDirectory === undefined ? {} : { directory: hidden.hide(spec.workingDirectory) }),
      ...(this.#env.length === 0 ? {} : { env: hidden.env(this.#env) }),
      ...(this.#stdin === undefined ? {} : { stdin: this.#stdin }),
      ...(fail === undefined ? {} : { fail: this.#failure(fail) }),
      ...(events.length === 0 ? {} : { events }),
      ...(typeof exitCode === 'number' ? { exitCode } : {}),
      ...(typeof signal === 'string' ? { signal } : {}),
    });
  }

  #failure(fail: DryRunFailure): DryRunFailure {
    return fail.path === undefined ? fail : bare({ ...fail, path: readable(this.#hidden.hide(fail.path)) });
  }

  #told(): TapeEvent[] {
    const outputs = new Map<RawEvent, ByteText>();
    for (const kind of ['stdout', 'stderr']) {
      const events = this.#events.filter((event) => event.kind === kind);
      const parts = this.#hidden.cut(events.map(({ pieces }) => Buffer.concat(pieces)));
      for (const [index, event] of events.entries())
        outputs.set(event, this.#hidden.hide(fromBytes(parts.at(index) ?? Buffer.alloc(0))));
    }
    // Characters may be cut anywhere, and count in the piece in which they end.
    const decoder = new StringDecoder('utf8');
    return this.#events.flatMap((event): TapeEvent[] => {
      const at = Math.round(event.at / TICK_MS) * TICK_MS;
      switch (event.kind) {
        case 'signal':
          return event.signal === undefined ? [] : [bare({ at, signal: event.signal })];
        case 'inputEnd':
          return [bare({ at, inputEnd: true })];
        case 'input':
          return [bare({ at, input: digestOf(decoder.write(Buffer.concat(event.pieces))) })];
        default: {
          const text = outputs.get(event);
          return text === undefined || text === '' ? [] : [bare({ at, [event.kind]: text })];
        }
      }
    });
  }
}

interface RawEvent {
  readonly kind: 'stdout' | 'stderr' | 'input' | 'inputEnd' | 'signal';
  readonly at: number;
  lastAt: number;
  readonly pieces: Buffer[];
  readonly signal: SignalName | undefined;
}

const isData = (value: unknown): boolean => typeof value === 'string' || types.isUint8Array(value);

const encodingOf = (value: unknown): BufferEncoding => (typeof value === 'string' ? (value as BufferEncoding) : 'utf8');

// ---------------------------------------------------------------- the engine

/** Launches as another engine does. */
class RecordingEngine implements Engine {
  readonly name: Engine['name'];
  readonly usesLanes: boolean;
  readonly clock: Clock;
  readonly launchSync?: NonNullable<Engine['launchSync']>;
  readonly #engine: Engine;
  readonly #recording: Recording;

  constructor(engine: Engine, recording: Recording) {
    this.name = engine.name;
    this.usesLanes = engine.usesLanes;
    this.clock = engine.clock;
    this.#engine = engine;
    this.#recording = recording;
    if (engine.launchSync !== undefined)
      this.launchSync = (plan, resources) => {
        const run = this.#begin(plan, resources);
        const process = engine.launchSync!(plan, resources);
        run.beginSync(process);
        return process;
      };
  }

  get environment(): Engine['environment'] {
    return this.#engine.environment;
  }

  note(step: Step): string | undefined {
    return this.#engine.note(step);
  }

  refusals(plan: LaunchPlan): readonly Refusal[] {
    return this.#engine.refusals(plan);
  }

  launch(plan: LaunchPlan, resources: LaunchResources): EngineProcess | Promise<EngineProcess> {
    const run = this.#begin(plan, resources);
    const take = (process: EngineProcess): EngineProcess => {
      run.begin(process);
      return process;
    };
    const process = this.#engine.launch(plan, resources);
    return types.isPromise(process) ? process.then(take) : take(process);
  }

  /** The file would never be written. */
  exec({ subject }: LaunchPlan): never {
    const why = 'a cassette records, and what takes the place of this process would end that';
    throw new UnsupportedError(subject, { feature: 'exec', engine: this.name, why });
  }

  readonly noteFailure = (error: CommandError, together: readonly CommandSpec[]): void => {
    this.#recording.fail(error, together);
  };

  #begin({ spec, mode }: LaunchPlan, resources: LaunchResources): Run {
    const run = this.#recording.begin(spec, resources, mode === 'daemon');
    run.listen(resources);
    return run;
  }
}
