import type { Subject } from '../errors/command-error.js';
import type { Host } from '../host/host.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec, HookSpec, LimitSpec } from '../spec/spec.js';
import { type ByteText, joinText, readable } from '../text/bytes.js';
import { type CapabilityName, capabilityNames } from '../text/capabilities.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import type { ChildStep } from '../text/step-names.js';
import type { Operand } from '../wire/encode.js';
import { gapsBetween, lettingBlock, type Move, orderMoves } from '../wire/moves.js';
import type { PlannedDescriptor } from './descriptors.js';
import { enteredDirectory, heldPidFile, heldProgram, heldWorkingDirectory, type Places } from './from-here.js';
import type { Ids } from './ids.js';
import { absolute } from './program.js';

/** What a step works with. A step that stands not here needs nothing but its name. */
interface StepValues {
  readonly cgroup: { readonly directory: ByteText };
  readonly dup2: { readonly descriptors: readonly PlannedDescriptor[] };
  readonly close_range: { readonly keep: readonly number[] };
  readonly umask: { readonly mask: number };
  readonly setpriority: { readonly nice: number };
  readonly oom_score_adj: { readonly score: number };
  readonly sched_core: { readonly among: number | undefined };
  readonly pidfile: { readonly path: ByteText };
  readonly hook: { readonly hook: HookSpec };
  readonly selinux: { readonly label: string };
  readonly apparmor: { readonly label: string };
  readonly prlimit: { readonly limit: LimitSpec };
  readonly capbset_drop: { readonly keep: readonly string[] };
  readonly setgroups: { readonly groups: readonly number[] };
  readonly setgid: { readonly id: number };
  readonly setuid: { readonly id: number };
  readonly capset: { readonly keep: readonly string[] };
  readonly cap_ambient: { readonly keep: readonly string[] };
  readonly chdir: { readonly path: ByteText };
  readonly pdeathsig: { readonly signal: SignalName };
  readonly execve: { readonly path: ByteText };
}

interface NoValues {
  readonly by: string;
}

type StepOf<K extends ChildStep> = { readonly by: string; readonly step: K } & (K extends keyof StepValues
  ? StepValues[K]
  : NoValues);

/** A step that the child performs, with what it needs. `by` is the method that asked for it, empty for what is always done. */
export type Step = { [K in ChildStep]: StepOf<K> }[ChildStep];

/** What has been decided of a launch when its steps are planned. */
export interface Decided {
  readonly spec: CommandSpec;
  readonly host: Host;
  readonly subject: Subject;
  readonly file: ByteText;
  readonly directory: ByteText | undefined;
  readonly descriptors: readonly PlannedDescriptor[];
  readonly ids: Ids;
}

/** The ends of a handshake that one side holds: a byte through the one says "ready", a byte through the other "go". */
export interface HandshakeEnds {
  readonly ready: number;
  readonly go: number;
}

/** The numbers that the steps work on: known only when all descriptors are open. */
export interface Numbers {
  readonly moves: readonly Move[];
  /** Descriptors that are placed like the others, and closed by the next exec. */
  readonly untilExec?: readonly Move[];
  /** This process's directory, where the child needs it: `from` until descriptors are placed, then `to`. */
  readonly here?: Move | undefined;
  /** The terminal that the child is to have, until descriptors are placed. */
  readonly terminal?: number | undefined;
  /** The process whose death `pdeathsig` tells. */
  readonly parent: number;
  readonly handshake?: HandshakeEnds;
  /** Where the exec is announced. */
  readonly report?: number;
}

/** What an encoder may ask of the plan that its step stands in. */
export interface Surroundings extends Places {
  readonly steps: readonly Step[];
  readonly envp: readonly Uint8Array[];
}

/**
 * Where a step can be performed: in a child that shares this process's memory; only in a helper with a memory of its own, since it
 * changes what belongs to the memory, or may wait, and the parent would with it; or in a Node process.
 */
export type StepLane = 'shared-memory' | 'helper' | 'hook-runner';

/**
 * What becomes of a step of `exec()` if a later one fails: it is put back; it stays, since no process can take it back; or nothing
 * is left of it.
 */
