import type { DescriptorSource } from '../plan/descriptors.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Step } from '../plan/steps.js';
import { printable } from '../spec/spec.js';
import { printCommand } from '../text/quote.js';
import type { Engine } from './engine.js';

const lanes = {
  'shared-memory': "shared memory: the child executes the steps in this process's memory, with its own stack",
  helper: 'helper: a small program with a memory of its own executes the steps, since some change privileges or wait',
  'hook-runner':
    'hook runner: a Node process runs the hook; then the helper executes the steps after it, in a memory of its own',
  'in-place': 'in place: this process takes the steps, after a child has rehearsed them, and becomes the program',
} as const;

/** Prints a plan for a person: the program, what it gets, and each step of the child, numbered. Values of variables are left out. */
export function explainPlan(plan: LaunchPlan, engine: Engine, why: string): string {
  const rows: [string, string[]][] = [
    ['program', [plan.file, ...(plan.tried.length === 0 ? [] : [`found in PATH after ${plan.tried.join(', ')}`])]],
    ['arguments', [String(plan.argv.length - 1)]],
    ['environment', [environmentLine(plan)]],
    ['directory', [plan.directory ?? "this process's own"]],
    [
      'descriptors',
      [...plan.descriptors.map(({ childFd, source }) => `${childFd} ← ${sourceText(source, childFd)}`), 'nothing else'],
    ],
    ['engine', [`${engine.name}: ${why}`]],
    ...(engine.usesLanes ? [['lane', [lanes[plan.lane]]] as [string, string[]]] : []),
    [
      'steps',
      plan.steps.map(
        (step, index) =>
          `${`${index + 1}.`.padEnd(3)} ${step.step.padEnd(13)} ${stepText(step)}${noted(engine.note(step))}`,
      ),
    ],
  ];
  const lines = rows.flatMap(([title, texts]) =>
    texts.map((text, index) => `  ${(index === 0 ? title : '').padEnd(12)} ${text}`),
  );
  return [printCommand(printable(plan.spec, { env: false })), ...lines].join('\n');
}

const noted = (note: string | undefined): string => (note === undefined ? '' : ` [${note}]`);

function environmentLine({ spec, envp }: LaunchPlan): string {
  if (spec.env === undefined) return `inherited, ${envp.length} variables`;
  if (envp.length === 0) return 'empty';
  return `exactly ${envp.map((entry) => Buffer.from(entry).toString().replace(/=.*/s, '')).join(', ')}`;
}

function sourceText(source: DescriptorSource, childFd: number): string {
  switch (source.kind) {
    case 'null':
      return '/dev/null';
    case 'fd':
      return source.fd === childFd
        ? `descriptor ${source.fd} of this process, same number`
        : `descriptor ${source.fd} of this process`;
    case 'file':
      return {
        read: `read '${source.path}'`,
        truncate: `write '${source.path}' anew`,
        append: `append to '${source.path}'`,
      }[source.open];
    case 'pipe':
      return {
        caller: 'a pipe for the caller',
        buffer: 'a pipe for a buffer',
        log: 'a pipe; what comes is kept for the log',
      }[source.for];
    case 'stdout':
      return 'the same open file as 1';
  }
}

/** What a step does, as one line without its name. */
export function stepText(step: Step): string {
  switch (step.step) {
    case 'cgroup':
      return `enters the control group ${step.directory}`;
    case 'sigaction':
      return 'every signal back to its default action';
    case 'setsid':
      return 'a session of its own';
    case 'setpgid':
      return 'a process group of its own';
    case 'daemon-fork':
      return 'forks once more, so that the daemon leads no session';
    case 'dup2':
      return `places descriptors ${step.descriptors.map(({ childFd }) => childFd).join(', ')}`;
    case 'close_range':
      return `closes all but ${step.keep.join(', ')}`;
    case 'umask':
      return `umask ${step.mask.toString(8).padStart(3, '0')}`;
    case 'setpriority':
      return `nice ${step.nice}`;
    case 'oom_score_adj':
      return `out-of-memory score ${step.score}`;
    case 'sched_core':
      return step.among === undefined
        ? 'a core-scheduling group of its own'
        : `the core-scheduling group of process ${step.among}`;
    case 'prlimit':
      return `${step.limit.resource} ${step.limit.soft} (hard ${step.limit.hard})${step.by === '' ? ', as Node found it' : ''}`;
    case 'pidfile':
      return `locks '${step.path}' and writes the pid`;
    case 'listen_pid':
      return 'sets LISTEN_PID to its own pid';
    case 'hook':
      return 'module' in step.hook ? `runs ${step.hook.module}` : 'runs a function';
    case 'selinux':
      return `SELinux label ${step.label}`;
    case 'apparmor':
      return `AppArmor profile ${step.label}`;
    case 'capbset_drop':
      return `drops from the bounding set all but ${step.keep.join(', ') || 'nothing'}`;
    case 'setgroups':
      return `groups ${step.groups.join(', ') || 'none'}`;
    case 'setgid':
      return `gid ${step.id}`;
    case 'setuid':
      return `uid ${step.id}`;
    case 'capset':
      return `capabilities ${step.keep.join(', ') || 'none'}`;
    case 'cap_ambient':
      return `ambient capabilities ${step.keep.join(', ')}`;
    case 'chdir':
      return step.path;
    case 'no_new_privs':
      return 'gains no privileges by executing a file, for good';
    case 'pdeathsig':
      return `${step.signal} when this process dies`;
    case 'handshake':
      return 'waits until the caller lets it go';
    case 'sigprocmask':
      return 'blocks no signal';
    case 'ptrace':
      return 'is stopped by its next exec, before the program begins';
    case 'execve':
      return step.path;
  }
}
