import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (file: string) => fileURLToPath(new URL(`src/${file}`, import.meta.url));

/**
 * Tests run on the source. The engine under test is the one `VIRCOMMAND_ENGINE` names, or the
 * library's own choice: `npm run test:portable` runs the same files on the portable engine.
 */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^vircommand$/, replacement: source('index.ts') },
      { find: /^vircommand\/testing$/, replacement: source('testing.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    // A process per file: descriptors, children and signal handlers are counted per process.
    pool: 'forks',
    // Most of the time is spent waiting for processes, so that one worker less than there are processors leaves them idle.
    maxWorkers: Math.max(2, availableParallelism()),
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    globalSetup: './test/helpers/nothing-left.ts',
    setupFiles: ['./test/helpers/mark.ts', './test/helpers/surroundings.ts'],
    reporters: ['default', './test/helpers/skip-reporter.ts'],
  },
});
