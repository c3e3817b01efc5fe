import { describe, expect, test } from 'vitest';
import {
  type AnyCommand,
  Command,
  type Host,
  type LaunchMode,
  planLaunch,
  type Step,
  UsageError,
} from '../../src/index.js';
import type { Engine } from '../../src/engine/engine.js';
import { explainPlan } from '../../src/engine/explain.js';
import { stepNames } from '../../src/text/step-names.js';
import { hostWith } from '../helpers/host.js';

const plan = (command: AnyCommand, mode: LaunchMode = 'run', host = hostWith()) =>
  planLaunch(command.spec(), host, { mode });
const prog = () => new Command('/prog');

/** A command that says all that can be said at once of a program that is no daemon. */
const everything = () =>
  prog()
    .env('A', 1)
    .requireHandshake()
    .dieWithParent('SIGTERM')
    .noNewPrivileges()
    .workingDirectory('srv')
    .allowCap('CAP_KILL')
    .clearCaps()
    .user('joe')
    .appArmorProfile('profile')
    .selinuxLabel('label')
    .preExecHook(new URL('file:///hook.js'))
    .listenFds(0)
    .limit('nofile', 100, 'unlimited')
    .maxCoreSize(0)
    .runAmong(5)
    .oomScoreAdjust(-7)
    .nice(3)
    .umask(0)
    .newSession()
    .cgroup('/sys/fs/cgroup/x');

const BEGIN = [
  { step: 'sigaction', by: '' },
  {
    step: 'dup2',
    by: '',
    descriptors: [
      { childFd: 0, source: { kind: 'null' } },
      { childFd: 1, source: { kind: 'pipe', for: 'log' } },
      { childFd: 2, source: { kind: 'pipe', for: 'log' } },
    ],
  },
  { step: 'close_range', by: '', keep: [0, 1, 2] },
];
const END = [
  { step: 'sigprocmask', by: '' },
  { step: 'execve', by: '', path: '/prog' },
];

