import { resolve } from 'node:path';
import { accessDenied } from '../errors/explanation.js';

/** Node's permission model, where the process was started with `--permission`. It is read once: what it denies stays denied. */
const permission = Object.hasOwn(process, 'permission')
  ? (process as { permission?: { has(scope: string, reference?: string): boolean } }).permission
  : undefined;

/** The error that `child_process` throws where no child processes are allowed. The addon is not asked by Node, so it asks. */
export function launchDenial(): Error | undefined {
  return permission === undefined || permission.has('child') ? undefined : accessDenied('ChildProcess', '');
}

/** The error that `fs` throws where a file may not be written. What the addon writes by its path is asked for here. */
export function writeDenial(path: string): Error | undefined {
  if (permission === undefined) return undefined;
  let resource: string;
  try {
    resource = resolve(path);
  } catch {
    // The path begins in this process's directory, and that was removed: nothing can be written there.
    return undefined;
  }
  return permission.has('fs.write', resource) ? undefined : accessDenied('FileSystemWrite', resource);
}