export type Afterwards = 'put back' | 'stays' | 'nothing';

/** All that is to be known of a step. */
export interface Row<K extends ChildStep> {
  /** The step where the launch has it, by this or with another that must come right behind it. */
  readonly plan: (decided: Decided) => Step | readonly Step[] | undefined;
  /** What it does, for `explain()`: one line without its name. */
  readonly text: (step: StepOf<K>) => string;
  /** What it was to do, for an error: goes on a sentence that begins "it could not" or "this process may not". */
  readonly wish: (step: StepOf<K>) => string;
  /** The capability that the step takes where the user's own rights do not suffice; an error names it. */
  readonly capability?: CapabilityName;
  /** The file or directory that it is about, for an error. */
  readonly path?: (step: StepOf<K>) => string;
  /** What the child is given for it, for each system call if there are several. `steps.h` says of which kind that is. */
  readonly encode: (step: StepOf<K>, numbers: Numbers, plan: Surroundings) => Operand | readonly Operand[];
  readonly lane: StepLane;
  /** Why `child_process` cannot do it, so that the portable engine refuses it; `undefined` where it can. */
  readonly refusal: string | undefined;
  readonly afterExec: Afterwards;
}

const NOTHING: Operand = {};

const nothing = (): Operand => NOTHING;

/**
 * A row for each step of the child, in the order in which they come. The order lets each succeed. Every edge has a reason
 * (docs/internals.md tells all of them); these are the ones that cost most when broken:
 *
 * - the daemon's second fork comes before the pidfile, which holds the final pid;
 * - limits come after all that opens or writes a file: a limit of 0 files or 0 bytes would fail the pidfile and the labels;
 * - pidfile, labels, limits and the bounding set need rights that go with the ids;
 * - groups go before gid, and gid before uid: after the uid, neither can be changed;
 * - capabilities and the parent-death signal come after the ids, whose change clears them;
 * - the directory comes after the ids: it must be open to the user that the program runs as.
 */
