import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type * as vircommand from 'vircommand';
import { type AnyCommand, Command, type Lane, LaunchError } from 'vircommand';
import { beforeEach, onTestFinished } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { isRoot, rejection } from './tools.js';

/** The root of the checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The user and group that own nothing. */
export const NOBODY = 65_534;

/** Has the tests of a file run on the native engine, or skips them all where there is none. */
export function useNativeEngine(): void {
  process.env['VIRCOMMAND_ENGINE'] = 'native';
  const native = loadNative();
  beforeEach(({ skip }) => {
    if (typeof native === 'string') skip(native);
  });
}

/** Skips the test where this process is not root. */
export function needsRoot(skip: (why: string) => never): void {
  if (!isRoot) skip('only root may do this');
}

/**
 * All lanes, each with what takes a command there: a command without capabilities needs the helper, and that asks for no
 * privilege; and a hook that does nothing needs the hook runner.
 */
export const lanes: readonly (readonly [
  lane: Exclude<Lane, 'in-place'>,
  take: <C extends AnyCommand>(command: C) => C,
])[] = [
  ['shared-memory', (command) => command],
  ['helper', (command) => command.clearCaps()],
  ['hook-runner', (command) => command.preExecHook(() => 0)],
];

/** What a program prints. */
export async function outputOf(command: Command): Promise<string> {
  return (await command.outputBuffer().run()).stdout;
}

/** The fields of a `/proc/PID/status`, by name. */
export function fieldsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    Array.from(text.matchAll(/^(\w+):[\t ]*(.*?)[\t ]*$/gm), ([, name = '', value = '']) => [name, value]),
  );
}

/** What the kernel tells of a program that a command starts. */
export async function statusOf(build: (command: Command) => Command): Promise<Record<string, string>> {
  return fieldsOf(await outputOf(build(new Command('cat', '/proc/self/status'))));
}

/** A set of bits of `/proc/PID/status`. */
export const bits = (hex: string | undefined): bigint => BigInt(`0x${hex ?? ''}`);

/** How a command fails to start. */
export async function launchFailure(
  command: Command,
): Promise<{ step: string; errno: string | undefined; sentence: string }> {
  const { step, errno, message } = await rejection(LaunchError, command.run());
  return { step, errno, sentence: message.replace(/^.*?`: /, '') };
}

// ---------------------------------------------------------------- another process as the parent

/** What a parent is given: all that `vircommand` exports. */
export type Library = typeof vircommand;

/** How a parent is started: through which programs, with which variables, and with which standard streams. */
export interface ParentOptions {
  /** A program and arguments that execute what follows them: `['setpriv', '--clear-groups']`. */
  readonly through?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The built library, another copy of it than this checkout's. */
  readonly library?: string;
}

const BUILT = `${root}/dist/index.js`;

/** The words that start a Node process which runs the function with the library and the argument, and prints what it gives, as JSON. */
export function parentWords<A, T>(
  body: (library: Library, argument: A) => Promise<T>,
  argument: A,
  { through = [], library = BUILT }: ParentOptions = {},
): string[] {
  const script = `
    import * as library from ${JSON.stringify(library)};
    const result = await (${String(body)})(library, ${JSON.stringify(argument ?? null)});
    process.stdout.write('\\nRESULT ' + JSON.stringify(result ?? null) + '\\n');`;
  return [...through, process.execPath, '--input-type=module', '-e', script];
}

/**
 * Runs a function in a Node process of its own, which is then the parent of what the function starts. The function must
 * stand by itself: it sees the library, its argument, and what it imports.
 */
export async function inParent<T, A = undefined>(
  body: (library: Library, argument: A) => Promise<T>,
  argument?: A,
  options: ParentOptions = {},
): Promise<T> {
  const [program = '', ...words] = parentWords(body, argument as A, options);
  const env = { ...process.env, VIRCOMMAND_ENGINE: 'native', ...options.env };
  const parent = spawn(program, words, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => {
    if (parent.exitCode === null && parent.signalCode === null) parent.kill('SIGKILL');
  });
  let output = '';
  let errors = '';
  parent.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  parent.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  await once(parent, 'close');
  return resultIn(
    output,
    `${errors}\n(exit code ${String(parent.exitCode)}, signal ${String(parent.signalCode)})`,
  ) as T;
}

/** What a parent's function gave, from what the parent printed. */
export function resultIn(output: string, errors: string): unknown {
  const result = /^RESULT (.*)$/m.exec(output)?.[1];
  if (result === undefined) throw new Error(`The parent gave no result.\n${output}\n${errors}`);
  return JSON.parse(result) as unknown;
}

/** What makes a parent run as nobody, without any privilege. */
export const asNobody: readonly string[] = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

/** Skips the test where this process cannot become nobody and read the library as such. */
export function needsNobody(skip: (why: string) => never): void {
  needsRoot(skip);
  const [program, ...words] = [
    ...asNobody,
    process.execPath,
    '-e',
    `require('node:fs').readFileSync(${JSON.stringify(BUILT)})`,
  ];
  if (spawnSync(program, words).status !== 0)
    skip('there is no setpriv, or nobody may not execute node or read this checkout');
}

/** Skips the test where the machine lacks a program. */
export function needsProgram(skip: (why: string) => never, name: string): void {
  if (!(process.env['PATH'] ?? '').split(':').some((directory) => existsSync(`${directory}/${name}`)))
    skip(`there is no ${name} on this machine`);
}

/** The text of a file of `/proc`, or nothing where the process is gone. */
export function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has ended meanwhile.
    return '';
  }
}
