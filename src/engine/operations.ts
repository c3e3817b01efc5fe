import { Buffer } from 'node:buffer';
import { capabilityNames } from '../capabilities.js';
import type { LaunchPlan, Step } from '../plan.js';
import { signalNumber } from '../signals.js';
import { gapsBetween, type Move, type Operation, orderMoves } from './encode.js';

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

/** The operations of some of a plan's steps, the first of which stands at `offset` in the plan, and the variables to execute with. */
export function operationsOf(plan: LaunchPlan, steps: readonly Step[], offset: number, numbers: Numbers): { envp: readonly Uint8Array[]; operations: Operation[] } {
  const listens = steps.some(({ step }) => step === 'listen_pid');
  const envp = listens ? [...plan.envp, Buffer.from(LISTEN_PID_ROOM)] : plan.envp;
  const operations: Operation[] = [];
  for (const [index, step] of steps.entries()) {
    for (const { code, a, b, text, count } of operationsFor(step, plan, numbers)) operations.push({ code, step: offset + index, a, b, text, count });
  }
  return { envp, operations };
}

type Unplaced = Omit<Operation, 'step'>;

function operationsFor(step: Step, plan: LaunchPlan, numbers: Numbers): Unplaced[] {
  const code = step.step;
  switch (code) {
    case 'dup2':
      return orderMoves(numbers.moves).map(({ from, to }) => ({ code, a: from, b: to }));
    case 'close_range':
      return gapsBetween(numbers.moves.map(({ to }) => to)).map(({ first, last }) => ({ code, a: first, b: last }));
    case 'cgroup':
      return [{ code, text: `${step.directory}/cgroup.procs` }];
    case 'umask':
      return [{ code, a: step.mask }];
    case 'setpriority':
      return [{ code, a: step.nice }];
    case 'oom_score_adj':
      return [{ code, text: String(step.score) }];
    case 'sched_core':
      return [{ code, a: step.among ?? 0 }];
    case 'prlimit':
      return [{ code, a: limitBits(step.limit.soft), b: limitBits(step.limit.hard), count: resources[step.limit.resource] }];
    case 'listen_pid':
      return [{ code, a: plan.envp.length }];
    case 'selinux':
      return [{ code, text: step.label }];
    case 'apparmor':
      return [{ code, text: `exec ${step.label}` }];
    case 'capbset_drop':
      return [{ code, a: capabilityBits(step.keep), b: mayLackPrivileges(plan) ? 1 : 0 }];
    case 'capset':
    case 'cap_ambient':
      return [{ code, a: capabilityBits(step.keep) }];
    case 'setgroups':
      return [{ code, text: step.groups }];
    case 'setgid':
      return [{ code, a: step.id }];
    case 'setuid':
      return [{ code, a: step.id, b: plan.spec.allowCaps === undefined ? 0 : 1 }];
    case 'chdir':
    case 'pidfile':
      return [{ code, text: step.path }];
    case 'handshake':
      return [{ code, a: numbers.handshake?.ready ?? 0, b: numbers.handshake?.go ?? 0 }];
    case 'execve':
      return [{ code, a: numbers.report ?? 0 }];
    case 'pdeathsig':
      return [{ code, a: signalNumber(step.signal) ?? 0, b: numbers.parent }];
    default:
      return [{ code }];
  }
}

/** The numbers of the kernel. They are the same on x86-64 and arm64. */
const resources = {
  cpu: 0, fsize: 1, data: 2, stack: 3, core: 4, rss: 5, nproc: 6, nofile: 7,
  memlock: 8, as: 9, locks: 10, sigpending: 11, msgqueue: 12, nice: 13, rtprio: 14, rttime: 15,
} as const;

const limitBits = (value: number | string): bigint => (value === 'unlimited' ? UNLIMITED : BigInt(value));

const capabilityBits = (names: readonly string[]): bigint =>
  names.reduce((bits, name) => bits | (1n << BigInt((capabilityNames as readonly string[]).indexOf(name))), 0n);

/** libvirt lets a caller without privileges drop the privileges that it does not have, as long as nothing else was asked. */
const mayLackPrivileges = ({ steps }: LaunchPlan): boolean => process.geteuid?.() !== 0 && !steps.some(({ step }) => step === 'setuid' || step === 'setgid' || step === 'cap_ambient');
