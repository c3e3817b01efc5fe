// Runs the contract suite of both engines, and the tests of the native engine, on other versions of Node.
// `npm run test:matrix -- [version …]`; default: 22 24 26. Each comes as the npm package `node`, into .cache/node.
// The addon is the one that was built: its interface to Node is the same for all of them.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const versions = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26'];
const suites = [
  'test/contract/',
  'test/native/',
  'test/hook/',
  'test/pidfile/',
  'test/daemon/',
  'test/ending/',
  'test/package/examples',
  'test/package/package.test.ts',
];

let failed = 0;
for (const version of versions) {
  const prefix = `${root}.cache/node/${version}`;
  const bin = `${prefix}/node_modules/node/bin`;
  if (!existsSync(`${bin}/node`))
    execFileSync('npm', ['i', '--prefix', prefix, '--no-audit', '--no-fund', '--loglevel=error', `node@${version}`], {
      stdio: 'inherit',
    });
  const node = `${bin}/node`;
  console.log(`\n${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()}`);
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` };
  const { status } = spawnSync(node, [`${root}node_modules/vitest/vitest.mjs`, 'run', ...suites], {
    cwd: root,
    env,
    stdio: 'inherit',
  });
  if (status !== 0) failed += 1;
}
if (failed > 0) {
  console.error(`${failed} of ${versions.length} versions failed.`);
  process.exit(1);
}
