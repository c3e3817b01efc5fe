// Runs test files on an addon that was built with AddressSanitizer and UndefinedBehaviorSanitizer, in a copy of this
// checkout, so that what is built here stays as it is. Arguments: test files; without any, those that start programs.
//
// What counts is what the sanitizers find in the addon, in any process of Node that the tests start: an error ends that
// process, and leaks are looked for at its end; Node and V8 leave a lot to the kernel, and that is theirs. Whether the tests
// pass is told, and does not count: the sanitizers' library is loaded into the programs that they start as well, and a
// program then has other memory, signals and system calls than some tests expect.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');
const DEFAULT = [
  'test/contract/native.test.ts',
  'test/native',
  'test/hook',
  'test/pidfile',
  'test/daemon',
  'test/ending',
  'test/soak/watcher.test.ts',
  'test/soak/stress.test.ts',
];

function stop(why) {
  console.error(`test:sanitize: NOT RUN: ${why}`);
  process.exit(process.env.VIRCOMMAND_SANITIZE === 'required' ? 1 : 0);
}

if (process.platform !== 'linux') stop('the native engine is for Linux');
const library = (name) => {
  const path = spawnSync('cc', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout?.trim() ?? '';
  return path.startsWith('/') && existsSync(path) ? path : undefined;
};
const asan = library('libasan.so');
if (asan === undefined || library('libubsan.so') === undefined) stop('the C compiler has no libasan and libubsan');

const helper = join(root, 'src/native/build/Release/vircommand-helper');
if (!existsSync(helper)) stop('there is no helper; run `npm run build:native` first');

const copy = mkdtempSync(join(tmpdir(), 'vircommand-sanitize-'));
let failed;
try {
  for (const name of [
    'src',
    'test',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'vitest.config.ts',
    '.ci',
    'docs',
    'README.md',
  ]) {
    if (existsSync(join(root, name)))
      cpSync(join(root, name), join(copy, name), { recursive: true, filter: (path) => !path.endsWith('/build') });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));

  const run = (program, ...words) =>
    execFileSync(program, words, { cwd: copy, stdio: ['ignore', 'inherit', 'inherit'] });
  run('npx', '--no-install', 'node-gyp', 'rebuild', '--silent', '-C', 'test/soak/sanitize');
  const release = join(copy, 'src/native/build/Release');
  mkdirSync(release, { recursive: true });
  copyFileSync(join(copy, 'test/soak/sanitize/build/Release/vircommand.node'), join(release, 'vircommand.node'));
  copyFileSync(helper, join(release, 'vircommand-helper'));
  chmodSync(join(release, 'vircommand-helper'), 0o755);
  // Programs that tests start import what is published.
  run('npm', 'run', '--silent', 'build');

  // A program that loads libraries while it runs can wait for ever in the sanitizers' start. `ps` is one, and is started
  // to find process trees: it goes without them.
  const programs = join(copy, 'programs');
  mkdirSync(programs);
  writeFileSync(join(programs, 'ps'), '#!/bin/sh\nunset LD_PRELOAD\nPATH=${PATH#*:} exec ps "$@"\n', { mode: 0o755 });

  const logs = join(copy, 'logs');
  mkdirSync(logs);
  const files = process.argv.length > 2 ? process.argv.slice(2) : DEFAULT;
  const { status } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...files.filter((file) => existsSync(join(copy, file)))],
    {
      cwd: copy,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        PATH: `${programs}:${process.env.PATH ?? ''}`,
        VIRCOMMAND_ENGINE: 'native',
        LD_PRELOAD: asan,
        // Only Node's processes write a log: `log_path` of a program that has no sanitizer says nothing.
        ASAN_OPTIONS: `detect_leaks=1:log_path=${join(logs, 'asan')}:log_exe_name=1`,
        UBSAN_OPTIONS: `print_stacktrace=1:log_path=${join(logs, 'ubsan')}`,
        LSAN_OPTIONS: 'exitcode=0',
      },
    },
  );

  const reports = readdirSync(logs).flatMap((name) =>
    readFileSync(join(logs, name), 'utf8').split(/\n\n(?=Direct leak|Indirect leak|=====)/),
  );
  // A leak is the addon's where it asked for the memory, itself or by one call of Node.
  const isOurs = (report) =>
    /^\s*#[0-2] .*\bnative\/(?:\w+\/)?\w+\.c:/m.test(report) ||
    /==node==\d+==ERROR: AddressSanitizer/.test(report) ||
    /native\/.*runtime error/.test(report);
  const ours = reports.filter(isOurs);
  for (const report of ours) console.error(report);
  console.error(
    `test:sanitize: ${ours.length} findings in the addon, ${reports.length - ours.length} elsewhere. The tests ${status === 0 ? 'passed' : 'did not all pass; see above'}.`,
  );
  failed = ours.length > 0;
} finally {
  rmSync(copy, { recursive: true });
}
process.exit(failed ? 1 : 0);
