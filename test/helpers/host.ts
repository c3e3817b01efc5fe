import type { Host } from '../../src/index.js';

/** A machine of which we know everything. It fails at any question that is not to be asked. */
export function hostWith(changes: Partial<Host> = {}): Host {
  return Object.freeze({
    env: Object.freeze({ PATH: '/a:/b', HOME: '/root', EMPTY: '', UNSET: undefined }),
    cwd: () => '/work',
    look: (path: string) => (path === '/b/prog' ? 'executable' : 'missing'),
    account: (user: string | number) =>
      user === 'joe' || user === 1000 ? { name: 'joe', uid: 1000, gid: 100, groups: [100, 4, 27] } : undefined,
    ...changes,
  });
}
