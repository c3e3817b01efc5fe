import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { isRoot } from '../helpers/tools.js';
import { has, here } from './tools.js';

/**
 * Every system call of a launch that can fail is made to fail, once, by strace, in another process. Whatever it is: the
 * launch ends in one error that names the step, and leaves nothing behind; the next one goes well.
 */
interface Fault {
  /** The kind of command: see programs/fault.js. */
  readonly kind: string;
  /** The call, its errno, and which call of a thread it is, if not the first; several, where one fault must meet another. */
  readonly inject: readonly string[];
  /** See programs/fault.js. */
  readonly words?: readonly ('cold' | 'sacrifice')[];
  /** How the launch ends, in short. */
  readonly expected: string;
  /** Pidfiles that stay. Of processes, none may. */
  readonly leaves?: readonly string[];
}

/** Needs root: what it does is not allowed to others in the first place. */
const asRoot: readonly Fault[] = [
  { kind: 'ids', inject: ['prctl:error=EPERM'], expected: 'LaunchError capbset_drop EPERM' },
  { kind: 'ids', inject: ['setgroups:error=EPERM'], expected: 'LaunchError setgroups EPERM' },
  { kind: 'ids', inject: ['setresgid:error=EPERM'], expected: 'LaunchError setgid EPERM' },
  { kind: 'ids', inject: ['setresuid:error=EAGAIN'], expected: 'LaunchError setuid EAGAIN' },
  { kind: 'ids', inject: ['getresuid:error=EFAULT'], expected: 'LaunchError setuid EFAULT' },
  { kind: 'daemon-ids', inject: ['prctl:error=EPERM'], expected: 'LaunchError capbset_drop EPERM' },
  { kind: 'daemon-ids', inject: ['setgroups:error=EPERM'], expected: 'LaunchError setgroups EPERM' },
  { kind: 'daemon-ids', inject: ['setresgid:error=EPERM'], expected: 'LaunchError setgid EPERM' },
  { kind: 'daemon-ids', inject: ['setresuid:error=EAGAIN'], expected: 'LaunchError setuid EAGAIN' },
  { kind: 'daemon-ids', inject: ['capset:error=EPERM'], expected: 'LaunchError capset EPERM' },
];