const table = {
  cgroup: {
    plan: ({ spec: { cgroup } }) =>
      cgroup === undefined ? undefined : { step: 'cgroup', by: 'cgroup', directory: cgroup },
    text: ({ directory }) => `enters the control group ${readable(directory)}`,
    wish: ({ directory }) => `enter the control group '${readable(directory)}'`,
    path: ({ directory }) => readable(directory),
    encode: ({ directory }) => ({ text: joinText(directory, '/cgroup.procs') }),
    lane: 'shared-memory',
    refusal: 'child_process cannot place a child, and to move it after its start would be too late',
    afterExec: 'stays',
  },
  sigaction: {
    plan: () => ({ step: 'sigaction', by: '' }),
    text: () => 'every signal back to its default action',
    wish: () => 'set signals back to their default actions',
    encode: nothing,
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'put back',
  },
  setsid: {
    plan: ({ spec }) => {
      if (spec.daemonize === true)
        return [
          { step: 'setsid', by: 'daemonize' },
          { step: 'chdir', by: 'daemonize', path: '/' },
        ];
      if (spec.terminal !== undefined) return { step: 'setsid', by: 'terminal' };
      return spec.newSession === true ? { step: 'setsid', by: 'newSession' } : undefined;
    },
    text: () => 'a session of its own',
    wish: () => 'make a session of its own',
    encode: nothing,
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'stays',
  },
  tiocsctty: {
    plan: ({ spec }) => (spec.terminal === undefined ? undefined : { step: 'tiocsctty', by: 'terminal' }),
    text: () => 'the terminal controls its session',
    wish: () => 'take its terminal as the controlling one',
    encode: (_step, { terminal = 0 }) => ({ a: terminal }),
    lane: 'shared-memory',
    refusal: 'child_process makes no terminals',
    afterExec: 'stays',
  },
  setpgid: {
    plan: ({ spec: { processGroup, newSession, daemonize } }) =>
      processGroup === true && newSession !== true && daemonize !== true
        ? { step: 'setpgid', by: 'processGroup' }
        : undefined,
    text: () => 'a process group of its own',
    wish: () => 'make a process group of its own',
    encode: nothing,
    lane: 'shared-memory',
    refusal: 'child_process can only make a new session, which is newSession()',
    afterExec: 'stays',
  },
  tcsetpgrp: {
    plan: ({ spec }) => (spec.inheritTerminal === true ? { step: 'tcsetpgrp', by: 'inheritTerminal' } : undefined),
    text: () => 'a process group of its own, in the foreground of the terminal where this process is',
    wish: () => 'come into the foreground of the terminal',
    encode: (_step, { terminal = 0 }) => ({ a: terminal }),
    lane: 'shared-memory',
    refusal: 'child_process makes no process groups, and puts nobody into the foreground of a terminal',
    afterExec: 'stays',
  },
  'daemon-fork': {
    plan: ({ spec }) => (spec.daemonize === true ? { step: 'daemon-fork', by: 'daemonize' } : undefined),
    text: () => 'forks once more, so that the daemon leads no session',
    wish: () => 'fork once more',
    encode: nothing,
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'nothing',
  },
  dup2: {
    plan: ({ descriptors }) => ({ step: 'dup2', by: '', descriptors }),
    text: ({ descriptors }) => `places descriptors ${descriptors.map(({ childFd }) => childFd).join(', ')}`,
    wish: ({ descriptors }) => `place descriptors ${descriptors.map(({ childFd }) => childFd).join(', ')}`,
    encode: (_step, { moves, untilExec = [] }) => [
      ...orderMoves(untilExec.length === 0 ? moves : [...moves, ...untilExec]).map(({ from, to }) => ({
        a: from,
        b: to,
      })),
      ...lettingBlock(moves),
    ],
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'put back',
  },
  close_range: {
    plan: ({ descriptors }) => ({ step: 'close_range', by: '', keep: descriptors.map(({ childFd }) => childFd) }),
    text: ({ keep }) => `closes all but ${keep.join(', ')}`,
    wish: ({ keep }) => `close all descriptors but ${keep.join(', ')}`,
    encode: (_step, { moves }) =>
      gapsBetween(moves.map(({ to }) => to)).map(({ first, last }) => ({ a: first, b: last })),
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'put back',
  },
  umask: {
    plan: ({ spec: { umask } }) => (umask === undefined ? undefined : { step: 'umask', by: 'umask', mask: umask }),
    text: ({ mask }) => `umask ${octal(mask)}`,
    wish: ({ mask }) => `set the umask to ${octal(mask)}`,
    encode: ({ mask }) => ({ a: mask }),
    lane: 'shared-memory',
    refusal: "child_process sets no umask, and to change this process's own for a moment would reach all its threads",
    afterExec: 'put back',
  },
  setpriority: {
    plan: ({ spec: { nice } }) => (nice === undefined ? undefined : { step: 'setpriority', by: 'nice', nice }),
    text: ({ nice }) => `nice ${nice}`,
    capability: 'CAP_SYS_NICE',
    wish: ({ nice }) => `take the nice value ${nice}`,
    encode: ({ nice }) => ({ a: nice }),
    lane: 'shared-memory',
    refusal: 'child_process sets no priority, and to set it after the start would miss what the program starts first',
    afterExec: 'put back',
  },
  oom_score_adj: {
    plan: ({ spec: { oomScoreAdjust: score } }) =>
      score === undefined ? undefined : { step: 'oom_score_adj', by: 'oomScoreAdjust', score },
    text: ({ score }) => `out-of-memory score ${score}`,
    capability: 'CAP_SYS_RESOURCE',
    wish: ({ score }) => `take the out-of-memory score ${score}`,
    encode: ({ score }) => ({ text: String(score) }),
    lane: 'shared-memory',
    refusal: 'child_process cannot set it before the program runs',
    afterExec: 'put back',
  },
  sched_core: {
    plan: ({ spec: { coreScheduling } }) => {
      if (coreScheduling === undefined) return undefined;
      return coreScheduling === 'alone'
        ? { step: 'sched_core', by: 'runAlone', among: undefined }
        : { step: 'sched_core', by: 'runAmong', among: coreScheduling.among };
    },
    capability: 'CAP_SYS_PTRACE',
    text: ({ among }) =>
      among === undefined ? 'a core-scheduling group of its own' : `the core-scheduling group of process ${among}`,
    wish: ({ among }) =>
      among === undefined
        ? 'make a core-scheduling group of its own'
        : `join the core-scheduling group of process ${among}`,
    encode: ({ among = 0 }) => ({ a: among }),
    lane: 'shared-memory',
    refusal: 'child_process does not know core scheduling',
    afterExec: 'stays',
  },
  pidfile: {
    plan: ({ spec: { pidFile }, host }) =>
      pidFile === undefined ? undefined : { step: 'pidfile', by: 'pidFile', path: absolute(pidFile, host) },
    text: ({ path }) => `locks '${readable(path)}' and writes the pid`,
    wish: ({ path }) => `acquire the pidfile '${readable(path)}'`,
    path: ({ path }) => readable(path),
    encode: ({ path }, { here }, plan) => fromHere(here?.to, heldPidFile(plan)) ?? { text: path },
    // A file is made and written, on a disk that may be busy.
    lane: 'helper',
    refusal: undefined,
    afterExec: 'nothing',
  },
  hook: {
    plan: ({ spec: { preExecHook: hook } }) =>
      hook === undefined ? undefined : { step: 'hook', by: 'preExecHook', hook },
    text: ({ hook }) =>
      Object.hasOwn(hook, 'module') ? `runs ${(hook as { module: string }).module}` : 'runs a function',
    wish: () => 'run its pre-exec hook',
    encode: nothing,
    lane: 'hook-runner',
    refusal: 'child_process runs nothing between fork and exec',
    afterExec: 'nothing',
  },
  listen_pid: {
    plan: ({ spec }) => (spec.listenFds === undefined ? undefined : { step: 'listen_pid', by: 'listenFds' }),
    text: () => 'sets LISTEN_PID to its own pid',
    wish: () => 'set LISTEN_PID',
    // The place of the variable behind those of the plan, where operationsOf() puts it.
    encode: (_step, _numbers, { envp }) => ({ a: envp.length }),
    lane: 'shared-memory',
    refusal: "LISTEN_PID must hold the child's pid, which child_process tells only after the program has started",
    afterExec: 'nothing',
  },
  selinux: {
    plan: ({ spec: { selinuxLabel: label } }) =>
      label === undefined ? undefined : { step: 'selinux', by: 'selinuxLabel', label },
    text: ({ label }) => `SELinux label ${label}`,
    wish: ({ label }) => `take the SELinux label ${label}`,
    encode: ({ label }) => ({ text: label }),
    lane: 'shared-memory',
    refusal: 'child_process does not know SELinux',
    afterExec: 'stays',
  },
  apparmor: {
    plan: ({ spec: { appArmorProfile: label } }) =>
      label === undefined ? undefined : { step: 'apparmor', by: 'appArmorProfile', label },
    text: ({ label }) => `AppArmor profile ${label}`,
    wish: ({ label }) => `take the AppArmor profile ${label}`,
    encode: ({ label }) => ({ text: `exec ${label}` }),
    lane: 'shared-memory',
    refusal: 'child_process does not know AppArmor',
    afterExec: 'stays',
  },
  prlimit: {
    plan: ({ spec: { limits = [] } }) => limits.map((limit) => ({ step: 'prlimit', by: 'limit', limit }) as const),
    text: ({ limit: { resource, soft, hard } }) => `${resource} ${soft} (hard ${hard})`,
    capability: 'CAP_SYS_RESOURCE',
    wish: ({ limit: { resource, soft, hard } }) => `set the limit of ${resource} to ${soft} (hard ${hard})`,
    encode: ({ limit: { resource, soft, hard } }) => ({
      a: limitBits(soft),
      b: limitBits(hard),
      count: resources[resource],
    }),
    lane: 'shared-memory',
    refusal: 'child_process sets no resource limits',
    // To raise a hard limit again takes a privilege; without it, only the soft one is put back.
    afterExec: 'put back',
  },
  capbset_drop: {
    plan: ({ spec }) => {
      const by = capsBy(spec);
      return by === undefined ? undefined : { step: 'capbset_drop', by, keep: spec.allowCaps ?? [] };
    },
    text: ({ keep }) => `drops from the bounding set all but ${keep.join(', ') || 'nothing'}`,
    capability: 'CAP_SETPCAP',
    wish: ({ keep }) =>
      `drop all capabilities${keep.length === 0 ? '' : ` but ${keep.join(', ')}`} from its bounding set`,
    encode: ({ keep }, _numbers, plan) => ({ a: capabilityBits(keep), b: mayLackPrivileges(plan) ? 1 : 0 }),
    lane: 'helper',
    refusal: 'child_process does not know capabilities',
    afterExec: 'stays',
  },
  setgroups: {
    plan: ({ ids: { by, groups } }) => (groups === undefined ? undefined : { step: 'setgroups', by, groups }),
    text: ({ groups }) => `groups ${groups.join(', ') || 'none'}`,
    capability: 'CAP_SETGID',
    wish: ({ groups }) => (groups.length === 0 ? 'give up its groups' : `take the groups ${groups.join(', ')}`),
    encode: ({ groups }) => ({ text: groups }),
    lane: 'helper',
    refusal: undefined,
    afterExec: 'stays',
  },
  setgid: {
    plan: ({ ids: { by, gid } }) => (gid === undefined ? undefined : { step: 'setgid', by, id: gid }),
    text: ({ id }) => `gid ${id}`,
    capability: 'CAP_SETGID',
    wish: ({ id }) => `take the gid ${id}`,
    encode: ({ id }) => ({ a: id }),
    lane: 'helper',
    refusal: undefined,
    afterExec: 'stays',
  },
  setuid: {
    plan: ({ ids: { by, uid } }) => (uid === undefined ? undefined : { step: 'setuid', by, id: uid }),
    text: ({ id }) => `uid ${id}`,
    capability: 'CAP_SETUID',
    wish: ({ id }) => `take the uid ${id}`,
    // b: whether the permitted capabilities are kept, of which some shall be left to the program.
    encode: ({ id }, _numbers, { spec }) => ({ a: id, b: spec.allowCaps === undefined ? 0 : 1 }),
    lane: 'helper',
    refusal: undefined,
    afterExec: 'stays',
  },
  capset: {
    plan: ({ spec }) => {
      const by = capsBy(spec);
      return by === undefined ? undefined : { step: 'capset', by, keep: spec.allowCaps ?? [] };
    },
    text: ({ keep }) => `capabilities ${keep.join(', ') || 'none'}`,
    capability: 'CAP_SETPCAP',
    wish: ({ keep }) => `give up all capabilities${keep.length === 0 ? '' : ` but ${keep.join(', ')}`}`,
    encode: ({ keep }) => ({ a: capabilityBits(keep) }),
    lane: 'helper',
    refusal: 'child_process does not know capabilities',
    afterExec: 'stays',
  },
  cap_ambient: {
    plan: ({ spec: { allowCaps: keep = [] } }) =>
      keep.length === 0 ? undefined : { step: 'cap_ambient', by: 'allowCap', keep },
    text: ({ keep }) => `ambient capabilities ${keep.join(', ')}`,
    capability: 'CAP_SETPCAP',
    wish: ({ keep }) => `keep ${keep.join(', ')} for the program`,
    encode: ({ keep }) => ({ a: capabilityBits(keep) }),
    lane: 'helper',
    refusal: 'child_process does not know capabilities',
    afterExec: 'stays',
  },
  chdir: {
    // A daemon's is '/', and comes with its session. One that nobody asked for is this process's own, as it was at the call.
    plan: ({ spec, directory }) =>
      directory === undefined || spec.daemonize === true
        ? undefined
        : { step: 'chdir', by: 'workingDirectory', path: directory },
    text: ({ path }) => readable(path),
    wish: ({ path }) => `enter the directory '${readable(path)}'`,
    path: ({ path }) => readable(path),
    encode: ({ by, path }, { here }, plan) => {
      if (by === '') return fromHere(here?.from, '.') ?? { text: path };
      if (by !== 'workingDirectory') return { text: path };
      return fromHere(here?.to, heldWorkingDirectory(plan)) ?? { text: enteredDirectory(plan) };
    },
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'put back',
  },
  no_new_privs: {
    plan: ({ spec }) => (spec.noNewPrivileges === true ? { step: 'no_new_privs', by: 'noNewPrivileges' } : undefined),
    text: () => 'gains no privileges by executing a file, for good',
    wish: () => 'promise to gain no privileges',
    encode: nothing,
    lane: 'shared-memory',
    refusal: 'child_process does not know this attribute',
    afterExec: 'stays',
  },
  pdeathsig: {
    plan: ({ spec: { dieWithParent: signal } }) =>
      signal === undefined ? undefined : { step: 'pdeathsig', by: 'dieWithParent', signal },
    text: ({ signal }) => `${signal} when this process dies`,
    wish: ({ signal }) => `ask for ${signal} at the death of its parent`,
    encode: ({ signal }, { parent }) => ({ a: signalNumber(signal) ?? 0, b: parent }),
    lane: 'shared-memory',
    refusal: 'child_process does not know the parent-death signal',
    afterExec: 'put back',
  },
  handshake: {
    plan: ({ spec }) => (spec.handshake === true ? { step: 'handshake', by: 'requireHandshake' } : undefined),
    text: () => 'waits until the caller lets it go',
    wish: () => 'wait for the word of its caller',
    encode: (_step, { handshake }) => ({ a: handshake?.ready ?? 0, b: handshake?.go ?? 0 }),
    lane: 'helper',
    refusal: 'child_process cannot hold a child between fork and exec',
    afterExec: 'nothing',
  },
  sigprocmask: {
    plan: () => ({ step: 'sigprocmask', by: '' }),
    text: () => 'blocks no signal',
    wish: () => 'unblock signals',
    encode: nothing,
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'put back',
  },
  ptrace: {
    // Only the rehearsal of exec() has it.
    plan: () => undefined,
    text: () => 'is stopped by its next exec, before the program begins',
    wish: () => 'be traced',
    encode: nothing,
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'nothing',
  },
  execve: {
    plan: ({ file }) => ({ step: 'execve', by: '', path: file }),
    text: ({ path }) => readable(path),
    wish: ({ path }) => `execute '${readable(path)}'`,
    path: ({ path }) => readable(path),
    encode: (_step, { report = 0, here }, plan) => ({ a: report, ...fromHere(here?.to, heldProgram(plan)) }),
    lane: 'shared-memory',
    refusal: undefined,
    afterExec: 'nothing',
  },
} satisfies { readonly [K in ChildStep]: Row<K> };

