import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { ProcessError } from '../errors/process-error.js';
import { native } from '../native/load.js';
import { errnoName } from '../text/errno.js';
import { AS_UTF8 } from '../spec/bare.js';

/** A user of this machine, as a launch needs to know one. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** All groups that the user is in, its own first. */
  readonly groups: readonly number[];
}

/** Asks the C library, which knows every name service; without the addon, the files that most machines have. */
export function account(nameOrUid: string | number): Account | undefined {
  if (typeof native === 'string') return accountInFiles(nameOrUid);
  const answer = native.binding.account(nameOrUid);
  if (answer === undefined) return undefined;
  if (typeof answer === 'number')
    throw new ProcessError(
      `The name service does not answer for the user ${inspect(nameOrUid)} (${errnoName(answer)}).`,
      {
        code: errnoName(answer),
        syscall: typeof nameOrUid === 'string' ? 'getpwnam_r' : 'getpwuid_r',
      },
    );
  const [name, uid, gid, ...groups] = answer;
  return { name, uid, gid, groups };
}

function accountInFiles(nameOrUid: string | number): Account | undefined {
  for (const [name = '', , uid, gid] of records('/etc/passwd')) {
    if (name !== nameOrUid && Number(uid) !== nameOrUid) continue;
    const others = records('/etc/group').filter(([, , , members = '']) => members.split(',').includes(name));
    return {
      name,
      uid: Number(uid),
      gid: Number(gid),
      groups: Array.from(new Set([Number(gid), ...others.map(([, , group]) => Number(group))])),
    };
  }
  return undefined;
}

function records(path: string): string[][] {
  return readFileSync(path, AS_UTF8)
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => line.split(':'));
}
