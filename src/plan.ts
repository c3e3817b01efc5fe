import { isAbsolute } from 'node:path';
import { inspect } from 'node:util';
import { type ByteText, toBytes } from './bytes.js';
import { LaunchError, type Subject, subjectOf, UsageError } from './errors.js';
import type { Host } from './host.js';
import type { SignalName } from './signals.js';
import { type CommandSpec, FIRST_LISTEN_FD, type HookSpec, type LaunchMode, type LimitSpec, type Mutable, type OutputSpec } from './spec.js';
import type { StepName } from './steps.js';

/** Where a descriptor of the child comes from. */
export type DescriptorSource =
  | { readonly kind: 'null' }
  | { readonly kind: 'fd'; readonly fd: number }
  | { readonly kind: 'file'; readonly path: string; readonly open: 'read' | 'truncate' | 'append' }
  /** A pipe of which this process keeps the other end: for the caller, for a buffer, or for the log. */
  | { readonly kind: 'pipe'; readonly for: 'caller' | 'buffer' | 'log' }
  /** The same open file as the child's standard output. */
  | { readonly kind: 'stdout' };

/** A descriptor that the child will have. */
export interface PlannedDescriptor {
  readonly childFd: number;
  readonly source: DescriptorSource;
}

/** A step that the child takes, with what it needs. `by` is the method that asked for it, empty for what is always done. */
export type Step = { readonly by: string } & (
  | { readonly step: 'cgroup'; readonly directory: string }
  | { readonly step: 'sigaction' | 'sigprocmask' | 'setsid' | 'setpgid' | 'daemon-fork' | 'listen_pid' | 'handshake' | 'no_new_privs' | 'ptrace' }
  | { readonly step: 'dup2'; readonly descriptors: readonly PlannedDescriptor[] }
  | { readonly step: 'close_range'; readonly keep: readonly number[] }
  | { readonly step: 'umask'; readonly mask: number }
  | { readonly step: 'setpriority'; readonly nice: number }
  | { readonly step: 'oom_score_adj'; readonly score: number }
  | { readonly step: 'sched_core'; readonly among: number | undefined }
  | { readonly step: 'prlimit'; readonly limit: LimitSpec }
  | { readonly step: 'pidfile' | 'chdir' | 'execve'; readonly path: string }
  | { readonly step: 'hook'; readonly hook: HookSpec }
  | { readonly step: 'selinux' | 'apparmor'; readonly label: string }
  | { readonly step: 'capbset_drop' | 'capset' | 'cap_ambient'; readonly keep: readonly string[] }
  | { readonly step: 'setgroups'; readonly groups: readonly number[] }
  | { readonly step: 'setgid' | 'setuid'; readonly id: number }
  | { readonly step: 'pdeathsig'; readonly signal: SignalName }
);

/**
 * Where the steps are taken: in a child that shares this process's memory until it executes, in a small helper program
 * with a memory of its own (for steps that change privileges or wait), in a Node process that runs the hook, or, by
 * `exec()`, in this process itself.
 */
export type Lane = 'shared-memory' | 'helper' | 'hook-runner' | 'in-place';

/** Every question about a launch, answered: what an engine will do, as data. It holds for this moment only; PATH may change. */
export interface LaunchPlan {
  readonly spec: CommandSpec;
  readonly subject: Subject;
  readonly mode: LaunchMode;
  readonly lane: Lane;
  /** The file that will be executed. */
  readonly file: string;
  /** The files that PATH gave before that one. */
  readonly tried: readonly string[];
  /** The exact vectors, without their final NULs. */
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  /** The directory that the program starts in; absent where it is this process's own. */
  readonly directory?: string;
  /** The descriptors of the child, by rising number. All others are closed. */
  readonly descriptors: readonly PlannedDescriptor[];
  /** What the child does between clone and exec, in order. */
  readonly steps: readonly Step[];
}

