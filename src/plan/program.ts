import { Buffer } from 'node:buffer';
import { isAbsolute as isAbsolutePath } from 'node:path';
import type { Subject } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import type { Host } from '../host/host.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, fromBytes, isSameText, joinText, readable, toBytes } from '../text/bytes.js';

/** What `execvp` and libvirt fall back to where there is no PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';

export function findProgram(
  spec: CommandSpec,
  subject: Subject,
  host: Host,
): { file: ByteText; tried: readonly string[] } {
  const program = spec.argv.at(0) ?? '';
  // A relative path is a path, as in a shell. It means this process's directory, not the one the program will start in.
  if (isPath(program)) return { file: absolute(program, host), tried: [] };

  const tried: ByteText[] = [];
  const inTheWay: ByteText[] = [];
  for (const directory of entriesOf(pathOfHost(host))) {
    // An empty entry means the current directory to a shell. A program that happens to lie there is not what was said.
    if (!isAbsolute(directory)) continue;
    const file = joinText(withoutSlash(directory), '/', program);
    if (tried.some((other) => isSameText(other, file))) continue;
    const kind = host.look(file);
    if (kind === 'executable') return { file, tried: tried.map(readable) };
    tried.push(file);
    if (kind === 'not-executable') inTheWay.push(file);
  }
  const [first] = inTheWay;
  const errno = first === undefined ? 'ENOENT' : 'EACCES';
  const obstacle = first === undefined ? undefined : host.obstacle?.(first);
  throw new LaunchError(subject, {
    step: 'path-search',
    errno,
    path: readable(program),
    tried: (errno === 'EACCES' ? inTheWay : tried).map(readable),
    ...(obstacle === undefined ? {} : { obstacle }),
  });
}

/** Whether PATH has a program of that name. */
export const isInPath = (name: string, host: Host): boolean =>
  entriesOf(pathOfHost(host)).some(
    (directory) => isAbsolute(directory) && host.look(joinText(withoutSlash(directory), '/', name)) === 'executable',
  );

function pathOfHost(host: Host): ByteText {
  const path = host.variable === undefined ? host.env['PATH'] : host.variable('PATH');
  if (path === undefined) return DEFAULT_PATH;
  return typeof path === 'symbol' ? '' : path;
}

/** The entries of a PATH. */
function entriesOf(path: ByteText): ByteText[] {
  // As Latin-1, each byte is a character, and none is lost.
  return typeof path === 'string'
    ? path.split(':')
    : toBytes(path)
        .toString('latin1')
        .split(':')
        .map((entry) => fromBytes(Buffer.from(entry, 'latin1')));
}

export function plannedDirectory(spec: CommandSpec, host: Host): ByteText | undefined {
  if (spec.daemonize === true) return '/';
  if (spec.workingDirectory === undefined) return undefined;
  return absolute(spec.workingDirectory, host);
}

const SLASH = 0x2f;

/** Whether a program is named by a path, which is not looked for. */
export const isPath = (program: ByteText): boolean =>
  typeof program === 'string' ? isAbsolutePath(program) || program.includes('/') : toBytes(program).includes(SLASH);

const isAbsolute = (path: ByteText): boolean =>
  typeof path === 'string' ? isAbsolutePath(path) : toBytes(path)[0] === SLASH;

/** Whether a path begins in this process's directory. */
export const isPathFromHere = (path: ByteText): boolean => !isAbsolute(path);

/**
 * A path from the root, by what this process's directory is called now. Where it was removed nothing leads to it, and the path
 * stays as it is.
 */
export function absolute(path: ByteText, host: Host): ByteText {
  if (isAbsolute(path)) return path;
  let here: ByteText;
  try {
    here = host.cwd();
  } catch {
    return path;
  }
  const below = typeof path === 'string' ? path.replace(/^(?:\.\/+)+/, '') : path;
  return joinText(withoutSlash(here), '/', below);
}

const withoutSlash = (path: ByteText): ByteText => (typeof path === 'string' ? path.replace(/\/+$/, '') : path);
