import { Buffer } from 'node:buffer';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Step } from '../plan/steps.js';
import { capabilityNames } from '../text/capabilities.js';
import { signalNumber } from '../text/signals.js';
import type { Operation } from './encode.js';
import { gapsBetween, type Move, orderMoves } from './moves.js';

/** The ends of a handshake that one side holds: a byte through the one says "ready", a byte through the other "go". */
export interface HandshakeEnds {
  readonly ready: number;
  readonly go: number;
}

/** Wide enough for every pid; the child writes its own into it. */
const LISTEN_PID_ROOM = `LISTEN_PID=${'0'.repeat(20)}`;

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** The numbers that the steps work on: known only when all descriptors are open. */
export interface Numbers {
  readonly moves: readonly Move[];
  /** The process whose death `pdeathsig` tells. */
  readonly parent: number;
  readonly handshake?: HandshakeEnds;
  /** Where the exec is announced. */
  readonly report?: number;
}

/**
 * The operations of some of a plan's steps, the first of which stands at `offset` in the plan, and the variables to execute with;
 * with `inherits`, those of this process, which need not be copied.
 */
export function operationsOf(
  plan: LaunchPlan,
  steps: readonly Step[],
  offset: number,
  numbers: Numbers,
  { inherits = false } = {},
): { envp: readonly Uint8Array[] | 'inherited'; operations: Operation[] } {
  const operations: Operation[] = [];
  let place = offset;
  let listens = false;
  for (const step of steps) {
    if (step.step === 'dup2') {
      for (const { from, to } of orderMoves(numbers.moves))
        operations.push({ code: 'dup2', step: place, a: from, b: to });
    } else if (step.step === 'close_range') {
      for (const { first, last } of gapsBetween(numbers.moves.map(({ to }) => to)))
        operations.push({ code: 'close_range', step: place, a: first, b: last });
    } else {
      listens ||= step.step === 'listen_pid';
      operations.push(operationFor(step, place, plan, numbers));
    }
    place += 1;
  }
  return {
    envp: inherits ? 'inherited' : listens ? [...plan.envp, Buffer.from(LISTEN_PID_ROOM)] : plan.envp,
    operations,
  };
}

function operationFor(wanted: Step, step: number, plan: LaunchPlan, numbers: Numbers): Operation {
  const code = wanted.step;
  switch (code) {
    case 'cgroup':
      return { code, step, text: `${wanted.directory}/cgroup.procs` };
    case 'umask':
      return { code, step, a: wanted.mask };
    case 'setpriority':
      return { code, step, a: wanted.nice };
    case 'oom_score_adj':
      return { code, step, text: String(wanted.score) };
    case 'sched_core':
      return { code, step, a: wanted.among ?? 0 };
    case 'prlimit':
      return {
        code,
        step,
        a: limitBits(wanted.limit.soft),
        b: limitBits(wanted.limit.hard),
        count: resources[wanted.limit.resource],
      };
    case 'listen_pid':
      return { code, step, a: plan.envp.length };
    case 'selinux':
      return { code, step, text: wanted.label };
    case 'apparmor':
      return { code, step, text: `exec ${wanted.label}` };
    case 'capbset_drop':
      return { code, step, a: capabilityBits(wanted.keep), b: mayLackPrivileges(plan) ? 1 : 0 };
    case 'capset':
    case 'cap_ambient':
      return { code, step, a: capabilityBits(wanted.keep) };
    case 'setgroups':
      return { code, step, text: wanted.groups };
    case 'setgid':
      return { code, step, a: wanted.id };
    case 'setuid':
      return { code, step, a: wanted.id, b: plan.spec.allowCaps === undefined ? 0 : 1 };
    case 'chdir':
    case 'pidfile':
      return { code, step, text: wanted.path };
    case 'handshake':
      return { code, step, a: numbers.handshake?.ready ?? 0, b: numbers.handshake?.go ?? 0 };
    case 'execve':
      return { code, step, a: numbers.report ?? 0 };
    case 'pdeathsig':
      return { code, step, a: signalNumber(wanted.signal) ?? 0, b: numbers.parent };
    default:
      return { code, step };
  }
}

/** The numbers of the kernel. They are the same on x86-64 and arm64. */
const resources = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const;

const limitBits = (value: number | string): number | bigint =>
  value === 'unlimited' ? UNLIMITED : typeof value === 'number' ? value : BigInt(value);

const capabilityBits = (names: readonly string[]): bigint =>
  names.reduce((bits, name) => bits | (1n << BigInt((capabilityNames as readonly string[]).indexOf(name))), 0n);

/** libvirt lets a caller without privileges drop the privileges that it does not have, as long as nothing else was asked. */
const mayLackPrivileges = ({ steps }: LaunchPlan): boolean =>
  process.geteuid?.() !== 0 &&
  !steps.some(({ step }) => step === 'setuid' || step === 'setgid' || step === 'cap_ambient');