/** What a plan is for. */
export interface PlanOptions {
  readonly mode: LaunchMode;
  /** False: the program is not looked for, as in a dry run. Default: true. */
  readonly search?: boolean;
  /** This process's variables byte for byte, where somebody knows them better than `host.env`. */
  readonly inherited?: (() => readonly Uint8Array[]) | undefined;
  /** The spec as the subject of an error, where the caller has made it already. */
  readonly subject?: Subject;
}

/**
 * Decides everything about a launch and starts nothing. Pure: the same spec on the same host gives the same plan.
 *
 * @throws {LaunchError} with the step `path-search` if PATH gives no executable of that name.
 * @throws {UsageError} if the user that the program shall run as is not known here.
 */
export function planLaunch(spec: CommandSpec, host: Host, { mode, search = true, subject = subjectOf(spec), inherited }: PlanOptions): LaunchPlan {
  const { file, tried } = search ? findProgram(spec, subject, host) : { file: textOf(spec.argv[0]), tried: [] };
  const directory = plannedDirectory(spec, host);
  const descriptors = planDescriptors(spec, mode, host);
  const steps = planSteps(spec, { host, subject, file, directory, descriptors });
  const plan: Mutable<Omit<LaunchPlan, 'argv' | 'envp'>> = { spec, subject, mode, lane: mode === 'exec' ? 'in-place' : chooseLane(steps), file, tried, descriptors, steps };
  if (directory !== undefined) plan.directory = directory;
  Object.defineProperty(plan, 'argv', lateArguments);
  Object.defineProperty(plan, 'envp', environmentOf(spec, host, descriptors, inherited));
  return Object.defineProperty(plan, inspect.custom, shownSafely) as LaunchPlan;
}

const shownSafely = { value: inspectPlan };

/** A plan without its vectors, which hold the values of variables and the secret arguments. */
function inspectPlan(this: LaunchPlan, _depth: number, options: object, print: typeof inspect): string {
  const { argv: _argv, envp: _envp, ...shown } = this;
  return `LaunchPlan ${print(shown, options)}`;
}

// ---------------------------------------------------------------- the vectors

/** A property that is worked out when somebody asks for it. One getter serves all plans: each with a getter of its own would be an object of another shape. */
function late<Name extends 'argv' | 'envp'>(name: Name, work: (plan: LaunchPlan) => LaunchPlan[Name]): PropertyDescriptor {
  return {
    configurable: true,
    enumerable: true,
    get(this: LaunchPlan) {
      const value = work(this);
      Object.defineProperty(this, name, { value, enumerable: true });
      return value;
    },
  };
}

/** The native engine writes the words of the spec where they are wanted, without a detour. */
const lateArguments = late('argv', ({ spec }) => spec.argv.map(toBytes));

const lateVariables = new WeakMap<() => readonly Uint8Array[], PropertyDescriptor>();

/**
 * The variables as a property of the plan. Inherited ones are split when somebody asks for them: the native engine leaves them where
 * the C library has them, and this took a twentieth of a launch. They are those of the call, so nothing may be waited for until then.
 */
function environmentOf(spec: CommandSpec, host: Host, descriptors: readonly PlannedDescriptor[], inherited: PlanOptions['inherited']): PropertyDescriptor {
  if (inherited === undefined || spec.env !== undefined || spec.listenFds !== undefined) return { value: planEnvironment(spec, host), enumerable: true };
  if (descriptors.some(({ source }) => source.kind === 'file')) return { value: inherited(), enumerable: true };
  let property = lateVariables.get(inherited);
  if (property === undefined) lateVariables.set(inherited, (property = late('envp', inherited)));
  return property;
}

// ---------------------------------------------------------------- the program

const textOf = (text: ByteText | undefined): string => (typeof text === 'string' ? text : toBytes(text ?? '').toString('latin1'));

