import { isAbsolute } from 'node:path';
import type { Subject } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import type { Host } from '../host/host.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, toBytes } from '../text/bytes.js';

export const textOf = (text: ByteText | undefined): string =>
  typeof text === 'string' ? text : toBytes(text ?? '').toString('latin1');

/** What `execvp` and libvirt fall back to where there is no PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';

export function findProgram(
  spec: CommandSpec,
  subject: Subject,
  host: Host,
): { file: string; tried: readonly string[] } {
  const program = textOf(spec.argv[0]);
  if (isAbsolute(program)) return { file: program, tried: [] };
  // A relative path is a path, as in a shell. It means this process's directory, not the one the program will start in.
  if (program.includes('/')) return { file: absolute(program, host), tried: [] };

  const tried: string[] = [];
  const inTheWay: string[] = [];
  for (const directory of (host.env['PATH'] ?? DEFAULT_PATH).split(':')) {
    // An empty entry means the current directory to a shell. A program that happens to lie there is not what was said.
    if (!isAbsolute(directory)) continue;
    const file = `${directory.replace(/\/+$/, '')}/${program}`;
    if (tried.includes(file)) continue;
    const kind = host.look(file);
    if (kind === 'executable') return { file, tried };
    tried.push(file);
    if (kind === 'not-executable') inTheWay.push(file);
  }
  const [first] = inTheWay;
  const errno = first === undefined ? 'ENOENT' : 'EACCES';
  const obstacle = first === undefined ? undefined : host.obstacle?.(first);
  throw new LaunchError(subject, {
    step: 'path-search',
    errno,
    path: program,
    tried: errno === 'EACCES' ? inTheWay : tried,
    ...(obstacle === undefined ? {} : { obstacle }),
  });
}

export function plannedDirectory(spec: CommandSpec, host: Host): string | undefined {
  if (spec.daemonize === true) return '/';
  if (spec.workingDirectory === undefined) return undefined;
  return absolute(spec.workingDirectory, host);
}

// The directory is asked for only where it matters: it may have been removed, and then asking fails.
export function absolute(path: string, host: Host): string {
  return isAbsolute(path) ? path : `${host.cwd().replace(/\/$/, '')}/${path.replace(/^(?:\.\/+)+/, '')}`;
}
