import { describe, expect, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { nodeFixture } from '../helpers/tools.js';
import { setting } from './tools.js';

useNativeEngine();

/**
 * Between two calls of the addon a thread may be terminated: then no line of its JavaScript runs any more, and what only
 * JavaScript knew of would be lost. child_process loses nothing there either: its handles are closed with the thread.
 */
describe('workers that are terminated at random moments while they launch', () => {
  const WORKERS = setting('VIRCOMMAND_TERMINATED_WORKERS', 15);

  interface Report {
    readonly counts: Readonly<Record<string, boolean>>;
    readonly before: Readonly<Record<string, number>>;
    readonly after: Readonly<Record<string, number>>;
    readonly errors: string;
  }

  test.for<[string]>([
    ['shared memory'],
    ['shared memory, with pipes for the caller'],
    ['shared memory, with files'],
    ['helper'],
    ['helper, with a handshake'],
    ['hook'],
    ['daemon'],
    ['daemon, with a handshake'],
    ['terminal'],
    ['terminal, captured'],
    ['runSync'],
    ['runSync in the helper'],
    ['a launch that fails'],
    ['killTree'],
  ])('leave no child, no zombie, no descriptor, and no warning of Node: %s', { timeout: 300_000 }, async ([way]) => {
    const { stdout } = await nodeFixture('terminate-workers.js', way, String(WORKERS))
      .outputBuffer()
      .errorBuffer()
      .run();
    const { counts, before, after, errors } = JSON.parse(stdout) as Report;
    expect(Object.entries(counts).filter(([, counted]) => !counted)).toEqual([]);
    expect({ ...after, errors }).toEqual({ ...before, errors: '' });
    expect([after['children'], after['zombies']]).toEqual([0, 0]);
  });
});