describe('the steps of the child', () => {
  test('are the same five for every program', () => {
    expect(plan(prog()).steps).toEqual([...BEGIN, ...END]);
  });

  test('stand in an order that lets each succeed', () => {
    expect(plan(everything()).steps).toEqual([
      { step: 'cgroup', by: 'cgroup', directory: '/sys/fs/cgroup/x' },
      { step: 'sigaction', by: '' },
      { step: 'setsid', by: 'newSession' },
      {
        step: 'dup2',
        by: '',
        descriptors: [...(BEGIN[1]?.descriptors ?? []), { childFd: 3, source: { kind: 'fd', fd: 0 } }],
      },
      { step: 'close_range', by: '', keep: [0, 1, 2, 3] },
      { step: 'umask', by: 'umask', mask: 0 },
      { step: 'setpriority', by: 'nice', nice: 3 },
      { step: 'oom_score_adj', by: 'oomScoreAdjust', score: -7 },
      { step: 'sched_core', by: 'runAmong', among: 5 },
      { step: 'hook', by: 'preExecHook', hook: { module: 'file:///hook.js' } },
      { step: 'listen_pid', by: 'listenFds' },
      { step: 'selinux', by: 'selinuxLabel', label: 'label' },
      { step: 'apparmor', by: 'appArmorProfile', label: 'profile' },
      { step: 'prlimit', by: 'limit', limit: { resource: 'nofile', soft: 100, hard: 'unlimited' } },
      { step: 'prlimit', by: 'limit', limit: { resource: 'core', soft: 0, hard: 0 } },
      { step: 'capbset_drop', by: 'clearCaps', keep: ['CAP_KILL'] },
      { step: 'setgroups', by: 'user', groups: [100, 4, 27] },
      { step: 'setgid', by: 'user', id: 100 },
      { step: 'setuid', by: 'user', id: 1000 },
      { step: 'capset', by: 'clearCaps', keep: ['CAP_KILL'] },
      { step: 'cap_ambient', by: 'allowCap', keep: ['CAP_KILL'] },
      { step: 'chdir', by: 'workingDirectory', path: '/work/srv' },
      { step: 'no_new_privs', by: 'noNewPrivileges' },
      { step: 'pdeathsig', by: 'dieWithParent', signal: 'SIGTERM' },
      { step: 'handshake', by: 'requireHandshake' },
      ...END,
    ]);
  });

  test('of a daemon begin with its session, its directory and its second fork, and lock the pidfile before the limits', () => {
    const daemon = prog()
      .daemonize()
      .newSession()
      .pidFile('run/p')
      .maxFiles(9)
      .outputFile('/log')
      .errorToOutput()
      .user('joe');
    const { steps, directory, mode, lane } = plan(daemon, 'daemon');
    const descriptors = [
      { childFd: 0, source: { kind: 'null' } },
      { childFd: 1, source: { kind: 'file', path: '/log', open: 'truncate' } },
      { childFd: 2, source: { kind: 'stdout' } },
    ];
    expect({ directory, mode, lane }).toEqual({ directory: '/', mode: 'daemon', lane: 'helper' });
    expect(steps).toEqual([
      { step: 'sigaction', by: '' },
      { step: 'setsid', by: 'daemonize' },
      { step: 'chdir', by: 'daemonize', path: '/' },
      { step: 'daemon-fork', by: 'daemonize' },
      { step: 'dup2', by: '', descriptors },
      { step: 'close_range', by: '', keep: [0, 1, 2] },
      { step: 'pidfile', by: 'pidFile', path: '/work/run/p' },
      { step: 'prlimit', by: 'limit', limit: { resource: 'nofile', soft: 9, hard: 9 } },
      { step: 'setgroups', by: 'user', groups: [100, 4, 27] },
      { step: 'setgid', by: 'user', id: 100 },
      { step: 'setuid', by: 'user', id: 1000 },
      ...END,
    ]);
  });

  test("are named in the list of all steps, and follow its order but for the daemon's directory", () => {
    const places = plan(everything()).steps.map(({ step }) => stepNames.indexOf(step));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test('take a process group only where no session was asked for', () => {
    const names = (command: AnyCommand) => plan(command).steps.map(({ step }) => step);
    expect(names(prog().processGroup())).toContain('setpgid');
    expect(names(prog().newSession())).not.toContain('setpgid');
  });

  test('take a group of its own for core scheduling', () => {
    expect(plan(prog().runAlone()).steps).toContainEqual({ step: 'sched_core', by: 'runAlone', among: undefined });
  });

  test('drop capabilities also where only some were allowed', () => {
    expect(
      plan(prog().allowCap('CAP_CHOWN'))
        .steps.filter(({ by }) => by === 'allowCap')
        .map(({ step }) => step),
    ).toEqual(['capbset_drop', 'capset', 'cap_ambient']);
    expect(plan(prog().clearCaps()).steps.filter(({ by }) => by === 'clearCaps')).toEqual([
      { step: 'capbset_drop', by: 'clearCaps', keep: [] },
      { step: 'capset', by: 'clearCaps', keep: [] },
    ]);
  });
});

describe('the ids', () => {
  const ids = (command: Command, host?: Host) =>
    plan(command, 'run', host).steps.flatMap((step) => {
      if (step.step === 'setgroups') return [[step.by, step.step, ...step.groups]];
      return step.step === 'setgid' || step.step === 'setuid' ? [[step.by, step.step, step.id]] : [];
    });
  const joe = [
    ['user', 'setgroups', 100, 4, 27],
    ['user', 'setgid', 100],
    ['user', 'setuid', 1000],
  ];

  test('are those of the user, by name and by number', () => {
    expect(ids(prog().user('joe'))).toEqual(joe);
    expect(ids(prog().user(1000))).toEqual(joe);
  });

  test("take the groups that were said in the place of the user's", () => {
    expect(ids(prog().user('joe').groups([]))).toEqual([['user', 'setgroups'], ...joe.slice(1)]);
    expect(ids(prog().user('joe').groups([5, 6]))).toEqual([['user', 'setgroups', 5, 6], ...joe.slice(1)]);
  });

  test('are the numbers that were said, with the groups of a user who is known by that number', () => {
    expect(ids(prog().uid(1000).gid(7))).toEqual([
      ['uid', 'setgroups', 7, 4, 27],
      ['uid', 'setgid', 7],
      ['uid', 'setuid', 1000],
    ]);
    expect(ids(prog().uid(55).gid(7))).toEqual([
      ['uid', 'setgroups', 7],
      ['uid', 'setgid', 7],
      ['uid', 'setuid', 55],
    ]);
    expect(ids(prog().gid(7))).toEqual([
      ['gid', 'setgroups', 7],
      ['gid', 'setgid', 7],
    ]);
    expect(ids(prog().uid(0).gid(0).groups([]))).toEqual([
      ['uid', 'setgroups'],
      ['uid', 'setgid', 0],
      ['uid', 'setuid', 0],
    ]);
  });

  test('can be groups alone', () => {
    expect(ids(prog().groups([1, 2]))).toEqual([['groups', 'setgroups', 1, 2]]);
  });

  test('are not looked up unless a user is named', () => {
    const host = hostWith({
      account: () => {
        throw new Error('nobody asked');
      },
    });
    expect(ids(prog().gid(7), host)).toHaveLength(2);
  });

  test.each([
    [
      'nobody-here',
      "user('nobody-here'): there is no user of that name on this machine; name another one, or give numbers with uid() and gid().",
    ],
    [
      4711,
      'user(4711): there is no user with that number on this machine, and so no group either; give both with uid() and gid().',
    ],
  ])('of a user %s, whom nobody knows, are a mistake', (user, sentence) => {
    const planning = () => plan(prog().user(user));
    expect(planning).toThrow(UsageError);
    expect(planning).toThrow(`Mistake in \`/prog\`: ${sentence}`);
  });
});

test('no limit is set that was not said, that of open files included', () => {
  const limits = (command: Command) =>
    plan(command).steps.flatMap((step) => (step.step === 'prlimit' ? [[step.by, step.limit]] : []));
  expect(limits(prog())).toEqual([]);
  expect(limits(prog().maxCoreSize(0).maxFiles(7))).toEqual([
    ['limit', { resource: 'core', soft: 0, hard: 0 }],
    ['limit', { resource: 'nofile', soft: 7, hard: 7 }],
  ]);
});

test('explain() shows no lane where the engine has none', () => {
  const text = explainPlan(plan(prog()), { ...engine, name: 'portable', usesLanes: false }, 'no other');
  expect(text).toContain('\n  engine       portable: no other\n  steps        1.  sigaction');
});

test.each([
  [
    'shared-memory',
    () => prog().umask(0).nice(1).maxFiles(5).newSession().dieWithParent().noNewPrivileges().workingDirectory('/srv'),
  ],
  ['helper', () => prog().gid(5)],
  ['helper', () => prog().groups([])],
  ['helper', () => prog().clearCaps()],
  ['helper', () => prog().requireHandshake()],
  ['shared-memory', () => prog().daemonize().outputFile('/log')],
  ['helper', () => prog().daemonize().pidFile('/run/p')],
  ['hook-runner', () => prog().preExecHook(() => 0)],
  [
    'hook-runner',
    () =>
      prog()
        .preExecHook(() => 0)
        .user('joe'),
  ],
] as const)('the lane is %s', (lane, command) => {
  expect(plan(command()).lane).toBe(lane);
});

test('planning is pure: the same spec on the same host gives the same plan, and changes neither', () => {
  const spec = everything().spec();
  const before = JSON.stringify(spec);
  const plans = [1, 2].map(() => planLaunch(spec, hostWith(), { mode: 'async' }));
  expect(plans[0]).toEqual(plans[1]);
  expect(JSON.stringify(spec)).toBe(before);
  expect(plans[0]?.spec).toBe(spec);
});

/** An engine of which only its name and its notes are asked. */
const engine = {
  name: 'native',
  usesLanes: true,
  note: ({ step }: Step) => (step === 'umask' ? 'in its own way' : undefined),
} as Engine;

test('explain() prints the plan for a person, without values of variables and without secrets', () => {
  const command = everything()
    .secretArg('hunter2')
    .arg('-v')
    .inputBuffer('hunter2')
    .outputFile('/log', { append: true })
    .errorToOutput()
    .env('B', 'hunter2');
  expect(explainPlan(plan(command, 'async'), engine, 'it is there')).toBe(`/prog '***' -v
  program      /prog
  arguments    2
  environment  exactly A, B, LISTEN_FDS
  directory    /work/srv
  descriptors  0 ← a pipe for a buffer
               1 ← append to '/log'
               2 ← the same open file as 1
               3 ← descriptor 0 of this process
               nothing else
  engine       native: it is there
  lane         hook runner: a Node process runs the hook; then the helper executes the steps after it, in a memory of its own
  steps        1.  cgroup        enters the control group /sys/fs/cgroup/x
               2.  sigaction     every signal back to its default action
               3.  setsid        a session of its own
               4.  dup2          places descriptors 0, 1, 2, 3
               5.  close_range   closes all but 0, 1, 2, 3
               6.  umask         umask 000 [in its own way]
               7.  setpriority   nice 3
               8.  oom_score_adj out-of-memory score -7
               9.  sched_core    the core-scheduling group of process 5
               10. hook          runs file:///hook.js
               11. listen_pid    sets LISTEN_PID to its own pid
               12. selinux       SELinux label label
               13. apparmor      AppArmor profile profile
               14. prlimit       nofile 100 (hard unlimited)
               15. prlimit       core 0 (hard 0)
               16. capbset_drop  drops from the bounding set all but CAP_KILL
               17. setgroups     groups 100, 4, 27
               18. setgid        gid 100
               19. setuid        uid 1000
               20. capset        capabilities CAP_KILL
               21. cap_ambient   ambient capabilities CAP_KILL
               22. chdir         /work/srv
               23. no_new_privs  gains no privileges by executing a file, for good
               24. pdeathsig     SIGTERM when this process dies
               25. handshake     waits until the caller lets it go
               26. sigprocmask   blocks no signal
               27. execve        /prog`);
});

test('explain() tells where a bare name was found, and that the rest is inherited', () => {
  expect(explainPlan(plan(new Command('prog').passFd(0, { as: 9 })), engine, 'it is there')).toContain(`prog
  program      /b/prog
               found in PATH after /a/prog
  arguments    0
  environment  inherited, 3 variables
  directory    this process's own
  descriptors  0 ← /dev/null
               1 ← a pipe; what comes is kept for the log
               2 ← a pipe; what comes is kept for the log
               9 ← descriptor 0 of this process
`);
  expect(explainPlan(plan(prog().envClear()), engine, 'it is there')).toContain('\n  environment  empty\n');
});
