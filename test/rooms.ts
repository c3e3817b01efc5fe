/** A folder of `src`, and files of it. */
export type Room = readonly [folder: string, files: readonly string[]];

/**
 * The rooms of `src` in the order in which to read them, and the files of each in theirs. It is also the law of the house: a
 * file imports only files that stand above it, so there are no circles and no way back up. A room may stand twice: what an engine
 * needs of it stands above the engines, and what needs an engine below.
 */
export const rooms: readonly Room[] = [
  [
    'text',
    [
      'reading',
      'bytes',
      'call-text',
      'capabilities',
      'duration',
      'errno',
      'signals',
      'step-names',
      'shown',
      'quote',
      'lines',
    ],
  ],
  ['spec', ['bare', 'late', 'spec']],
  ['errors', ['command-error', 'usage-error', 'output-error']],
  ['result', ['exit-status', 'tree-result', 'run-result', 'pipeline-result', 'chain']],
  [
    'errors',
    [
      'explanation',
      'exec-obstacle',
      'hook-failure',
      'launch-error',
      'exit-error',
      'unsupported-error',
      'pidfile-error',
      'process-error',
      'argument-error',
    ],
  ],
  ['native', ['binding', 'place', 'dependencies', 'load']],
  ['text', ['printf']],
  [
    'host',
    [
      'environment',
      'time',
      'permission',
      'accounts',
      'control-groups',
      'privileges',
      'process-table',
      'program-file',
      'obstacle',
      'host',
      'pidfd',
      'send-signal',
    ],
  ],
  ['io', ['capture', 'output-buffer', 'send-buffer', 'on-abort', 'pipe-stream', 'output-pipe', 'descriptor', 'owner']],
  ['terminal', ['size', 'device', 'played-device', 'terminal', 'foreground']],
  ['wire', ['encode', 'moves', 'pidfile-answer']],
  [
    'plan',
    [
      'program',
      'descriptors',
      'from-here',
      'ids',
      'step-table',
      'steps',
      'lane',
      'operations',
      'launch-plan',
      'environment',
      'plan-launch',
      'plan-again',
    ],
  ],
  ['hook', ['function', 'exchange', 'runner']],
  ['events', ['events']],
  ['pidfile', ['content', 'claim']],
  [
    'engine',
    [
      'engine',
      'diagnose',
      'drain',
      'explain',
      'here',
      'patience',
      'fifo',
      'redirections',
      'answer',
      'played',
      'dry-run',
      'portable/refusals',
      'portable/no-shell',
      'portable/socket-pair',
      'portable/load-execa',
      'portable/room',
      'portable/fifo-opener',
      'portable/make-pipes',
      'portable/process',
      'portable/engine',
      'native/scratch',
      'native/ends',
      'native/prepared-child',
      'native/helper-lane',
      'native/hook-lane',
      'native/stale-pidfile',
      'native/handshake',
      'native/watch',
      'native/process',
      'native/sync-process',
      'native/exec',
      'native/engine',
      'select',
    ],
  ],
  ['io', ['make-descriptors']],
  [
    'ending',
    [
      'bounded-map',
      'stop-sequence',
      'owned-children',
      'sent-kills',
      'adopt-orphans',
      'roots',
      'kill-painfully',
      'tree',
      'held-tree',
      'numbered-tree',
      'kill-tree',
      'process-handle',
    ],
  ],
  ['pidfile', ['lock', 'cleanup', 'program', 'open', 'pidfile']],
  [
    'builder',
    [
      'call-site',
      'wait-options',
      'given-away',
      'options',
      'draft',
      'clashes',
      'calls-of-spec',
      'spec-shape',
      'too-many',
    ],
  ],
  [
    'lines',
    ['line-options', 'line-splitter', 'lines', 'line-source', 'child-lines', 'wait-for-line', 'line-watch', 'patterns'],
  ],
  ['streams', ['source', 'destination', 'input-flow', 'output-flow', 'tee-files', 'flows']],
  [
    'running',
    [
      'stopping',
      'launch',
      'stop-in-time',
      'launch-with-hook',
      'outcome',
      'known-children',
      'child',
      'daemon-result',
      'daemon',
      'run-sync',
      'exec',
      'run-command',
    ],
  ],
  ['lines', ['command-lines', 'parser-options']],
  [
    'pipeline',
    ['stages', 'stage-signal', 'joints', 'launch-stages', 'run-stages-sync', 'outcome', 'pipeline-child', 'pipeline'],
  ],
  ['cassette', ['entry', 'hidden', 'recording', 'tape', 'cassette']],
  ['', ['command', 'testing', 'index']],
  ['bundled', ['dependencies', 'index', 'testing']],
];

/** No more doors than one can remember. */
export const MOST_FILES = 12;

/** Every file of a house, in its order. */
export function readingOrder(house: readonly Room[] = rooms): readonly string[] {
  return house.flatMap(([room, files]) => files.map((file) => `${room === '' ? '' : `${room}/`}${file}.ts`));
}

/**
 * Says, one sentence each, where files and their imports break the order.
 *
 * @param imports what each file imports from `src`; all paths are relative to `src`.
 */
export function orderViolations(imports: ReadonlyMap<string, readonly string[]>, order: readonly string[]): string[] {
  const violations: string[] = [];
  for (const [index, file] of order.entries()) {
    if (order.indexOf(file) !== index) violations.push(`'${file}' stands twice in test/rooms.ts. Remove one.`);
    if (!imports.has(file))
      violations.push(`'${file}' stands in test/rooms.ts, but src has no such file. Remove it there.`);
  }
  for (const [file, targets] of imports) {
    const place = order.indexOf(file);
    if (place === -1) {
      violations.push(`'${file}' is missing in test/rooms.ts. Put it into its room, below everything it imports.`);
      continue;
    }
    for (const target of targets) {
      if (!imports.has(target)) {
        violations.push(`'${file}' imports '${target}', which is no file of src. Correct the path.`);
      } else if (order.includes(target) && order.indexOf(target) >= place) {
        violations.push(
          `'${file}' imports '${target}', which does not stand above it in test/rooms.ts. ` +
            `Move what both need into a file above '${file}', or pass it in as an argument.`,
        );
      }
    }
  }
  return violations;
}

/** Names the rooms that have too many files, C and headers included, and the files that lie beside the rooms. */
export function roomViolations(files: readonly string[], most = MOST_FILES): string[] {
  const counts = new Map<string, number>();
  for (const file of files) {
    const room = file.includes('/') ? file.replace(/\/[^/]*$/, '') : '';
    counts.set(room, (counts.get(room) ?? 0) + 1);
  }
  const full = Array.from(counts, ([room, count]) =>
    count > most ? `'${room}' has ${count} files, more than ${most}. Divide it by subject.` : '',
  ).filter((sentence) => sentence !== '');
  const loose = files.filter((file) => !file.includes('/') && !['command.ts', 'testing.ts', 'index.ts'].includes(file));
  return [...full, ...loose.map((file) => `'${file}' lies in no room. Put it into the one of its subject.`)];
}
