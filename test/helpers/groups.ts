import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { eventually } from './tools.js';

/** A control group, gone after the test; nothing where this process may not make one. */
export function makeControlGroup(name: string): string | undefined {
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/self/mounts', 'utf8'))?.[1];
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  if (mount === undefined || own === undefined) return undefined;
  const directory = `${mount}${own === '/' ? '' : own}/${name}`;
  try {
    mkdirSync(directory);
  } catch {
    // It is read-only, or another user's.
    return undefined;
  }
  onTestFinished(async () => {
    await eventually('the control group is empty', () => readFileSync(`${directory}/cgroup.procs`, 'utf8') === '');
    rmdirSync(directory);
  });
  return directory;
}
