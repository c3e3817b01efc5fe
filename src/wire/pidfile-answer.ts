import type { PidFileProblem } from '../errors/pidfile-error.js';
import { programNameOf } from '../host/process-table.js';
import { errnoName } from '../text/errno.js';

/** The calls by which a pidfile is acquired, as `enum pidfile_call` of pidfile.h numbers them. */
const CALLS = ['open', 'fstat', 'fcntl', 'lstat', 'ftruncate', 'write', 'fsync'] as const;

/** What stands beside them in pidlock.h. */
const OTHER_CALLS: ReadonlyMap<number, string> = new Map([
  [-100, 'pthread_create'],
  [-101, 'close_range'],
]);

/** The process that holds a pidfile; 0: one that cannot be seen from here. */
export function holderOf(pid: number): NonNullable<PidFileProblem['heldBy']> {
  return pid > 0 ? { pid, command: programNameOf(pid) } : { pid: undefined, command: undefined };
}

/** What `pidfile_acquire()` of pidfile.h has met, from its errno and its detail. */
export function acquireProblem(number: number, detail: number): PidFileProblem {
  const errno = errnoName(number);
  if (errno === 'EAGAIN' && detail > 0) return { heldBy: holderOf(detail) };
  if (errno === 'EAGAIN' && detail === 0) return { heldBy: holderOf(0), errno };
  const syscall = OTHER_CALLS.get(detail) ?? CALLS[-1 - detail] ?? 'open';
  return errno === 'EINVAL' && syscall === 'fstat'
    ? { isNot: 'regular', errno }
    : { action: 'written', errno, syscall };
}
