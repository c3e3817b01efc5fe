import { accessSync, constants, statSync } from 'node:fs';
import type { LaunchFailure } from '../errors/launch-error.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { rowOf, type Step } from '../plan/step-table.js';
import { interpreterOf, loaderOf, readHeader } from './program-file.js';

/**
 * Names the step that failed, from nothing but the errno that `child_process` gives, by looking at what the steps needed.
 *
 * `child_process` blames the program for everything. The directory comes first, as it does in the child.
 */
export function diagnose(plan: LaunchPlan, errno: string, cause: unknown): LaunchFailure {
  switch (errno) {
    case 'EMFILE':
    case 'ENFILE':
      return { step: 'pipe', errno, cause };
    case 'EAGAIN':
    case 'ENOMEM':
      return { step: 'clone', errno, cause };
    case 'E2BIG':
      return { step: 'execve', errno, path: plan.file, bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp), cause };
    case 'EPERM': {
      const step = plan.steps.find(changesId);
      if (step !== undefined) return { step: step.step, errno, wanted: rowOf(step).wish(step), cause };
    }
  }
  const directoryErrno = plan.directory === undefined ? undefined : enterErrno(plan.directory);
  if (directoryErrno !== undefined) return { step: 'chdir', errno: directoryErrno, path: plan.directory ?? '', cause };
  return { step: 'execve', errno, path: plan.file, ...lookBehind(plan.file, errno), cause };
}

/** What is known of a step that the child itself reported. */
export function explainStepFailure(plan: LaunchPlan, step: Step, errno: string): LaunchFailure {
  const row = rowOf(step);
  const failure = { step: step.step, errno, wanted: row.wish(step) };
  const path = row.path?.(step);
  if (step.step === 'execve')
    return {
      ...failure,
      path: step.path,
      ...lookBehind(step.path, errno),
      bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp),
    };
  return path === undefined ? failure : { ...failure, path };
}

type IdStep = Extract<Step, { step: 'setgid' | 'setuid' }>;

function changesId(step: Step): step is IdStep {
  if (step.step === 'setgid') return step.id !== process.getegid?.();
  return step.step === 'setuid' && step.id !== process.geteuid?.();
}

function enterErrno(directory: string): string | undefined {
  try {
    if (!statSync(directory).isDirectory()) return 'ENOTDIR';
    accessSync(directory, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EACCES';
  }
}

function lookBehind(file: string, errno: string): Partial<LaunchFailure> {
  if (errno === 'EACCES') return { isDirectory: isDirectory(file) };
  if (errno !== 'ENOENT') return {};
  const header = readHeader(file);
  if (header === undefined) return {};
  const interpreter = interpreterOf(header);
  if (interpreter !== undefined) return { missing: { what: 'interpreter', path: interpreter } };
  const loader = loaderOf(header);
  return loader === undefined ? {} : { missing: { what: 'loader', path: loader } };
}

function isDirectory(file: string): boolean {
  try {
    return statSync(file).isDirectory();
  } catch {
    // It lies behind a directory that is closed to us: that is the reason for the EACCES.
    return false;
  }
}

/** How many bytes a vector takes, its NULs and pointers included, as the kernel counts them. */
function vectorBytes(words: readonly Uint8Array[]): number {
  return words.reduce((sum, word) => sum + word.length + 1 + 8, 0);
}

// ---------------------------------------------------------------- what a file is