/** What `execvp` and libvirt fall back to where there is no PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';

function findProgram(spec: CommandSpec, subject: Subject, host: Host): { file: string; tried: readonly string[] } {
  const program = textOf(spec.argv[0]);
  if (isAbsolute(program)) return { file: program, tried: [] };
  // A relative path is a path, as in a shell. It means this process's directory, not the one the program will start in.
  if (program.includes('/')) return { file: absolute(program, host), tried: [] };

  const tried: string[] = [];
  const inTheWay: string[] = [];
  for (const directory of (host.env['PATH'] ?? DEFAULT_PATH).split(':')) {
    // An empty entry means the current directory to a shell. A program that happens to lie there is not what was said.
    if (!isAbsolute(directory)) continue;
    const file = `${directory.replace(/\/+$/, '')}/${program}`;
    if (tried.includes(file)) continue;
    const kind = host.look(file);
    if (kind === 'executable') return { file, tried };
    tried.push(file);
    if (kind === 'not-executable') inTheWay.push(file);
  }
  const errno = inTheWay.length > 0 ? 'EACCES' : 'ENOENT';
  throw new LaunchError(subject, { step: 'path-search', errno, path: program, tried: errno === 'EACCES' ? inTheWay : tried });
}

// ---------------------------------------------------------------- environment and directory

function planEnvironment(spec: CommandSpec, host: Host): readonly Uint8Array[] {
  const variables = new Map<string, ByteText>();
  if (spec.env !== undefined) {
    for (const [name, value] of spec.env) variables.set(name, value);
  } else {
    for (const [name, value] of Object.entries(host.env)) if (value !== undefined) variables.set(name, value);
  }
  if (spec.listenFds !== undefined) {
    // What this process was itself given by socket activation is not meant for its child.
    variables.delete('LISTEN_PID');
    variables.delete('LISTEN_FDNAMES');
    variables.set('LISTEN_FDS', String(spec.listenFds.length));
  }
  return Array.from(variables, ([name, value]) =>
    typeof value === 'string' ? Buffer.from(`${name}=${value}`) : Buffer.concat([Buffer.from(`${name}=`), toBytes(value)]),
  );
}

function plannedDirectory(spec: CommandSpec, host: Host): string | undefined {
  if (spec.daemonize === true) return '/';
  if (spec.workingDirectory === undefined) return undefined;
  return absolute(spec.workingDirectory, host);
}

// The directory is asked for only where it matters: it may have been removed, and then asking fails.
function absolute(path: string, host: Host): string {
  return isAbsolute(path) ? path : `${host.cwd().replace(/\/$/, '')}/${path.replace(/^(?:\.\/+)+/, '')}`;
}

// ---------------------------------------------------------------- descriptors

function planDescriptors(spec: CommandSpec, mode: LaunchMode, host: Host): readonly PlannedDescriptor[] {
  const planned: PlannedDescriptor[] = [
    { childFd: 0, source: inputSource(spec, mode, host) },
    { childFd: 1, source: outputSource(spec.stdout, 1, mode, host) },
    { childFd: 2, source: errorSource(spec, mode, host) },
  ];
  const { descriptors, listenFds } = spec;
  if (descriptors === undefined && listenFds === undefined) return planned;
  for (const { fd, as } of descriptors ?? []) planned.push({ childFd: as, source: { kind: 'fd', fd } });
  for (const [index, fd] of (listenFds ?? []).entries()) planned.push({ childFd: FIRST_LISTEN_FD + index, source: { kind: 'fd', fd } });
  return planned.sort((a, b) => a.childFd - b.childFd);
}

function inputSource({ stdin }: CommandSpec, mode: LaunchMode, host: Host): DescriptorSource {
  switch (stdin.from) {
    case 'null':
      return mode === 'exec' ? { kind: 'fd', fd: 0 } : { kind: 'null' };
    case 'fd':
      return { kind: 'fd', fd: stdin.fd };
    case 'file':
      return { kind: 'file', path: absolute(stdin.path, host), open: 'read' };
    case 'pipe':
      return { kind: 'pipe', for: 'caller' };
    case 'buffer':
      return { kind: 'pipe', for: 'buffer' };
  }
}

function outputSource(output: OutputSpec, childFd: 1 | 2, mode: LaunchMode, host: Host): DescriptorSource {
  switch (output.to) {
    case 'unclaimed':
      // What this process writes to is what it leaves to the program in its place.
      if (mode === 'exec') return { kind: 'fd', fd: childFd };
      return mode === 'run' ? { kind: 'pipe', for: 'log' } : { kind: 'null' };
    case 'fd':
      return { kind: 'fd', fd: output.fd };
    case 'file':
      return { kind: 'file', path: absolute(output.path, host), open: output.append === true ? 'append' : 'truncate' };
    case 'pipe':
      return { kind: 'pipe', for: 'caller' };
    case 'buffer':
      return { kind: 'pipe', for: 'buffer' };
  }
}

function errorSource({ stdout, stderr }: CommandSpec, mode: LaunchMode, host: Host): DescriptorSource {
  if (stderr.to === 'stdout') return { kind: 'stdout' };
  // Two openings of one file would write over each other; one that both streams share keeps their order.
  if (stderr.to === 'file' && stdout.to === 'file' && absolute(stderr.path, host) === absolute(stdout.path, host)) return { kind: 'stdout' };
  return outputSource(stderr, 2, mode, host);
}

// ---------------------------------------------------------------- steps

interface Decided {
  readonly host: Host;
  readonly subject: Subject;
  readonly file: string;
  readonly directory: string | undefined;
  readonly descriptors: readonly PlannedDescriptor[];
}

/**
 * The steps in the order that lets each succeed. Every edge has a reason; these are the ones that cost most when broken:
 *
 * - the daemon's second fork comes before the pidfile, which holds the final pid;
 * - limits come after all that opens or writes a file: a limit of 0 files or 0 bytes would fail the pidfile and the labels;
 * - pidfile, labels, limits and the bounding set need rights that go with the ids;
 * - groups go before gid, and gid before uid: after the uid, neither can be changed;
 * - capabilities and the parent-death signal come after the ids, whose change clears them;
 * - the directory comes after the ids: it must be open to the user that the program runs as.
 */
