// The rows: what is measured, with whom, how often, and which number of a trial counts.
//
// `kind` is what a trial does (trial/main.js); `parent` makes its process large, and `steps` are what the launch asks for: the variant
// `plain` has neither. `seconds` is about what one trial takes, for the time left. `quick` stands in for the rest under `--quick`.

const ALL = ['floor', 'vircommand', 'portable', 'child_process', 'execa', 'tinyexec', 'nano-spawn', 'bun', 'deno'];
const PROCESSES = ALL.filter((name) => name !== 'floor');

const us = { read: (trial) => trial.us, unit: 'us' };

/** The rows by their names; `bin` is where the C programs lie. */
export function rowsOf({ bin, quick }) {
  const captureMiB = quick ? 100 : 400;
  const burst = quick ? 480 : 2000;
  const launch = { kind: 'latency', program: '/bin/true', warmUp: 20, iterations: 150, rounds: 7, seconds: 0.5, ...us };
  const shortly = { iterations: 60, rounds: 3 };

  const rows = {
    start: {
      title: 'A whole process that captures one echo',
      kind: 'process',
      rounds: 15,
      quick: { rounds: 5 },
      seconds: 0.13,
      rivals: ['empty', 'vircommand', 'portable', 'child_process', 'execa', 'tinyexec', 'nano-spawn', 'bun', 'deno'],
      ...us,
    },
    import: {
      title: 'Import',
      kind: 'import',
      rounds: 15,
      quick: { rounds: 5 },
      seconds: 0.12,
      rivals: ['vircommand', 'child_process', 'execa', 'tinyexec', 'nano-spawn'],
      ...us,
    },
    true: { ...launch, title: 'Launch and wait: /bin/true', rivals: ALL, quick: shortly },
    steady: {
      ...launch,
      title: 'Launch and wait: /bin/true, after 2,000 launches',
      warmUp: 2000,
      rounds: 5,
      quick: { ...shortly, rounds: 2 },
      seconds: 2.5,
      rivals: ['floor', 'vircommand', 'child_process', 'execa', 'bun', 'deno'],
    },
    noop: {
      ...launch,
      title: 'Launch and wait: a static program',
      program: `${bin}/noop`,
      needs: ['cc'],
      quick: shortly,
      seconds: 0.4,
      rivals: ALL,
    },
    'steady-noop': {
      ...launch,
      title: 'Launch and wait: a static program, after 2,000 launches',
      program: `${bin}/noop`,
      needs: ['cc'],
      warmUp: 2000,
      rounds: 5,
      quick: { ...shortly, rounds: 2 },
      seconds: 1.2,
      rivals: ['floor', 'vircommand', 'bun'],
    },
    echo: {
      ...launch,
      title: 'Capture the output of echo',
      kind: 'echo',
      program: '/bin/echo',
      args: ['hello'],
      quick: shortly,
      rivals: ALL,
    },
    held: {
      ...launch,
      title: 'Event loop held per launch',
      kind: 'held',
      iterations: 120,
      quick: shortly,
      rivals: PROCESSES,
    },
    javascript: {
      title: 'JavaScript of a run, after 100 launches',
      kind: 'javascript',
      program: '/bin/true',
      warmUp: 100,
      iterations: 150,
      ages: quick ? 2000 : 4000,
      rounds: 5,
      quick: { rounds: 2 },
      seconds: 2.5,
      rivals: ['vircommand', 'again', 'prepared'],
      ...us,
    },
    'javascript-old': {
      title: `JavaScript of a run, after ${quick ? '2,000' : '4,000'} launches`,
      from: 'javascript',
      read: (trial) => trial.oldUs,
      unit: 'us',
    },
    prepared: {
      ...launch,
      title: 'Launch and wait: /bin/true, the same command again',
      warmUp: 100,
      quick: shortly,
      rivals: ['prepared', 'again', 'vircommand'],
    },
    ids: {
      ...launch,
      title: 'Launch as another user, without capabilities',
      steps: { uid: 65_534, gid: 65_534 },
      needs: ['root'],
      quick: shortly,
      rivals: ['vircommand', 'plain', 'child_process'],
    },
    cgroup: {
      ...launch,
      title: 'Launch into a control group',
      steps: { cgroup: true },
      needs: ['cgroup'],
      quick: shortly,
      rivals: ['vircommand', 'plain'],
    },
    descriptors: {
      ...launch,
      title: 'Launch from a parent with 1,000 open descriptors',
      parent: { descriptors: 1000 },
      quick: shortly,
      rivals: ['vircommand', 'plain', 'child_process', 'bun', 'deno'],
    },
    buffers: {
      ...launch,
      title: 'Launch from a parent with 4 GiB of Buffers',
      parent: { bufferMiB: 4096 },
      needs: ['memory'],
      // A launch that copies page tables takes so long that a few tell all.
      slow: { child_process: { warmUp: 3, iterations: 8 } },
      iterations: 60,
      rounds: 3,
      quick: { rounds: 1 },
      seconds: 2.5,
      rivals: ['vircommand', 'plain', 'child_process', 'bun', 'deno'],
    },
    heap: {
      ...launch,
      title: 'Launch from a parent with 512 MiB of objects',
      parent: { heapMiB: 512 },
      needs: ['memory'],
      iterations: 60,
      rounds: 3,
      quick: { rounds: 1 },
      seconds: 2.5,
      rivals: ['vircommand', 'plain', 'child_process'],
    },
    capture: {
      title: `Capture ${captureMiB} MiB`,
      kind: 'capture',
      program: `${bin}/writer`,
      args: [String(captureMiB)],
      bytes: captureMiB * 2 ** 20,
      needs: ['cc'],
      rounds: 5,
      quick: { rounds: 2 },
      seconds: quick ? 0.35 : 0.8,
      rivals: ALL,
      read: (trial) => trial.bytes / 2 ** 20 / trial.seconds,
      unit: 'MiB/s',
    },
    memory: {
      title: `Peak memory for ${captureMiB} MiB captured`,
      from: 'capture',
      without: ['floor'],
      read: (trial) => trial.peakBytes / trial.bytes,
      unit: 'x',
    },
    burst: {
      title: `${burst.toLocaleString('en-US')} commands, 8 at once`,
      kind: 'burst',
      program: '/bin/true',
      warmUp: 20,
      iterations: burst,
      inFlight: 8,
      rounds: 3,
      quick: { rounds: 2 },
      seconds: burst / 900,
      rivals: ALL,
      read: (trial) => trial.perSecond,
      unit: '/s',
    },
    build: {
      title: 'Build 20 arguments and the plan',
      kind: 'build',
      warmUp: 20,
      iterations: 30,
      rounds: 5,
      quick: { rounds: 3 },
      seconds: 0.4,
      rivals: ['vircommand'],
      ...us,
    },
  };
  return Object.fromEntries(
    Object.entries(rows).map(([name, { quick: less, ...row }]) => [name, { name, ...row, ...(quick ? less : {}) }]),
  );
}