/** The row of a step, whose functions take that very step. */
export function rowOf<S extends Step>({ step }: S): Row<S['step']> {
  return stepTable[step] as Row<S['step']>;
}

/** A row for each step of the child. */
export const stepTable = bare(
  // No row inherits a path or a capability from `Object.prototype`.
  Object.fromEntries(Object.entries(table).map(([step, row]) => [step, bare(row)])),
) as unknown as { readonly [K in ChildStep]: Row<K> };

/** A path for the child that begins in a directory which it has open, if both are there. */
const fromHere = (directory: number | undefined, path: ByteText | undefined): Operand | undefined =>
  directory === undefined || path === undefined ? undefined : { b: directory + 1, text: path };

const octal = (mask: number): string => mask.toString(8).padStart(3, '0');

/** The method that asked for a change of capabilities. */
const capsBy = ({ clearCaps, allowCaps }: CommandSpec): string | undefined =>
  clearCaps === true ? 'clearCaps' : allowCaps === undefined ? undefined : 'allowCap';

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

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

const limitBits = (value: number | string): number | bigint =>
  value === 'unlimited' ? UNLIMITED : typeof value === 'number' ? value : BigInt(value);

const capabilityBits = (names: readonly string[]): bigint =>
  names.reduce((bits, name) => bits | (1n << BigInt((capabilityNames as readonly string[]).indexOf(name))), 0n);

/** libvirt lets a caller without privileges drop the privileges that it does not have, as long as nothing else was asked. */
const mayLackPrivileges = ({ steps }: Surroundings): boolean =>
  process.geteuid?.() !== 0 &&
  !steps.some(({ step }) => step === 'setuid' || step === 'setgid' || step === 'cap_ambient');