function planSteps(spec: CommandSpec, { host, subject, file, directory, descriptors }: Decided): readonly Step[] {
  const steps: Step[] = [];
  const daemon = spec.daemonize === true;

  if (spec.cgroup !== undefined) steps.push({ step: 'cgroup', by: 'cgroup', directory: spec.cgroup });
  steps.push({ step: 'sigaction', by: '' });
  if (daemon) steps.push({ step: 'setsid', by: 'daemonize' }, { step: 'chdir', by: 'daemonize', path: '/' }, { step: 'daemon-fork', by: 'daemonize' });
  else if (spec.newSession === true) steps.push({ step: 'setsid', by: 'newSession' });
  else if (spec.processGroup === true) steps.push({ step: 'setpgid', by: 'processGroup' });
  steps.push({ step: 'dup2', by: '', descriptors }, { step: 'close_range', by: '', keep: descriptors.map(({ childFd }) => childFd) });

  if (spec.umask !== undefined) steps.push({ step: 'umask', by: 'umask', mask: spec.umask });
  if (spec.nice !== undefined) steps.push({ step: 'setpriority', by: 'nice', nice: spec.nice });
  if (spec.oomScoreAdjust !== undefined) steps.push({ step: 'oom_score_adj', by: 'oomScoreAdjust', score: spec.oomScoreAdjust });
  if (spec.coreScheduling === 'alone') steps.push({ step: 'sched_core', by: 'runAlone', among: undefined });
  else if (spec.coreScheduling !== undefined) steps.push({ step: 'sched_core', by: 'runAmong', among: spec.coreScheduling.among });
  if (spec.pidFile !== undefined) steps.push({ step: 'pidfile', by: 'pidFile', path: absolute(spec.pidFile, host) });

  if (spec.preExecHook !== undefined) steps.push({ step: 'hook', by: 'preExecHook', hook: spec.preExecHook });

  if (spec.listenFds !== undefined) steps.push({ step: 'listen_pid', by: 'listenFds' });
  if (spec.selinuxLabel !== undefined) steps.push({ step: 'selinux', by: 'selinuxLabel', label: spec.selinuxLabel });
  if (spec.appArmorProfile !== undefined) steps.push({ step: 'apparmor', by: 'appArmorProfile', label: spec.appArmorProfile });
  const found = spec.limits?.some(({ resource }) => resource === 'nofile') === true ? undefined : host.openFilesAtStart();
  if (found !== undefined) steps.push({ step: 'prlimit', by: '', limit: { resource: 'nofile', ...found } });
  for (const limit of spec.limits ?? []) steps.push({ step: 'prlimit', by: 'limit', limit });
  steps.push(...privilegeSteps(spec, host, subject));

  if (directory !== undefined && !daemon) steps.push({ step: 'chdir', by: 'workingDirectory', path: directory });
  if (spec.noNewPrivileges === true) steps.push({ step: 'no_new_privs', by: 'noNewPrivileges' });
  if (spec.dieWithParent !== undefined) steps.push({ step: 'pdeathsig', by: 'dieWithParent', signal: spec.dieWithParent });
  if (spec.handshake === true) steps.push({ step: 'handshake', by: 'requireHandshake' });
  steps.push({ step: 'sigprocmask', by: '' }, { step: 'execve', by: '', path: file });
  return steps;
}

