import { accessSync, constants, statSync } from 'node:fs';
import type { LaunchFailure } from '../errors/launch-error.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Step } from '../plan/steps.js';
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
      if (step !== undefined)
        return {
          step: step.step,
          errno,
          wanted: `take the ${step.step === 'setgid' ? 'gid' : 'uid'} ${step.id}`,
          cause,
        };
    }
  }
  const directoryErrno = plan.directory === undefined ? undefined : enterErrno(plan.directory);
  if (directoryErrno !== undefined) return { step: 'chdir', errno: directoryErrno, path: plan.directory ?? '', cause };
  return { step: 'execve', errno, path: plan.file, ...lookBehind(plan.file, errno), cause };
}

/** What is known of a step that the child itself reported. */
export function explainStepFailure(plan: LaunchPlan, step: Step, errno: string): LaunchFailure {
  switch (step.step) {
    case 'execve':
      return {
        step: 'execve',
        errno,
        path: step.path,
        ...lookBehind(step.path, errno),
        bytes: vectorBytes(plan.argv) + vectorBytes(plan.envp),
      };
    case 'chdir':
      return { step: 'chdir', errno, path: step.path };
    case 'prlimit':
      return {
        step: step.step,
        errno,
        wanted: `set the limit of ${step.limit.resource} to ${step.limit.soft} (hard ${step.limit.hard})`,
      };
    case 'setgroups':
      return { step: step.step, errno, wanted: `take the groups ${step.groups.join(', ')}` };
    case 'setgid':
      return { step: step.step, errno, wanted: `take the gid ${step.id}` };
    case 'setuid':
      return { step: step.step, errno, wanted: `take the uid ${step.id}` };
    case 'setpriority':
      return { step: step.step, errno, wanted: `take the nice value ${step.nice}` };
    case 'oom_score_adj':
      return { step: step.step, errno, wanted: `take the out-of-memory score ${step.score}` };
    case 'cgroup':
      return { step: step.step, errno, path: step.directory, wanted: `enter the control group '${step.directory}'` };
    case 'hook':
      return { step: step.step, errno, wanted: 'run its pre-exec hook' };
    default:
      return { step: step.step, errno };
  }
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