const faults: readonly Fault[] = [
  // In the parent, before there is a child.
  { kind: 'plain', inject: ['pipe2:error=EMFILE'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'captured', inject: ['pipe2:error=ENFILE:when=2'], expected: 'LaunchError pipe ENFILE' },
  { kind: 'piped', inject: ['pipe2:error=EMFILE:when=3'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'helper', inject: ['pipe2:error=EMFILE:when=4'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'handshake', inject: ['pipe2:error=EMFILE:when=3'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'helper', inject: ['memfd_create:error=EMFILE'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'helper', inject: ['write:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'helper', inject: ['write:error=EINTR'], expected: 'none' },
  { kind: 'plain', inject: ['clone:error=EAGAIN'], expected: 'LaunchError clone EAGAIN' },
  { kind: 'piped', inject: ['clone:error=ENOMEM'], expected: 'LaunchError clone ENOMEM' },
  { kind: 'helper-piped', inject: ['clone:error=EMFILE'], expected: 'LaunchError clone EMFILE' },
  { kind: 'plain-daemon', inject: ['clone:error=EAGAIN'], expected: 'LaunchError clone EAGAIN' },
  { kind: 'daemon', inject: ['clone:error=EAGAIN'], expected: 'LaunchError clone EAGAIN' },
  { kind: 'sync', inject: ['clone:error=EAGAIN'], expected: 'LaunchError clone EAGAIN' },
  // In the child, each step.
  {
    kind: 'plain-daemon',
    inject: ['clone:error=EAGAIN'],
    words: ['sacrifice'],
    expected: 'LaunchError daemon-fork EAGAIN',
  },
  { kind: 'daemon', inject: ['clone:error=EAGAIN'], words: ['sacrifice'], expected: 'LaunchError daemon-fork EAGAIN' },
  { kind: 'steps', inject: ['setsid:error=EPERM'], expected: 'LaunchError setsid EPERM' },
  { kind: 'group', inject: ['setpgid:error=EPERM'], expected: 'LaunchError setpgid EPERM' },
  { kind: 'terminal', inject: ['setsid:error=EPERM'], expected: 'LaunchError setsid EPERM' },
  { kind: 'terminal', inject: ['dup3:error=EMFILE'], expected: 'LaunchError dup2 EMFILE' },
  { kind: 'plain', inject: ['dup3:error=EMFILE'], expected: 'LaunchError dup2 EMFILE' },
  { kind: 'captured', inject: ['dup3:error=EBUSY:when=3'], expected: 'LaunchError dup2 EBUSY' },
  { kind: 'piped', inject: ['close_range:error=ENOMEM'], expected: 'LaunchError close_range ENOMEM' },
  { kind: 'steps', inject: ['setpriority:error=EACCES'], expected: 'LaunchError setpriority EACCES' },
  { kind: 'steps', inject: ['prlimit64:error=EPERM'], expected: 'LaunchError prlimit EPERM' },
  {
    kind: 'group',
    inject: ['openat:error=EACCES'],
    words: ['sacrifice'],
    expected: 'LaunchError oom_score_adj EACCES',
  },
  { kind: 'steps', inject: ['chdir:error=EIO'], expected: 'LaunchError chdir EIO' },
  { kind: 'steps', inject: ['prctl:error=EINVAL'], expected: 'LaunchError no_new_privs EINVAL' },
  { kind: 'steps', inject: ['prctl:error=EINVAL:when=2'], expected: 'LaunchError pdeathsig EINVAL' },
  ...['EACCES', 'E2BIG', 'ENOEXEC', 'EIO'].map((errno) => ({
    kind: 'captured',
    inject: [`execve:error=${errno}`],
    expected: `LaunchError execve ${errno}`,
  })),
  { kind: 'piped', inject: ['execve:error=ENOMEM'], expected: 'LaunchError execve ENOMEM' },
  // Of a daemon too: in shared memory, and for the helper before the pidfile and after it.
  ...(['plain-daemon', 'daemon', 'daemon-handshake'] as const).flatMap((kind): Fault[] => [
    { kind, inject: ['setsid:error=EPERM'], expected: 'LaunchError setsid EPERM' },
    { kind, inject: ['chdir:error=EIO'], expected: 'LaunchError chdir EIO' },
    { kind, inject: ['dup3:error=EMFILE'], expected: 'LaunchError dup2 EMFILE' },
    { kind, inject: ['close_range:error=ENOMEM'], expected: 'LaunchError close_range ENOMEM' },
    { kind, inject: ['setpriority:error=EACCES'], expected: 'LaunchError setpriority EACCES' },
    { kind, inject: ['prctl:error=EINVAL'], expected: 'LaunchError no_new_privs EINVAL' },
    { kind, inject: ['execve:error=ENOEXEC'], expected: 'LaunchError execve ENOEXEC' },
  ]),
  { kind: 'plain-daemon', inject: ['prlimit64:error=EPERM'], expected: 'LaunchError prlimit EPERM' },
  { kind: 'daemon', inject: ['execve:error=ENOEXEC:when=2'], expected: 'LaunchError execve ENOEXEC' },
  { kind: 'daemon-handshake', inject: ['execve:error=ENOEXEC:when=2'], expected: 'LaunchError execve ENOEXEC' },
  { kind: 'sync', inject: ['execve:error=ENOEXEC'], expected: 'LaunchError execve ENOEXEC' },
  // The helper: it cannot be executed, cannot read its plan, and one of its steps fails.
  { kind: 'helper', inject: ['execve:error=ENOMEM'], expected: 'LaunchError execve ENOMEM' },
  { kind: 'helper-piped', inject: ['execve:error=EACCES:when=2'], expected: 'LaunchError execve EACCES' },
  { kind: 'helper-piped', inject: ['pread64:error=EIO'], expected: 'LaunchError clone EIO' },
  { kind: 'helper-piped', inject: ['capset:error=EPERM'], expected: 'LaunchError capset EPERM' },
  { kind: 'sync-helper', inject: ['capset:error=EPERM'], expected: 'LaunchError capset EPERM' },
  { kind: 'daemon-helper', inject: ['capset:error=EPERM'], expected: 'LaunchError capset EPERM' },
  { kind: 'handshake', inject: ['execve:error=ENOEXEC:when=2'], expected: 'LaunchError execve ENOEXEC' },
  // A daemon's pidfile.
  { kind: 'daemon', inject: ['openat:error=EROFS'], words: ['sacrifice'], expected: 'PidFileError EROFS' },
  { kind: 'daemon', inject: ['newfstatat:error=EIO:when=2'], expected: 'PidFileError EIO', leaves: ['a.pid'] },
  // Without the lock the file may be somebody else's, and stays.
  { kind: 'daemon', inject: ['fcntl:error=ENOLCK:when=7'], expected: 'PidFileError ENOLCK', leaves: ['a.pid'] },
  { kind: 'daemon', inject: ['ftruncate:error=EIO'], expected: 'PidFileError EIO' },
  { kind: 'daemon', inject: ['write:error=ENOSPC'], words: ['sacrifice'], expected: 'PidFileError ENOSPC' },
  { kind: 'daemon', inject: ['write:error=EDQUOT'], words: ['sacrifice'], expected: 'PidFileError EDQUOT' },
  { kind: 'daemon', inject: ['fsync:error=EIO'], expected: 'PidFileError EIO' },
  { kind: 'daemon-helper', inject: ['ftruncate:error=EIO'], expected: 'PidFileError EIO' },
  // In the parent, when there is a child: it is looked after, or ended and reaped.
  { kind: 'captured', inject: ['epoll_create1:error=EMFILE'], words: ['cold'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'captured', inject: ['eventfd2:error=EMFILE'], words: ['cold'], expected: 'LaunchError pipe EMFILE' },
  { kind: 'captured', inject: ['epoll_ctl:error=ENOMEM'], words: ['cold'], expected: 'LaunchError pipe ENOMEM' },
  { kind: 'captured', inject: ['epoll_ctl:error=ENOSPC:when=2'], words: ['cold'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'plain', inject: ['epoll_ctl:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'captured', inject: ['epoll_ctl:error=ENOMEM:when=3'], expected: 'LaunchError pipe ENOMEM' },
  { kind: 'piped', inject: ['epoll_ctl:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'helper-piped', inject: ['epoll_ctl:error=ENOSPC:when=2'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'sync', inject: ['epoll_ctl:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'handshake', inject: ['epoll_ctl:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  // Beside this thread: where the other one cannot be made, or cannot go on, this one launches. Calls are counted for each thread.
  { kind: 'beside', inject: ['socketpair:error=EMFILE'], words: ['cold'], expected: 'none' },
  { kind: 'beside', inject: ['clone:error=EAGAIN'], expected: 'none' },
  { kind: 'beside', inject: ['clone:error=EAGAIN:when=1..2'], expected: 'LaunchError clone EAGAIN' },
  { kind: 'beside', inject: ['close_range:error=ENOMEM'], expected: 'LaunchError close_range ENOMEM' },
  { kind: 'beside', inject: ['pidfd_open:error=ENFILE'], expected: 'none' },
  { kind: 'beside', inject: ['pidfd_getfd:error=ENFILE'], expected: 'none' },
  { kind: 'beside', inject: ['pidfd_getfd:error=ENFILE:when=3'], expected: 'none' },
  { kind: 'beside', inject: ['fcntl:error=EMFILE'], expected: 'none' },
  { kind: 'beside', inject: ['fcntl:error=EMFILE:when=2'], expected: 'none' },
  { kind: 'beside', inject: ['dup3:error=EMFILE'], expected: 'LaunchError dup2 EMFILE' },
  { kind: 'beside', inject: ['execve:error=EACCES'], expected: 'LaunchError execve EACCES' },
  { kind: 'beside', inject: ['sendmsg:error=ETOOMANYREFS'], expected: 'none' },
  // The thread's first question for a pidfd is asked again; this thread's is answered at another number.
  { kind: 'beside', inject: ['sendmsg:error=ETOOMANYREFS', 'pidfd_open:error=EMFILE'], expected: 'none' },
  { kind: 'beside', inject: ['recvfrom:error=EINTR', 'recvmsg:error=EINTR'], expected: 'none' },
  { kind: 'beside', inject: ['epoll_ctl:error=ENOSPC'], expected: 'LaunchError pipe ENOSPC' },
  { kind: 'beside', inject: ['ppoll:error=EINTR'], expected: 'none' },
  // A signal that comes at the wrong moment changes nothing.
  { kind: 'plain', inject: ['waitid:error=EINTR'], expected: 'none' },
  {
    kind: 'plain',
    inject: ['execve:error=EACCES', 'waitid:error=EINTR:when=1..3'],
    expected: 'LaunchError execve EACCES',
  },
  { kind: 'sync', inject: ['waitid:error=EINTR'], expected: 'none' },
];

interface Outcome {
  readonly name: string;
  readonly step?: string;
  readonly errno?: string;
  readonly message?: string;
}

interface Balance {
  readonly before: object;
  readonly after: object;
  readonly end: object;
  readonly left: readonly string[];
  readonly again: unknown;
}

/** A process that launches one kind of command. It takes one fault after the other. */
class Launcher {
  readonly #program: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;
  readonly #directory = mkdtempSync(join(tmpdir(), 'vircommand-fault-'));

  constructor(kind: string, temperature: 'cold' | 'warm') {
    const env = { ...process.env, VIRCOMMAND_ENGINE: 'native' };
    this.#program = spawn(process.execPath, [here('../programs/fault.js'), kind, this.#directory, temperature], {
      env,
    });
    this.#lines = createInterface({ input: this.#program.stdout })[Symbol.asyncIterator]();
    this.#errors = this.#program.stderr.toArray().then((pieces) => Buffer.concat(pieces as Buffer[]).toString());
  }

  /** What a launch comes to while calls of it fail, and what is there afterwards. */
  async fail({ inject, words = [] }: Fault): Promise<{ outcome: Outcome; balance: Balance }> {
    expect(await this.#next()).toBe('ready');
    const calls = inject.flatMap((call) => ['-e', `inject=${call.includes(':when=') ? call : `${call}:when=1`}`]);
    const tracer = spawn('strace', ['-f', '-o', '/dev/null', '-p', String(this.#program.pid), ...calls]);
    let outcome: Outcome;
    try {
      await attached(tracer);
      this.#program.stdin.write(words.includes('sacrifice') ? 's' : 'x');
      outcome = (await this.#next()) as Outcome;
    } finally {
      tracer.kill('SIGTERM');
      await once(tracer, 'close');
    }
    this.#program.stdin.write('x');
    return { outcome, balance: (await this.#next()) as Balance };
  }

  async end(): Promise<void> {
    if (this.#program.exitCode === null && this.#program.signalCode === null) {
      this.#program.kill('SIGKILL');
      await once(this.#program, 'close');
    }
    rmSync(this.#directory, { recursive: true });
  }

  async #next(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`The launching process died: ${await this.#errors}`);
    return JSON.parse(value);
  }
}

async function attached(tracer: ChildProcessWithoutNullStreams): Promise<void> {
  for await (const line of createInterface({ input: tracer.stderr })) {
    if (line.includes(' attached')) return;
    throw new Error(line);
  }
}

const short = ({ name, step, errno }: Outcome): string =>
  [name, step, errno].filter((word) => word !== undefined).join(' ');

describe.concurrent('a launch of which a system call fails', () => {
  let missing: string | undefined;
  beforeAll(async () => {
    const native = loadNative();
    if (typeof native === 'string') missing = native;
    else if (!has('strace')) missing = 'there is no strace';
    else missing = await whyNot();
  });

  /** Processes that wait for their next fault, by the kind of command that they launch. One that failed a test gets none. */
  const idle = new Map<string, Launcher[]>();
  const all: Launcher[] = [];
  afterAll(async () => {
    for (const launcher of new Set(all)) await launcher.end();
  });

  const cases = isRoot ? [...asRoot, ...faults] : faults;
  test.for(
    cases.map((fault) => [fault.kind, fault.inject.join(' and '), fault.words?.join(' ') ?? 'warm', fault] as const),
  )(
    '%s, %s, %s: one error names it, nothing is left behind, and the next launch goes well',
    async ([, , , fault], { expect, skip }) => {
      if (missing !== undefined) skip(missing);
      const isCold = fault.words?.includes('cold') === true;
      const launcher =
        (isCold ? undefined : idle.get(fault.kind)?.pop()) ?? new Launcher(fault.kind, isCold ? 'cold' : 'warm');
      all.push(launcher);
      const { outcome, balance } = await launcher.fail(fault);
      expect(short(outcome), outcome.message).toBe(fault.expected);
      expect(balance.left, 'pidfiles').toEqual(fault.leaves ?? []);
      expect(balance.again).toBe('ran');
      // A watcher that was made by a launch that failed afterwards stays, as after any launch.
      if (isCold) expect(balance.after).toMatchObject({ children: fault.kind === 'beside' ? 1 : 0, zombies: 0 });
      else expect(balance.after).toEqual(balance.before);
      expect(balance.end).toEqual(balance.before);
      if (!isCold) idle.set(fault.kind, [...(idle.get(fault.kind) ?? []), launcher]);
    },
  );
});

/** Why calls cannot be made to fail here; `undefined` if they can. */
async function whyNot(): Promise<string | undefined> {
  const program = spawn(process.execPath, ['-e', 'process.stdin.resume()']);
  const tracer = spawn('strace', [
    '-f',
    '-o',
    '/dev/null',
    '-p',
    String(program.pid),
    '-e',
    'inject=clone:error=EAGAIN:when=1',
  ]);
  try {
    await attached(tracer);
    return undefined;
  } catch (error) {
    return `strace cannot make calls fail here: ${(error as Error).message}`;
  } finally {
    tracer.kill('SIGTERM');
    program.kill('SIGKILL');
    await once(program, 'close');
  }
}