function privilegeSteps(spec: CommandSpec, host: Host, subject: Subject): Step[] {
  const steps: Step[] = [];
  const ids = resolveIds(spec, host, subject);
  const capsBy = spec.clearCaps === true ? 'clearCaps' : spec.allowCaps === undefined ? undefined : 'allowCap';
  const keep = spec.allowCaps ?? [];
  if (capsBy !== undefined) steps.push({ step: 'capbset_drop', by: capsBy, keep });
  if (ids.groups !== undefined) steps.push({ step: 'setgroups', by: ids.by, groups: ids.groups });
  if (ids.gid !== undefined) steps.push({ step: 'setgid', by: ids.by, id: ids.gid });
  if (ids.uid !== undefined) steps.push({ step: 'setuid', by: ids.by, id: ids.uid });
  if (capsBy !== undefined) steps.push({ step: 'capset', by: capsBy, keep });
  if (keep.length > 0) steps.push({ step: 'cap_ambient', by: 'allowCap', keep });
  return steps;
}

interface Ids {
  readonly by: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly groups?: readonly number[];
}

function resolveIds(spec: CommandSpec, host: Host, subject: Subject): Ids {
  if (spec.user !== undefined) {
    const account = host.account(spec.user);
    if (account === undefined) {
      const problem =
        typeof spec.user === 'string'
          ? 'there is no user of that name on this machine; name another one, or give numbers with uid() and gid()'
          : 'there is no user with that number on this machine, and so no group either; give both with uid() and gid()';
      throw new UsageError(subject, [{ call: `user(${JSON.stringify(spec.user).replaceAll('"', "'")})`, problem }]);
    }
    const { uid, gid, groups } = account;
    return { by: 'user', uid, gid, groups: spec.groups ?? groups };
  }
  const { uid, gid } = spec;
  if (gid === undefined) return spec.groups === undefined ? { by: '' } : { by: 'groups', groups: spec.groups };
  // As libvirt does: the groups of that user, with the group that was asked for in the place of the user's own.
  const account = uid === undefined ? undefined : host.account(uid);
  const groups = spec.groups ?? Array.from(new Set([gid, ...(account?.groups.filter((group) => group !== account.gid) ?? [])]));
  return { by: uid === undefined ? 'gid' : 'uid', ...(uid === undefined ? {} : { uid }), gid, groups };
}

/** The steps that a child cannot take in its parent's memory: they change what belongs to the memory, or they may wait, and the parent with them. */
const needsOwnMemory: ReadonlySet<StepName> = new Set<StepName>([
  // A file is made and written, on a disk that may be busy.
  'pidfile',
  'capbset_drop',
  'setgroups',
  'setgid',
  'setuid',
  'capset',
  'cap_ambient',
  'handshake',
]);

/** The lane of a child that takes these steps. */
export function chooseLane(steps: readonly Step[]): Lane {
  let lane: Lane = 'shared-memory';
  for (const { step } of steps) {
    if (step === 'hook') return 'hook-runner';
    if (needsOwnMemory.has(step)) lane = 'helper';
  }
  return lane;
}
