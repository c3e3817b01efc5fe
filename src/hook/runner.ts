/*
 * The program between this process and the one that was asked for, where a plan has a hook. It has the descriptors and the pid
 * of the program. It reads the letter, runs the hook, answers in the letter, and becomes the helper, which performs the steps
 * after the hook. The answer is read when the pipe of the report has come to its end.
 *
 * It imports little, since every launch with a hook waits for it.
 */
import { Buffer } from 'node:buffer';
import { fstatSync } from 'node:fs';
import { createRequire as requireFrom } from 'node:module';
import { inspect } from 'node:util';
import { deserialize } from 'node:v8';
import { constants, Script } from 'node:vm';
import type { HookFailure } from '../errors/hook-failure.js';
import { ProcessError } from '../errors/process-error.js';
import type { Binding } from '../native/binding.js';
import type { HookSpec } from '../spec/spec.js';
import { errnoName } from '../text/errno.js';
import { describeKind } from '../text/reading.js';
import { encode } from '../wire/encode.js';
import { gapsBetween } from '../wire/moves.js';
import { answer, type Letter, readLetter } from './exchange.js';
import type { HookChild } from './function.js';

/** A failure of the hook that is told in words of its own. */
class Refusal extends Error {
  readonly failure: HookFailure;

  constructor(failure: HookFailure) {
    super(failure.what);
    this.failure = failure;
  }
}

type Hook = (opaque: unknown, child: HookChild) => unknown;

/** libvirt's exit code of a child that never came to its program. */
const CANCELED = 125;

const [letterFd = NaN, reportFd = NaN] = process.argv.slice(2).map(Number);
let hasAnswered = false;

function fail(failure: HookFailure): void {
  if (hasAnswered) return;
  hasAnswered = true;
  answer(letterFd, failure);
}

function failureOf(error: unknown): HookFailure {
  if (error instanceof Refusal) return error.failure;
  if (!(error instanceof Error)) return { what: 'threw', name: 'Error', message: inspect(error) };
  const { name, message, stack, code } = error as NodeJS.ErrnoException;
  return {
    what: 'threw',
    name,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(code === undefined ? {} : { code }),
  };
}

function giveUp(error: unknown): never {
  fail(failureOf(error));
  process.exit(CANCELED);
}

async function run(): Promise<never> {
  const letter = readLetter(letterFd);
  const binding = requireFrom(letter.addon)(letter.addon) as Binding;
  binding.shelter();

  const kept = new Set(letter.keep);
  const child: HookChild = {
    pid: process.pid,
    keepFd(fd) {
      if (!Number.isInteger(fd) || fd === letterFd || fd === reportFd || !isOpen(fd)) {
        throw new TypeError(
          `keepFd(${inspect(fd)}): this is no open descriptor of the hook's; give it the number that openSync() gave.`,
        );
      }
      kept.add(fd);
    },
  };
  const hook = await load(letter.hook);
  const returned = await hook(letter.opaque === undefined ? undefined : deserialize(letter.opaque), child);
  if (returned !== undefined && returned !== 0) throw new Refusal({ what: 'returned', value: returnedText(returned) });
  const closed = [...kept, reportFd].find((fd) => !isOpen(fd));
  if (closed !== undefined) throw new Refusal({ what: 'closed', fd: closed });

  const plan = planOfHelper(letter, binding, kept);
  hasAnswered = true;
  answer(letterFd, 'done');
  try {
    return binding.becomeHelper(plan, reportFd);
  } catch (error) {
    hasAnswered = false;
    throw error;
  }
}

/** Text, or an object, may be what the hook was given, which is told to nobody. */
const returnedText = (returned: unknown): string =>
  typeof returned === 'number' || typeof returned === 'boolean' ? String(returned) : describeKind(returned);

async function load(spec: HookSpec): Promise<Hook> {
  const where = 'module' in spec ? spec.module : undefined;
  let hook: unknown;
  try {
    hook = 'module' in spec ? ((await import(spec.module)) as { default?: unknown }).default : evaluate(spec.source);
  } catch (error) {
    const failure = failureOf(error);
    if (failure.what !== 'threw') throw error;
    // Who has asked for it is told already, and is not this file.
    const message = failure.message.replace(/ imported from .*$/, '');
    throw new Refusal({ ...failure, what: 'unloadable', message, ...(where === undefined ? {} : { module: where }) });
  }
  if (typeof hook !== 'function')
    throw new Refusal({ what: 'no-function', ...(where === undefined ? {} : { module: where }) });
  return hook as Hook;
}

/** Reads a function from its source. `import()` in it means files from the directory that the child is in. */
function evaluate(source: string): unknown {
  const importModuleDynamically = constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  return new Script(`(${source}\n)`, {
    filename: 'pre-exec-hook',
    columnOffset: -1,
    importModuleDynamically,
  }).runInThisContext();
}

/** What this process does last: what it keeps is open to the helper, all else is closed, and the helper is executed. */
function planOfHelper({ helper, rest, step }: Letter, binding: Binding, kept: ReadonlySet<number>): Buffer {
  const restFd = binding.memoryFile(Buffer.from(rest));
  if (restFd < 0)
    throw new ProcessError(
      `no descriptor or no memory is left for the steps after it (memfd_create: ${errnoName(restFd)}); close what it has opened`,
      { code: errnoName(restFd), pid: process.pid, syscall: 'memfd_create' },
    );
  const keep = [...kept, restFd, reportFd];
  return encode({
    file: helper,
    argv: ['vircommand-helper', String(restFd), String(reportFd)].map((word) => Buffer.from(word)),
    envp: [],
    operations: [
      ...gapsBetween(keep).map(({ first, last }) => ({ code: 'close_range' as const, step, a: first, b: last })),
      ...keep.map((fd) => ({ code: 'dup2' as const, step, a: fd, b: fd })),
      { code: 'execve', step },
    ],
  });
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    // EBADF, whatever it is called.
    return false;
  }
}

if (!Number.isInteger(letterFd) || !Number.isInteger(reportFd)) {
  process.stderr.write(
    'This program is a part of vircommand, which starts it to run a hook. It is of no use by itself.\n',
  );
  process.exitCode = CANCELED;
} else {
  // What the hook leaves to the event loop may fail as well as the hook itself, and it may end its own process.
  process.on('uncaughtException', giveUp);
  process.on('exit', (code) => fail({ what: 'exited', code }));
  process.on('beforeExit', () => giveUp(new Refusal({ what: 'unsettled' })));
  run().catch(giveUp);
}
