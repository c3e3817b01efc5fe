import { passCall } from './descriptors.js';
import type { Mistake } from './errors.js';
import { type CommandSpec, FIRST_LISTEN_FD, type LaunchMode } from './spec.js';

/** A pair of things that cannot both be so, and the calls that said them. */
interface Clash {
  readonly when: boolean;
  readonly call: string;
  readonly problem: string;
}

/** The mistakes that lie in no single call, but in two of them, or in how the command is run. */
export function combinationMistakes(spec: CommandSpec, mode: LaunchMode): Mistake[] {
  const clashes = [...privilegeClashes(spec), ...daemonClashes(spec, mode), ...runClashes(spec, mode), ...(mode === 'exec' ? execClashes(spec) : [])];
  return [...clashes.filter(({ when }) => when).map(({ call, problem }) => ({ call, problem })), ...descriptorMistakes(spec)];
}

function privilegeClashes({ user, uid, gid, newSession, processGroup }: CommandSpec): Clash[] {
  return [
    {
      when: uid !== undefined && gid === undefined && user === undefined,
      call: `uid(${String(uid)})`,
      problem: "without gid() the program would keep this process's group; say gid() too, or user(), which knows both",
    },
    {
      when: user !== undefined && (uid !== undefined || gid !== undefined),
      call: uid === undefined ? `gid(${String(gid)})` : `uid(${String(uid)})`,
      problem: 'user() sets uid and gid already; leave one of them out',
    },
    {
      when: newSession === true && processGroup === true,
      call: 'processGroup()',
      problem: 'a new session is a new process group already; leave one of newSession() and processGroup() out',
    },
  ];
}

function daemonClashes(spec: CommandSpec, mode: LaunchMode): Clash[] {
  const daemon = spec.daemonize === true;
  const usesBuffer = spec.stdin.from === 'buffer' || spec.stdout.to === 'buffer' || spec.stderr.to === 'buffer';
  return [
    {
      when: daemon && mode === 'async',
      call: 'runAsync()',
      problem: 'a daemon is not waited for; start it with run(), which resolves when it is running',
    },
    {
      when: daemon && usesBuffer,
      call: 'daemonize()',
      problem: 'a daemon outlives the buffers of this process; give it files, with inputFile(), outputFile() and errorFile(), or pipes',
    },
    {
      when: daemon && spec.workingDirectory !== undefined,
      call: `workingDirectory('${spec.workingDirectory ?? ''}')`,
      problem: "a daemon's working directory is '/'; leave the call out, and give it absolute paths",
    },
    {
      when: daemon && spec.processGroup === true,
      call: 'processGroup()',
      problem: 'a daemon has a session of its own, and so a process group; leave the call out',
    },
    {
      when: daemon && spec.dieWithParent !== undefined,
      call: `dieWithParent('${spec.dieWithParent ?? ''}')`,
      problem: 'a daemon outlives its parent; leave out this call or daemonize()',
    },
    ...(['timeoutMs', 'stopSequence', 'outputLimit', 'waitForOutputEnd'] as const).map((field) => ({
      when: daemon && spec[field] !== undefined,
      call: `${field === 'timeoutMs' ? 'timeout' : field}(…)`,
      problem: 'a daemon is not watched once it runs; leave the call out',
    })),
    {
      when: !daemon && spec.pidFile !== undefined,
      call: `pidFile('${spec.pidFile ?? ''}')`,
      problem: 'a pidfile is written for a daemon; say daemonize() too',
    },
  ];
}

function runClashes({ stdin, stdout, stderr, handshake }: CommandSpec, mode: LaunchMode): Clash[] {
  const unread = 'run() gives nobody the other end of the pipe; use runAsync(), or a buffer';
  return [
    { when: mode === 'run' && stdin.from === 'pipe', call: 'inputPipe()', problem: unread },
    { when: mode === 'run' && stdout.to === 'pipe', call: 'outputPipe()', problem: unread },
    { when: mode === 'run' && stderr.to === 'pipe', call: 'errorPipe()', problem: unread },
    {
      when: mode === 'run' && handshake === true,
      call: 'requireHandshake()',
      problem: 'with run() nobody could answer, and both sides would wait for ever; use runAsync()',
    },
  ];
}

/** What needs somebody who is still there when the program runs. */
function execClashes({ stdin, stdout, stderr, ...spec }: CommandSpec): Clash[] {
  const alone = 'exec() leaves nobody here to do that; leave the call out, or use run()';
  const fed = { pipe: 'inputPipe()', buffer: 'inputBuffer(…)' } as Readonly<Record<string, string>>;
  const read = (stream: 'output' | 'error') => ({ pipe: `${stream}Pipe()`, buffer: `${stream}Buffer()` }) as Readonly<Record<string, string>>;
  return [
    ...[fed[stdin.from], read('output')[stdout.to], read('error')[stderr.to]].map((call = '') => ({ when: call !== '', call, problem: alone })),
    { when: spec.timeoutMs !== undefined, call: 'timeout(…)', problem: alone },
    { when: spec.stopSequence !== undefined, call: 'stopSequence(…)', problem: alone },
    { when: spec.outputLimit !== undefined, call: 'outputLimit(…)', problem: alone },
    { when: spec.waitForOutputEnd === true, call: 'waitForOutputEnd()', problem: alone },
    { when: spec.handshake === true, call: 'requireHandshake()', problem: alone },
    { when: spec.daemonize === true, call: 'daemonize()', problem: 'exec() makes this process the program; leave one of the two out' },
    { when: spec.preExecHook !== undefined, call: 'preExecHook(…)', problem: 'exec() runs the program in this process; call the hook yourself before it' },
  ];
}

function descriptorMistakes(spec: CommandSpec): Mistake[] {
  const mistakes: Mistake[] = [];
  const sources = new Map<number, string>();
  const place = (as: number, call: string): void => {
    const earlier = sources.get(as);
    if (earlier === undefined) sources.set(as, call);
    else mistakes.push({ call, problem: `${earlier === call ? 'it was passed before' : `${earlier} gives the program a descriptor ${as} already`}; each number has one source` });
  };
  for (const [index, fd] of (spec.listenFds ?? []).entries()) place(FIRST_LISTEN_FD + index, `listenFds(${index === 0 ? '' : '…, '}${fd})`);
  for (const descriptor of spec.descriptors ?? []) place(descriptor.as, passCall(descriptor));
  return mistakes;
}
