import { Buffer } from 'node:buffer';
import { types } from 'node:util';
import { valueText, typeError } from '../errors/argument-error.js';
import { LaunchError, type LaunchFailure } from '../errors/launch-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { type FileKind, thisHost } from '../host/host.js';
import type { DescriptorSource } from '../plan/descriptors.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { findProgram, isPath } from '../plan/program.js';
import { rowOf } from '../plan/step-table.js';
import { bare } from '../spec/bare.js';
import { readable } from '../text/bytes.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { parentSteps, type StepName, stepNames } from '../text/step-names.js';
import { isDenial, sizeOf } from './diagnose.js';

/** How a command that is not really run shall seem to end. What is left out: exit code 0, no signal, no output. A `RunResult` is one as well. */
export interface DryRunResponse {
  readonly exitCode?: number | null | undefined;
  readonly signal?: SignalName | null | undefined;
  readonly stdout?: string | Uint8Array | undefined;
  readonly stderr?: string | Uint8Array | undefined;
}

/** A launch that shall seem to fail. */
export interface DryRunFailure {
  /** The step that fails, by the name that a `LaunchError` has for it. The launch must have such a step. */
  readonly step: StepName;
  /** What the kernel answers: `'ENOENT'`. */
  readonly errno: string;
  /** The file that it is about, where that is not the one that the command names. */
  readonly path?: string;
}

/** The fields of an answer, checked. */
export interface ReadResponse {
  readonly exitCode: number | undefined;
  readonly signal: SignalName | undefined;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Reads what a function of the caller gave as the end of a program, or as what it writes. */
export function readResponse(call: string, answer: unknown): ReadResponse {
  if (typeof answer !== 'object' || answer === null)
    throw gave(call, '', answer, 'give an object with any of: exitCode, signal, stdout, stderr');
  // A result that was recorded is an answer as well: it says `null` for what it has not.
  const { exitCode, signal, stdout, stderr } = ownFields(answer);
  if (exitCode !== undefined && !Number.isInteger(exitCode))
    throw gave(call, 'the exit code ', exitCode, 'it is a whole number');
  if (signal !== undefined && signalNumber(signal) === undefined)
    throw gave(call, 'the signal ', signal, "write its name, as 'SIGTERM'");
  return {
    exitCode,
    signal,
    stdout: bytesOf(call, 'stdout', stdout),
    stderr: bytesOf(call, 'stderr', stderr),
  };
}

const fields = ['exitCode', 'signal', 'stdout', 'stderr'] as const;

/** What an answer says, `null` being nothing. */
function ownFields(answer: object): { readonly [K in keyof DryRunResponse]: NonNullable<DryRunResponse[K]> } {
  const said = Object.entries(answer).filter(([, value]) => value !== undefined && value !== null);
  return bare(Object.fromEntries(said));
}

/** Whether an object says anything that an answer may say. */
export const isResponse = (answer: object): boolean => fields.some((name) => Object.hasOwn(ownFields(answer), name));

/** The bytes that a program is to write. */
export function bytesOf(call: string, stream: string, data: unknown): Buffer {
  if (data === undefined) return Buffer.alloc(0);
  if (typeof data === 'string') return Buffer.from(data);
  if (types.isUint8Array(data)) return Buffer.from(data);
  throw gave(call, `as ${stream} `, data, 'give a string, a Buffer or a Uint8Array');
}

const gave = (call: string, what: string, value: unknown, way: string): TypeError =>
  typeError(`${call} gave ${what}${valueText(value)}; ${way}.`);

/**
 * Fails a launch as it is said. This machine is not looked at, so the same is told on each.
 *
 * @throws {LaunchError} {PidFileError}, or {TypeError} for a failure that is none.
 */
export function failLaunch(plan: LaunchPlan, fail: unknown): never {
  const call = 'respond()';
  if (typeof fail !== 'object' || fail === null)
    throw gave(call, 'as fail ', fail, "give a step and an errno: { step: 'execve', errno: 'ENOENT' }");
  const { step, errno, path } = bare(fail as Partial<DryRunFailure>);
  if (typeof errno !== 'string' || !/^E[A-Z0-9]+$/.test(errno))
    throw gave(call, 'the errno ', errno, "write its name, as 'ENOENT'");
  if (!stepNames.includes(step!)) throw gave(call, 'the step ', step, `the steps are: ${stepNames.join(', ')}`);
  const failure = known(plan, step!, errno);
  if (failure === undefined) {
    const there = [...parentSteps.filter((name) => known(plan, name, errno) !== undefined), ...stepsOf(plan)];
    throw gave(call, 'the step ', step, `this launch has none of that name; it has: ${there.join(', ')}`);
  }
  if (step === 'path-search') search(plan, errno);
  const told = path === undefined ? failure : { ...failure, path };
  throw step === 'pidfile'
    ? new PidFileError(told.path ?? '', { action: 'written', errno, syscall: 'open' }, plan.subject)
    : new LaunchError(plan.subject, told);
}

/** Searches PATH for a program that is not there; or that lies in its first directory, and is not executable. */
function search({ spec, subject }: LaunchPlan, errno: string): void {
  if (errno !== 'ENOENT' && errno !== 'EACCES')
    throw gave('respond()', 'the errno ', errno, "a search in PATH fails with 'ENOENT' or 'EACCES'");
  let looks = 0;
  const look = (): FileKind => {
    looks += 1;
    return errno === 'EACCES' && looks === 1 ? 'not-executable' : 'missing';
  };
  findProgram(spec, subject, { ...thisHost, look, obstacle: () => undefined });
}

type FileSource = Extract<DescriptorSource, { kind: 'file' }>;

const wishOf = ({ open }: FileSource): string => (open === 'read' ? 'be opened for reading' : 'be opened for writing');

const stepsOf = ({ steps }: LaunchPlan): readonly StepName[] => steps.map(({ step }) => step);

/** What is known of a step that fails; `undefined` where the launch has no such step. */
function known(plan: LaunchPlan, name: StepName, errno: string): LaunchFailure | undefined {
  const { spec, steps, descriptors } = plan;
  switch (name) {
    case 'abort':
      return undefined;
    case 'path-search':
      return isPath(spec.argv.at(0) ?? '') ? undefined : { step: name, errno };
    case 'open': {
      const file = descriptors
        .map(({ source }) => source)
        .find((source): source is FileSource => source.kind === 'file');
      return file === undefined ? undefined : { step: name, errno, path: readable(file.path), wanted: wishOf(file) };
    }
    case 'pipe':
      return { step: name, errno, wanted: 'make a pipe' };
    case 'clone':
      return { step: name, errno, wanted: 'make a process' };
    case 'execve':
      return { step: name, errno, path: readable(plan.file), ...(errno === 'E2BIG' ? sizeOf(plan) : {}) };
  }
  const step = steps.find((one) => one.step === name);
  if (step === undefined) return undefined;
  const row = rowOf(step);
  const path = row.path?.(step);
  const privilege = { isRoot: false, capability: row.capability, isHeld: undefined, isInNamespace: false };
  return {
    step: name,
    errno,
    wanted: row.wish(step),
    ...(path === undefined ? {} : { path }),
    ...(isDenial(errno, row.capability) ? { privilege } : {}),
  };
}
