import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { Host } from '../host/host.js';
import type { CommandSpec, HookSpec, LimitSpec } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';
import type { PlannedDescriptor } from './descriptors.js';
import { absolute } from './program.js';

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
export function planSteps(
  spec: CommandSpec,
  { host, subject, file, directory, descriptors }: Decided,
): readonly Step[] {
  const steps: Step[] = [];
  const daemon = spec.daemonize === true;

  if (spec.cgroup !== undefined) steps.push({ step: 'cgroup', by: 'cgroup', directory: spec.cgroup });
  steps.push({ step: 'sigaction', by: '' });
  if (daemon)
    steps.push(
      { step: 'setsid', by: 'daemonize' },
      { step: 'chdir', by: 'daemonize', path: '/' },
      { step: 'daemon-fork', by: 'daemonize' },
    );
  else if (spec.newSession === true) steps.push({ step: 'setsid', by: 'newSession' });
  else if (spec.processGroup === true) steps.push({ step: 'setpgid', by: 'processGroup' });
  steps.push(
    { step: 'dup2', by: '', descriptors },
    { step: 'close_range', by: '', keep: descriptors.map(({ childFd }) => childFd) },
  );

  if (spec.umask !== undefined) steps.push({ step: 'umask', by: 'umask', mask: spec.umask });
  if (spec.nice !== undefined) steps.push({ step: 'setpriority', by: 'nice', nice: spec.nice });
  if (spec.oomScoreAdjust !== undefined)
    steps.push({ step: 'oom_score_adj', by: 'oomScoreAdjust', score: spec.oomScoreAdjust });
  if (spec.coreScheduling === 'alone') steps.push({ step: 'sched_core', by: 'runAlone', among: undefined });
  else if (spec.coreScheduling !== undefined)
    steps.push({ step: 'sched_core', by: 'runAmong', among: spec.coreScheduling.among });
  if (spec.pidFile !== undefined) steps.push({ step: 'pidfile', by: 'pidFile', path: absolute(spec.pidFile, host) });

  if (spec.preExecHook !== undefined) steps.push({ step: 'hook', by: 'preExecHook', hook: spec.preExecHook });

  if (spec.listenFds !== undefined) steps.push({ step: 'listen_pid', by: 'listenFds' });
  if (spec.selinuxLabel !== undefined) steps.push({ step: 'selinux', by: 'selinuxLabel', label: spec.selinuxLabel });
  if (spec.appArmorProfile !== undefined)
    steps.push({ step: 'apparmor', by: 'appArmorProfile', label: spec.appArmorProfile });
  const found =
    spec.limits?.some(({ resource }) => resource === 'nofile') === true ? undefined : host.openFilesAtStart();
  if (found !== undefined) steps.push({ step: 'prlimit', by: '', limit: { resource: 'nofile', ...found } });
  for (const limit of spec.limits ?? []) steps.push({ step: 'prlimit', by: 'limit', limit });
  steps.push(...privilegeSteps(spec, host, subject));

  if (directory !== undefined && !daemon) steps.push({ step: 'chdir', by: 'workingDirectory', path: directory });
  if (spec.noNewPrivileges === true) steps.push({ step: 'no_new_privs', by: 'noNewPrivileges' });
  if (spec.dieWithParent !== undefined)
    steps.push({ step: 'pdeathsig', by: 'dieWithParent', signal: spec.dieWithParent });
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
  const groups =
    spec.groups ?? Array.from(new Set([gid, ...(account?.groups.filter((group) => group !== account.gid) ?? [])]));
  return { by: uid === undefined ? 'gid' : 'uid', ...(uid === undefined ? {} : { uid }), gid, groups };
}

/** A step that the child takes, with what it needs. `by` is the method that asked for it, empty for what is always done. */
export type Step = { readonly by: string } & (
  | { readonly step: 'cgroup'; readonly directory: string }
  | {
      readonly step:
        | 'sigaction'
        | 'sigprocmask'
        | 'setsid'
        | 'setpgid'
        | 'daemon-fork'
        | 'listen_pid'
        | 'handshake'
        | 'no_new_privs'
        | 'ptrace';
    }
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
