import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { debuglog } from 'node:util';
import type { CommandError } from '../errors/command-error.js';
import { ExitError } from '../errors/exit-error.js';
import type { ResourceUsage, RunResult } from '../result/run-result.js';
import { valueDescriptor } from '../spec/bare.js';
import { type CommandSpec, type LaunchMode, printable } from '../spec/spec.js';
import { readable, toBytes } from '../text/bytes.js';
import { inBackticks, quoted } from '../text/shown.js';
import type { SignalName } from '../text/signals.js';
import type { StepName } from '../text/step-names.js';

/** Published on `vircommand:launch` when a program has started. */
export interface LaunchEvent {
  readonly command: string;
  readonly spec: CommandSpec;
  readonly pid: number;
  readonly engine: string;
  readonly mode: LaunchMode;
  /** The steps of its plan, in their order. */
  readonly steps: readonly StepName[];
  /** How long the launch took, from the call to the program, in milliseconds. */
  readonly durationMs: number;
}

/** Published on `vircommand:exit` when a program has ended. */
export interface ExitEvent {
  readonly command: string;
  readonly spec: CommandSpec;
  readonly result: RunResult;
  /** The output that nobody claimed: its head and its tail. */
  readonly unclaimed: { readonly stdout?: string; readonly stderr?: string };
}

/** Published on `vircommand:error` when a program could not be started or did not end well. */
export interface ErrorEvent {
  readonly command: string;
  readonly spec: CommandSpec | undefined;
  readonly error: CommandError;
}

/** Published on `vircommand:adopted` when a process has ended that this process adopted: see `adoptOrphans()`. */
export interface AdoptedEvent {
  readonly pid: number;
  /** Of a daemon of this thread the command as it prints itself; of others the program's name alone, where it was seen: arguments may hold secrets. */
  readonly command: string | undefined;
  /** `null` if a signal ended it. */
  readonly exitCode: number | null;
  /** `null` if it exited by itself. */
  readonly signal: SignalName | null;
  readonly coreDumped: boolean;
  readonly resourceUsage: ResourceUsage;
}

/** What is published on each channel. */
export interface CommandEvents {
  readonly 'vircommand:launch': LaunchEvent;
  readonly 'vircommand:exit': ExitEvent;
  readonly 'vircommand:error': ErrorEvent;
  readonly 'vircommand:adopted': AdoptedEvent;
}

const launches = channel('vircommand:launch');
const exits = channel('vircommand:exit');
const errors = channel('vircommand:error');
const adopted = channel('vircommand:adopted');
const debug = debuglog('vircommand');

/** Whether anybody listens: who publishes need not put together what nobody reads. */
export const isHeard = {
  launch: (): boolean => launches.hasSubscribers || debug.enabled,
  exit: (): boolean => exits.hasSubscribers || debug.enabled,
};

/** An event whose spec is there for a subscriber that reads it, and in no log that prints the event: it holds variables and secret arguments. */
function withHiddenSpec<Event extends { readonly spec: CommandSpec | undefined }>({ spec, ...visible }: Event): Event {
  return Object.defineProperty(visible, 'spec', valueDescriptor(spec, false)) as unknown as Event;
}

const published = new WeakSet<CommandError>();

/** Publishes an error, however often it is on its way to the caller. */
export function publishOnce(error: CommandError): void {
  if (published.has(error)) return;
  published.add(error);
  publishError({ command: error.command, spec: error.spec, error });
}

/** Node's own channels for starts, which monitoring tools listen to. */
const node = channel('child_process');
const nodeStart = channel('tracing:child_process.spawn:start');
const nodeEnd = channel('tracing:child_process.spawn:end');
const nodeError = channel('tracing:child_process.spawn:error');

/** Tells of a launch, on the channel and, under `NODE_DEBUG=vircommand`, as a line on standard error. */
export function publishLaunch(event: LaunchEvent): void {
  if (launches.hasSubscribers) launches.publish(withHiddenSpec(event));
  if (debug.enabled) debug('process %d: %s', event.pid, launchSentence(event));
}

function launchSentence({ command, spec, engine, mode }: LaunchEvent): string {
  const name = inBackticks(command);
  if (mode === 'exec') return `${name} takes the place of this process.`;
  const file = spec.pidFile === undefined ? '' : `, with the pidfile ${quoted(readable(spec.pidFile))}`;
  return `${name} was launched${mode === 'daemon' ? ' as a daemon' : ''} by the ${engine} engine${file}.`;
}

/** What `child_process` would have published: for an engine that goes past it. Secret arguments are hidden. */
export function publishAsNode(spec: CommandSpec, pid: number | undefined, error?: CommandError): void {
  if (!node.hasSubscribers && !nodeStart.hasSubscribers && !nodeEnd.hasSubscribers && !nodeError.hasSubscribers) return;
  const spawnargs = printable(spec, { env: false }).argv.map((word) => toBytes(word).toString());
  // A subscriber expects a ChildProcess, and hangs listeners on it.
  const process = Object.assign(new EventEmitter(), {
    pid,
    spawnfile: spawnargs.at(0),
    spawnargs,
    exitCode: null,
    signalCode: null,
    stdin: null,
    stdout: null,
    stderr: null,
  });
  node.publish({ process });
  nodeStart.publish({ process, options: {} });
  if (error === undefined) nodeEnd.publish({ process });
  else nodeError.publish({ process, error });
}

/** Tells of an end, on the channel and, under `NODE_DEBUG=vircommand`, as a line on standard error. */
export function publishExit(event: ExitEvent, sentence: () => string): void {
  if (exits.hasSubscribers) exits.publish(withHiddenSpec(event));
  if (debug.enabled) debug('process %d: %s', event.result.pid, sentence());
}

/** The end of a program has its line when it comes, and no second one for the error that it is to somebody. */
export function publishError(event: ErrorEvent): void {
  if (errors.hasSubscribers) errors.publish(withHiddenSpec(event));
  if (debug.enabled && !(event.error instanceof ExitError)) debug('%s', event.error.message.split('\n', 1).at(0));
}

/** Calls back with each launch of this thread, and gives the way to call it off. */
export function onLaunch(listener: (event: LaunchEvent) => void): () => void {
  const hear = (event: unknown): void => {
    listener(event as LaunchEvent);
  };
  subscribe(launches.name, hear);
  return () => {
    unsubscribe(launches.name, hear);
  };
}

/** Tells of the end of an adopted process. */
export function publishAdopted(event: AdoptedEvent): void {
  if (adopted.hasSubscribers) adopted.publish(event);
  if (debug.enabled)
    debug(
      'process %d: %s, which was adopted, %s.',
      event.pid,
      event.command === undefined ? 'it' : inBackticks(event.command),
      event.signal === null ? `exited with code ${String(event.exitCode)}` : `was ended by ${event.signal}`,
    );
}
