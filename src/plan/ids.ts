import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import type { Host } from '../host/host.js';
import type { CommandSpec } from '../spec/spec.js';

/** The ids that a program shall have, and the method that asked for them. What is absent stays as it is. */
export interface Ids {
  readonly by: string;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly groups: readonly number[] | undefined;
}

/** @throws {UsageError} if the user is not known on this machine. */
export function resolveIds(spec: CommandSpec, host: Host, subject: Subject): Ids {
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
  if (gid === undefined)
    return { by: spec.groups === undefined ? '' : 'groups', uid: undefined, gid, groups: spec.groups };
  // As libvirt does: the groups of that user, with the group that was asked for in the place of the user's own.
  const account = uid === undefined ? undefined : host.account(uid);
  const groups =
    spec.groups ?? Array.from(new Set([gid, ...(account?.groups.filter((group) => group !== account.gid) ?? [])]));
  return { by: uid === undefined ? 'gid' : 'uid', uid, gid, groups };
}
